/**
 * The iSCSI side of an engine: desired state in, sessions served.
 *
 *     iscsiConfigure ─▶ access (hosts, LUNs) ─▶ units made and closed ─▶ sessions told or ended ─▶ portals opened
 *
 * Invariants: one configuration at a time, in the order in which they came; LUNs are there before a portal opens; an engine that was
 * never configured serves nobody.
 */
import { addressOfPeer } from '../base/ip-address.ts';
import type { Clock, Log, Random, Timers } from '../base/ports.ts';
import type { StagingDoor } from '../device/staging-door.ts';
import { machineNames } from '../host/tls-files.ts';
import { IscsiServer, type SessionInfo } from '../iscsi/server.ts';
import { type MappedLun, ScsiTarget } from '../scsi/target.ts';
import { AluaState, TargetGroups } from '../scsi/target-groups.ts';
import type { Pool } from '../volume/pool.ts';
import { IscsiListeners } from './iscsi-listeners.ts';
import { IscsiAccess, type VolumeMap } from './luns.ts';
import type { IscsiListening, IscsiSession, IscsiWanted } from './protocol.ts';
import { SpaceWatch } from './space-watch.ts';
import { Units } from './units.ts';

interface IscsiFrontHost {
  /** Shared with NBD. */
  readonly staging: StagingDoor;
  readonly random: Random;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly log: Log;
}

/** What an initiator sees, by LUN. */
type Seen = ReadonlyMap<number, MappedLun>;

/** All ways to a pool are equally good until there is a cluster: one group (ALUA) with every target port. */
const ALUA_GROUP = 1;

export class IscsiFront {
  readonly units: Units;
  readonly #access: IscsiAccess;
  readonly #target: ScsiTarget;
  readonly #targetGroups = new TargetGroups([]);
  readonly #server: IscsiServer;
  readonly #listeners: IscsiListeners;
  readonly #spaceWatch: SpaceWatch;
  readonly #timers: Timers;
  /** Sessions by name of their host, as counted in this turn. */
  #countByHost: ReadonlyMap<string, number> | undefined;
  #lastChange: Promise<unknown> = Promise.resolve();

  constructor(pool: Pool, host: IscsiFrontHost) {
    const { staging, timers, clock, random, log } = host;
    this.#timers = timers;
    this.units = new Units(pool, log);
    this.#access = new IscsiAccess({
      units: this.units,
      machineAddresses: () => machineNames().addresses,
      isUnavailable: pool.isIncomplete,
    });
    this.#target = new ScsiTarget({
      lunMap: this.#access,
      staging,
      timers,
      clock,
      targetGroups: this.#targetGroups,
    });
    this.#server = new IscsiServer({
      target: this.#target,
      hosts: this.#access,
      timers,
      clock,
      random,
      log,
    });
    this.#listeners = new IscsiListeners(this.#server);
    this.#spaceWatch = new SpaceWatch({ space: () => pool.space(), timers, log }, this.units);
  }

  /** What is open; undefined before the first configuration. */
  get current(): IscsiListening | undefined {
    const { targetName } = this.#access;
    return targetName === '' ? undefined : { targetName, portals: this.#listeners.current };
  }

  /** Makes it so; resolves to what is open then. */
  async configure(wanted: IscsiWanted): Promise<IscsiListening> {
    const change = this.#lastChange.then(async () => await this.#configure(wanted));
    this.#lastChange = change.catch(() => undefined);
    return await change;
  }

  /** A volume was deleted: no host sees it any more. */
  volumeDeleted(volumeId: string): void {
    this.#changeLuns(() => {
      this.#access.forgetVolume(volumeId);
    });
  }

  mapsOf(volumeId: string): readonly VolumeMap[] {
    return this.#access.mapsOf(volumeId);
  }

  /** Sessions of initiators that see a volume. Cheap: a list of volumes asks for each of them. */
  sessionCount(volumeId: string): number {
    const countByHost = this.#sessionCountByHost();
    return this.#access
      .mapsOf(volumeId)
      .reduce((sum, { host }) => sum + (countByHost.get(host) ?? 0), 0);
  }

  sessions(): IscsiSession[] {
    return this.#server.sessions().map((session) => this.#describe(session));
  }

  /** How many were ended. */
  drop(ids: readonly number[]): number {
    const wanted = new Set(ids);
    return this.#server.drop(({ id }) => wanted.has(id));
  }

  /** Takes no more initiators, has those that are there finish and log out, and ends their sessions. */
  async stop(withinMs: number): Promise<void> {
    this.#spaceWatch.stop();
    this.#listeners.close();
    await new Promise<void>((resolve) => {
      this.#server.drain(withinMs, resolve);
    });
  }

  async #configure(wanted: IscsiWanted): Promise<IscsiListening> {
    this.#targetGroups.update([
      {
        id: ALUA_GROUP,
        state: AluaState.optimized,
        isPreferred: false,
        ports: [...new Set(wanted.portals.map(({ group }) => group))].sort((a, b) => a - b),
      },
    ]);
    this.#changeLuns(() => {
      this.#access.configure(wanted);
    });
    this.#server.drop((session) => !this.#mayStay(session));
    const portals = await this.#listeners.apply(wanted.portals);
    this.#access.usePortals(portals.filter(({ fault }) => fault === undefined));
    return { targetName: wanted.targetName, portals };
  }

  /** Runs `change`, and tells the initiators that are logged in and see something else afterwards. */
  #changeLuns(change: () => void): void {
    const before = new Map<string, { readonly targetName: string; readonly seen: Seen }>();
    for (const { initiatorName, targetName } of this.#normalSessions()) {
      const seen = this.#access.luns(initiatorName, targetName);
      before.set(initiatorName, { targetName, seen });
    }
    change();
    for (const [initiatorName, { targetName, seen }] of before) {
      const now = this.#access.luns(initiatorName, targetName);
      if (!isSame(seen, now)) this.#target.lunsChanged(initiatorName);
    }
  }

  /** Counted once in a turn. */
  #sessionCountByHost(): ReadonlyMap<string, number> {
    if (this.#countByHost !== undefined) return this.#countByHost;
    const countByHost = new Map<string, number>();
    for (const { initiatorName } of this.#normalSessions()) {
      const host = this.#access.hostOf(initiatorName) ?? '';
      countByHost.set(host, (countByHost.get(host) ?? 0) + 1);
    }
    this.#countByHost = countByHost;
    this.#timers.defer(() => {
      this.#countByHost = undefined;
    });
    return countByHost;
  }

  #mayStay({ kind, initiatorName, targetName, address, host }: SessionInfo): boolean {
    if (kind === 'discovery') return true;
    const initiator = { name: initiatorName, address: addressOfPeer(address) };
    return this.#access.keeps({ initiator, targetName, host });
  }

  #normalSessions(): SessionInfo[] {
    return this.#server.sessions().filter(({ kind }) => kind === 'normal');
  }

  #describe(session: SessionInfo): IscsiSession {
    const { host: hostAtLogin, initiatorAlias, ...facts } = session;
    // A host may have been renamed, or its initiator moved to another one, since the login.
    const host = this.#access.hostOf(facts.initiatorName) ?? hostAtLogin;
    return {
      ...facts,
      ...(host === '' ? {} : { host }),
      ...(initiatorAlias === '' ? {} : { initiatorAlias }),
      luns: [...this.#access.luns(facts.initiatorName, facts.targetName).keys()],
    };
  }
}

function isSame(left: Seen, right: Seen): boolean {
  if (left.size !== right.size) return false;
  return [...left].every(([lun, { unit, isReadOnly }]) => {
    const other = right.get(lun);
    return other?.unit === unit && other.isReadOnly === isReadOnly;
  });
}
