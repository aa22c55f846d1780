/** Runs of one leaf while it is rebuilt: what a small leaf holds, and up to two more. */
import { type LeafStore, leafBlocks, smallLeafNumbers } from './leaf-store.ts';

/** Runs that a small leaf has room for. */
export const runsMax = (smallLeafNumbers - 2) / 2;

export class LeafRuns {
  readonly #starts = new Int32Array(runsMax + 4);
  readonly #values = new Float64Array(runsMax + 4);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Whether nothing is mapped in the leaf. */
  get isHole(): boolean {
    return this.#count === 1 && this.#values[0] === 0;
  }

  clear(): void {
    this.#count = 0;
  }

  /** Adds a run unless it continues the one before. */
  push(start: number, value: number): void {
    const last = this.#count - 1;
    if (last >= 0) {
      const before = this.#values[last] ?? 0;
      const length = start - (this.#starts[last] ?? 0);
      if (value === (before > 0 ? before + length : before)) return;
    }
    this.#starts[this.#count] = start;
    this.#values[this.#count] = value;
    this.#count += 1;
  }

  /** Takes the runs of the 512 values from `at` on; false when they are too many for a small leaf. */
  takeFrom(values: Float64Array, at: number): boolean {
    this.#count = 0;
    let expected = Number.NaN;
    for (let block = 0; block < leafBlocks; block += 1) {
      const value = values[at + block] ?? 0;
      if (value !== expected) {
        if (this.#count === runsMax) return false;
        this.#starts[this.#count] = block;
        this.#values[this.#count] = value;
        this.#count += 1;
      }
      expected = value > 0 ? value + 1 : value;
    }
    return true;
  }

  /** Takes the runs of a small (or empty) leaf with [within, within + count) painted over; `entry` as in a page of a map. */
  takePainted(
    store: LeafStore,
    entry: number,
    { within, count, value }: { readonly within: number; readonly count: number; value: number },
  ): void {
    this.clear();
    const end = within + count;
    if (entry === 0) {
      if (within > 0) this.push(0, 0);
      this.push(within, value);
      if (end < leafBlocks) this.push(end, 0);
      return;
    }
    const slab = store.slab(-entry - 1);
    const at = store.indexOf(-entry - 1);
    const oldRuns = slab[at] ?? 0;
    let isPainted = false;
    for (let run = 0; run < oldRuns; run += 1) {
      const start = slab[at + 2 + run * 2] ?? 0;
      const next = run + 1 < oldRuns ? (slab[at + 4 + run * 2] ?? leafBlocks) : leafBlocks;
      const old = slab[at + 3 + run * 2] ?? 0;
      if (start < within) this.push(start, old);
      if (!isPainted && next > within) {
        this.push(within, value);
        isPainted = true;
      }
      if (next > end) {
        const from = Math.max(start, end);
        this.push(from, old > 0 ? old + from - start : old);
      }
    }
  }

  /** Into a small leaf; there are at most `runsMax`. */
  writeTo(store: LeafStore, ref: number): void {
    const slab = store.slab(ref);
    const at = store.indexOf(ref);
    slab[at] = this.#count;
    for (let run = 0; run < this.#count; run += 1) {
      slab[at + 2 + run * 2] = this.#starts[run] ?? 0;
      slab[at + 3 + run * 2] = this.#values[run] ?? 0;
    }
  }
}
