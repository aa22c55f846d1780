/**
 * Leaf store: memory of the maps' leaves, in slabs of 64 MiB, never one typed array per leaf (98 k copies/s and garbage
 * collections of 135 ms against 825 k/s and 7 ms, measured).
 *
 *     slab = Float64Array of 8 Mi numbers = 16,384 units of 4 KiB
 *     unit = one full leaf (512 numbers)      or 16 small leaves (32 numbers each)
 *     leaf reference = index of its first number / 32, so a full leaf's reference is a multiple of 16
 *
 * Leaves, and the pages of a map's top that list them, are shared between maps (heads, snapshots, views) and counted; who
 * wants to change a shared one copies it first.
 */
import { assert, present } from '../../base/assert.ts';
import type { LeafSource } from './leaf-source.ts';

export const leafBlocks = 512;
/** Numbers of a small leaf: a count, then up to 15 runs of (first block, value). */
export const smallLeafNumbers = 32;
/** Leaves that one page of a map's top lists: 2 GiB of a volume. */
export const pageLeaves = 1024;
const slabNumbers = 8 * 2 ** 20;
const unitRefs = leafBlocks / smallLeafNumbers;
const refsPerSlab = slabNumbers / smallLeafNumbers;
/**
 * Arrays of pages given back that are kept for the next ones, 8 KiB each. Who looks at one moment after the other needs a page or
 * two for each: a report about 2,400 snapshots left 38 MiB of them to the garbage collector, which takes long to come for them.
 */
const freePagesMax = 128;

/** A page of a map's top: one entry per leaf (see BlockMap). */
export interface TopPage {
  readonly entries: Float64Array;
  users: number;
  /** Blocks with data in its leaves. */
  mappedBlocks: number;
  /** By leaf: position of the newest change while the page was in memory. Undefined: none was changed. */
  changedAt: Float64Array | undefined;
  /** By leaf: blocks with data in those that were dropped. Undefined: none was. */
  dropped: Uint16Array | undefined;
  /** Where what is unknown in it comes from, for every map that it is a page of; undefined: from the map's own source. */
  source: LeafSource | undefined;
}

/** Value of a block whose leaf is not in memory. */
export const unknownValue = -2;
/** The small leaf of which nothing is known: in all maps the same, it costs nothing and is never given back. */
const unknownLeaf = 0;
/** Entry of a page for a leaf of which nothing is in memory. */
export const unknownLeafEntry = -(unknownLeaf + 1);

export function isUnknownLeaf(entry: number): boolean {
  return entry === unknownLeafEntry;
}

export class LeafStore {
  readonly #slabs: Float64Array[] = [];
  /** Users of each leaf, by reference. */
  readonly #users: Uint32Array[] = [];
  readonly #freeFull: number[] = [];
  readonly #freeSmall: number[] = [];
  /** Of pages that nobody has any more, with what was in them. */
  readonly #freePages: Float64Array[] = [];
  /** Nothing is mapped in its leaves: shared by all maps, its one user of its own keeps anyone from changing it. */
  readonly #holePage: TopPage;
  #nextRef = 0;
  #usedNumbers = 0;

  constructor() {
    const ref = this.allocateSmall();
    assert(ref === unknownLeaf, 'the unknown leaf is the first one');
    this.slab(ref)[this.indexOf(ref)] = 1;
    this.slab(ref)[this.indexOf(ref) + 3] = unknownValue;
    this.#holePage = this.allocatePage();
    this.#usedNumbers = 0;
  }

  /** RAM of the leaves and pages in use. */
  get usedBytes(): number {
    return this.#usedNumbers * 8;
  }

  /** An empty page with one user. */
  allocatePage(): TopPage {
    this.#usedNumbers += pageLeaves;
    return {
      entries: this.#zeros(),
      users: 1,
      mappedBlocks: 0,
      changedAt: undefined,
      dropped: undefined,
      source: undefined,
    };
  }

  /** A number for each leaf of a page. */
  #zeros(): Float64Array {
    return this.#freePages.pop()?.fill(0) ?? new Float64Array(pageLeaves);
  }

  #giveBack(numbers: Float64Array): void {
    if (this.#freePages.length < freePagesMax) this.#freePages.push(numbers);
  }

  /** The page without data, for one user more; as for any shared page, whoever changes it copies it first. */
  holePage(): TopPage {
    this.#holePage.users += 1;
    return this.#holePage;
  }

  isHolePage(page: TopPage): boolean {
    return page === this.#holePage;
  }

  /** A page of its own for one user of a shared one: all its leaves get another user. */
  copyPage(page: TopPage): TopPage {
    page.users -= 1;
    const copy = this.allocatePage();
    copy.entries.set(page.entries);
    copy.mappedBlocks = page.mappedBlocks;
    copy.dropped = page.dropped?.slice();
    copy.source = page.source;
    if (page.changedAt !== undefined) {
      copy.changedAt = this.#zeros();
      copy.changedAt.set(page.changedAt);
      this.#usedNumbers += pageLeaves;
    }
    for (const entry of copy.entries) if (entry !== 0) this.share(Math.abs(entry) - 1);
    return copy;
  }

  /** A leaf of a page was changed by the record at `position`. */
  noteChange(page: TopPage, leaf: number, position: number): void {
    if (page.changedAt === undefined) {
      page.changedAt = this.#zeros();
      this.#usedNumbers += pageLeaves;
    }
    // A resize is published when durable, and write-back writes behind it before that.
    page.changedAt[leaf] = Math.max(page.changedAt[leaf] ?? 0, position);
  }

  /** One user less; the last one gives its leaves back, and the page is another's: it may not be looked at any more. */
  releasePage(page: TopPage): void {
    page.users -= 1;
    if (page.users > 0) return;
    this.#usedNumbers -= page.changedAt === undefined ? pageLeaves : pageLeaves * 2;
    for (const entry of page.entries) {
      if (entry !== 0) this.release(Math.abs(entry) - 1, entry > 0);
    }
    this.#giveBack(page.entries);
    if (page.changedAt !== undefined) this.#giveBack(page.changedAt);
  }

  /** The slab that holds leaf `ref`; its numbers start at `indexOf(ref)`. */
  slab(ref: number): Float64Array {
    return present(this.#slabs[Math.floor(ref / refsPerSlab)], 'slab');
  }

  indexOf(ref: number): number {
    return (ref % refsPerSlab) * smallLeafNumbers;
  }

  allocateFull(): number {
    const ref = this.#freeFull.pop() ?? this.#newUnit();
    this.#setUsers(ref, 1);
    this.#usedNumbers += leafBlocks;
    return ref;
  }

  allocateSmall(): number {
    const free = this.#freeSmall.pop();
    const ref = free ?? this.#splitUnit();
    this.#setUsers(ref, 1);
    this.#usedNumbers += smallLeafNumbers;
    return ref;
  }

  isShared(ref: number): boolean {
    if (ref === unknownLeaf) return true;
    return this.#getUsers(ref) > 1;
  }

  share(ref: number): void {
    if (ref === unknownLeaf) return;
    this.#setUsers(ref, this.#getUsers(ref) + 1);
  }

  /** One user less; the memory is free when it was the last. */
  release(ref: number, isFull: boolean): void {
    if (ref === unknownLeaf) return;
    const users = this.#getUsers(ref);
    assert(users > 0, 'leaf released too often');
    this.#setUsers(ref, users - 1);
    if (users > 1) return;
    if (isFull) {
      this.#freeFull.push(ref);
      this.#usedNumbers -= leafBlocks;
    } else {
      this.#freeSmall.push(ref);
      this.#usedNumbers -= smallLeafNumbers;
    }
  }

  #splitUnit(): number {
    const unit = this.#freeFull.pop() ?? this.#newUnit();
    for (let index = unitRefs - 1; index > 0; index -= 1) this.#freeSmall.push(unit + index);
    return unit;
  }

  #newUnit(): number {
    if (this.#nextRef === this.#slabs.length * refsPerSlab) {
      this.#slabs.push(new Float64Array(new SharedArrayBuffer(slabNumbers * 8)));
      this.#users.push(new Uint32Array(refsPerSlab));
    }
    const ref = this.#nextRef;
    this.#nextRef += unitRefs;
    return ref;
  }

  #getUsers(ref: number): number {
    return this.#users[Math.floor(ref / refsPerSlab)]?.[ref % refsPerSlab] ?? 0;
  }

  #setUsers(ref: number, count: number): void {
    const users = present(this.#users[Math.floor(ref / refsPerSlab)], 'users');
    users[ref % refsPerSlab] = count;
  }
}
