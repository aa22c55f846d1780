/**
 * Operator: runs catalogue operations one at a time, so each is checked against exactly the state that it changes, logs
 * their records, and applies them when they are durable.
 *
 *     operate ─▶ check ─▶ [lock a line] ─▶ commit: log ─▶ durable ─▶ apply to catalogue, lines, manifest ─▶ outcome
 */
import { present } from '../../base/assert.ts';
import { ErrorCode, failure, OperationError, type Outcome } from '../../base/errors.ts';
import { DiskError } from '../../base/ports.ts';
import type { SnapshotState, VolumeState } from '../catalogue/catalogue.ts';
import { type CatalogueRecord, encodeRecord } from '../catalogue/records.ts';
import { frameAddressOf, positionOf, slotSizeBytes } from '../format/address.ts';
import { Timeline } from '../history/timeline.ts';
import { LockEntry } from '../io/range-lock.ts';
import { catalogueMutation } from '../log/mutation.ts';
import type { BlockMap } from '../map/block-map.ts';
import { applyRecord } from './apply-record.ts';
import type { Maintenance } from './maintenance.ts';
import type { MomentMaps } from './moment-maps.ts';
import type { PoolParts } from './parts.ts';
import type { SegmentReading } from './segment-contents.ts';

export type Done<T> = (outcome: Outcome<T>) => void;

export class Operator {
  readonly parts: PoolParts;
  readonly moments: MomentMaps;
  readonly reading: SegmentReading;
  readonly timeline: Timeline;
  readonly #maintenance: Maintenance;
  readonly #readOnlyReason: string | undefined;
  readonly #queue: (() => void)[] = [];
  #isOperating = false;
  #takesNew: () => boolean = () => true;

  constructor(
    parts: PoolParts,
    maintenance: Maintenance,
    history: { readonly moments: MomentMaps; readonly reading: SegmentReading },
    readOnlyReason: string | undefined,
  ) {
    this.parts = parts;
    this.moments = history.moments;
    this.reading = history.reading;
    this.timeline = new Timeline(parts, history.reading);
    this.#maintenance = maintenance;
    this.#readOnlyReason = readOnlyReason;
  }

  /** From now on `takesNew` says whether there is room for records of what is new. */
  askForRoom(takesNew: () => boolean): void {
    this.#takesNew = takesNew;
  }

  /** Throws OperationError no-space when what is left of the log is for deletes. */
  requireRoom(): void {
    if (this.#takesNew()) return;
    throw new OperationError(
      ErrorCode.noSpace,
      `pool ${this.poolName} is so full that nothing new can be made in it`,
      'Delete volumes, views or snapshots, or give the pool more space.',
    );
  }

  get poolName(): string {
    return this.parts.superblock.name;
  }

  /** Runs one operation after those before it. What `action` throws as OperationError or DiskError is its outcome. */
  operate<T>(done: Done<T>, action: (finish: Done<T>) => void): void {
    const run = (): void => {
      const finish: Done<T> = (outcome) => {
        this.#isOperating = false;
        this.#queue.shift()?.();
        done(outcome);
      };
      this.#isOperating = true;
      try {
        if (this.#readOnlyReason !== undefined) {
          throw readOnlyPool(this.poolName, this.#readOnlyReason);
        }
        action(finish);
      } catch (thrown) {
        finish(failure(operationError(thrown)));
      }
    };
    if (this.#isOperating) this.#queue.push(run);
    else run();
  }

  /** Goes on with an operation after a wait: what `action` throws is its outcome, as in `operate`. */
  attempt<T>(done: Done<T>, action: () => void): void {
    try {
      action();
    } catch (thrown) {
      done(failure(operationError(thrown)));
    }
  }

  /**
   * Logs the records in one frame and applies them when they are durable; `done` gets the position of the first. `forked`
   * makes the map that a VIEW or REVERT among them begins with: one for each, in their order.
   */
  commit(
    records: readonly CatalogueRecord[],
    done: (position: number) => void,
    forked?: () => BlockMap,
  ): void {
    const log = present(this.parts.writer, 'log of a writable pool').log;
    const mutation = catalogueMutation(records.map(encodeRecord), (published) => {
      records.forEach((record, index) => {
        const position = published.position + index;
        if (record.kind === 'revert') this.#keepLeftLine(record.uuid, position);
        const needsMap = record.kind === 'view' || record.kind === 'revert';
        applyRecord(record, position, this.parts, needsMap ? forked?.() : undefined);
        const isPresent = record.kind === 'snap' && record.past === undefined;
        if (isPresent) this.#keepSnapshot(record.line, position);
        this.#maintenance.recordPublished({ record, position });
      });
      done(published.position);
    });
    log.append(mutation);
  }

  /** `lockLine` for several lines, in order of their ids: whoever holds one waits only for higher ones. */
  lockLines(lineIds: readonly number[], action: (release: () => void) => void): void {
    const [first, ...others] = [...new Set(lineIds)].sort((left, right) => left - right);
    this.lockLine(present(first, 'line to lock'), (release) => {
      if (others.length === 0) {
        action(release);
        return;
      }
      this.lockLines(others, (releaseOthers) => {
        action(() => {
          releaseOthers();
          release();
        });
      });
    });
  }

  /** Waits until nothing is in flight on a line and keeps everything else out until `release` is called. */
  lockLine(lineId: number, action: (release: () => void) => void): void {
    const line = present(this.parts.lineById.get(lineId), 'line of a volume');
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

  /** Throws OperationError not-found. */
  volume(name: string): VolumeState {
    const volume = this.parts.catalogue.volume(name);
    if (volume === undefined) {
      throw new OperationError(
        ErrorCode.notFound,
        `no volume or view "${name}" in pool ${this.poolName}`,
        'List them with "tidemark volume list" and "tidemark view list".',
      );
    }
    return volume;
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

  /** Throws OperationError exists. */
  checkNameFree(name: string): void {
    const taken = this.parts.catalogue.volume(name);
    if (taken === undefined) return;
    throw new OperationError(
      ErrorCode.exists,
      `${taken.view === undefined ? 'volume' : 'view'} "${name}" is there already`,
      'Choose another name.',
    );
  }

  /** A fork of the head at its snapshot costs nothing now and spares a replay later. */
  #keepSnapshot(lineId: number, position: number): void {
    const line = this.parts.lineById.get(lineId);
    const cut = positionOf(frameAddressOf(position), 0);
    // A write-back volume may have published newer writes already: then its map is made by replay when it is wanted.
    if (line === undefined || line.lastPosition >= cut) return;
    const sizeBytes = line.blockCount * slotSizeBytes;
    this.moments.keep({ line: lineId, cut, sizeBytes }, line.map.fork());
  }

  /** The line that a rollback leaves, as it was: undoing the rollback finds it there. */
  #keepLeftLine(uuid: Uint8Array, position: number): void {
    const volume = this.parts.catalogue.volumeById(uuid);
    const line = volume === undefined ? undefined : this.parts.lineById.get(volume.line);
    if (line === undefined) return;
    const sizeBytes = line.blockCount * slotSizeBytes;
    this.moments.keep({ line: line.id, cut: position, sizeBytes }, line.map.fork());
  }
}

/** The refusal of anything that would change a read-only pool. */
export function readOnlyPool(name: string, reason: string): OperationError {
  return new OperationError(
    ErrorCode.readOnly,
    `pool ${name} is read-only: ${reason}`,
    'Copy what can be read to another pool; "tidemark pool verify" lists what is damaged.',
  );
}

/** What a person is told of an error that ended an operation; others are thrown on. */
export function operationError(thrown: unknown): OperationError {
  if (thrown instanceof OperationError) return thrown;
  if (!(thrown instanceof DiskError)) throw thrown;
  const code = thrown.code === 'ENOSPC' ? ErrorCode.noSpace : ErrorCode.unavailable;
  return new OperationError(code, `the disk refused: ${thrown.message}`, 'Check the disk.', thrown);
}
