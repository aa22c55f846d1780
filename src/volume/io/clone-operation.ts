/**
 * CloneOperation: makes a range of a line equal to a range of another map of the pool by sharing its blocks.
 *
 *     lock both ranges ─▶ runs of the source's map ─▶ records in one frame ─▶ published ─▶ next piece ... ─▶ answer
 *                           data   ─▶ CLONE  (address of the source)
 *                           zeros  ─▶ ZERO   (allocated)
 *                           hole   ─▶ TRIM
 *
 * A snapshot's map never changes, so only the destination is locked then. The records name addresses, so replay needs no
 * source; a source that is written to, trimmed or deleted later leaves the clone as it is.
 *
 * Invariants
 * 1. Both ranges stay as they are from the first look at the source until the last piece is published.
 * 2. Each piece is one frame: all or nothing after a crash, and pieces are published from the start of the range on.
 */
import { present } from '../../base/assert.ts';
import { IoRequest, IoStatus } from '../../device/block-device.ts';
import { slotSizeBytes } from '../format/address.ts';
import { flagNoHole, RecordType } from '../format/frame.ts';
import { limits } from '../limits.ts';
import { type DataPart, Mutation } from '../log/mutation.ts';
import type { BlockMap } from '../map/block-map.ts';
import { unknownValue } from '../map/leaf-store.ts';
import type { Line } from './line.ts';
import { LockEntry } from './range-lock.ts';
import { applyToMap, type WriteContext } from './write-operation.ts';

/** Where the blocks come from. */
export interface CloneSource {
  readonly map: BlockMap;
  /** The line that the map is the head of; undefined for a map that never changes. */
  readonly line: Line | undefined;
}

export class CloneOperation {
  readonly #context: WriteContext;
  readonly #onFinished: (operation: CloneOperation) => void;
  readonly #mutation = new Mutation();
  /** The destination; within one line the source, too. */
  readonly #entry = new LockEntry();
  /** The source in another line. */
  readonly #sourceEntry = new LockEntry();
  #request: IoRequest = idle;
  #line: Line | undefined;
  #source: CloneSource | undefined;
  /** Lines whose locks are held, with their entries. */
  readonly #held: { readonly line: Line; readonly entry: LockEntry }[] = [];
  /** Blocks that are under way or done. */
  #blocksTaken = 0;
  /** Runs of the source that the next piece is made of. */
  readonly #runs: { count: number; readonly value: number }[] = [];
  /** Block of the source whose leaf was waited for last. */
  #madeBlock = -1;

  constructor(context: WriteContext, onFinished: (operation: CloneOperation) => void) {
    this.#context = context;
    this.#onFinished = onFinished;
    this.#entry.isExclusive = true;
    this.#sourceEntry.isExclusive = true;
    this.#mutation.type = RecordType.clone;
    this.#mutation.onPublished = () => {
      this.#published();
    };
    this.#mutation.onDurable = () => {
      this.#finish(IoStatus.ok);
    };
  }

  /** `request` is valid: whole blocks inside both devices that do not overlap, at least one. */
  begin(request: IoRequest, line: Line, source: CloneSource): void {
    this.#request = request;
    this.#line = line;
    this.#source = source;
    this.#blocksTaken = 0;
    const blockCount = request.length / slotSizeBytes;
    const entry = this.#entry;
    entry.start = request.offset / slotSizeBytes;
    entry.end = entry.start + blockCount;
    entry.otherStart = 0;
    entry.otherEnd = 0;
    const sourceStart = request.sourceOffset / slotSizeBytes;
    if (source.line === line) {
      entry.otherStart = sourceStart;
      entry.otherEnd = sourceStart + blockCount;
    }
    if (source.line === undefined || source.line === line) {
      this.#enter(line, entry, () => {
        this.#granted();
      });
      return;
    }
    this.#sourceEntry.start = sourceStart;
    this.#sourceEntry.end = sourceStart + blockCount;
    this.#enterBoth(line, source.line);
  }

  /** In order of the lines' ids: whoever holds one waits only for higher ones. */
  #enterBoth(line: Line, sourceLine: Line): void {
    const mine = { line, entry: this.#entry };
    const other = { line: sourceLine, entry: this.#sourceEntry };
    const [first, second] = line.id < sourceLine.id ? [mine, other] : [other, mine];
    this.#enter(first.line, first.entry, () => {
      this.#enter(second.line, second.entry, () => {
        this.#granted();
      });
    });
  }

  #enter(line: Line, entry: LockEntry, next: () => void): void {
    entry.onGranted = () => {
      this.#held.push({ line, entry });
      next();
    };
    if (line.lock.enter(entry)) entry.onGranted();
  }

  get #lineNow(): Line {
    return present(this.#line, 'line of a clone');
  }

  get #sourceNow(): CloneSource {
    return present(this.#source, 'source of a clone');
  }

  #granted(): void {
    const line = this.#lineNow;
    const { line: sourceLine } = this.#sourceNow;
    if (line.isGone || sourceLine?.isGone === true) {
      this.#finish(IoStatus.shuttingDown);
      return;
    }
    const { length, sourceOffset } = this.#request;
    const sourceEnd = (sourceOffset + length) / slotSizeBytes;
    // Either volume may have shrunk while this waited for its locks.
    if (this.#entry.end > line.blockCount || sourceEnd > (sourceLine?.blockCount ?? sourceEnd)) {
      this.#finish(IoStatus.invalid);
      return;
    }
    this.#appendPiece();
  }

  /** As many runs as one frame may hold. Leaves that are not in memory are waited for, under the locks. */
  #appendPiece(): void {
    this.#runs.length = 0;
    this.#madeBlock = -1;
    this.#goOn();
  }

  #goOn(): void {
    const { map } = this.#sourceNow;
    while (!this.#visitRuns()) {
      const block = this.#request.sourceOffset / slotSizeBytes + this.#blocksTaken;
      if (block === this.#madeBlock && map.lookup(block) === unknownValue) {
        this.#finish(IoStatus.ioError);
        return;
      }
      this.#madeBlock = block;
      const isThere = map.fillLater(block, () => {
        this.#goOn();
      });
      if (!isThere) return;
    }
    this.#append();
  }

  /** Takes runs of the source from where it stopped; false when the next block is not in memory. */
  #visitRuns(): boolean {
    const { length, sourceOffset } = this.#request;
    let isKnown = true;
    this.#sourceNow.map.visitKnown(
      sourceOffset / slotSizeBytes + this.#blocksTaken,
      length / slotSizeBytes - this.#blocksTaken,
      (count, value) => {
        isKnown = value !== unknownValue;
        const isTaken = isKnown && this.#takeRun(count, value);
        if (isTaken) this.#blocksTaken += count;
        return isTaken;
      },
    );
    return isKnown;
  }

  /** False when the piece is full. */
  #takeRun(count: number, value: number): boolean {
    const last = this.#runs.at(-1);
    const expected = last === undefined ? Number.NaN : continued(last.value, last.count);
    if (last !== undefined && value === expected) last.count += count;
    else if (this.#runs.length < limits.clonePartsMax) this.#runs.push({ count, value });
    else return false;
    return true;
  }

  #append(): void {
    const { offset, length, writer, fua } = this.#request;
    const line = this.#lineNow;
    const blockCount = length / slotSizeBytes;
    const runs = this.#runs;
    let lba = offset / slotSizeBytes + this.#blocksTaken;
    for (const { count } of runs) lba -= count;
    const parts: DataPart[] = [];
    for (const { count, value } of runs) {
      parts.push(partOf(lba, count, value));
      lba += count;
    }
    const mutation = this.#mutation;
    mutation.parts = parts;
    mutation.line = line.id;
    mutation.writer = writer;
    mutation.isWriteBack = line.isWriteBack;
    // The flush for the last piece covers those before it.
    mutation.fua = line.isWriteBack && fua && this.#blocksTaken === blockCount;
    this.#context.log().append(mutation);
  }

  #published(): void {
    const mutation = this.#mutation;
    applyToMap(this.#lineNow, mutation);
    if (this.#blocksTaken < this.#request.length / slotSizeBytes) this.#appendPiece();
    else if (!mutation.fua) this.#finish(IoStatus.ok);
  }

  #finish(status: IoStatus): void {
    const request = this.#request;
    request.status = status;
    this.#request = idle;
    this.#line = undefined;
    this.#source = undefined;
    this.#mutation.parts = undefined;
    for (const { line, entry } of this.#held.splice(0)) line.lock.leave(entry);
    this.#onFinished(this);
    request.onDone(request);
  }
}

/** Value of the block behind a run. */
function continued(value: number, count: number): number {
  return value > 0 ? value + count : value;
}

/** The record that gives `count` blocks from `lba` on what a run of the source has. */
function partOf(lba: number, count: number, value: number): DataPart {
  const place = { lba, blockCount: count };
  if (value > 0) return { ...place, type: RecordType.clone, flags: 0, address: value };
  if (value < 0) return { ...place, type: RecordType.zero, flags: flagNoHole, address: 0 };
  return { ...place, type: RecordType.trim, flags: 0, address: 0 };
}

/** Stands in while an operation has no request. */
const idle = new IoRequest(() => undefined);
