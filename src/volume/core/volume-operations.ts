/** Catalogue operations on volumes and snapshots. */
import { present } from '../../base/assert.ts';
import { ErrorCode, OperationError, success } from '../../base/errors.ts';
import { makeUuid, toHex } from '../../base/uuid.ts';
import { type DeviceIdentity, IoStatus, luStateMaxBytes } from '../../device/block-device.ts';
import type { SnapshotState, VolumeState } from '../catalogue/catalogue.ts';
import { type AckMode, type CatalogueRecord, Provisioning } from '../catalogue/records.ts';
import type { CdpFields } from '../catalogue/retention-records.ts';
import type { Snap } from '../catalogue/snapshot-records.ts';
import { momentSpec, type ResolvedMoment, resolveMoments } from '../history/resolve.ts';
import { limits } from '../limits.ts';
import { ticksOf } from '../log/hybrid-clock.ts';
import type { SnapshotLocks } from '../retention/snapshot-locks.ts';
import {
  checkName,
  checkReserve,
  checkSize,
  deleteRefused,
  naaOf,
  shrinkRefused,
} from './checks.ts';
import type { OpenMoment } from './moment-maps.ts';
import { withMoments } from './open-moments.ts';
import type { Done, Operator } from './operator.ts';
import { reserveBytesOf } from './reserves.ts';

export interface SnapshotTarget {
  readonly volume: string;
  readonly name: string;
}

/** What of the pool's space can be kept for thick volumes. */
export interface ReserveRoom {
  canReserve(bytes: number): boolean;
  /** What making the volume thick, or giving it this size, would reserve beyond what it has. */
  moreReserved(volume: VolumeState, sizeBytes: number): number;
}

/** The identity that belongs to an id. */
export function identityOf(uuid: Uint8Array): DeviceIdentity {
  return { uuid, naa: naaOf(uuid), serial: toHex(uuid).slice(0, 20).toUpperCase() };
}

/** A new identity: id, NAA and serial. */
export function newIdentity(operator: Operator): DeviceIdentity {
  return identityOf(makeUuid(operator.parts.host.random));
}

/** Throws OperationError conflict when the pool cannot hold so many more volumes and views. */
export function checkVolumeRoom(operator: Operator, count = 1): void {
  if (operator.parts.catalogue.volumeCount + count <= limits.volumesMax) return;
  throw new OperationError(
    ErrorCode.conflict,
    `pool ${operator.poolName} has ${limits.volumesMax} volumes and views, the most it can hold`,
    'Delete one first.',
  );
}

export function volumeCreate(
  operator: Operator,
  options: CdpFields & {
    readonly name: string;
    readonly sizeBytes: number;
    readonly ack: AckMode;
    readonly provisioning: Provisioning;
    readonly room: ReserveRoom;
  },
  done: Done<VolumeState>,
): void {
  operator.operate(done, (finish) => {
    const { name, sizeBytes, ack, provisioning, room, policy, isGuaranteed = false } = options;
    checkName('volume', name);
    checkSize(sizeBytes);
    operator.checkNameFree(name);
    checkVolumeRoom(operator);
    operator.requireRoom();
    const isThick = provisioning === Provisioning.thick;
    if (isThick) checkReserve(room, name, reserveBytesOf(sizeBytes));
    const { catalogue, host } = operator.parts;
    const record: CatalogueRecord = {
      kind: 'vol-create',
      line: catalogue.takeLine(),
      ...newIdentity(operator),
      name,
      sizeBytes,
      ack,
      createdMs: Math.floor(host.clock.wallMs()),
      ...(isThick ? { provisioning } : {}),
      ...(policy === undefined ? {} : { policy }),
      ...(isGuaranteed ? { isGuaranteed } : {}),
    };
    operator.commit([record], () => {
      finish(success(operator.volume(name)));
    });
  });
}

export function volumeRename(
  operator: Operator,
  options: { readonly name: string; readonly newName: string },
  done: Done<VolumeState>,
): void {
  operator.operate(done, (finish) => {
    const volume = operator.volume(options.name);
    checkName('volume', options.newName);
    operator.checkNameFree(options.newName);
    const { uuid, line } = volume;
    operator.commit([{ kind: 'vol-set', line, uuid, name: options.newName }], () => {
      finish(success(volume));
    });
  });
}

/** Changes when writes are answered. Waits for what is in flight; everything before is durable when `done` runs. */
export function volumeSetAck(
  operator: Operator,
  options: { readonly name: string; readonly ack: AckMode },
  done: Done<VolumeState>,
): void {
  operator.operate(done, (finish) => {
    const volume = operator.volume(options.name);
    const { uuid, line } = volume;
    operator.lockLine(line, (release) => {
      operator.commit([{ kind: 'vol-set', line, uuid, ack: options.ack }], () => {
        release();
        finish(success(volume));
      });
    });
  });
}

/** Changes whether the pool keeps space for the whole volume; refused when there is not enough for that. */
export function volumeSetProvisioning(
  operator: Operator,
  options: {
    readonly name: string;
    readonly provisioning: Provisioning;
    readonly room: ReserveRoom;
  },
  done: Done<VolumeState>,
): void {
  operator.operate(done, (finish) => {
    const { name, provisioning, room } = options;
    const volume = operator.volume(name);
    if (provisioning === Provisioning.thick) {
      checkReserve(room, name, room.moreReserved(volume, volume.sizeBytes));
    }
    const { uuid, line } = volume;
    operator.commit([{ kind: 'vol-set', line, uuid, provisioning }], () => {
      finish(success(volume));
    });
  });
}

/** A smaller size cuts data off and needs `force`. */
export function volumeResize(
  operator: Operator,
  options: {
    readonly name: string;
    readonly sizeBytes: number;
    readonly force: boolean;
    readonly room: ReserveRoom;
  },
  done: Done<VolumeState>,
): void {
  operator.operate(done, (finish) => {
    const volume = operator.volume(options.name);
    const { sizeBytes } = options;
    checkSize(sizeBytes);
    const isShrink = sizeBytes < volume.sizeBytes;
    if (isShrink && !options.force) throw shrinkRefused(volume, sizeBytes);
    if (!isShrink && volume.provisioning === Provisioning.thick) {
      checkReserve(options.room, volume.name, options.room.moreReserved(volume, sizeBytes));
    }
    const { uuid, line } = volume;
    const commit = (release: () => void): void => {
      operator.commit([{ kind: 'vol-resize', line, uuid, sizeBytes }], () => {
        release();
        finish(success(volume));
      });
    };
    if (isShrink) operator.lockLine(line, commit);
    else commit(() => undefined);
  });
}

/** Deletes a volume or view and its snapshots; with snapshots it needs `force`, and one that is locked stays. */
export function volumeDelete(
  operator: Operator,
  options: { readonly name: string; readonly force: boolean; readonly locks: SnapshotLocks },
  done: Done<{ readonly name: string }>,
): void {
  operator.operate(done, (finish) => {
    const volume = operator.volume(options.name);
    options.locks.check(volume, volume.snapshotByName.values());
    if (volume.snapshotByName.size > 0 && !options.force) throw deleteRefused(volume);
    const { uuid, line } = volume;
    operator.lockLine(line, (release) => {
      operator.commit([{ kind: 'vol-delete', line, uuid }], () => {
        release();
        finish(success({ name: options.name }));
      });
    });
  });
}

/** Snapshots of several volumes at one cut, each under its own name. `at` may name a moment that is past. */
export function snapshotCreate(
  operator: Operator,
  { targets, at }: { readonly targets: readonly SnapshotTarget[]; readonly at: string },
  done: Done<readonly SnapshotState[]>,
): void {
  operator.operate(done, (finish) => {
    const { host, catalogue } = operator.parts;
    operator.requireRoom();
    if (catalogue.snapshotCount + targets.length > limits.snapshotsMax) {
      throw new OperationError(
        ErrorCode.conflict,
        `pool ${operator.poolName} has ${catalogue.snapshotCount} snapshots of at most ${limits.snapshotsMax}`,
        'Delete some first.',
      );
    }
    const createdMs = Math.floor(host.clock.wallMs());
    const records = targets.map((target) => snapRecord(operator, target, createdMs));
    const commit = (snaps: readonly Snap[], opened: readonly OpenMoment[]): void => {
      operator.commit(snaps, () => {
        for (const each of opened) each.release();
        finish(success(targets.map((target) => operator.snapshot(target.volume, target.name))));
      });
    };
    if (momentSpec(at).kind === 'now') {
      commit(records, []);
      return;
    }
    const volumes = targets.map(({ volume }) => operator.volume(volume));
    resolveMoments(operator, volumes, at, (outcome) => {
      if (!outcome.ok) {
        finish(outcome);
        return;
      }
      const snaps = records.map((record, index) => pastSnap(record, outcome.value[index]));
      const moments = outcome.value.map(({ moment }) => moment);
      // However long it takes until the records are durable: until then they keep nothing.
      withMoments(operator, moments, finish, (opened) => {
        commit(snaps, opened);
      });
    });
  });
}

/** The snapshot is of a moment that has passed: of the line in which the volume was then. */
function pastSnap(record: Snap, resolved: ResolvedMoment | undefined): Snap {
  const { moment, label, timeMs } = present(resolved, 'moment of a snapshot');
  const { line, cut, sizeBytes } = moment;
  return { ...record, line, past: { cut, sizeBytes, ticks: ticksOf(timeMs), label } };
}

function snapRecord(operator: Operator, target: SnapshotTarget, createdMs: number): Snap {
  checkName('snapshot', target.name);
  const volume = operator.volume(target.volume);
  if (volume.snapshotByName.has(target.name)) {
    throw new OperationError(
      ErrorCode.exists,
      `snapshot "${target.volume}@${target.name}" is there already`,
      'Choose another name, or delete it first.',
    );
  }
  return {
    kind: 'snap',
    line: volume.line,
    volumeUuid: volume.uuid,
    uuid: makeUuid(operator.parts.host.random),
    name: target.name,
    createdMs,
  };
}

export function snapshotDelete(
  operator: Operator,
  target: SnapshotTarget & { readonly locks: SnapshotLocks },
  done: Done<{ readonly name: string }>,
): void {
  operator.operate(done, (finish) => {
    const snapshot = operator.snapshot(target.volume, target.name);
    const { uuid, line } = snapshot;
    target.locks.check(operator.volume(target.volume), [snapshot]);
    operator.commit([{ kind: 'snap-delete', line, uuid }], () => {
      finish(success({ name: target.name }));
    });
  });
}

/**
 * Keeps what a front end wants kept for the volume's identity: latest only, not part of history. `state` stays as it is
 * until `done`; calls are answered in order. A full pool takes it too, like deletes: a cluster must be able to fail over then.
 */
export function luStateSave(
  operator: Operator,
  save: { readonly uuid: Uint8Array; readonly state: Uint8Array },
  done: (status: IoStatus) => void,
): void {
  const { uuid, state } = save;
  operator.operate<IoStatus>(
    (outcome) => {
      done(outcome.ok ? outcome.value : statusOf(outcome.error));
    },
    (finish) => {
      const volume = operator.parts.catalogue.volumeById(uuid);
      if (volume === undefined) {
        finish(success(IoStatus.shuttingDown));
      } else if (state.length > luStateMaxBytes) {
        finish(success(IoStatus.invalid));
      } else {
        operator.commit([{ kind: 'lu-state', line: volume.line, uuid, state }], () => {
          finish(success(IoStatus.ok));
        });
      }
    },
  );
}

function statusOf(error: OperationError): IoStatus {
  if (error.code === ErrorCode.readOnly) return IoStatus.readOnly;
  return error.code === ErrorCode.noSpace ? IoStatus.noSpace : IoStatus.ioError;
}
