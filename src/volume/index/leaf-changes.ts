/**
 * Leaf changes: which leaves can differ between two moments, from what the index knows of the records between them. The leaves
 * themselves are not made; those that no record touched are the same in both.
 *
 *     moment A  ●◀── records ──┐
 *                              ├── where both come from the same: a line at a position
 *     moment B  ●◀── records ──┘
 *
 * Bitmaps of runs do not tell positions: a run that holds other records, too, makes leaves suspect that did not change.
 */
import { leafBlocks } from '../map/leaf-store.ts';
import type { Clip } from './leaf-painter.ts';
import { type LookupSteps, runLater } from './lookup-steps.ts';
import { bitmapPageBytes, pageLeavesOfBitmap } from './run-format.ts';

/** Records of a line with positions in [from, to). */
export interface Stretch {
  readonly line: number;
  readonly from: number;
  readonly to: number;
}

/** A line before a position; its clips are newest first. */
export interface Origin {
  readonly line: number;
  readonly createdPosition: number;
  readonly before: number;
  readonly clips: readonly Clip[];
  readonly blockCount: number;
}

/** Sets the bits of leaves of a bitmap page that records of a stretch may have touched. Throws nothing. */
type Touched = (stretch: Stretch, page: number, bits: Uint8Array) => LookupSteps<void>;

export class LeafChanges {
  readonly #stretches: Stretch[] = [];
  /** From this block on the size of one of them made a difference, or may have. */
  #sizedFrom = Number.POSITIVE_INFINITY;
  readonly #touched: Touched;

  /** Where each moment comes from: its line, the one that this began in, and so on. */
  constructor(left: readonly Origin[], right: readonly Origin[], touched: Touched) {
    this.#touched = touched;
    const shared = left.find(({ line }) => right.some((other) => other.line === line))?.line;
    const atLeft = left.find(({ line }) => line === shared);
    const atRight = right.find(({ line }) => line === shared);
    const since = Math.min(atLeft?.before ?? 0, atRight?.before ?? 0);
    for (const origins of [left, right]) this.#add(origins, shared, since);
  }

  #add(origins: readonly Origin[], shared: number | undefined, since: number): void {
    for (const { line, createdPosition, before, clips, blockCount } of origins) {
      const isShared = line === shared;
      const from = isShared ? since : createdPosition;
      if (from < before) this.#stretches.push({ line, from, to: before });
      for (const clip of clips) if (clip.position >= from) this.#clip(clip.blockCount);
      if (isShared) return;
      this.#clip(blockCount);
    }
  }

  #clip(blockCount: number): void {
    this.#sizedFrom = Math.min(this.#sizedFrom, blockCount);
  }

  /** For one walk over the leaves. */
  window(): ChangeWindow {
    return new ChangeWindow(
      this.#stretches,
      Math.floor(this.#sizedFrom / leafBlocks),
      this.#touched,
    );
  }
}

/** What is known of one bitmap page (512 leaves) at a time. */
export class ChangeWindow {
  readonly #stretches: readonly Stretch[];
  /** From this leaf on nothing is known. */
  readonly #leafEnd: number;
  readonly #touched: Touched;
  readonly #bits = new Uint8Array(bitmapPageBytes);
  #page = -1;

  constructor(stretches: readonly Stretch[], leafEnd: number, touched: Touched) {
    this.#stretches = stretches;
    this.#leafEnd = leafEnd;
    this.#touched = touched;
  }

  /** Looks up the page of a leaf; true: within the call, else `done` is called later. One at a time. */
  prepare(leaf: number, done: () => void): boolean {
    const page = Math.floor(leaf / pageLeavesOfBitmap);
    if (page === this.#page) return true;
    let isInside = true;
    let isOver = false;
    runLater(this.#load(page), () => {
      this.#page = page;
      isOver = true;
      if (!isInside) done();
    });
    isInside = false;
    return isOver;
  }

  *#load(page: number): LookupSteps<void> {
    this.#page = -1;
    this.#bits.fill(0);
    for (const stretch of this.#stretches) yield* this.#touched(stretch, page, this.#bits);
  }

  /** How many leaves from `leaf` on are surely the same, within the page that was looked up last. */
  same(leaf: number): number {
    const first = this.#page * pageLeavesOfBitmap;
    const behind = Math.min(first + pageLeavesOfBitmap, this.#leafEnd);
    if (this.#page < 0 || leaf < first) return 0;
    let end = leaf;
    for (; end < behind; end += 1) {
      const bit = end - first;
      if (((this.#bits[bit >>> 3] ?? 0) & (1 << (bit & 7))) !== 0) break;
    }
    return end - leaf;
  }
}

/** Sets bits [first, end) of a bitmap page, counted from its first leaf; what lies outside is left out. */
export function setBits(bits: Uint8Array, first: number, end: number): void {
  for (let bit = Math.max(0, first); bit < Math.min(end, pageLeavesOfBitmap); bit += 1) {
    bits[bit >>> 3] = (bits[bit >>> 3] ?? 0) | (1 << (bit & 7));
  }
}
