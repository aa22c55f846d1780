/**
 * BlockMap: where each 4 KiB block of one volume (or of a snapshot) lies in the log.
 *
 *     top: pages of 1,024 entries, none for 2 GiB where nothing is mapped; one entry per 2 MiB leaf:
 *                                         0 = nothing mapped
 *                                         +(ref + 1) = full leaf: 512 values
 *                                         -(ref + 1) = small leaf: up to 15 runs, sorted by first block
 *     value: 0 hole · -1 allocated zeros · > 0 address of the block · -2 not known yet
 *     run:   a value > 0 counts up with the blocks of the run; the others stay
 *
 * A region written in large pieces stays a small leaf (256 B for 2 MiB); random writes make it a full one (4 KiB), and
 * writing it over in large pieces makes it small again.
 *
 * A map with a source begins with all leaves unknown. A write to an unknown leaf sets its blocks and leaves the others
 * unknown; nothing is read for it. Leaves that a later source tells of can be dropped again: their page names that source
 * from then on, whichever maps share it. Who looks at an unknown block has its leaf filled from the source first:
 *
 *     what a client waits for:   peek, visitKnown ─▶ unknown ─▶ fillLater, which reads off the main thread ─▶ again
 *     tools, background slices:  lookup, visit, compare fill in place
 *
 * Invariants
 * 1. Runs of a small leaf cover its 512 blocks without gap, the first starts at block 0.
 * 2. A page or leaf with more than one user is never changed: it is copied first, the page before the leaf. Filling what is
 *    unknown is no change: all users of a page have the same content, known or not.
 * 3. An unknown block has not changed since the position that the source stands for. So what a source told is put in only
 *    while it is still the leaf's source: meanwhile the leaf may have been changed and dropped again.
 */
import { assert } from '../../base/assert.ts';
import {
  copyValues,
  type DropFrom,
  dropLeaves,
  hasUnknown,
  mappedIn,
  runLengthIn,
  takeCount,
  valueIn,
} from './leaf-content.ts';
import { LeafFills } from './leaf-fills.ts';
import { LeafRuns, runsMax } from './leaf-runs.ts';
import type { LeafSource } from './leaf-source.ts';
import {
  isUnknownLeaf,
  type LeafStore,
  leafBlocks,
  pageLeaves,
  type TopPage,
  unknownLeafEntry,
  unknownValue,
} from './leaf-store.ts';

export const holeValue = 0;
export const zeroValue = -1;

/** A full leaf may have become small when at least this many of its blocks were set at once. */
const shrinkProbeBlocks = 128;

/** Called for each run of a range, in order. `value` as above; return false to stop. */
export type RunVisitor = (blockCount: number, value: number) => boolean;

export class BlockMap {
  readonly #store: LeafStore;
  /** Of pages that name no other. */
  #source: LeafSource | undefined;
  #pages: (TopPage | undefined)[] = [];
  #leafCount: number;
  /** From this leaf on nothing is unknown: the map ended here once. */
  #sourceLeaves: number;
  readonly #fills = new LeafFills(
    (leaf) => this.#sourceOf(leaf),
    (leaf, values) => {
      this.#install(leaf, values);
    },
  );
  /** Position of the record that changes the map now; 0 = nobody keeps count, so nothing may be dropped. */
  changedAt = 0;
  #replacedBlocks = 0;
  /** Of one leaf while it is rebuilt. */
  readonly #runs = new LeafRuns();

  /** Without a source all is a hole at first. */
  constructor(store: LeafStore, blockCount: number, source?: LeafSource) {
    this.#store = store;
    this.#source = source;
    this.#leafCount = Math.ceil(blockCount / leafBlocks);
    this.#sourceLeaves = source === undefined ? 0 : this.#leafCount;
  }

  /** Blocks with data, as far as leaves are known. */
  get mappedBlocks(): number {
    let blocks = 0;
    for (const page of this.#pages) blocks += page?.mappedBlocks ?? 0;
    return blocks;
  }

  /** Blocks with data that something else was put in the place of since this map was made; counts every time. */
  get replacedBlocks(): number {
    return this.#replacedBlocks;
  }

  /** A map with the same content that shares everything: costs a word per 2 GiB. */
  fork(): BlockMap {
    const copy = new BlockMap(this.#store, 0, this.#source);
    copy.#leafCount = this.#leafCount;
    copy.#sourceLeaves = this.#sourceLeaves;
    copy.#pages = [...this.#pages];
    for (const page of copy.#pages) if (page !== undefined) page.users += 1;
    return copy;
  }

  /** Whether the map was given back. */
  get isReleased(): boolean {
    return this.#sourceLeaves === Number.POSITIVE_INFINITY;
  }

  /** Gives all leaves back. Nothing is known afterwards: whoever still reads gets an error, no zeros. */
  release(): void {
    for (const page of this.#pages) if (page !== undefined) this.#store.releasePage(page);
    this.#pages = [];
    this.#leafCount = 0;
    this.#source = undefined;
    this.#sourceLeaves = Number.POSITIVE_INFINITY;
  }

  /** Room for `blockCount` blocks; what lies beyond a smaller count is forgotten. */
  resize(blockCount: number): void {
    const leafCount = Math.ceil(blockCount / leafBlocks);
    const pageCount = Math.ceil(leafCount / pageLeaves);
    // Leaf by leaf only as far as a page stays: those behind are given back whole.
    const end = Math.min(this.#leafCount, pageCount * pageLeaves) * leafBlocks;
    if (blockCount < end) this.set(blockCount, end - blockCount, holeValue);
    this.#leafCount = leafCount;
    this.#sourceLeaves = Math.min(this.#sourceLeaves, leafCount);
    for (const page of this.#pages.splice(pageCount)) {
      if (page !== undefined) this.#store.releasePage(page);
    }
  }

  #entry(leaf: number): number {
    const page = this.#pages[Math.floor(leaf / pageLeaves)];
    if (page !== undefined) return page.entries[leaf % pageLeaves] ?? 0;
    return leaf < this.#sourceLeaves ? unknownLeafEntry : 0;
  }

  /** The page of a leaf, for changing: made or copied when necessary. */
  #ownPage(leaf: number): TopPage {
    const index = Math.floor(leaf / pageLeaves);
    let page = this.#pages[index];
    if (page === undefined) page = this.#newPage(index);
    else if (page.users > 1) page = this.#store.copyPage(page);
    else return page;
    this.#pages[index] = page;
    return page;
  }

  /** A page of what is not in memory; nothing is read for it. */
  #newPage(index: number): TopPage {
    const page = this.#store.allocatePage();
    const unknown = this.#unknownLeaves(index);
    if (unknown > 0 && !this.#isEmptyPage(index)) page.entries.fill(unknownLeafEntry, 0, unknown);
    return page;
  }

  /** Leaves of a page that is not in memory of which nothing is known. */
  #unknownLeaves(index: number): number {
    return Math.min(pageLeaves, this.#sourceLeaves - index * pageLeaves);
  }

  /** Whether nothing is surely mapped in a page that is not in memory. */
  #isEmptyPage(index: number): boolean {
    const unknown = this.#unknownLeaves(index);
    return unknown > 0 && this.#source?.isEmpty(index * pageLeaves, unknown) === true;
  }

  /** Whether the whole leaf of a block is in memory. */
  isKnown(block: number): boolean {
    return !hasUnknown(this.#store, this.#entry(Math.floor(block / leafBlocks)));
  }

  /** Where what is unknown of a leaf comes from; undefined: nothing is, or nobody knows it any more. */
  #sourceOf(leaf: number): LeafSource | undefined {
    if (this.isKnown(leaf * leafBlocks)) return undefined;
    return this.#pages[Math.floor(leaf / pageLeaves)]?.source ?? this.#source;
  }

  /** Fills what is unknown of the leaf of `block`, in place; it stays so when the source cannot be read. */
  fillNow(block: number): void {
    const leaf = Math.floor(block / leafBlocks);
    if (this.#skipEmptyPage(leaf)) return;
    const loaded = this.#sourceOf(leaf)?.load(leaf);
    if (loaded !== undefined) this.#install(leaf, loaded);
  }

  /** A page that is not in memory and surely has nothing mapped becomes the page of holes, which costs nothing. */
  #skipEmptyPage(leaf: number): boolean {
    const index = Math.floor(leaf / pageLeaves);
    if (this.#pages[index] !== undefined || !this.#isEmptyPage(index)) return false;
    this.#pages[index] = this.#store.holePage();
    return true;
  }

  /**
   * Fills what is unknown of the leaf of `block`, reading off the main thread. True: it is done, as far as it can be, and
   * `done` is not called. False: `done` is called later; whoever finds a block still unknown then may not read it, or asks
   * again when other leaves took the memory.
   */
  fillLater(block: number, done: () => void): boolean {
    const leaf = Math.floor(block / leafBlocks);
    if (this.#skipEmptyPage(leaf)) return true;
    return this.#fills.later(leaf, done);
  }

  /** Puts what the source told into the unknown blocks of a leaf. */
  #install(leaf: number, loaded: Float64Array): void {
    const index = Math.floor(leaf / pageLeaves);
    const page = this.#pages[index] ?? this.#newPage(index);
    this.#pages[index] = page;
    if (this.isKnown(leaf * leafBlocks)) return;
    const entry = this.#entry(leaf);
    const values = fillScratch;
    copyValues(this.#store, entry, values, 0);
    for (let block = 0; block < leafBlocks; block += 1) {
      if (values[block] === unknownValue) values[block] = loaded[block] ?? holeValue;
    }
    this.#replace(page, leaf, values);
  }

  /** The first leaf from `leaf` on of which something is unknown; undefined: none is left. */
  nextUnknown(leaf: number): number | undefined {
    const end = Math.min(this.#sourceLeaves, this.#leafCount);
    for (let at = leaf; at < end; at += 1) {
      if (this.#skipEmptyPage(at)) at = (Math.floor(at / pageLeaves) + 1) * pageLeaves - 1;
      else if (!this.isKnown(at * leafBlocks)) return at;
    }
    return undefined;
  }

  /**
   * Drops leaves that did not change from `position` on until `isEnough`; they are unknown then. `source` tells of this map at
   * that position, which is none before that of any source it has. Returns the page to go on with; undefined at the end.
   */
  drop({ position, source, page: first }: DropFrom, isEnough: () => boolean): number | undefined {
    for (let index = first; index < this.#pages.length; index += 1) {
      if (isEnough()) return index;
      const page = this.#pages[index];
      if (page !== undefined && dropLeaves(this.#store, page, position)) page.source = source;
    }
    return undefined;
  }

  /** Puts a leaf with these values in place of one, for all users of the page. */
  #replace(page: TopPage, leaf: number, values: Float64Array): void {
    const { entries } = page;
    const at = leaf % pageLeaves;
    const before = entries[at] ?? 0;
    const isSmall = this.#runs.takeFrom(values, 0);
    let entry = 0;
    if (!isSmall) {
      const ref = this.#store.allocateFull();
      this.#store.slab(ref).set(values, this.#store.indexOf(ref));
      entry = ref + 1;
    } else if (!this.#runs.isHole) {
      const ref = this.#store.allocateSmall();
      this.#runs.writeTo(this.#store, ref);
      entry = -(ref + 1);
    }
    page.mappedBlocks += mappedIn(this.#store, entry) - takeCount(this.#store, page, at);
    entries[at] = entry;
    if (before !== 0) this.#store.release(Math.abs(before) - 1, before > 0);
  }

  #setEntry(leaf: number, entry: number): void {
    this.#ownPage(leaf).entries[leaf % pageLeaves] = entry;
  }

  /** Value of one block, unknownValue when its leaf is not in memory. Blocks beyond the end are holes. */
  peek(block: number): number {
    const leaf = Math.floor(block / leafBlocks);
    return valueIn(this.#store, this.#entry(leaf), block - leaf * leafBlocks);
  }

  /** Writes what `peek` says of each block of a leaf to `target`. */
  peekLeaf(leaf: number, target: Float64Array): void {
    copyValues(this.#store, this.#entry(leaf), target, 0);
  }

  /** As `peek`, but fills the leaf in place: unknownValue when it cannot be read. */
  lookup(block: number): number {
    const value = this.peek(block);
    if (value !== unknownValue) return value;
    this.fillNow(block);
    return this.peek(block);
  }

  /** Runs of [block, block + count), neighbours that continue each other joined; fills leaves in place. */
  visit(block: number, count: number, visitor: RunVisitor): void {
    this.#visit(block, count, visitor, true);
  }

  /** As `visit`, of what is in memory: a run of unknownValue is one whose leaf is not, and ends with the leaf. */
  visitKnown(block: number, count: number, visitor: RunVisitor): void {
    this.#visit(block, count, visitor, false);
  }

  #visit(block: number, count: number, visitor: RunVisitor, fills: boolean): void {
    let runCount = 0;
    let runValue = holeValue;
    let at = block;
    const end = block + count;
    while (at < end) {
      const value = fills ? this.lookup(at) : this.peek(at);
      const length = Math.min(end - at, this.#runLength(at, value));
      const expected = runValue > 0 ? runValue + runCount : runValue;
      if (runCount > 0 && value === expected && value !== unknownValue) {
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

  /** How many blocks from `block` on, within its leaf or a page of holes, surely continue `value`. */
  #runLength(block: number, value: number): number {
    const leaf = Math.floor(block / leafBlocks);
    const index = Math.floor(leaf / pageLeaves);
    if (this.#isHolePage(index)) return (index + 1) * pageLeaves * leafBlocks - block;
    return runLengthIn(this.#store, this.#entry(leaf), block - leaf * leafBlocks, value);
  }

  #isHolePage(index: number): boolean {
    const page = this.#pages[index];
    if (page === undefined) return index * pageLeaves >= this.#sourceLeaves;
    return this.#store.isHolePage(page);
  }

  /** How many blocks from `block` on surely are the same in `other`: in pages or leaves that both share, or that both lack. */
  sharedBlocks(other: BlockMap, block: number): number {
    const pageBlocks = pageLeaves * leafBlocks;
    const index = Math.floor(block / pageBlocks);
    const page = this.#pages[index];
    const isSourced = this.#source !== undefined || other.#source !== undefined;
    const isSame = page === other.#pages[index] && (page !== undefined || !isSourced);
    if (isSame) return (index + 1) * pageBlocks - block;
    const leaf = Math.floor(block / leafBlocks);
    const entry = this.#entry(leaf);
    const isShared = entry === other.#entry(leaf) && !isUnknownLeaf(entry);
    return isShared ? (leaf + 1) * leafBlocks - block : 0;
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
    if (this.#entry(leaf) === 0 && value === holeValue) return;
    // From here on the leaf's own count of users tells whether it is shared.
    const page = this.#ownPage(leaf);
    const entry = this.#entry(leaf);
    if (this.changedAt > 0) this.#store.noteChange(page, leaf % pageLeaves, this.changedAt);
    if (entry > 0 && count < leafBlocks) {
      const own = this.#ownFull(leaf, entry - 1);
      this.#setInFull(page, own, { within, count, value });
      if (count >= shrinkProbeBlocks) this.#tryShrink(leaf, own);
      return;
    }
    const mappedBefore = takeCount(this.#store, page, leaf % pageLeaves);
    if (count === leafBlocks) {
      this.#drop(leaf);
      this.#runs.clear();
      this.#runs.push(0, value);
      this.#storeRuns(leaf);
    } else {
      this.#runs.takePainted(this.#store, entry, { within, count, value });
      if (this.#runs.count <= runsMax) this.#storeRuns(leaf);
      else this.#paintFull(this.#promote(leaf, entry), within, count, value);
    }
    const change = mappedIn(this.#store, this.#entry(leaf)) - mappedBefore;
    page.mappedBlocks += change;
    this.#replacedBlocks += (value > 0 ? count : 0) - change;
  }

  /** Paints part of a full leaf that nobody shares, and keeps count of mapped blocks. */
  #setInFull(
    page: TopPage,
    ref: number,
    { within, count, value }: { readonly within: number; readonly count: number; value: number },
  ): void {
    const slab = this.#store.slab(ref);
    const at = this.#store.indexOf(ref) + within;
    let change = value > 0 ? count : 0;
    for (let index = 0; index < count; index += 1) {
      if ((slab[at + index] ?? 0) > 0) change -= 1;
    }
    page.mappedBlocks += change;
    this.#replacedBlocks += (value > 0 ? count : 0) - change;
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
    const isSmall = this.#runs.takeFrom(this.#store.slab(ref), this.#store.indexOf(ref));
    if (isSmall) this.#storeRuns(leaf);
  }

  /** Makes the leaf a small one with the runs in the scratch (or empty). */
  #storeRuns(leaf: number): void {
    const entry = this.#entry(leaf);
    if (this.#runs.isHole) {
      this.#drop(leaf);
      return;
    }
    let ref = -entry - 1;
    if (entry >= 0 || this.#store.isShared(ref)) {
      this.#drop(leaf);
      ref = this.#store.allocateSmall();
      this.#setEntry(leaf, -(ref + 1));
    }
    this.#runs.writeTo(this.#store, ref);
  }

  /** Turns a small leaf into a full one with the same content; returns it. */
  #promote(leaf: number, entry: number): number {
    const full = this.#store.allocateFull();
    copyValues(this.#store, entry, this.#store.slab(full), this.#store.indexOf(full));
    this.#store.release(-entry - 1, false);
    this.#setEntry(leaf, full + 1);
    return full;
  }

  #drop(leaf: number): void {
    const entry = this.#entry(leaf);
    if (entry !== 0) this.#store.release(Math.abs(entry) - 1, entry > 0);
    this.#setEntry(leaf, 0);
  }
}

/** Of one leaf while it is filled: nothing else runs meanwhile. */
const fillScratch = new Float64Array(leafBlocks);
