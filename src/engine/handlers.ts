/** The engine's control methods: each is a thin step from the protocol to the pool, with the rules about open connections. */
import { ErrorCode, OperationError, type Outcome } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import { toHex, uuidText } from '../base/uuid.ts';
import type { NbdServer } from '../nbd/server.ts';
import type { Pool } from '../volume/pool.ts';
import type { OpenedPool } from '../volume/pool-open.ts';
import type { RebuildReport, VerifyReport } from '../volume/reports.ts';
import type { PoolExports } from './exports.ts';
import type { NbdListeners } from './listeners.ts';
import type { PoolStatus, SnapshotInfo, VolumeInfo } from './protocol.ts';
import type { EngineHandlers } from './rpc.ts';

export interface EngineParts {
  readonly opened: OpenedPool;
  readonly exports: PoolExports;
  readonly nbd: NbdServer;
  readonly listeners: NbdListeners;
  readonly clock: Clock;
  readonly startedMs: number;
  readonly openMs: number;
  readonly pid: number;
  /** Drains, closes and ends the process; resolves before it ends. */
  readonly stop: (withinMs: number) => Promise<void>;
}

const engineVersion = '0.1.0';

type Volume = ReturnType<Pool['volume']>;
type Snapshot = ReturnType<Pool['snapshot']>;

async function ask<T>(call: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  return await new Promise((resolve, reject) => {
    call((outcome) => {
      if (outcome.ok) resolve(outcome.value);
      else reject(outcome.error);
    });
  });
}

export function engineHandlers(parts: EngineParts): EngineHandlers {
  const { pool } = parts.opened;
  return {
    hello: async () =>
      await Promise.resolve({
        pool: pool.name,
        pid: parts.pid,
        startedMs: parts.startedMs,
        version: engineVersion,
        nbd: parts.listeners.current,
      }),
    listen: async ({ nbd }) => ({ nbd: await parts.listeners.apply(nbd) }),
    ...poolHandlers(parts),
    ...volumeHandlers(parts),
    ...snapshotHandlers(parts),
    stop: async ({ withinMs }) => {
      await parts.stop(withinMs);
      return {};
    },
  };
}

type Picked<K extends keyof EngineHandlers> = Pick<EngineHandlers, K>;

function poolHandlers(
  parts: EngineParts,
): Picked<'poolStatus' | 'poolResize' | 'poolVerify' | 'poolRebuild'> {
  const { pool } = parts.opened;
  const { clock } = parts;
  return {
    poolStatus: async () => await Promise.resolve(poolStatus(parts)),
    poolResize: async ({ capacityBytes }) => {
      await ask<undefined>((done) => {
        pool.resize(capacityBytes, done);
      });
      return poolStatus(parts);
    },
    poolVerify: async (_params, progress) => {
      const started = clock.monotonicMs();
      const report = await new Promise<VerifyReport>((resolve) => {
        pool.verify(progress, resolve);
      });
      return { ...report, durationMs: clock.monotonicMs() - started };
    },
    poolRebuild: async (_params, progress) => {
      const started = clock.monotonicMs();
      const report = await ask<RebuildReport>((done) => {
        pool.rebuild(progress, done);
      });
      return {
        ...report,
        volumeCount: pool.volumes().length,
        snapshotCount: pool.snapshotCount,
        durationMs: clock.monotonicMs() - started,
      };
    },
  };
}

function volumeHandlers(
  parts: EngineParts,
): Picked<
  'volumeList' | 'volumeShow' | 'volumeCreate' | 'volumeRename' | 'volumeResize' | 'volumeDelete'
> {
  const { pool } = parts.opened;
  return {
    volumeList: async () =>
      await Promise.resolve(pool.volumes().map((volume) => volumeInfo(parts, volume))),
    volumeShow: async ({ name }) => await Promise.resolve(volumeInfo(parts, pool.volume(name))),
    volumeCreate: async (params) => {
      const volume = await ask<Volume>((done) => {
        pool.volumeCreate(params, done);
      });
      return volumeInfo(parts, volume);
    },
    volumeRename: async (params) => {
      const volume = await ask<Volume>((done) => {
        pool.volumeRename(params, done);
      });
      return volumeInfo(parts, volume);
    },
    volumeResize: async (params) => {
      const volume = await ask<Volume>((done) => {
        pool.volumeResize(params, done);
      });
      return volumeInfo(parts, volume);
    },
    volumeDelete: async (params) => {
      const volume = pool.volume(params.name);
      const connections = parts.exports.allConnections(uuidText(volume.uuid));
      if (connections.length > 0 && !params.force) {
        throw inUse(params.name, connections, volume.snapshotByName.size);
      }
      dropConnections(parts, connections);
      return await ask((done) => {
        pool.volumeDelete(params, done);
      });
    },
  };
}

function snapshotHandlers(
  parts: EngineParts,
): Picked<'snapshotList' | 'snapshotCreate' | 'snapshotDelete'> {
  const { pool } = parts.opened;
  return {
    snapshotList: async ({ volume }) => {
      const snapshots = [...pool.volume(volume).snapshotByName.values()];
      return await Promise.resolve(snapshots.map((snapshot) => snapshotInfo(volume, snapshot)));
    },
    snapshotCreate: async ({ volume, name }) => {
      const [snapshot] = await ask<readonly Snapshot[]>((done) => {
        pool.snapshotCreate([{ volume, name }], done);
      });
      return snapshotInfo(volume, snapshot ?? pool.snapshot(volume, name));
    },
    snapshotDelete: async ({ volume, name, force }) => {
      const snapshotId = uuidText(pool.snapshot(volume, name).uuid);
      const connections = parts.exports.snapshotConnections(snapshotId);
      if (connections.length > 0 && !force) throw inUse(`${volume}@${name}`, connections, 0);
      dropConnections(parts, connections);
      return await ask((done) => {
        pool.snapshotDelete({ volume, name }, done);
      });
    },
  };
}

function inUse(
  what: string,
  connections: readonly string[],
  snapshotCount: number,
): OperationError {
  const count = connections.length;
  const snapshots =
    snapshotCount === 0
      ? ''
      : `, and has ${snapshotCount} snapshot${snapshotCount === 1 ? '' : 's'} that would be deleted with it`;
  return new OperationError(
    ErrorCode.needsForce,
    `${what} is open on ${count} NBD connection${count === 1 ? '' : 's'} that would be dropped${snapshots}`,
    'Disconnect the clients, or repeat with --force.',
  );
}

function dropConnections(parts: EngineParts, names: readonly string[]): void {
  for (const name of new Set(names)) parts.nbd.disconnectExport(name);
}

function poolStatus(parts: EngineParts): PoolStatus {
  const { pool, recovery } = parts.opened;
  const space = pool.space();
  return {
    name: pool.name,
    uuid: uuidText(pool.uuid),
    state: pool.readOnlyReason === undefined ? 'online' : 'read-only',
    ...(pool.readOnlyReason === undefined ? {} : { stateReason: pool.readOnlyReason }),
    capacityBytes: space.capacityBytes,
    usedBytes: space.usedBytes,
    writeLimitBytes: space.writeLimitBytes,
    ...(space.fullReason === undefined ? {} : { fullReason: space.fullReason }),
    fileSystemFreeBytes: space.fileSystemFreeBytes,
    segmentCount: space.segmentCount,
    readySegmentCount: space.readySegmentCount,
    volumeCount: pool.volumes().length,
    snapshotCount: pool.snapshotCount,
    epoch: pool.epoch,
    durableThrough: pool.durableThrough,
    mapBytes: pool.mapBytes,
    recovery: {
      durationMs: parts.openMs,
      logBytes: recovery.logBytes,
      tailFrames: recovery.tailFrames,
      wasClean: recovery.wasClean,
    },
  };
}

function volumeInfo(parts: EngineParts, volume: Volume): VolumeInfo {
  return {
    name: volume.name,
    uuid: uuidText(volume.uuid),
    naa: toHex(volume.naa),
    serial: volume.serial,
    sizeBytes: volume.sizeBytes,
    mappedBytes: parts.opened.pool.mappedBytes(volume),
    ack: 'durable',
    createdMs: volume.createdMs,
    snapshotCount: volume.snapshotByName.size,
    connectionCount: parts.exports.volumeConnections(uuidText(volume.uuid)).length,
  };
}

function snapshotInfo(volume: string, snapshot: Snapshot): SnapshotInfo {
  return {
    volume,
    name: snapshot.name,
    uuid: uuidText(snapshot.uuid),
    position: snapshot.cut,
    createdMs: snapshot.createdMs,
    sizeBytes: snapshot.sizeBytes,
    consistency: 'crash',
  };
}
