/** tidemark host ... */
import type { Command } from 'commander';
import type { Host, HostCreate, HostList, HostSet } from '../contract/host.ts';
import type { Deleted } from '../contract/volume.ts';
import { type ChapOptions, chapBody, withChapOptions } from './chap.ts';
import type { Session } from './command-session.ts';
import { type Consent, hasConsent, withConsentOptions } from './consent.ts';
import { usageFailure } from './failure.ts';
import { facts, formatTime, table } from './format.ts';

interface CreateOptions extends ChapOptions {
  readonly initiator?: string[];
  readonly anyInitiator?: boolean;
  readonly loopbackOnly?: boolean;
  readonly ownTarget?: boolean;
  readonly target?: string;
}

interface SetOptions extends ChapOptions, Consent {
  readonly name?: string;
  readonly addInitiator?: string[];
  readonly removeInitiator?: string[];
  readonly anyInitiator?: boolean;
  readonly loopbackOnly?: boolean;
  readonly ownTarget?: boolean;
  readonly target?: string;
  /** False: --no-chap was given. */
  readonly chap?: boolean;
  readonly chapOut?: boolean;
}

export function addHostCommands(program: Command, session: () => Session): void {
  const host = program
    .command('host')
    .description('hosts: who may log in over iSCSI, and how they prove who they are')
    .addHelpText(
      'after',
      '\nA host sees nothing until volumes are mapped to it: tidemark lun map VOLUME HOST',
    );
  addReading(host, session);
  addCreate(host, session);
  addSet(host, session);
  withConsentOptions(host.command('delete <name>'))
    .description('delete a host with its LUN maps; volumes stay, its sessions end')
    .action(async (name: string, options: Consent) => {
      await hostDelete(session(), name, hasConsent(options));
    });
}

function addReading(host: Command, session: () => Session): void {
  host
    .command('list')
    .description('all hosts')
    .action(async () => {
      await hostList(session());
    });
  host
    .command('show <name>')
    .description('one host: its initiators, what it sees, who is logged in')
    .action(async (name: string) => {
      const current = session();
      const answer = await current.send<Host>('GET', hostPath(name));
      current.show(answer, (shown) => hostText(shown, current.clock.wallMs()));
    });
}

function addCreate(host: Command, session: () => Session): void {
  const create = host
    .command('create <name>')
    .description('let initiators log in')
    .option('--initiator <iqn...>', 'names of its initiators (iqn., eui. or naa.)')
    .option('--any-initiator', 'every initiator that no host names')
    .option('--loopback-only', 'only from this machine')
    .option('--own-target', 'a target for this host only')
    .option('--target <iqn>', 'a target for this host only, by this name');
  withChapOptions(create).action(async (name: string, options: CreateOptions) => {
    await hostCreate(session(), name, options);
  });
}

function addSet(host: Command, session: () => Session): void {
  const set = host
    .command('set <name>')
    .description('change a host; its LUN numbers stay')
    .option('--name <new-name>', 'another name')
    .option('--add-initiator <iqn...>', 'more initiators')
    .option('--remove-initiator <iqn...>', 'initiators that may not log in any more')
    .option('--any-initiator', 'every initiator that no host names')
    .option('--no-any-initiator', 'only its own initiators')
    .option('--loopback-only', 'only from this machine')
    .option('--no-loopback-only', 'from anywhere')
    .option('--own-target', 'a target for this host only')
    .option('--target <iqn>', 'a target for this host only, by this name')
    .option('--no-own-target', 'the target of the pool again');
  withConsentOptions(withChapOptions(set))
    .option('--no-chap', 'initiators need not prove who they are any more')
    .option('--no-chap-out', 'the target need not prove itself any more')
    .action(async (name: string, options: SetOptions) => {
      await hostSet(session(), name, options);
    });
}

function hostPath(name: string): string {
  return `/v1/hosts/${encodeURIComponent(name)}`;
}

async function hostList(session: Session): Promise<void> {
  const list = await session.send<HostList>('GET', '/v1/hosts');
  session.show(list, ({ hosts }) => {
    if (hosts.length === 0) {
      return 'no hosts; make one with: tidemark host create NAME --initiator IQN';
    }
    const nowMs = session.clock.wallMs();
    const rows = hosts.map((each) => [
      each.name,
      initiatorsText(each),
      chapText(each),
      String(each.luns.length),
      String(each.sessionCount),
      formatTime(each.createdMs, nowMs),
    ]);
    const head = ['NAME', 'INITIATORS', 'CHAP', 'LUNS', 'SESSIONS', 'CREATED'];
    return table(head, rows, new Set(['LUNS', 'SESSIONS']));
  });
}

async function hostCreate(session: Session, name: string, options: CreateOptions): Promise<void> {
  const body: HostCreate = {
    name,
    ...(options.initiator === undefined ? {} : { initiators: options.initiator }),
    ...(options.anyInitiator === undefined ? {} : { isAnyInitiator: true }),
    ...(options.loopbackOnly === undefined ? {} : { isLoopbackOnly: true }),
    ...targetBody(options),
    ...(await chapBody(session, options)),
  };
  const host = await session.send<Host>('POST', '/v1/hosts', body);
  session.show(host, (made) =>
    [
      `host ${made.name} made: ${initiatorsText(made)}, CHAP ${chapText(made)}`,
      ...(made.hasOwnTarget ? [`it logs in to ${made.targetName}, and nobody else does`] : []),
      ...openWarning(made),
      `it sees nothing yet: tidemark lun map VOLUME ${made.name}`,
    ].join('\n'),
  );
}

async function hostSet(session: Session, name: string, options: SetOptions): Promise<void> {
  const change = await hostChange(session, options);
  if (Object.keys(change).length === 0) {
    throw usageFailure('nothing to change', 'tidemark host set --help shows what can be');
  }
  const set = async (force: boolean): Promise<Host> =>
    await session.send<Host>('POST', `${hostPath(name)}/set`, { ...change, force });
  const host = hasConsent(options) ? await set(true) : await session.withConsent(name, set);
  session.show(host, (changed) =>
    [hostText(changed, session.clock.wallMs()), ...openWarning(changed)].join('\n'),
  );
}

async function hostChange(session: Session, options: SetOptions): Promise<HostSet> {
  const { name, addInitiator, removeInitiator, anyInitiator, loopbackOnly } = options;
  if (options.chap === false && options.chapUser !== undefined) {
    throw usageFailure('--chap-user and --no-chap contradict each other');
  }
  const removesOut = options.chapOut === false;
  return {
    ...(name === undefined ? {} : { newName: name }),
    ...(addInitiator === undefined ? {} : { addInitiators: addInitiator }),
    ...(removeInitiator === undefined ? {} : { removeInitiators: removeInitiator }),
    ...(anyInitiator === undefined ? {} : { isAnyInitiator: anyInitiator }),
    ...(loopbackOnly === undefined ? {} : { isLoopbackOnly: loopbackOnly }),
    ...targetBody(options),
    ...(removesOut ? { removeChap: 'out' as const } : {}),
    ...(options.chap === false ? { removeChap: 'in' as const } : {}),
    ...(await chapBody(session, options)),
  };
}

function targetBody({
  ownTarget,
  target,
}: Pick<SetOptions, 'ownTarget' | 'target'>): Pick<HostSet, 'hasOwnTarget' | 'targetName'> {
  if (ownTarget === false && target !== undefined) {
    throw usageFailure('--target and --no-own-target contradict each other');
  }
  return {
    ...(ownTarget === undefined ? {} : { hasOwnTarget: ownTarget }),
    ...(target === undefined ? {} : { targetName: target }),
  };
}

async function hostDelete(session: Session, name: string, isForced: boolean): Promise<void> {
  const remove = async (force: boolean): Promise<Deleted> =>
    await session.send<Deleted>('DELETE', `${hostPath(name)}?force=${force}`);
  const answer = isForced ? await remove(true) : await session.withConsent(name, remove);
  session.show(answer, ({ deleted }) => `host ${deleted} deleted`);
}

function initiatorsText({ initiators, isAnyInitiator, isLoopbackOnly }: Host): string {
  const [first = ''] = initiators;
  const named = initiators.length > 1 ? `${first} and ${initiators.length - 1} more` : first;
  const any = isAnyInitiator ? 'any initiator' : '';
  const who = [named, any].filter((each) => each !== '').join(' and ') || 'nobody';
  return isLoopbackOnly ? `${who}, from this machine only` : who;
}

function chapText({ chapUserIn, chapUserOut }: Host): string {
  if (chapUserIn === undefined) return 'off';
  return chapUserOut === undefined ? `as ${chapUserIn}` : `as ${chapUserIn}, mutual`;
}

/** A name is no secret: who knows it can claim it. */
function openWarning({ isLoopbackOnly, chapUserIn, isAnyInitiator }: Host): string[] {
  if (isLoopbackOnly || chapUserIn !== undefined) return [];
  const who = isAnyInitiator ? 'whoever' : 'whoever claims such a name and';
  return [`without CHAP ${who} reaches the portal may log in; see --chap-user`];
}

function hostText(host: Host, nowMs: number): string {
  const { name, initiators, isAnyInitiator, isLoopbackOnly, luns, sessionCount } = host;
  const pairs: [string, string][] = [['name', name]];
  for (const initiator of initiators) pairs.push(['initiator', initiator]);
  if (isAnyInitiator) pairs.push(['initiator', 'every one that no host names']);
  pairs.push(['from', isLoopbackOnly ? 'this machine only' : 'anywhere']);
  pairs.push(['target', host.hasOwnTarget ? `${host.targetName}, its own` : host.targetName]);
  pairs.push(['CHAP', chapText(host)]);
  if (host.chapUserOut !== undefined) pairs.push(['target as', host.chapUserOut]);
  pairs.push(['created', formatTime(host.createdMs, nowMs)]);
  pairs.push(['sessions', String(sessionCount)]);
  for (const { lun, volume, isReadOnly } of luns) {
    pairs.push([`LUN ${lun}`, isReadOnly ? `${volume}, read-only` : volume]);
  }
  return facts(pairs);
}
