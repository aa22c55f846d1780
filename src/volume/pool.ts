/**
 * Pool: one ordered log, and the volumes and snapshots that are readings of it. The store's door.
 *
 *     volumeCreate, snapshotCreate, ...  ─▶ one catalogue record each ─▶ log ─▶ published: catalogue and maps change
 *     volumeOpen ─▶ BlockDevice ─▶ requests ─▶ range lock ─▶ log ─▶ published: map set, answer
 *                                          └▶ reads: map ─▶ address ─▶ segment file ─▶ checksum
 *
 * Invariants
 * 1. Catalogue and maps change only when a record is published, in log order: live state = replay of the log.
 * 2. Catalogue operations run one at a time, so each is checked against exactly the state that it changes.
 * 3. After a failed write or flush nothing is published or answered any more; `onFailed` tells the engine to stop.
 */
import { present } from '../base/assert.ts';
import { ErrorCode, failure, OperationError, type Outcome, success } from '../base/errors.ts';
import { makeUuid, toHex } from '../base/uuid.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { Staging } from '../device/staging.ts';
import type { SnapshotState, VolumeState } from './catalogue/catalogue.ts';
import { catalogueText, checkpointParts } from './catalogue/checkpoint.ts';
import { AckMode, type CatalogueRecord, encodeRecord } from './catalogue/records.ts';
import {
  checkCapacity,
  checkName,
  checkSize,
  deleteRefused,
  naaOf,
  shrinkRefused,
} from './core/checks.ts';
import type { Maintenance } from './core/maintenance.ts';
import type { PoolParts } from './core/parts.ts';
import { SnapshotMaps } from './core/snapshot-maps.ts';
import { Space, type SpaceReport } from './core/space.ts';
import { addressOf, slotSizeBytes } from './format/address.ts';
import { Operations, SnapshotDevice, VolumeDevice } from './io/devices.ts';
import { LockEntry } from './io/range-lock.ts';
import type { Residency } from './io/residency.ts';
import { limits } from './limits.ts';
import { catalogueMutation } from './log/mutation.ts';
import { applyRecord } from './recovery/replay.ts';
import { writeSuperblock } from './recovery/superblock-file.ts';
import type { Progress, RebuildReport, VerifyReport } from './reports.ts';

export interface OpenSnapshot {
  readonly device: BlockDevice;
  close(): void;
}

type Done<T> = (outcome: Outcome<T>) => void;

export class Pool {
  readonly #parts: PoolParts;
  readonly #maintenance: Maintenance;
  readonly #snapshotMaps: SnapshotMaps;
  readonly #operations: Operations;
  readonly #space: Space;
  /** Catalogue operations waiting for the one that runs. */
  readonly #queue: (() => void)[] = [];
  #isOperating = false;
  #bytesAtCheckpoint = 0;
  /** Why the pool is read-only; undefined = it is not. */
  readonly readOnlyReason: string | undefined;

  /** Made by `openPool` only. */
  constructor(
    parts: PoolParts,
    maintenance: Maintenance,
    residency: Residency,
    readOnlyReason: string | undefined,
  ) {
    this.#parts = parts;
    this.#maintenance = maintenance;
    this.#snapshotMaps = new SnapshotMaps(parts);
    this.#space = new Space(parts);
    this.readOnlyReason = readOnlyReason;
    this.#operations = new Operations(parts.reader, {
      reader: parts.reader,
      staging: parts.staging,
      residency,
      log: () => present(parts.writer, 'log of a writable pool').log,
    });
  }

  get name(): string {
    return this.#parts.superblock.name;
  }

  get uuid(): Uint8Array {
    return this.#parts.superblock.poolUuid;
  }

  /** Whether no volume was ever created in it. */
  get isUntouched(): boolean {
    return this.#parts.catalogue.nextLine === 1;
  }

  get epoch(): number {
    return this.#parts.superblock.epoch;
  }

  get staging(): Staging {
    return this.#parts.staging;
  }

  /** End address of the durable log. */
  get durableThrough(): number {
    return this.#parts.writer?.log.durableThrough ?? this.#parts.superblock.durableThrough;
  }

  /** RAM of all maps. */
  get mapBytes(): number {
    let total = this.#parts.leaves.usedBytes;
    for (const line of this.#parts.lineById.values()) total += line.map.topBytes;
    return total;
  }

  get snapshotCount(): number {
    return this.#parts.catalogue.snapshotCount;
  }

  space(): SpaceReport {
    return this.#space.report();
  }

  /** By name order. What it returns is live: read it, keep nothing. */
  volumes(): readonly VolumeState[] {
    return this.#parts.catalogue.volumes();
  }

  /** Throws OperationError not-found. */
  volume(name: string): VolumeState {
    const volume = this.#parts.catalogue.volume(name);
    if (volume === undefined) {
      throw new OperationError(
        ErrorCode.notFound,
        `no volume "${name}" in pool ${this.name}`,
        'List them with "tidemark volume list".',
      );
    }
    return volume;
  }

  /** Bytes with data in the volume's present state. */
  mappedBytes(volume: VolumeState): number {
    return (this.#parts.lineById.get(volume.line)?.map.mappedBlocks ?? 0) * slotSizeBytes;
  }

  /** Throws OperationError not-found. */
  snapshot(volumeName: string, name: string): SnapshotState {
    const snapshot = this.volume(volumeName).snapshotByName.get(name);
    if (snapshot === undefined) {
      throw new OperationError(
        ErrorCode.notFound,
        `no snapshot "${volumeName}@${name}"`,
        `List them with "tidemark snapshot list ${volumeName}".`,
      );
    }
    return snapshot;
  }

  /** The volume's head as a device. Throws OperationError not-found. */
  volumeOpen(name: string): BlockDevice {
    const volume = this.volume(name);
    const line = present(this.#parts.lineById.get(volume.line), 'line of a volume');
    const view = {
      get name(): string {
        return volume.name;
      },
      line,
    };
    const isReadOnly = this.readOnlyReason !== undefined;
    return new VolumeDevice(view, this.#operations, isReadOnly, () => this.#space.admitsWrites());
  }

  /** A snapshot as a read-only device; close it when the last user left. Throws OperationError not-found. */
  snapshotOpen(volumeName: string, name: string, done: Done<OpenSnapshot>): void {
    const volume = this.volume(volumeName);
    const snapshot = this.snapshot(volumeName, name);
    this.#snapshotMaps.open(volume, snapshot, (opened) => {
      if (opened === undefined) {
        const message = `snapshot "${volumeName}@${name}" cannot be read: the log is damaged`;
        const hint = 'Run "tidemark pool verify" to see where.';
        done(failure(new OperationError(ErrorCode.internal, message, hint)));
        return;
      }
      const device = new SnapshotDevice(
        `${volumeName}@${name}`,
        snapshot.sizeBytes,
        opened.map,
        this.#operations,
      );
      const close = (): void => {
        opened.release();
      };
      done(success({ device, close }));
    });
  }

  volumeCreate(
    options: { readonly name: string; readonly sizeBytes: number },
    done: Done<VolumeState>,
  ): void {
    this.#operate(done, (finish) => {
      checkName('volume', options.name);
      checkSize(options.sizeBytes);
      const { catalogue, host } = this.#parts;
      this.#checkVolumeNameFree(options.name);
      if (catalogue.volumeCount >= limits.volumesMax) {
        throw new OperationError(
          ErrorCode.conflict,
          `pool ${this.name} has ${limits.volumesMax} volumes, the most it can hold`,
          'Delete one first.',
        );
      }
      const uuid = makeUuid(host.random);
      const record: CatalogueRecord = {
        kind: 'vol-create',
        line: catalogue.takeLine(),
        uuid,
        name: options.name,
        sizeBytes: options.sizeBytes,
        naa: naaOf(uuid),
        serial: toHex(uuid).slice(0, 20).toUpperCase(),
        ack: AckMode.durable,
        createdMs: Math.floor(host.clock.wallMs()),
      };
      this.#commit([record], () => {
        finish(success(this.volume(options.name)));
      });
    });
  }

  volumeRename(
    options: { readonly name: string; readonly newName: string },
    done: Done<VolumeState>,
  ): void {
    this.#operate(done, (finish) => {
      const volume = this.volume(options.name);
      checkName('volume', options.newName);
      this.#checkVolumeNameFree(options.newName);
      const { uuid, line } = volume;
      this.#commit([{ kind: 'vol-set', line, uuid, name: options.newName }], () => {
        finish(success(volume));
      });
    });
  }

  /** A smaller size cuts data off and needs `force`. */
  volumeResize(
    options: { readonly name: string; readonly sizeBytes: number; readonly force: boolean },
    done: Done<VolumeState>,
  ): void {
    this.#operate(done, (finish) => {
      const volume = this.volume(options.name);
      checkSize(options.sizeBytes);
      const isShrink = options.sizeBytes < volume.sizeBytes;
      if (isShrink && !options.force) throw shrinkRefused(volume, options.sizeBytes);
      const { uuid, line } = volume;
      const { sizeBytes } = options;
      const commit = (release: () => void): void => {
        this.#commit([{ kind: 'vol-resize', line, uuid, sizeBytes }], () => {
          release();
          finish(success(volume));
        });
      };
      if (isShrink) this.#lockLine(line, commit);
      else commit(() => undefined);
    });
  }

  /** Deletes the volume and its snapshots; with snapshots it needs `force`. Devices that are open answer shuttingDown from then on. */
  volumeDelete(
    options: { readonly name: string; readonly force: boolean },
    done: Done<{ readonly name: string }>,
  ): void {
    this.#operate(done, (finish) => {
      const volume = this.volume(options.name);
      if (volume.snapshotByName.size > 0 && !options.force) throw deleteRefused(volume);
      const { uuid, line } = volume;
      this.#lockLine(line, (release) => {
        this.#commit([{ kind: 'vol-delete', line, uuid }], () => {
          release();
          this.#snapshotMaps.dropIdle();
          finish(success({ name: options.name }));
        });
      });
    });
  }

  /** Snapshots of several volumes at one cut, each under its own name. */
  snapshotCreate(
    targets: readonly { readonly volume: string; readonly name: string }[],
    done: Done<readonly SnapshotState[]>,
  ): void {
    this.#operate(done, (finish) => {
      const { host, catalogue } = this.#parts;
      if (catalogue.snapshotCount + targets.length > limits.snapshotsMax) {
        throw new OperationError(
          ErrorCode.conflict,
          `pool ${this.name} has ${catalogue.snapshotCount} snapshots of at most ${limits.snapshotsMax}`,
          'Delete some first.',
        );
      }
      const createdMs = Math.floor(host.clock.wallMs());
      const records = targets.map((target): CatalogueRecord => {
        checkName('snapshot', target.name);
        const volume = this.volume(target.volume);
        if (volume.snapshotByName.has(target.name)) {
          throw new OperationError(
            ErrorCode.exists,
            `snapshot "${target.volume}@${target.name}" is there already`,
            'Choose another name, or delete it first.',
          );
        }
        const uuid = makeUuid(host.random);
        const { line } = volume;
        return {
          kind: 'snap',
          line,
          volumeUuid: volume.uuid,
          uuid,
          name: target.name,
          createdMs,
        };
      });
      this.#commit(records, () => {
        finish(success(targets.map((target) => this.snapshot(target.volume, target.name))));
      });
    });
  }

  snapshotDelete(
    target: { readonly volume: string; readonly name: string },
    done: Done<{ readonly name: string }>,
  ): void {
    this.#operate(done, (finish) => {
      const { uuid, line } = this.snapshot(target.volume, target.name);
      this.#commit([{ kind: 'snap-delete', line, uuid }], () => {
        finish(success({ name: target.name }));
      });
    });
  }

  /** New capacity in bytes; durable when `done` runs. */
  resize(capacityBytes: number, done: Done<undefined>): void {
    this.#operate(done, (finish) => {
      checkCapacity(this.name, capacityBytes, this.space());
      this.#writeSuperblock({ capacityBytes });
      finish(success(undefined));
    });
  }

  verify(progress: Progress, done: (report: VerifyReport) => void): void {
    this.#maintenance.verify(progress, done);
  }

  rebuild(progress: Progress, done: Done<RebuildReport>): void {
    this.#maintenance.rebuild(progress, done);
  }

  /** Canonical text of the catalogue, for comparisons. */
  catalogueText(): string {
    return catalogueText(this.#parts.catalogue);
  }

  /** The log opened another segment: time to look at space, and to log a checkpoint when one is due. */
  segmentOpened(): void {
    this.#space.check();
    const log = this.#parts.writer?.log;
    if (log === undefined) return;
    if (log.bytesLogged - this.#bytesAtCheckpoint < this.#parts.settings.checkpointBytes) return;
    this.#bytesAtCheckpoint = log.bytesLogged;
    this.checkpoint();
  }

  /** Logs the whole catalogue. */
  checkpoint(): void {
    this.#operate<undefined>(
      (outcome) => {
        if (!outcome.ok) {
          this.#parts.host.log.warn('no checkpoint', { error: outcome.error.message });
        }
      },
      (finish) => {
        const parts = checkpointParts(this.#parts.catalogue);
        parts.forEach((part, index) => {
          this.#commit([part], () => {
            if (index === parts.length - 1) finish(success(undefined));
          });
        });
      },
    );
  }

  /**
   * Waits for what is in flight, seals the last segment, marks the pool clean and stops the helpers. No request and no
   * operation may be submitted after this.
   */
  close(done: () => void): void {
    const { writer, keeper, files } = this.#parts;
    this.#space.stop();
    const stop = (): void => {
      writer?.commit.stop();
      keeper.stop();
      files.closeAll();
      done();
    };
    if (writer === undefined) {
      stop();
      return;
    }
    writer.supply.stop();
    writer.log.whenIdle(() => {
      this.#maintenance.flushManifest();
      const { segId, nextSlot } = writer.log.place;
      this.#maintenance.seal({ segId, endAddress: addressOf(segId, nextSlot) }, () => {
        this.#maintenance.flushManifest();
        this.#writeSuperblock({ isClean: true });
        stop();
      });
    });
  }

  #writeSuperblock(change: { readonly capacityBytes?: number; readonly isClean?: boolean }): void {
    const { host, superblock, writer } = this.#parts;
    const next = {
      ...superblock,
      ...change,
      generation: superblock.generation + 1,
      durableThrough: writer?.log.durableThrough ?? superblock.durableThrough,
      hlcMsHighWater: Math.max(superblock.hlcMsHighWater, writer?.log.lastHlcMs ?? 0),
      segIdHighWater: writer?.supply.segIdHighWater ?? superblock.segIdHighWater,
    };
    writeSuperblock(host.disk, next);
    this.#parts.superblock = next;
  }

  /** Runs one catalogue operation after those before it. What `action` throws as OperationError is its outcome. */
  #operate<T>(done: Done<T>, action: (finish: Done<T>) => void): void {
    const run = (): void => {
      const finish: Done<T> = (outcome) => {
        this.#isOperating = false;
        this.#queue.shift()?.();
        done(outcome);
      };
      this.#isOperating = true;
      try {
        if (this.readOnlyReason !== undefined) {
          throw new OperationError(
            ErrorCode.readOnly,
            `pool ${this.name} is read-only: ${this.readOnlyReason}`,
          );
        }
        action(finish);
      } catch (thrown) {
        if (!(thrown instanceof OperationError)) throw thrown;
        finish(failure(thrown));
      }
    };
    if (this.#isOperating) this.#queue.push(run);
    else run();
  }

  /** Logs the records in one frame and applies them when they are durable. */
  #commit(records: readonly CatalogueRecord[], done: () => void): void {
    const log = present(this.#parts.writer, 'log of a writable pool').log;
    const mutation = catalogueMutation(records.map(encodeRecord), (published) => {
      records.forEach((record, index) => {
        const position = published.position + index;
        applyRecord(record, position, this.#parts);
        this.#maintenance.recordPublished({ record, position });
      });
      done();
    });
    log.append(mutation);
  }

  /** Waits until nothing is in flight on a line and keeps everything else out until `release` is called. */
  #lockLine(lineId: number, action: (release: () => void) => void): void {
    const line = present(this.#parts.lineById.get(lineId), 'line of a volume');
    const entry = new LockEntry();
    entry.start = 0;
    entry.end = Number.POSITIVE_INFINITY;
    entry.isExclusive = true;
    entry.onGranted = () => {
      action(() => {
        line.lock.leave(entry);
      });
    };
    if (line.lock.enter(entry)) entry.onGranted();
  }

  #checkVolumeNameFree(name: string): void {
    if (this.#parts.catalogue.volume(name) === undefined) return;
    throw new OperationError(
      ErrorCode.exists,
      `volume "${name}" is there already`,
      'Choose another name.',
    );
  }
}
