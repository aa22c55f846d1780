/** Hosts: who may log in over iSCSI, how they prove who they are. Every change is checked, kept, and told to the engine. */
import { OperationError } from '../base/errors.ts';
import { addressOfPeer, isLoopbackAddress } from '../base/ip-address.ts';
import type { Clock } from '../base/ports.ts';
import { count } from '../base/words.ts';
import type { ChapAccounts, HostChange, HostRecord, LunMapRecord } from '../catalog/catalog.ts';
import type { Host, HostCreate, HostSet } from '../contract/host.ts';
import type { IscsiSession } from '../engine/protocol.ts';
import { chapAccount, checkChapAccounts } from './chap-rules.ts';
import { initiatorNames } from './initiator-names.ts';
import type { IscsiControl } from './iscsi-control.ts';
import type { EngineAccess } from './pool-control.ts';
import { checkedTargetName } from './target-name.ts';
import { volumesByUuid } from './volumes-by-uuid.ts';

/** Hosts and LUNs that a message names one by one. */
const NAMED_MAX = 8;

export class HostControl {
  readonly #engine: EngineAccess;
  readonly #iscsi: IscsiControl;
  readonly #clock: Clock;

  constructor(engine: EngineAccess, iscsi: IscsiControl, clock: Clock) {
    this.#engine = engine;
    this.#iscsi = iscsi;
    this.#clock = clock;
  }

  async hostList(): Promise<Host[]> {
    return await this.#hosts(this.#iscsi.catalog.hostList());
  }

  async hostShow(name: string): Promise<Host> {
    return await this.#host(this.#iscsi.catalog.hostShow(name));
  }

  /** Rejects with OperationError for names that are none or are taken, and for weak secrets. */
  async hostCreate(wanted: HostCreate): Promise<Host> {
    const { name, isAnyInitiator = false, isLoopbackOnly = false, chapIn, chapOut } = wanted;
    const initiators = initiatorNames(wanted.initiators ?? []);
    if (initiators.length === 0 && !isAnyInitiator) {
      const message = `host ${name} has no initiator`;
      const hint = 'name its initiators with --initiator, or let everybody in with --any-initiator';
      throw new OperationError('invalid', message, hint);
    }
    const chap = {
      ...(chapIn === undefined ? {} : { in: chapAccount(chapIn) }),
      ...(chapOut === undefined ? {} : { out: chapAccount(chapOut) }),
    };
    checkChapAccounts(chap);
    const target = this.#wantedTarget(name, wanted, undefined);
    const createdMs = this.#clock.wallMs();
    const host = this.#iscsi.catalog.hostCreate({
      name,
      isAnyInitiator,
      isLoopbackOnly,
      initiators,
      ...(target?.name === undefined ? {} : { targetName: target.name }),
      chap,
      createdMs,
    });
    await this.#iscsi.apply();
    return await this.#host(host);
  }

  /** Rejects with `needs-force` when sessions would end. */
  async hostSet(name: string, wanted: HostSet): Promise<Host> {
    const before = this.#iscsi.catalog.hostShow(name);
    const change = this.#change(before, wanted);
    if (wanted.force !== true) await this.#checkSessions(before, change);
    const host = this.#iscsi.catalog.hostSet(name, change);
    await this.#iscsi.apply();
    return await this.#host(host);
  }

  /** Rejects with `needs-force` when it has LUNs or sessions. */
  async hostDelete(name: string, force: boolean): Promise<void> {
    const host = await this.hostShow(name);
    const { luns, sessionCount } = host;
    if (!force && (luns.length > 0 || sessionCount > 0)) {
      const lost = [
        ...(luns.length === 0 ? [] : [`takes ${lunsText(luns)} away from its initiators`]),
        ...(sessionCount === 0 ? [] : [`ends ${count(sessionCount, 'session')}`]),
      ];
      const message = `deleting host ${name} ${lost.join(', and ')}`;
      throw new OperationError('needs-force', message, 'the volumes stay; repeat with --force');
    }
    this.#iscsi.catalog.hostDelete(name);
    await this.#iscsi.apply();
  }

  #change(before: HostRecord, wanted: HostSet): HostChange {
    const { newName, isAnyInitiator, isLoopbackOnly } = wanted;
    const removed = initiatorNames(wanted.removeInitiators ?? []);
    const missing = removed.find((each) => !before.initiators.includes(each));
    if (missing !== undefined) {
      const hint = `tidemark host show ${before.name} shows those it has`;
      const message = `host ${before.name} has no initiator ${missing}`;
      throw new OperationError('not-found', message, hint);
    }
    const kept = before.initiators.filter((each) => !removed.includes(each));
    const initiators = initiatorNames([...kept, ...(wanted.addInitiators ?? [])]);
    const chap = this.#changedChap(before.name, wanted);
    const target = this.#wantedTarget(newName ?? before.name, wanted, before.targetName);
    return {
      initiators,
      ...(newName === undefined ? {} : { newName }),
      ...(isAnyInitiator === undefined ? {} : { isAnyInitiator }),
      ...(isLoopbackOnly === undefined ? {} : { isLoopbackOnly }),
      ...(target === undefined ? {} : { target }),
      ...(chap === undefined ? {} : { chap }),
    };
  }

  /** The host's own target (`name` undefined: none) as it is wanted; undefined when nothing was said of it. */
  #wantedTarget(
    host: string,
    { hasOwnTarget, targetName }: Pick<HostSet, 'hasOwnTarget' | 'targetName'>,
    before: string | undefined,
  ): HostChange['target'] {
    if (hasOwnTarget === false && targetName !== undefined) {
      const message = 'a host without a target of its own cannot give it a name';
      throw new OperationError('invalid', message);
    }
    if (targetName !== undefined) {
      // The pool's name may not have been given to anybody yet.
      const poolTarget = this.#iscsi.targetName;
      const name = checkedTargetName(targetName);
      if (name !== poolTarget) return { name };
      const hint = `for the pool's target: --no-own-target`;
      throw new OperationError('conflict', `${name} is the target of the pool`, hint);
    }
    if (hasOwnTarget === undefined) return undefined;
    return { name: hasOwnTarget ? (before ?? this.#iscsi.newTargetName(host)) : undefined };
  }

  /** All accounts after the change; undefined when they stay. */
  #changedChap(name: string, wanted: HostSet): ChapAccounts | undefined {
    const { chapIn, chapOut, removeChap } = wanted;
    if (chapIn === undefined && chapOut === undefined && removeChap === undefined) return undefined;
    const now = removeChap === 'in' ? {} : this.#iscsi.catalog.hostSecrets(name);
    const accountIn = chapIn === undefined ? now.in : chapAccount(chapIn);
    const keptOut = removeChap === undefined ? now.out : undefined;
    const accountOut = chapOut === undefined ? keptOut : chapAccount(chapOut);
    const chap = {
      ...(accountIn === undefined ? {} : { in: accountIn }),
      ...(accountOut === undefined ? {} : { out: accountOut }),
    };
    checkChapAccounts(chap);
    return chap;
  }

  /** A change of CHAP ends no session: what was proven stays proven until the next login. */
  async #checkSessions(before: HostRecord, change: HostChange): Promise<void> {
    const isAny = change.isAnyInitiator ?? before.isAnyInitiator;
    const isLocal = change.isLoopbackOnly ?? before.isLoopbackOnly;
    const initiators = new Set(change.initiators);
    const ownTarget = change.target === undefined ? before.targetName : change.target.name;
    const target = ownTarget ?? this.#iscsi.targetName;
    const ended = (await this.#sessionsOf(before.name)).filter(
      (session) =>
        (!isAny && !initiators.has(session.initiatorName)) ||
        (session.kind === 'normal' && session.targetName !== target) ||
        (isLocal && !isLoopbackAddress(addressOfPeer(session.address))),
    );
    if (ended.length === 0) return;
    const names = ended.map(
      ({ id, initiatorName, address }) => `${initiatorName} (session ${id} from ${address})`,
    );
    const message = `${count(ended.length, 'session')} would be ended: ${listText(names)}`;
    throw new OperationError('needs-force', message, 'log out there first, or repeat with --force');
  }

  async #sessionsOf(host: string): Promise<IscsiSession[]> {
    const sessions = await this.#engine.call('sessionList', {});
    return sessions.filter((session) => session.host === host);
  }

  async #host(record: HostRecord): Promise<Host> {
    const [host] = await this.#hosts([record]);
    return host ?? this.#hostOf(record, [], 0);
  }

  async #hosts(records: readonly HostRecord[]): Promise<Host[]> {
    const volumes = await volumesByUuid(this.#engine);
    const sessions = await this.#engine.call('sessionList', {});
    const maps = this.#iscsi.catalog.lunList();
    const nameOf = (map: LunMapRecord): string =>
      volumes.get(map.volumeUuid)?.name ?? map.volumeUuid;
    return records.map((record) => {
      const luns = maps
        .filter((map) => map.host === record.name)
        .map((map) => ({ lun: map.lun, volume: nameOf(map), isReadOnly: map.isReadOnly }));
      const mine = sessions.filter((session) => session.host === record.name);
      return this.#hostOf(record, luns, mine.length);
    });
  }

  #hostOf(record: HostRecord, luns: Host['luns'], sessionCount: number): Host {
    const { chapUserIn, chapUserOut, initiators, targetName, ...rest } = record;
    return {
      ...rest,
      initiators: [...initiators],
      targetName: targetName ?? this.#iscsi.targetName,
      hasOwnTarget: targetName !== undefined,
      ...(chapUserIn === undefined ? {} : { chapUserIn }),
      ...(chapUserOut === undefined ? {} : { chapUserOut }),
      luns,
      sessionCount,
    };
  }
}

/** "LUN 0 (lun0) and LUN 3 (db)". */
function lunsText(luns: Host['luns']): string {
  return listText(luns.map(({ lun, volume }) => `LUN ${lun} (${volume})`));
}

function listText(names: readonly string[]): string {
  const shown = names.slice(0, NAMED_MAX);
  const moreCount = names.length - shown.length;
  return moreCount === 0 ? shown.join(', ') : `${shown.join(', ')} and ${moreCount} more`;
}
