/**
 * Desired state of iSCSI: what the catalog declares, told to the engine as a whole, at every change and to every engine that is attached
 * to, before its portals open. The engine keeps it for as long as it runs, whatever becomes of this daemon.
 *
 *     catalog ──▶ hosts, maps, portals ──▶ iscsiConfigure ──▶ engine
 *                 + the portal of the settings          └──▶ what is open: `listening`
 *
 * Invariants: one push at a time, each with what the catalog says when it begins, so that an older state never overwrites a newer
 * one. A change is kept in the catalog first; an engine that goes away during the push gets it when it is attached to again.
 */
import { OperationError, toError } from '../base/errors.ts';
import type { Clock, Log, Timer, Timers } from '../base/ports.ts';
import { toHex } from '../base/uuid.ts';
import type { Catalog, ChapAccount, HostRecord, LunMapRecord } from '../catalog/catalog.ts';
import { EngineGoneError } from '../engine/client.ts';
import type {
  IscsiChap,
  IscsiHost,
  IscsiListening,
  IscsiPortal,
  IscsiWanted,
} from '../engine/protocol.ts';
import { iscsiUris } from './iscsi-uris.ts';
import { PORTAL_RETRY_MS } from './limits.ts';
import type { Settings } from './settings.ts';
import type { EngineDoor } from './supervisor.ts';
import { makeHostTargetName, makeTargetName } from './target-name.ts';

/** Portal group of the portal that the settings name. */
const SETTINGS_GROUP = 1;
/** The host of the first start. */
const LOOPBACK_HOST = 'loopback';

export interface IscsiOptions {
  readonly settings: Pick<Settings, 'listenAddress' | 'iscsiPort'>;
  /** Volume that the first start maps for this machine's own initiators. */
  readonly firstVolume: string;
  readonly catalog: Catalog;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly log: Log;
}

interface PoolId {
  readonly name: string;
  readonly uuid: string;
  readonly isOnline: boolean;
}

export class IscsiControl {
  readonly catalog: Catalog;
  readonly #options: IscsiOptions;
  #door: EngineDoor | undefined;
  #pool: PoolId | undefined;
  #listening: IscsiListening = { targetName: '', portals: [] };
  /** The port that was picked where the settings say 0: clients find it again after a restart of the engine. */
  #pickedPort: number | undefined;
  #lastPush: Promise<void> = Promise.resolve();
  #retry: Timer | undefined;

  constructor(options: IscsiOptions) {
    this.#options = options;
    this.catalog = options.catalog;
  }

  /** What is open, as the engine said last. */
  get listening(): IscsiListening {
    return this.#listening;
  }

  /** Uuid of the pool whose volumes may be mapped. Throws OperationError `unavailable` before the first engine was attached to. */
  get poolUuid(): string {
    return this.#knownPool().uuid;
  }

  /** The name of the pool's target. */
  get targetName(): string {
    const pool = this.#knownPool();
    return this.catalog.targetName(pool.uuid, () => makeTargetName(pool));
  }

  /** The target that a host logs in to: its own, or the pool's. */
  targetOf(host: string): string {
    return this.catalog.hostTarget(host) ?? this.targetName;
  }

  /** A name for a host's own target. */
  newTargetName(host: string): string {
    return makeHostTargetName(this.targetName, host);
  }

  /** Where the initiators of a host find a LUN. */
  urisOf(host: string, lun: number): string[] {
    return iscsiUris(this.#listening, this.targetOf(host), lun);
  }

  /** The portal of the settings; undefined when iSCSI is off. */
  get settingsPortal(): IscsiPortal | undefined {
    const { listenAddress: address, iscsiPort } = this.#options.settings;
    if (iscsiPort === undefined) return undefined;
    const port = iscsiPort === 0 ? (this.#pickedPort ?? 0) : iscsiPort;
    return { address, port, group: SETTINGS_GROUP };
  }

  /**
   * Tells an engine that was just attached to; `open` is what it has open already. Rejects with OperationError when the portal of the
   * settings cannot be opened.
   */
  async attach(door: EngineDoor, open: IscsiListening | undefined): Promise<void> {
    const { name, uuid, state } = await door.call('poolStatus', {});
    this.#pool = { name, uuid, isOnline: state === 'online' };
    const [first] = open?.portals ?? [];
    if (first?.address === this.#options.settings.listenAddress) this.#pickedPort ??= first.port;
    await this.#reconcile(door, this.#pool);
    this.#door = door;
    void door.closed.then(() => {
      if (this.#door === door) this.#door = undefined;
    });
    await this.#enqueue(door);
    const fault = this.settingsPortal === undefined ? undefined : this.#listening.portals[0]?.fault;
    if (fault === undefined) return;
    const hint = 'choose another port with --iscsi-port N, or --iscsi-port off, or free it';
    throw new OperationError('unavailable', `iSCSI: ${fault}`, hint);
  }

  /** Tells the engine what the catalog says now; when there is no engine, the next one is told. */
  async apply(): Promise<void> {
    if (this.#door === undefined) return;
    try {
      await this.#enqueue(this.#door);
    } catch (thrown) {
      if (!(thrown instanceof EngineGoneError)) throw thrown;
      this.#options.log.warn(
        'the engine went away; it gets the hosts and LUN maps when it is back',
        { reason: thrown.message },
      );
    }
  }

  /** A volume is gone for good: so are its maps. */
  async volumeDeleted(volumeUuid: string): Promise<void> {
    if (this.catalog.volumeUnmap(volumeUuid) > 0) await this.apply();
  }

  /** No portal is tried again after this. */
  stop(): void {
    this.#retry?.cancel();
    this.#door = undefined;
  }

  #knownPool(): PoolId {
    if (this.#pool !== undefined) return this.#pool;
    throw new OperationError('unavailable', 'the engine is starting', 'try again in a moment');
  }

  async #enqueue(door: EngineDoor): Promise<void> {
    const push = this.#lastPush.then(async () => {
      await this.#push(door);
    });
    // Whoever waits for this push learns of its failure; the next one has nothing to do with it.
    this.#lastPush = push.catch(() => undefined);
    await push;
  }

  async #push(door: EngineDoor): Promise<void> {
    const { iscsi } = await configureEngine(door, this.#wanted());
    this.#listening = iscsi;
    if (this.#options.settings.iscsiPort === 0 && iscsi.portals[0]?.fault === undefined) {
      this.#pickedPort = iscsi.portals[0]?.port;
    }
    this.#retryPortals(iscsi);
  }

  /** The address of a portal may appear later: a network that is not up yet, another program that has the port. */
  #retryPortals(iscsi: IscsiListening): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    const added = this.settingsPortal === undefined ? iscsi.portals : iscsi.portals.slice(1);
    const faults = added.flatMap(({ fault }) => (fault === undefined ? [] : [fault]));
    if (faults.length === 0) return;
    for (const fault of faults) this.#options.log.warn(`iSCSI: ${fault}; trying again`);
    this.#retry = this.#options.timers.after(PORTAL_RETRY_MS, () => {
      this.apply().catch((thrown: unknown) => {
        this.#options.log.error('iSCSI portals', { error: toError(thrown).message });
      });
    });
  }

  #wanted(): IscsiWanted {
    const pool = this.#knownPool();
    const { catalog } = this;
    const own = this.settingsPortal;
    const maps = catalog.lunList().filter((map) => map.poolUuid === pool.uuid);
    return {
      targetName: this.targetName,
      portals: own === undefined ? [] : [own, ...catalog.portalList()],
      hosts: catalog.hostList().map((host) => this.#host(host, maps)),
    };
  }

  #host(host: HostRecord, maps: readonly LunMapRecord[]): IscsiHost {
    const { name, initiators, isAnyInitiator, isLoopbackOnly, targetName } = host;
    const chap = this.catalog.hostSecrets(name);
    return {
      name,
      initiators,
      isAnyInitiator,
      isLoopbackOnly,
      ...(targetName === undefined ? {} : { targetName }),
      ...(chap.in === undefined ? {} : { chapIn: chapOf(chap.in) }),
      ...(chap.out === undefined ? {} : { chapOut: chapOf(chap.out) }),
      luns: maps
        .filter((map) => map.host === name)
        .map(({ lun, volumeUuid, isReadOnly }) => ({ lun, volumeUuid, isReadOnly })),
    };
  }

  /** What only an engine can tell: which volumes there are. Of a damaged pool nothing is concluded. */
  async #reconcile(door: EngineDoor, pool: PoolId): Promise<void> {
    if (!pool.isOnline) return;
    const volumes = [...(await door.call('volumeList', {})), ...(await door.call('viewList', {}))];
    const uuids = new Set(volumes.map(({ uuid }) => uuid));
    for (const map of this.catalog.lunList()) {
      if (map.poolUuid !== pool.uuid || uuids.has(map.volumeUuid)) continue;
      this.catalog.volumeUnmap(map.volumeUuid);
      this.#options.log.info(
        `LUN ${map.lun} of host ${map.host} is gone: its volume was deleted (${map.volumeUuid})`,
      );
    }
    const first = volumes.find(({ name }) => name === this.#options.firstVolume);
    this.#seed(pool, first?.uuid);
  }

  /** First start: this machine's own initiators see the first volume. Who undoes that is not asked again. */
  #seed(pool: PoolId, volumeUuid: string | undefined): void {
    const { catalog } = this;
    if (!catalog.seedOnce(LOOPBACK_HOST) || catalog.hostList().length > 0) return;
    const createdMs = this.#options.clock.wallMs();
    catalog.hostCreate({
      name: LOOPBACK_HOST,
      isAnyInitiator: true,
      isLoopbackOnly: true,
      initiators: [],
      chap: {},
      createdMs,
    });
    if (volumeUuid === undefined) return;
    const map = { poolUuid: pool.uuid, volumeUuid, isReadOnly: false, createdMs };
    catalog.lunMap({ host: LOOPBACK_HOST, lun: 0, ...map });
  }
}

/** An engine of an older version, attached to, does not know what it is asked. */
async function configureEngine(
  door: EngineDoor,
  iscsi: IscsiWanted,
): Promise<{ readonly iscsi: IscsiListening }> {
  try {
    return await door.call('iscsiConfigure', { iscsi });
  } catch (thrown) {
    if (!(thrown instanceof OperationError) || thrown.code !== 'invalid') throw thrown;
    const message = `the running engine does not take what it is told about iSCSI: ${thrown.message}`;
    throw new OperationError('unavailable', message, 'stop it, and start this version', thrown);
  }
}

function chapOf({ user, secret }: ChapAccount): IscsiChap {
  return { user, secret: toHex(secret) };
}
