/** The engine's control methods: each is a thin step from the protocol to the pool, with the rules about open connections. */
import { ErrorCode, OperationError, type Outcome } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import { toHex, uuidText } from '../base/uuid.ts';
import type { NbdServer } from '../nbd/server.ts';
import { ignoresIsidIn } from '../scsi/lu-state.ts';
import type { Pool } from '../volume/pool.ts';
import type { OpenedPool } from '../volume/pool-open.ts';
import type { RebuildReport, VerifyReport } from '../volume/reports.ts';
import { cdpHandlers, cdpInfo, isCdpWanted, newCdp, setCdp, untouchedOf } from './cdp-handlers.ts';
import { cleanerHandlers, cleanerInfo } from './cleaner-handlers.ts';
import { ownBytes } from './deletion.ts';
import type { PoolExports } from './exports.ts';
import {
  ask,
  fixedMoment,
  type HistoryMethod,
  historyHandlers,
  timeOfTicks,
} from './history-handlers.ts';
import type { IscsiFront } from './iscsi-front.ts';
import type { NbdListeners } from './listeners.ts';
import type {
  LineInfo,
  PoolStatus,
  ProvisioningName,
  SnapshotInfo,
  ViewInfo,
  VolumeInfo,
} from './protocol.ts';
import type { EngineHandlers } from './rpc.ts';
import { scrubHandlers } from './scrub-handlers.ts';
import { spaceHandlers } from './space-handlers.ts';
import { releaseSnapshot, removeWithUsers, whileUnused } from './users.ts';

export interface EngineParts {
  readonly opened: OpenedPool;
  readonly exports: PoolExports;
  readonly nbd: NbdServer;
  readonly listeners: NbdListeners;
  readonly iscsi: IscsiFront;
  readonly clock: Clock;
  readonly startedMs: number;
  readonly openMs: number;
  readonly pid: number;
  /** Drains, closes and ends the process; resolves before it ends. */
  readonly stop: (withinMs: number) => Promise<void>;
}

const engineVersion = '0.1.0';

/** Numbers of the on-disk format (AckMode). */
const ackModeByName = { durable: 0, 'write-back': 1 } as const;
const provisioningByName = { thin: 0, thick: 1 } as const;

type Volume = ReturnType<Pool['volume']>;
type Snapshot = ReturnType<Pool['snapshot']>;

export function engineHandlers(parts: EngineParts): EngineHandlers {
  const { pool } = parts.opened;
  return {
    hello: async () => {
      const iscsi = parts.iscsi.current;
      return await Promise.resolve({
        pool: pool.name,
        pid: parts.pid,
        startedMs: parts.startedMs,
        version: engineVersion,
        nbd: parts.listeners.current,
        ...(iscsi === undefined ? {} : { iscsi }),
      });
    },
    listen: async ({ nbd }) => ({ nbd: await parts.listeners.apply(nbd) }),
    iscsiConfigure: async ({ iscsi }) => ({ iscsi: await parts.iscsi.configure(iscsi) }),
    sessionList: async () => await Promise.resolve(parts.iscsi.sessions()),
    sessionDrop: async ({ ids }) => await Promise.resolve({ droppedCount: parts.iscsi.drop(ids) }),
    ...poolHandlers(parts),
    ...volumeHandlers(parts),
    ...rollbackHandlers(parts),
    ...viewHandlers(parts),
    ...snapshotHandlers(parts),
    ...historyHandlers(parts.opened.pool),
    ...cdpHandlers(parts.opened.pool),
    ...spaceHandlers(parts.opened.pool),
    ...scrubHandlers(parts.opened.pool),
    ...cleanerHandlers(parts.opened.pool),
    stop: async ({ withinMs }) => {
      await parts.stop(withinMs);
      return {};
    },
  };
}

type Picked<K extends keyof EngineHandlers> = Pick<EngineHandlers, K>;

function poolHandlers(
  parts: EngineParts,
): Picked<'poolStatus' | 'poolResize' | 'poolSetLimits' | 'poolVerify' | 'poolRebuild'> {
  const { pool } = parts.opened;
  const { clock } = parts;
  return {
    poolStatus: async () => await Promise.resolve(poolStatus(parts)),
    poolResize: async ({ capacityBytes }) => {
      await ask<undefined>((done) => {
        pool.settings.resize(capacityBytes, done);
      });
      return poolStatus(parts);
    },
    poolSetLimits: async ({ softPermille, hardPermille }) => {
      await ask<undefined>((done) => {
        pool.settings.setLimits({ soft: softPermille / 1000, hard: hardPermille / 1000 }, done);
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

type VolumeMethod = Exclude<
  Extract<keyof EngineHandlers, `volume${string}`>,
  HistoryMethod | 'volumeKept'
>;
type ViewMethod = Extract<keyof EngineHandlers, `view${string}`>;

function volumeHandlers(
  parts: EngineParts,
): Picked<Exclude<VolumeMethod, 'volumeRollback' | 'volumeUndoRollback'>> {
  const { pool } = parts.opened;
  const info = async (call: (done: (outcome: Outcome<Volume>) => void) => void) =>
    volumeInfo(parts, await ask(call));
  return {
    volumeList: async () => {
      const volumes = pool.volumes().filter((volume) => volume.view === undefined);
      return await Promise.resolve(volumes.map((volume) => volumeInfo(parts, volume)));
    },
    volumeShow: async ({ name }) => await Promise.resolve(volumeInfo(parts, pool.volume(name))),
    volumeHistory: async ({ name }) => await Promise.resolve(historyOf(pool.volume(name))),
    volumeCreate: async ({ name, sizeBytes, ack = 'durable', provisioning = 'thin', ...cdp }) =>
      await info((done) => {
        const modes = { ack: ackModeByName[ack], provisioning: provisioningByName[provisioning] };
        pool.volumeCreate({ name, sizeBytes, ...modes, ...newCdp(cdp) }, done);
      }),
    volumeSet: async ({ name, ack, prIgnoresIsid, provisioning, force = false, ...cdp }) => {
      const { uuid, ack: before } = pool.volume(name);
      const { units } = parts.iscsi;
      const volumeId = uuidText(uuid);
      // First, for it may be refused.
      if (isCdpWanted(cdp)) {
        const volume = pool.volume(name);
        await setCdp({ pool, clock: parts.clock }, { ...cdp, volume, force });
      }
      if (provisioning !== undefined) await setProvisioning(parts, name, provisioning);
      if (prIgnoresIsid !== undefined) await units.setIgnoresIsid(volumeId, prIgnoresIsid);
      if (ack === undefined) return volumeInfo(parts, pool.volume(name));
      const set = await info((done) => {
        pool.volumeSetAck({ name, ack: ackModeByName[ack] }, done);
      });
      if (before !== ackModeByName[ack]) units.ackChanged(volumeId);
      return set;
    },
    volumeClone: async ({ source, name }) =>
      await info((done) => {
        pool.viewCreate({ source, name, at: 'now', isClone: true }, done);
      }),
    volumeRename: async (params) =>
      await info((done) => {
        pool.volumeRename(params, done);
      }),
    volumeResize: async (params) => {
      const resized = await info((done) => {
        pool.volumeResize(params, done);
      });
      parts.iscsi.units.resized(resized.uuid);
      return resized;
    },
    volumeDelete: async ({ name, force }) => {
      checkKind(pool.volume(name), 'volume');
      return await deleteVolume(parts, name, force);
    },
  };
}

function rollbackHandlers(parts: EngineParts): Picked<'volumeRollback' | 'volumeUndoRollback'> {
  const { pool } = parts.opened;
  const info = async (call: (done: (outcome: Outcome<Volume>) => void) => void) =>
    volumeInfo(parts, await ask(call));
  return {
    volumeRollback: async ({ name, to, disconnect }) => {
      // Before anybody is disconnected; an age is counted once.
      const moment = await fixedMoment(pool, name, to);
      const rollback = async (): Promise<VolumeInfo> =>
        await info((done) => {
          pool.volumeRollback({ name, to: moment }, done);
        });
      // Now is refused, and nobody disconnected for it.
      if (moment === 'now') return await rollback();
      return await whileUnused(parts, pool.volume(name), disconnect, rollback);
    },
    volumeUndoRollback: async ({ name, disconnect }) => {
      const undo = async (): Promise<VolumeInfo> =>
        await info((done) => {
          pool.volumeUndoRollback(name, done);
        });
      return await whileUnused(parts, pool.volume(name), disconnect, undo);
    },
  };
}

async function setProvisioning(
  parts: EngineParts,
  name: string,
  wanted: ProvisioningName,
): Promise<void> {
  const { pool } = parts.opened;
  const provisioning = provisioningByName[wanted];
  const volume = pool.volume(name);
  if (volume.provisioning === provisioning) return;
  await ask<Volume>((done) => {
    pool.volumeSetProvisioning({ name, provisioning }, done);
  });
  parts.iscsi.units.provisioningChanged(uuidText(volume.uuid));
}

function viewHandlers(parts: EngineParts): Picked<ViewMethod> {
  const { pool } = parts.opened;
  return {
    viewList: async () => {
      const views = pool.volumes().filter((volume) => volume.view !== undefined);
      return await Promise.resolve(views.map((view) => viewInfo(parts, view)));
    },
    viewShow: async ({ name }) => {
      const view = pool.volume(name);
      checkKind(view, 'view');
      return await Promise.resolve(viewInfo(parts, view));
    },
    viewCreate: async (params) => {
      const view = await ask<Volume>((done) => {
        pool.viewCreate({ ...params, isClone: false }, done);
      });
      return viewInfo(parts, view);
    },
    viewsCreate: async ({ views: targets, at }) => {
      const views = await ask<readonly Volume[]>((done) => {
        pool.viewsCreate({ targets, at, isClone: false }, done);
      });
      return views.map((view) => viewInfo(parts, view));
    },
    viewRefresh: async ({ name, at, disconnect }) => {
      const view = pool.volume(name);
      checkKind(view, 'view');
      const source = view.view === undefined ? undefined : pool.volumeById(view.view.sourceUuid);
      const moment = source === undefined ? at : await fixedMoment(pool, source.name, at);
      const refresh = async (): Promise<Volume> =>
        await ask((done) => {
          pool.viewRefresh({ name, at: moment }, done);
        });
      return viewInfo(parts, await whileUnused(parts, view, disconnect, refresh));
    },
    viewPromote: async ({ name }) => {
      const volume = await ask<Volume>((done) => {
        pool.viewPromote(name, done);
      });
      return volumeInfo(parts, volume);
    },
    viewDelete: async ({ name, force }) => {
      checkKind(pool.volume(name), 'view');
      return await deleteVolume(parts, name, force);
    },
  };
}

async function deleteVolume(
  parts: EngineParts,
  name: string,
  force: boolean,
): Promise<{ name: string }> {
  const { pool } = parts.opened;
  pool.retention.locks.check(pool.volume(name), pool.volume(name).snapshotByName.values());
  const remove = async (): Promise<{ name: string }> =>
    await ask((done) => {
      pool.volumeDelete({ name, force }, done);
    });
  // With force nobody asks what is lost.
  const dataBytes = force ? 0 : await ownBytes(pool, pool.volume(name));
  return await removeWithUsers(parts, { volume: pool.volume(name), dataBytes, force }, remove);
}

/** Throws OperationError when the name is one of the other kind. */
function checkKind(volume: Volume, wanted: 'volume' | 'view'): void {
  const kind = volume.view === undefined ? 'volume' : 'view';
  if (kind === wanted) return;
  throw new OperationError(
    ErrorCode.conflict,
    `${volume.name} is a ${kind}, not a ${wanted}`,
    `Use the "tidemark ${kind}" commands.`,
  );
}

function snapshotHandlers(
  parts: EngineParts,
): Picked<'snapshotList' | 'snapshotCreate' | 'snapshotSet' | 'snapshotDelete'> {
  const { pool } = parts.opened;
  const { locks } = pool.retention;
  return {
    snapshotList: async ({ volume }) => {
      const snapshots = [...pool.volume(volume).snapshotByName.values()];
      return await Promise.resolve(
        snapshots.map((snapshot) => snapshotInfo(pool, volume, snapshot)),
      );
    },
    snapshotCreate: async ({ volume, name, at }) => {
      const [snapshot] = await ask<readonly Snapshot[]>((done) => {
        pool.snapshotCreate([{ volume, name }], done, at);
      });
      return snapshotInfo(pool, volume, snapshot ?? pool.snapshot(volume, name));
    },
    snapshotSet: async (lock) => {
      const snapshot = await ask<Snapshot>((done) => {
        locks.set(lock, done);
      });
      return snapshotInfo(pool, lock.volume, snapshot);
    },
    snapshotDelete: async ({ volume, name, force }) => {
      const snapshot = pool.snapshot(volume, name);
      // Before anybody is disconnected.
      locks.check(pool.volume(volume), [snapshot]);
      const snapshotId = uuidText(snapshot.uuid);
      releaseSnapshot(parts, { name: `${volume}@${name}`, snapshotId }, force);
      return await ask((done) => {
        pool.snapshotDelete({ volume, name }, done);
      });
    },
  };
}

function poolStatus(parts: EngineParts): PoolStatus {
  const { pool, recovery } = parts.opened;
  const space = pool.space();
  const { findings: _findings, ...scrub } = pool.scrubber.status();
  const viewCount = pool.volumes().filter((volume) => volume.view !== undefined).length;
  return {
    name: pool.name,
    uuid: uuidText(pool.uuid),
    state: pool.readOnlyReason === undefined ? 'online' : 'read-only',
    ...(pool.readOnlyReason === undefined ? {} : { stateReason: pool.readOnlyReason }),
    capacityBytes: space.capacityBytes,
    effectiveCapacityBytes: space.effectiveCapacityBytes,
    usedBytes: space.usedBytes,
    stored: space.stored,
    softLimitBytes: space.softLimitBytes,
    writeLimitBytes: space.writeLimitBytes,
    reservedBytes: space.reservedBytes,
    uncoveredBytes: space.uncoveredBytes,
    relief: space.relief,
    untouched: untouchedOf(pool),
    throttled: space.throttled.map(({ line, ...lane }) => ({
      volume: pool.volumes().find((volume) => volume.line === line)?.name ?? '',
      ...lane,
    })),
    ...(space.fullReason === undefined ? {} : { fullReason: space.fullReason }),
    fileSystemFreeBytes: space.fileSystemFreeBytes,
    segmentCount: space.segmentCount,
    readySegmentCount: space.readySegmentCount,
    volumeCount: pool.volumes().length - viewCount,
    viewCount,
    snapshotCount: pool.snapshotCount,
    epoch: pool.epoch,
    durableThrough: pool.durableThrough,
    mapBytes: pool.mapBytes,
    mapBytesMax: pool.mapBytesMax,
    cleaner: cleanerInfo(pool),
    scrub,
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
    kind: volume.view === undefined ? 'volume' : 'view',
    uuid: uuidText(volume.uuid),
    naa: toHex(volume.naa),
    serial: volume.serial,
    sizeBytes: volume.sizeBytes,
    mappedBytes: parts.opened.pool.mappedBytes(volume),
    ...(parts.opened.pool.isMappedPartial(volume) ? { isMappedPartial: true as const } : {}),
    ack: volume.ack === ackModeByName.durable ? 'durable' : 'write-back',
    provisioning: volume.provisioning === provisioningByName.thin ? 'thin' : 'thick',
    cdp: cdpInfo(parts.opened.pool, volume, parts.clock.wallMs()),
    createdMs: volume.createdMs,
    snapshotCount: volume.snapshotByName.size,
    connectionCount: parts.exports.volumeConnectionCount(uuidText(volume.uuid)),
    sessionCount: parts.iscsi.sessionCount(uuidText(volume.uuid)),
    prIgnoresIsid: ignoresIsidIn(volume.luState),
  };
}

function viewInfo(parts: EngineParts, volume: Volume): ViewInfo {
  const sourceUuid = volume.view?.sourceUuid ?? volume.uuid;
  const source = parts.opened.pool.volumeById(sourceUuid);
  return {
    ...volumeInfo(parts, volume),
    ...(source === undefined ? {} : { source: source.name }),
    sourceUuid: uuidText(sourceUuid),
    at: volume.view?.label ?? '',
  };
}

function historyOf(volume: Volume): LineInfo[] {
  const snapshots = [...volume.snapshotByName.values()].sort((left, right) => left.cut - right.cut);
  return volume.history.map((span) => ({
    line: span.line,
    startedMs: span.startedMs,
    fromPosition: span.fromPosition,
    ...(span.leftAt === undefined ? {} : { leftPosition: span.leftAt.position }),
    reason: span.reason,
    label: span.label,
    snapshots: snapshots
      .filter((snapshot) => snapshot.line === span.line)
      .map((snapshot) => snapshot.name),
  }));
}

function snapshotInfo(pool: Pool, volume: string, snapshot: Snapshot): SnapshotInfo {
  const lockedUntilMs = pool.retention.locks.until(snapshot);
  return {
    volume,
    name: snapshot.name,
    uuid: uuidText(snapshot.uuid),
    position: snapshot.cut,
    createdMs: snapshot.createdMs,
    ...(snapshot.past === undefined
      ? {}
      : { momentMs: timeOfTicks(snapshot.past.ticks), at: snapshot.past.label }),
    sizeBytes: snapshot.sizeBytes,
    ...(lockedUntilMs === undefined ? {} : { lockedUntilMs }),
    consistency: 'crash',
  };
}
