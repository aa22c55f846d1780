/** tidemark volume ... */
import { type Command, Option } from 'commander';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type {
  Ack,
  Deleted,
  Provisioning,
  Volume,
  VolumeCreate,
  VolumeList,
  VolumeSet,
} from '../contract/volume.ts';
import { ackFacts, ackOption, riskLine } from './ack.ts';
import {
  type CdpOptions,
  cdpColumn,
  cdpFacts,
  cdpGuaranteeOption,
  cdpPolicyOption,
  cdpWanted,
  cdpWindowOption,
  keepsText,
} from './cdp.ts';
import type { Session } from './command-session.ts';
import { type Consent, hasConsent, withConsentOptions } from './consent.ts';
import { usageFailure } from './failure.ts';
import { facts, formatTime, table } from './format.ts';
import { type HistoryOptions, volumeHistory } from './history.ts';
import { momentHelp } from './moment-argument.ts';
import { type RollbackOptions, volumeRollback } from './rollback.ts';
import { exactSize, sizeArgument, sizeHelp } from './size-argument.ts';

export function addVolumeCommands(program: Command, session: () => Session): void {
  const volume = program.command('volume').description('volumes: what clients see as disks');
  addReading(volume, session);
  addMaking(volume, session);
  addChanging(volume, session);
  addRollback(volume, session);
}

function addReading(volume: Command, session: () => Session): void {
  volume
    .command('list')
    .description('all volumes')
    .action(async () => {
      await volumeList(session());
    });
  volume
    .command('show <name>')
    .description('one volume, and where clients reach it')
    .action(async (name: string) => {
      const current = session();
      const answer = await current.send<Volume>('GET', volumePath(name));
      current.show(answer, (shown) => volumeText(shown, current.clock.wallMs()));
    });
  volume
    .command('history <name>')
    .description('lines (where it was rolled back), rate of change, quiet gaps, snapshots')
    .option('--since <moment>', `rate of change from here on: ${momentHelp}`)
    .option('--until <moment>', 'rate of change up to here')
    .option('--kept', 'list every moment that is kept before the window')
    .action(async (name: string, options: HistoryOptions) => {
      await volumeHistory(session(), { name, path: volumePath(name) }, options);
    });
}

function addMaking(volume: Command, session: () => Session): void {
  volume
    .command('create <name>')
    .description('make a volume: thin, or one that the pool keeps space for')
    .requiredOption('--size <size>', sizeHelp)
    .addOption(ackOption())
    .option('--thick', 'keep space for all of it: its writes are not refused when the pool is full')
    .addOption(cdpPolicyOption())
    .addOption(cdpWindowOption())
    .addOption(cdpGuaranteeOption())
    .action(async (name: string, options: CreateOptions) => {
      const { size, ack, thick } = options;
      await volumeCreate(session(), {
        name,
        sizeBytes: sizeArgument(size),
        ...(ack === undefined ? {} : { ack }),
        ...(thick === undefined ? {} : { provisioning: 'thick' }),
        ...cdpWanted(options),
      });
    });
  volume
    .command('clone <name> <new-name>')
    .description('make a volume with the present content of another; copies nothing')
    .action(async (name: string, newName: string) => {
      const current = session();
      const body = { name: newName };
      const clone = await current.send<Volume>('POST', `${volumePath(name)}/clone`, body);
      current.show(clone, (made) => `volume ${made.name} made from ${name}${madeText(made)}`);
    });
}

function addChanging(volume: Command, session: () => Session): void {
  withConsentOptions(volume.command('set <name>'))
    .description(
      'change how much of the past is kept, when writes are answered, whether space is kept, how reservations go; clients stay connected',
    )
    .addOption(cdpPolicyOption())
    .addOption(cdpWindowOption())
    .addOption(cdpGuaranteeOption())
    .addOption(ackOption())
    .addOption(provisioningOption())
    .addOption(isidOption())
    .action(async (name: string, options: SetOptions & Consent) => {
      await volumeSet(session(), name, options);
    });
  volume
    .command('rename <name> <new-name>')
    .description('give a volume another name; clients that have it open stay connected')
    .action(async (name: string, newName: string) => {
      const current = session();
      const answer = await current.send<Volume>('POST', `${volumePath(name)}/rename`, { newName });
      current.show(answer, (renamed) => `volume ${name} is now ${renamed.name}`);
    });
  withConsentOptions(volume.command('resize <name> <size>'))
    .description(`grow a volume, or with consent shrink it (${sizeHelp})`)
    .action(async (name: string, size: string, options: Consent) => {
      await volumeResize(session(), { name, sizeBytes: sizeArgument(size) }, hasConsent(options));
    });
  withConsentOptions(volume.command('delete <name>'))
    .description('delete a volume with all its data, snapshots and past moments')
    .action(async (name: string, options: Consent) => {
      await volumeDelete(session(), name, hasConsent(options));
    });
}

function addRollback(volume: Command, session: () => Session): void {
  withConsentOptions(volume.command('rollback <name>'))
    .description('put a volume back to any past moment, or undo that; loses nothing')
    .option('--to <moment>', momentHelp)
    .option('--undo', 'back to the state before the latest rollback or refresh')
    .option('--disconnect', 'do it while clients have it open: NBD is dropped, iSCSI is told')
    .action(async (name: string, options: RollbackOptions & Consent) => {
      const target = { name, path: volumePath(name) };
      await volumeRollback(session(), target, options, hasConsent(options));
    });
}

export function volumePath(name: string): string {
  return `/v1/volumes/${encodeURIComponent(name)}`;
}

async function volumeList(session: Session): Promise<void> {
  const list = await session.send<VolumeList>('GET', '/v1/volumes');
  session.show(list, ({ volumes }) => {
    if (volumes.length === 0) {
      return 'no volumes; make one with: tidemark volume create NAME --size 20G';
    }
    const nowMs = session.clock.wallMs();
    const rows = volumes.map((each) => [
      each.name,
      formatSize(each.sizeBytes),
      (each.isMappedPartial === true ? '>' : '') + formatSize(each.mappedBytes),
      each.ack,
      cdpColumn(each.cdp),
      String(each.snapshotCount),
      String(each.connectionCount + each.sessionCount),
      formatTime(each.createdMs, nowMs),
    ]);
    const head = ['NAME', 'SIZE', 'MAPPED', 'ACK', 'WINDOW', 'SNAPSHOTS', 'CLIENTS', 'CREATED'];
    const right = new Set(['SIZE', 'MAPPED', 'SNAPSHOTS', 'CLIENTS']);
    return table(head, rows, right);
  });
}

async function volumeCreate(session: Session, wanted: VolumeCreate): Promise<void> {
  const volume = await session.send<Volume>('POST', '/v1/volumes', wanted);
  session.show(volume, (made) => `volume ${made.name} made${madeText(made)}`);
}

/** Size, addresses and risk of something that was just made. */
export function madeText(made: Pick<Volume, 'sizeBytes' | 'nbdUris' | 'ack'>): string {
  const uris = made.nbdUris.map((uri) => `\n  ${uri}`).join('');
  return `, ${formatSize(made.sizeBytes)}${uris}${riskLine(made.ack)}`;
}

interface CreateOptions extends CdpOptions {
  readonly size: string;
  readonly ack?: Ack;
  readonly thick?: true;
}

interface SetOptions extends CdpOptions {
  readonly ack?: Ack;
  readonly provisioning?: Provisioning;
  readonly prIgnoreIsid?: 'on' | 'off';
}

/** `--provisioning thin|thick` */
function provisioningOption(): Option {
  const kinds: Provisioning[] = ['thin', 'thick'];
  return new Option('--provisioning <kind>', 'thick: the pool keeps space for all of it').choices(
    kinds,
  );
}

/** `--pr-ignore-isid on|off` */
function isidOption(): Option {
  return new Option(
    '--pr-ignore-isid <mode>',
    'persistent reservations tell initiators apart by name alone: for hosts whose ISID changes when they log in again (open-iscsi)',
  ).choices(['on', 'off']);
}

async function volumeSet(
  session: Session,
  name: string,
  options: SetOptions & Consent,
): Promise<void> {
  const { ack, provisioning, prIgnoreIsid } = options;
  const cdp = cdpWanted(options);
  const isCdp = Object.keys(cdp).length > 0;
  if (!isCdp && ack === undefined && prIgnoreIsid === undefined && provisioning === undefined) {
    throw usageFailure('nothing to change', 'tidemark volume set --help shows what can be');
  }
  const change: VolumeSet = {
    ...cdp,
    ...(ack === undefined ? {} : { ack }),
    ...(provisioning === undefined ? {} : { provisioning }),
    ...(prIgnoreIsid === undefined ? {} : { prIgnoresIsid: prIgnoreIsid === 'on' }),
  };
  const set = async (force: boolean): Promise<Volume> => {
    const body = force ? { ...change, force } : change;
    return await session.send<Volume>('POST', `${volumePath(name)}/set`, body);
  };
  const volume = hasConsent(options) ? await set(true) : await session.withConsent(name, set);
  session.show(volume, (shown) =>
    [
      ...(isCdp ? [`${shown.kind} ${shown.name} keeps ${keepsText(shown.cdp)}`] : []),
      ...(ack === undefined ? [] : [ackText(shown)]),
      ...(provisioning === undefined
        ? []
        : [`${shown.kind} ${shown.name}: ${provisioningText(shown)}`]),
      ...(prIgnoreIsid === undefined ? [] : [`${shown.kind} ${shown.name}: ${isidText(shown)}`]),
    ].join('\n'),
  );
}

function ackText({ kind, name, ack }: Volume): string {
  const when = ack === 'durable' ? 'durable' : 'written';
  return `${kind} ${name} answers writes when they are ${when}${riskLine(ack)}`;
}

function provisioningText({ provisioning }: Pick<Volume, 'provisioning'>): string {
  return provisioning === 'thin'
    ? 'thin: takes space as it is written'
    : 'thick: the pool keeps space for all of it';
}

function isidText({ prIgnoresIsid }: Pick<Volume, 'prIgnoresIsid'>): string {
  const what = prIgnoresIsid ? 'the name alone' : 'name and ISID';
  return `persistent reservations tell initiators apart by ${what}`;
}

async function volumeResize(
  session: Session,
  wanted: { readonly name: string; readonly sizeBytes: number },
  isForced: boolean,
): Promise<void> {
  const { name, sizeBytes } = wanted;
  const resize = async (force: boolean): Promise<Volume> =>
    await session.send<Volume>('POST', `${volumePath(name)}/resize`, { sizeBytes, force });
  const volume = isForced ? await resize(true) : await session.withConsent(name, resize);
  session.show(
    volume,
    (resized) => `volume ${resized.name} now has ${exactSize(resized.sizeBytes)}`,
  );
}

async function volumeDelete(session: Session, name: string, isForced: boolean): Promise<void> {
  const path = volumePath(name);
  const remove = async (force: boolean): Promise<Deleted> =>
    await session.send<Deleted>('DELETE', `${path}?force=${force}`);
  const answer = isForced ? await remove(true) : await session.withConsent(name, remove);
  session.show(answer, ({ deleted }) => `volume ${deleted} deleted`);
}

function volumeText(volume: Volume, nowMs: number): string {
  const pairs = volumeFacts(volume, nowMs);
  if (volume.kind === 'view')
    pairs.splice(1, 0, ['kind', `a view; see tidemark view show ${volume.name}`]);
  return facts(pairs);
}

function clientsText({ connectionCount, sessionCount }: Omit<Volume, 'kind'>): string {
  const sessions = sessionCount === 0 ? '' : `, ${count(sessionCount, 'iSCSI session')}`;
  return `${connectionCount}${sessions}`;
}

function mappedText({ mappedBytes, isMappedPartial }: Omit<Volume, 'kind'>): string {
  const size = exactSize(mappedBytes);
  return isMappedPartial === true ? `at least ${size}, as far as counted since the start` : size;
}

/** Names and values that volumes and views share; the name comes first. */
export function volumeFacts(volume: Omit<Volume, 'kind'>, nowMs: number): [string, string][] {
  const pairs: [string, string][] = [
    ['name', volume.name],
    ['size', exactSize(volume.sizeBytes)],
    ['mapped', mappedText(volume)],
    ['provisioning', provisioningText(volume)],
    ...ackFacts(volume.ack),
    ['created', formatTime(volume.createdMs, nowMs)],
    ...cdpFacts(volume.cdp, nowMs),
    ['snapshots', String(volume.snapshotCount)],
    ['clients', clientsText(volume)],
  ];
  for (const uri of volume.nbdUris) pairs.push(['nbd', uri]);
  for (const { host, lun, isReadOnly, iscsiUris } of volume.luns) {
    pairs.push(['host', `${host}, LUN ${lun}${isReadOnly ? ', read-only' : ''}`]);
    for (const uri of iscsiUris) pairs.push(['iscsi', uri]);
  }
  if (volume.prIgnoresIsid) pairs.push(['reservations', isidText(volume)]);
  pairs.push(['uuid', volume.uuid], ['naa', volume.naa], ['serial', volume.serial]);
  return pairs;
}
