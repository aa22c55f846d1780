/**
 * Diff: in which blocks two moments of a volume differ. The maps of both are compared, not the log between them, so it holds
 * over rollbacks, in either direction of time, and a block that went and came back is no change.
 *
 * Leaves that no record between the two touched are not made (see LeafChanges).
 *
 *     data ─▶ other data · data ─▶ hole (trim) · data ─▶ zeros · hole ─▶ zeros (allocation)      all are changes
 */
import { slotSizeBytes } from '../format/address.ts';
import type { ChangeWindow, LeafChanges } from '../index/leaf-changes.ts';
import { pageLeavesOfBitmap } from '../index/run-format.ts';
import { limits } from '../limits.ts';
import type { BlockMap } from '../map/block-map.ts';
import { compareKnown } from '../map/compare-maps.ts';
import { leafBlocks } from '../map/leaf-store.ts';

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** A leaf of two maps may have to be made twice for each; more often it cannot be read. */
const leafMakesMax = 4;

/** A run of bytes that changed or did not. */
export interface ChangeRun {
  length: number;
  readonly isChanged: boolean;
}

export class MapDiff {
  readonly #from: BlockMap;
  readonly #to: BlockMap;
  readonly #sizeBytes: number;
  readonly #changes: LeafChanges | undefined;

  /** `sizeBytes` of the later state: what a smaller one had beyond is not told. `changes` of the same two moments. */
  constructor(
    { from, to }: { readonly from: BlockMap; readonly to: BlockMap },
    sizeBytes: number,
    changes: LeafChanges | undefined,
  ) {
    this.#from = from;
    this.#to = to;
    this.#sizeBytes = sizeBytes;
    this.#changes = changes;
  }

  /**
   * Runs from byte `offset` on (at most `length` bytes, at most `runsMax` runs, neighbours joined); they cover fewer bytes
   * when that is much work. At least one run when the range lies inside. Within the call unless something has to be read.
   */
  runs(range: ByteRange, runsMax: number, done: (runs: readonly ChangeRun[]) => void): void {
    const end = Math.min(range.offset + range.length, this.#sizeBytes);
    if (range.offset < 0 || range.offset >= end) {
      done([]);
      return;
    }
    const walk = { offset: range.offset, end, runsMax, done };
    new DiffWalk({ from: this.#from, to: this.#to }, this.#changes?.window(), walk).goOn();
  }
}

/** One question to a diff. */
class DiffWalk {
  readonly #from: BlockMap;
  readonly #to: BlockMap;
  readonly #window: ChangeWindow | undefined;
  readonly #runsMax: number;
  readonly #done: (runs: readonly ChangeRun[]) => void;
  readonly #runs: ChangeRun[] = [];
  /** Byte behind the runs, and behind the range. */
  #at: number;
  readonly #end: number;
  /** First block behind the runs. */
  #block: number;
  #isFull = false;
  #stepsLeft: number = limits.diffStepsPerCall;
  /** Leaf that was made for this walk last, and how often. */
  #madeLeaf = -1;
  #madeCount = 0;
  readonly #sameLeaves: (leaf: number) => number;

  constructor(
    { from, to }: { readonly from: BlockMap; readonly to: BlockMap },
    window: ChangeWindow | undefined,
    walk: {
      readonly offset: number;
      readonly end: number;
      readonly runsMax: number;
      readonly done: (runs: readonly ChangeRun[]) => void;
    },
  ) {
    this.#from = from;
    this.#to = to;
    this.#window = window;
    this.#runsMax = walk.runsMax;
    this.#done = walk.done;
    this.#at = walk.offset;
    this.#end = walk.end;
    this.#block = Math.floor(walk.offset / slotSizeBytes);
    this.#sameLeaves = (leaf) => this.#window?.same(leaf) ?? 0;
  }

  goOn(): void {
    const blockEnd = Math.ceil(this.#end / slotSizeBytes);
    while (this.#block < blockEnd && !this.#isFull) {
      const goOn = (): void => {
        this.goOn();
      };
      const leaf = Math.floor(this.#block / leafBlocks);
      if (this.#window?.prepare(leaf, goOn) === false) return;
      const missing = this.#compare(blockEnd);
      if (missing !== undefined) {
        this.#noteMaking();
        if (!missing.fillLater(this.#block, goOn)) return;
      }
      this.#stepsLeft -= missing === undefined ? 1 : 4;
      if (this.#stepsLeft <= 0 && this.#runs.length > 0) break;
    }
    this.#done(this.#runs);
  }

  /** Up to the end of what the window knows of; the map that lacks the next leaf, if one does. */
  #compare(blockEnd: number): BlockMap | undefined {
    const pageBlocks = pageLeavesOfBitmap * leafBlocks;
    const pageEnd = (Math.floor(this.#block / pageBlocks) + 1) * pageBlocks;
    const range = {
      block: this.#block,
      count: Math.min(blockEnd, pageEnd) - this.#block,
      leavesMax: limits.diffLeavesPerStep,
      sameLeaves: this.#sameLeaves,
      unreadableLeaf: this.#madeCount >= leafMakesMax ? this.#madeLeaf : undefined,
    };
    return compareKnown(this.#to, this.#from, range, (blockCount, isChanged) =>
      this.#take(blockCount, isChanged),
    ).missing;
  }

  /** Either map may lack it, and it may be dropped again before it is looked at. */
  #noteMaking(): void {
    const leaf = Math.floor(this.#block / leafBlocks);
    this.#madeCount = leaf === this.#madeLeaf ? this.#madeCount + 1 : 1;
    this.#madeLeaf = leaf;
  }

  #take(blockCount: number, isChanged: boolean): boolean {
    const to = Math.min(this.#end, (this.#block + blockCount) * slotSizeBytes);
    const last = this.#runs.at(-1);
    if (last?.isChanged === isChanged) last.length += to - this.#at;
    else if (this.#runs.length === this.#runsMax) {
      this.#isFull = true;
      return false;
    } else this.#runs.push({ length: to - this.#at, isChanged });
    this.#block += blockCount;
    this.#at = to;
    return true;
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

  /** Looks at the next piece; `done` gets false when the page is full or the end is reached. May run inside the call. */
  step(sizeBytes: number, done: (hasMore: boolean) => void): void {
    const rest = { offset: this.offset, length: sizeBytes - this.offset };
    // Twice and one more: changed runs alternate with others, and the last one may go on in the next piece.
    const left = this.#extentsMax - this.extents.length;
    this.#diff.runs(rest, left * 2 + 1, (runs) => {
      done(this.#take(runs) && this.offset < sizeBytes);
    });
  }

  #take(runs: readonly ChangeRun[]): boolean {
    for (const { length, isChanged } of runs) {
      if (isChanged && !this.#add(length)) {
        this.isFull = true;
        return false;
      }
      this.offset += length;
    }
    return true;
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
