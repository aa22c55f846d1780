/**
 * Diff: in which blocks two moments of a volume differ. The maps of both are compared, not the log between them, so it holds
 * over rollbacks, in either direction of time, and a block that went and came back is no change.
 *
 *     data ─▶ other data · data ─▶ hole (trim) · data ─▶ zeros · hole ─▶ zeros (allocation)      all are changes
 */
import { slotSizeBytes } from '../format/address.ts';
import { limits } from '../limits.ts';
import type { BlockMap } from '../map/block-map.ts';

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** A run of bytes that changed or did not. */
export interface ChangeRun {
  length: number;
  readonly isChanged: boolean;
}

export class MapDiff {
  readonly #from: BlockMap;
  readonly #to: BlockMap;
  readonly #sizeBytes: number;

  /** `sizeBytes` of the later state: what a smaller one had beyond is not told. */
  constructor(from: BlockMap, to: BlockMap, sizeBytes: number) {
    this.#from = from;
    this.#to = to;
    this.#sizeBytes = sizeBytes;
  }

  /**
   * Runs from byte `offset` on (at most `length` bytes, at most `runsMax` runs, neighbours joined); they cover fewer bytes
   * when that is much work. At least one run when the range lies inside.
   */
  runs({ offset, length }: ByteRange, runsMax: number): ChangeRun[] {
    const end = Math.min(offset + length, this.#sizeBytes);
    if (offset < 0 || offset >= end) return [];
    const first = Math.floor(offset / slotSizeBytes);
    const count = Math.ceil(end / slotSizeBytes) - first;
    const runs: ChangeRun[] = [];
    let at = offset;
    let block = first;
    const range = { block: first, count, leavesMax: limits.diffLeavesPerCall };
    this.#to.compare(this.#from, range, (blockCount, isChanged) => {
      if (runs.length === runsMax) return false;
      block += blockCount;
      const to = Math.min(end, block * slotSizeBytes);
      runs.push({ length: to - at, isChanged });
      at = to;
      return true;
    });
    return runs;
  }
}

/** One page of the changed extents of a diff, collected piece by piece. */
export class DiffPage {
  readonly extents: { offset: number; length: number }[] = [];
  /** Where the next piece begins. */
  offset: number;
  isFull = false;
  readonly #diff: MapDiff;
  readonly #extentsMax: number;

  constructor(diff: MapDiff, offset: number, extentsMax: number) {
    this.#diff = diff;
    this.offset = offset;
    this.#extentsMax = extentsMax;
  }

  /** Looks at the next piece; false = the page is full or the end is reached. */
  step(sizeBytes: number): boolean {
    const rest = { offset: this.offset, length: sizeBytes - this.offset };
    // Twice and one more: changed runs alternate with others, and the last one may go on in the next piece.
    const left = this.#extentsMax - this.extents.length;
    for (const { length, isChanged } of this.#diff.runs(rest, left * 2 + 1)) {
      if (isChanged && !this.#add(length)) {
        this.isFull = true;
        return false;
      }
      this.offset += length;
    }
    return this.offset < sizeBytes;
  }

  #add(length: number): boolean {
    const last = this.extents.at(-1);
    if (last !== undefined && last.offset + last.length === this.offset) {
      last.length += length;
      return true;
    }
    if (this.extents.length === this.#extentsMax) return false;
    this.extents.push({ offset: this.offset, length });
    return true;
  }
}
