/**
 * BlockMap: where each 4 KiB block of one volume (or of a snapshot) lies in the log.
 *
 *     top: pages of 1,024 entries, none for 2 GiB where nothing is mapped; one entry per 2 MiB leaf:
 *                                         0 = nothing mapped
 *                                         +(ref + 1) = full leaf: 512 values
 *                                         -(ref + 1) = small leaf: up to 15 runs, sorted by first block
 *     value: 0 hole · -1 allocated zeros · > 0 address of the block
 *     run:   a value > 0 counts up with the blocks of the run; 0 and -1 stay
 *
 * A region written in large pieces stays a small leaf (256 B for 2 MiB); random writes make it a full one (4 KiB), and
 * writing it over in large pieces makes it small again.
 *
 * Invariants
 * 1. Runs of a small leaf cover its 512 blocks without gap, the first starts at block 0.
 * 2. A page or leaf with more than one user is never changed: it is copied first, the page before the leaf.
 */
import { assert } from '../../base/assert.ts';
import {
  type LeafStore,
  leafBlocks,
  pageLeaves,
  smallLeafNumbers,
  type TopPage,
} from './leaf-store.ts';

export const holeValue = 0;
export const zeroValue = -1;

const runsMax = (smallLeafNumbers - 2) / 2;
/** A full leaf is worth a look for becoming small when at least this many of its blocks were set at once. */
const shrinkProbeBlocks = 128;

/** Called for each run of a range, in order. `value` as above; return false to stop. */
export type RunVisitor = (blockCount: number, value: number) => boolean;

/** Joins neighbours of a comparison until the visitor has enough. */
class CompareRuns {
  readonly #visitor: (blockCount: number, isDifferent: boolean) => boolean;
  #count = 0;
  #isDifferent = false;
  isStopped = false;
  /** Blocks of the runs that the visitor took. */
  blocksTold = 0;

  constructor(visitor: (blockCount: number, isDifferent: boolean) => boolean) {
    this.#visitor = visitor;
  }

  add(count: number, isDifferent: boolean): void {
    if (isDifferent !== this.#isDifferent) this.end();
    this.#isDifferent = isDifferent;
    this.#count += count;
  }

  end(): void {
    if (this.#count === 0 || this.isStopped) return;
    if (this.#visitor(this.#count, this.#isDifferent)) this.blocksTold += this.#count;
    else this.isStopped = true;
    this.#count = 0;
  }
}

export class BlockMap {
  readonly #store: LeafStore;
  #pages: (TopPage | undefined)[] = [];
  #leafCount: number;
  #mappedBlocks = 0;
  /** Scratch of one small leaf's runs while it is rebuilt. */
  readonly #runStarts = new Int32Array(runsMax + 4);
  readonly #runValues = new Float64Array(runsMax + 4);

  constructor(store: LeafStore, blockCount: number) {
    this.#store = store;
    this.#leafCount = Math.ceil(blockCount / leafBlocks);
  }

  /** Blocks with data. */
  get mappedBlocks(): number {
    return this.#mappedBlocks;
  }

  /** A map with the same content that shares everything: costs a word per 2 GiB. */
  fork(): BlockMap {
    const copy = new BlockMap(this.#store, 0);
    copy.#leafCount = this.#leafCount;
    copy.#mappedBlocks = this.#mappedBlocks;
    copy.#pages = [...this.#pages];
    for (const page of copy.#pages) if (page !== undefined) page.users += 1;
    return copy;
  }

  /** Gives all leaves back; the map is unusable afterwards. */
  release(): void {
    for (const page of this.#pages) if (page !== undefined) this.#store.releasePage(page);
    this.#pages = [];
    this.#leafCount = 0;
    this.#mappedBlocks = 0;
  }

  /** Room for `blockCount` blocks; what lies beyond a smaller count is forgotten. */
  resize(blockCount: number): void {
    const capacity = this.#leafCount * leafBlocks;
    if (blockCount < capacity) this.set(blockCount, capacity - blockCount, holeValue);
    this.#leafCount = Math.ceil(blockCount / leafBlocks);
    const pageCount = Math.ceil(this.#leafCount / pageLeaves);
    for (const page of this.#pages.splice(pageCount)) {
      if (page !== undefined) this.#store.releasePage(page);
    }
  }

  #entry(leaf: number): number {
    return this.#pages[Math.floor(leaf / pageLeaves)]?.entries[leaf % pageLeaves] ?? 0;
  }

  /** The page of a leaf, for changing: made or copied when necessary. */
  #ownPage(leaf: number): Float64Array {
    const index = Math.floor(leaf / pageLeaves);
    let page = this.#pages[index];
    if (page === undefined) page = this.#store.allocatePage();
    else if (page.users > 1) page = this.#store.copyPage(page);
    else return page.entries;
    this.#pages[index] = page;
    return page.entries;
  }

  #setEntry(leaf: number, entry: number): void {
    this.#ownPage(leaf)[leaf % pageLeaves] = entry;
  }

  /** Value of one block. Blocks beyond the end are holes. */
  lookup(block: number): number {
    const leaf = Math.floor(block / leafBlocks);
    const entry = this.#entry(leaf);
    if (entry === 0) return holeValue;
    const within = block - leaf * leafBlocks;
    if (entry > 0) {
      const ref = entry - 1;
      return this.#store.slab(ref)[this.#store.indexOf(ref) + within] ?? holeValue;
    }
    return this.#lookupSmall(-entry - 1, within);
  }

  #lookupSmall(ref: number, within: number): number {
    const slab = this.#store.slab(ref);
    const at = this.#store.indexOf(ref);
    let run = slab[at] ?? 0;
    let start = 0;
    do {
      run -= 1;
      start = slab[at + 2 + run * 2] ?? 0;
    } while (start > within);
    const value = slab[at + 3 + run * 2] ?? 0;
    return value > 0 ? value + within - start : value;
  }

  /** Runs of [block, block + count), neighbours that continue each other joined. */
  visit(block: number, count: number, visitor: RunVisitor): void {
    let runCount = 0;
    let runValue = holeValue;
    let at = block;
    const end = block + count;
    while (at < end) {
      const value = this.lookup(at);
      const length = Math.min(end - at, this.#runLength(at, value));
      const expected = runValue > 0 ? runValue + runCount : runValue;
      if (runCount > 0 && value === expected) {
        runCount += length;
      } else {
        if (runCount > 0 && !visitor(runCount, runValue)) return;
        runCount = length;
        runValue = value;
      }
      at += length;
    }
    if (runCount > 0) visitor(runCount, runValue);
  }

  /**
   * Runs of [block, block + count) in which this map and `other` differ or do not, neighbours joined, until `leavesMax`
   * leaves were compared: those that both share cost nothing. Returns how many blocks were looked at.
   */
  compare(
    other: BlockMap,
    {
      block,
      count,
      leavesMax,
    }: { readonly block: number; readonly count: number; leavesMax: number },
    visitor: (blockCount: number, isDifferent: boolean) => boolean,
  ): number {
    const runs = new CompareRuns(visitor);
    const end = block + count;
    let leavesLeft = leavesMax;
    let at = block;
    while (at < end && leavesLeft > 0 && !runs.isStopped) {
      const same = this.#sharedBlocks(other, at);
      if (same > 0) {
        const length = Math.min(end - at, same);
        runs.add(length, false);
        at += length;
        continue;
      }
      leavesLeft -= 1;
      const leafEnd = Math.min(end, (Math.floor(at / leafBlocks) + 1) * leafBlocks);
      for (; at < leafEnd && !runs.isStopped; at += 1) {
        runs.add(1, this.lookup(at) !== other.lookup(at));
      }
    }
    runs.end();
    return runs.blocksTold;
  }

  /** How many blocks from `block` on lie in pages or leaves that both maps share, or that both lack. */
  #sharedBlocks(other: BlockMap, block: number): number {
    const pageBlocks = pageLeaves * leafBlocks;
    const page = Math.floor(block / pageBlocks);
    if (this.#pages[page] === other.#pages[page]) return (page + 1) * pageBlocks - block;
    const leaf = Math.floor(block / leafBlocks);
    return this.#entry(leaf) === other.#entry(leaf) ? (leaf + 1) * leafBlocks - block : 0;
  }

  /** How many blocks from `block` on, within its leaf, surely continue `value`. */
  #runLength(block: number, value: number): number {
    const leaf = Math.floor(block / leafBlocks);
    const within = block - leaf * leafBlocks;
    const entry = this.#entry(leaf);
    if (entry === 0) return leafBlocks - within;
    const ref = Math.abs(entry) - 1;
    const slab = this.#store.slab(ref);
    const at = this.#store.indexOf(ref);
    if (entry < 0) {
      const runs = slab[at] ?? 0;
      for (let run = 0; run < runs; run += 1) {
        const start = slab[at + 2 + run * 2] ?? 0;
        if (start > within) return start - within;
      }
      return leafBlocks - within;
    }
    const step = value > 0 ? 1 : 0;
    let length = 1;
    while (within + length < leafBlocks && slab[at + within + length] === value + step * length) {
      length += 1;
    }
    return length;
  }

  /** Sets [block, block + count) to `value` (addresses count up). The range must lie inside the map. */
  set(block: number, count: number, value: number): void {
    let at = block;
    let remaining = count;
    let next = value;
    while (remaining > 0) {
      const leaf = Math.floor(at / leafBlocks);
      assert(leaf < this.#leafCount, 'block beyond the map');
      const within = at - leaf * leafBlocks;
      const length = Math.min(remaining, leafBlocks - within);
      this.#setInLeaf(leaf, within, length, next);
      at += length;
      remaining -= length;
      if (next > 0) next += length;
    }
  }

  #setInLeaf(leaf: number, within: number, count: number, value: number): void {
    const entry = this.#entry(leaf);
    if (entry === 0 && value === holeValue) return;
    // From here on the leaf's own count of users tells whether it is shared.
    this.#ownPage(leaf);
    if (entry > 0 && count < leafBlocks) {
      const own = this.#ownFull(leaf, entry - 1);
      this.#setInFull(own, within, count, value);
      if (count >= shrinkProbeBlocks) this.#tryShrink(leaf, own);
      return;
    }
    const mappedBefore = this.#mappedInLeaf(entry);
    if (count === leafBlocks) {
      this.#drop(leaf);
      this.#runStarts[0] = 0;
      this.#runValues[0] = value;
      this.#storeRuns(leaf, 1, value === holeValue);
    } else {
      const runs = this.#paintRuns(entry, within, count, value);
      if (runs <= runsMax) this.#storeRuns(leaf, runs, false);
      else this.#paintFull(this.#promote(leaf, entry), within, count, value);
    }
    this.#mappedBlocks += this.#mappedInLeaf(this.#entry(leaf)) - mappedBefore;
  }

  /** Paints part of a full leaf that nobody shares, and keeps count of mapped blocks. */
  #setInFull(ref: number, within: number, count: number, value: number): void {
    const slab = this.#store.slab(ref);
    const at = this.#store.indexOf(ref) + within;
    let change = value > 0 ? count : 0;
    for (let index = 0; index < count; index += 1) {
      if ((slab[at + index] ?? 0) > 0) change -= 1;
    }
    this.#mappedBlocks += change;
    this.#paintFull(ref, within, count, value);
  }

  #paintFull(ref: number, within: number, count: number, value: number): void {
    const slab = this.#store.slab(ref);
    const at = this.#store.indexOf(ref) + within;
    for (let index = 0; index < count; index += 1) {
      slab[at + index] = value > 0 ? value + index : value;
    }
  }

  /** The full leaf, copied first when it is shared. */
  #ownFull(leaf: number, ref: number): number {
    if (!this.#store.isShared(ref)) return ref;
    const own = this.#store.allocateFull();
    const from = this.#store.indexOf(ref);
    this.#store
      .slab(own)
      .set(this.#store.slab(ref).subarray(from, from + leafBlocks), this.#store.indexOf(own));
    this.#store.release(ref, true);
    this.#setEntry(leaf, own + 1);
    return own;
  }

  /** Makes a full leaf small when its content has become simple. */
  #tryShrink(leaf: number, ref: number): void {
    const slab = this.#store.slab(ref);
    const at = this.#store.indexOf(ref);
    let runs = 0;
    let expected = Number.NaN;
    for (let block = 0; block < leafBlocks; block += 1) {
      const value = slab[at + block] ?? 0;
      if (value !== expected) {
        if (runs === runsMax) return;
        this.#runStarts[runs] = block;
        this.#runValues[runs] = value;
        runs += 1;
      }
      expected = value > 0 ? value + 1 : value;
    }
    this.#storeRuns(leaf, runs, runs === 1 && this.#runValues[0] === holeValue);
  }

  /** Runs of a small (or empty) leaf with [within, within + count) painted, into the scratch; returns how many. */
  #paintRuns(entry: number, within: number, count: number, value: number): number {
    if (entry === 0) {
      const runs = within > 0 ? this.#pushRun(0, 0, holeValue) : 0;
      const painted = this.#pushRun(runs, within, value);
      const end = within + count;
      return end < leafBlocks ? this.#pushRun(painted, end, holeValue) : painted;
    }
    const slab = this.#store.slab(-entry - 1);
    const at = this.#store.indexOf(-entry - 1);
    const oldRuns = slab[at] ?? 0;
    const end = within + count;
    let runs = 0;
    let isPainted = false;
    for (let run = 0; run < oldRuns; run += 1) {
      const start = slab[at + 2 + run * 2] ?? 0;
      const next = run + 1 < oldRuns ? (slab[at + 4 + run * 2] ?? leafBlocks) : leafBlocks;
      const old = slab[at + 3 + run * 2] ?? holeValue;
      if (start < within) runs = this.#pushRun(runs, start, old);
      if (!isPainted && next > within) {
        runs = this.#pushRun(runs, within, value);
        isPainted = true;
      }
      if (next > end) {
        const from = Math.max(start, end);
        runs = this.#pushRun(runs, from, old > 0 ? old + from - start : old);
      }
    }
    return runs;
  }

  /** Adds a run to the scratch unless it continues the one before. */
  #pushRun(runs: number, start: number, value: number): number {
    if (runs > 0) {
      const before = this.#runValues[runs - 1] ?? 0;
      const length = start - (this.#runStarts[runs - 1] ?? 0);
      if (value === (before > 0 ? before + length : before)) return runs;
    }
    this.#runStarts[runs] = start;
    this.#runValues[runs] = value;
    return runs + 1;
  }

  /** Makes the leaf a small one with the runs in the scratch (or empty). */
  #storeRuns(leaf: number, runs: number, isEmpty: boolean): void {
    const entry = this.#entry(leaf);
    if (isEmpty || (runs === 1 && this.#runValues[0] === holeValue)) {
      this.#drop(leaf);
      return;
    }
    let ref = -entry - 1;
    if (entry >= 0 || this.#store.isShared(ref)) {
      this.#drop(leaf);
      ref = this.#store.allocateSmall();
      this.#setEntry(leaf, -(ref + 1));
    }
    const slab = this.#store.slab(ref);
    const at = this.#store.indexOf(ref);
    slab[at] = runs;
    for (let run = 0; run < runs; run += 1) {
      slab[at + 2 + run * 2] = this.#runStarts[run] ?? 0;
      slab[at + 3 + run * 2] = this.#runValues[run] ?? 0;
    }
  }

  /** Turns a small leaf into a full one with the same content; returns it. */
  #promote(leaf: number, entry: number): number {
    const full = this.#store.allocateFull();
    const slab = this.#store.slab(full);
    const at = this.#store.indexOf(full);
    for (let block = 0; block < leafBlocks; block += 1) {
      slab[at + block] = this.#lookupSmall(-entry - 1, block);
    }
    this.#store.release(-entry - 1, false);
    this.#setEntry(leaf, full + 1);
    return full;
  }

  #drop(leaf: number): void {
    const entry = this.#entry(leaf);
    if (entry !== 0) this.#store.release(Math.abs(entry) - 1, entry > 0);
    this.#setEntry(leaf, 0);
  }

  /** Blocks with data in a leaf. */
  #mappedInLeaf(entry: number): number {
    if (entry === 0) return 0;
    const ref = Math.abs(entry) - 1;
    const slab = this.#store.slab(ref);
    const at = this.#store.indexOf(ref);
    let mapped = 0;
    if (entry > 0) {
      for (let block = 0; block < leafBlocks; block += 1) {
        if ((slab[at + block] ?? 0) > 0) mapped += 1;
      }
      return mapped;
    }
    const runs = slab[at] ?? 0;
    for (let run = 0; run < runs; run += 1) {
      const start = slab[at + 2 + run * 2] ?? 0;
      const next = run + 1 < runs ? (slab[at + 4 + run * 2] ?? leafBlocks) : leafBlocks;
      if ((slab[at + 3 + run * 2] ?? 0) > 0) mapped += next - start;
    }
    return mapped;
  }
}
