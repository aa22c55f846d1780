/**
 * What the API may do with the pool, noun by noun: calls to the engine, answers in the contract's shapes.
 * Inputs were checked at the edge; the engine checks what only it can know.
 */
import type { Clock } from '../base/ports.ts';
import type { Operation } from '../contract/operation.ts';
import type { Pool, PoolSetLimits } from '../contract/pool.ts';
import type { Snapshot, SnapshotCreate, SnapshotSet } from '../contract/snapshot.ts';
import type { SpaceQuestion } from '../contract/space.ts';
import type { View, ViewCreate, ViewsCreate } from '../contract/view.ts';
import type { Volume, VolumeCreate, VolumeHistory, VolumeSet } from '../contract/volume.ts';
import type { CallOptions } from '../engine/client.ts';
import type {
  EngineMethod,
  EngineMethods,
  PoolStatus,
  SnapshotInfo,
  ViewInfo,
  VolumeInfo,
} from '../engine/protocol.ts';
import { HistoryControl } from './history-control.ts';
import type { IscsiControl } from './iscsi-control.ts';
import { nbdUris } from './nbd-uris.ts';
import { Operations } from './operations.ts';
import { ScrubControl } from './scrub-control.ts';
import type { EngineInfo } from './supervisor.ts';

/** The engine as the supervisor offers it. */
export interface EngineAccess {
  call<M extends EngineMethod>(
    method: M,
    params: EngineMethods[M]['params'],
    options?: CallOptions,
  ): Promise<EngineMethods[M]['result']>;
  info(): EngineInfo;
}

/** A moment's map may have to be made from the log first, which takes as long as it takes. */
const noLimit = { timeoutMs: Infinity } as const;

export class PoolControl {
  readonly operations: Operations;
  readonly history: HistoryControl;
  readonly scrub: ScrubControl;
  readonly #engine: EngineAccess;
  readonly #iscsi: IscsiControl;

  constructor(engine: EngineAccess, iscsi: IscsiControl, clock: Clock) {
    this.#engine = engine;
    this.#iscsi = iscsi;
    this.operations = new Operations(clock, iscsi.catalog);
    this.history = new HistoryControl(engine, this.operations);
    this.scrub = new ScrubControl(engine);
  }

  async poolShow(): Promise<Pool> {
    return this.#pool(await this.#engine.call('poolStatus', {}));
  }

  async poolResize(capacityBytes: number): Promise<Pool> {
    return this.#pool(await this.#engine.call('poolResize', { capacityBytes }));
  }

  async poolSetLimits({ softPercent, hardPercent }: PoolSetLimits): Promise<Pool> {
    const softPermille = Math.round(softPercent * 10);
    const hardPermille = Math.round(hardPercent * 10);
    return this.#pool(await this.#engine.call('poolSetLimits', { softPermille, hardPermille }));
  }

  poolVerify(): Operation {
    return this.operations.start('pool-verify', async (onProgress) => {
      const result = await this.#callLong('poolVerify', onProgress);
      return { ...result, faults: [...result.faults] };
    });
  }

  poolRebuild(): Operation {
    return this.operations.start(
      'pool-rebuild',
      async (onProgress) => await this.#callLong('poolRebuild', onProgress),
    );
  }

  poolClean(): Operation {
    return this.operations.start(
      'pool-clean',
      async (onProgress) => await this.#callLong('poolClean', onProgress),
    );
  }

  /** What the bytes of the pool are there for. */
  poolSpace({ volume, deleted = [], windowMs }: SpaceQuestion): Operation {
    return this.operations.start('pool-space', async (onProgress) => {
      const params = {
        ...(volume === undefined ? {} : { volume }),
        deleted,
        ...(windowMs === undefined ? {} : { windowMs }),
      };
      const { whatIf, ...space } = await this.#engine.call('poolSpace', params, {
        ...noLimit,
        onProgress,
      });
      const lists = { volumes: [...space.volumes], snapshots: [...space.snapshots] };
      const result = { ...space, ...lists, growth: [...space.growth] };
      if (whatIf === undefined) return result;
      return { ...result, whatIf: { ...whatIf, deleted: [...whatIf.deleted] } };
    });
  }

  async volumeList(): Promise<Volume[]> {
    const volumes = await this.#engine.call('volumeList', {});
    return volumes.map((info) => this.#volume(info));
  }

  async volumeShow(name: string): Promise<Volume> {
    return this.#volume(await this.#engine.call('volumeShow', { name }));
  }

  async volumeCreate(wanted: VolumeCreate): Promise<Volume> {
    return this.#volume(await this.#engine.call('volumeCreate', wanted));
  }

  async volumeSet(name: string, change: VolumeSet): Promise<Volume> {
    return this.#volume(await this.#engine.call('volumeSet', { name, ...change }));
  }

  async volumeClone(source: string, name: string): Promise<Volume> {
    return this.#volume(await this.#engine.call('volumeClone', { source, name }));
  }

  async volumeRollback(name: string, to: string, disconnect: boolean): Promise<Volume> {
    const params = { name, to, disconnect };
    return this.#volume(await this.#engine.call('volumeRollback', params, noLimit));
  }

  async volumeUndoRollback(name: string, disconnect: boolean): Promise<Volume> {
    return this.#volume(await this.#engine.call('volumeUndoRollback', { name, disconnect }));
  }

  async volumeHistory(name: string): Promise<VolumeHistory> {
    const lines = await this.#engine.call('volumeHistory', { name });
    const kept = await this.#engine.call('volumeKept', { name });
    return {
      lines: lines.map((line) => ({ ...line, snapshots: [...line.snapshots] })),
      kept: [...kept],
    };
  }

  async volumeRename(name: string, newName: string): Promise<Volume> {
    return this.#volume(await this.#engine.call('volumeRename', { name, newName }));
  }

  async volumeResize(name: string, sizeBytes: number, force: boolean): Promise<Volume> {
    return this.#volume(await this.#engine.call('volumeResize', { name, sizeBytes, force }));
  }

  async volumeDelete(name: string, force: boolean): Promise<void> {
    const { uuid } = await this.#engine.call('volumeShow', { name });
    await this.#engine.call('volumeDelete', { name, force });
    await this.#iscsi.volumeDeleted(uuid);
  }

  /** All views, or those of `source`. */
  async viewList(source: string | undefined): Promise<View[]> {
    const infos = await this.#engine.call('viewList', {});
    const views = infos.map((info) => this.#view(info));
    if (source === undefined) return views;
    const { uuid } = await this.#engine.call('volumeShow', { name: source });
    return views.filter((view) => view.sourceUuid === uuid);
  }

  async viewShow(name: string): Promise<View> {
    return this.#view(await this.#engine.call('viewShow', { name }));
  }

  async viewCreate(wanted: ViewCreate): Promise<View> {
    return this.#view(await this.#engine.call('viewCreate', wanted, noLimit));
  }

  async viewsCreate(wanted: ViewsCreate): Promise<View[]> {
    const views = await this.#engine.call('viewsCreate', wanted, noLimit);
    return views.map((info) => this.#view(info));
  }

  async viewRefresh(name: string, at: string, disconnect: boolean): Promise<View> {
    const params = { name, at, disconnect };
    return this.#view(await this.#engine.call('viewRefresh', params, noLimit));
  }

  async viewPromote(name: string): Promise<Volume> {
    return this.#volume(await this.#engine.call('viewPromote', { name }));
  }

  async viewDelete(name: string, force: boolean): Promise<void> {
    const { uuid } = await this.#engine.call('volumeShow', { name });
    await this.#engine.call('viewDelete', { name, force });
    await this.#iscsi.volumeDeleted(uuid);
  }

  async snapshotList(volume: string): Promise<Snapshot[]> {
    const snapshots = await this.#engine.call('snapshotList', { volume });
    return snapshots.map(snapshotOf);
  }

  /** Of now, or of a moment that is past. */
  async snapshotCreate(volume: string, wanted: SnapshotCreate): Promise<Snapshot> {
    return snapshotOf(await this.#engine.call('snapshotCreate', { volume, ...wanted }, noLimit));
  }

  async snapshotSet(volume: string, name: string, wanted: SnapshotSet): Promise<Snapshot> {
    const { lockedUntilMs, force = false } = wanted;
    return snapshotOf(
      await this.#engine.call('snapshotSet', { volume, name, lockedUntilMs, force }),
    );
  }

  async snapshotDelete(volume: string, name: string, force: boolean): Promise<void> {
    await this.#engine.call('snapshotDelete', { volume, name, force });
  }

  async #callLong<M extends 'poolVerify' | 'poolRebuild' | 'poolClean'>(
    method: M,
    onProgress: (done: number, total: number) => void,
  ): Promise<EngineMethods[M]['result']> {
    return await this.#engine.call(method, {}, { timeoutMs: Infinity, onProgress });
  }

  #pool(status: PoolStatus): Pool {
    const { pid, startedMs, restartCount, nbd } = this.#engine.info();
    const { targetName, portals } = this.#iscsi.listening;
    const open = portals
      .filter(({ fault }) => fault === undefined)
      .map(({ address, port, group }) => ({ address, port, group }));
    return {
      ...status,
      relief: [...status.relief],
      untouched: [...status.untouched],
      throttled: [...status.throttled],
      engine: { pid, startedMs, restartCount },
      nbd,
      iscsi: { targetName, portals: open },
    };
  }

  #view(info: ViewInfo): View {
    return { ...info, ...this.#clients(info) };
  }

  #volume(info: VolumeInfo): Volume {
    return { ...info, ...this.#clients(info) };
  }

  /** Where clients reach it, and which hosts see it. */
  #clients({ name, uuid }: VolumeInfo): Pick<Volume, 'nbdUris' | 'luns'> {
    const luns = this.#iscsi.catalog.volumeLuns(uuid).map(({ host, lun, isReadOnly }) => ({
      host,
      lun,
      isReadOnly,
      iscsiUris: this.#iscsi.urisOf(host, lun),
    }));
    return { nbdUris: nbdUris(this.#engine.info().nbd, name), luns };
  }
}

function snapshotOf(info: SnapshotInfo): Snapshot {
  return { ...info, exportName: `${info.volume}@${info.name}` };
}
