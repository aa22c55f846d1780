/** What a leaf holds, looked at as a whole. `entry` as in a page of a map's top. */
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

/** Value of block `within` of the leaf. */
export function valueIn(store: LeafStore, entry: number, within: number): number {
  if (entry === 0) return 0;
  const ref = Math.abs(entry) - 1;
  const slab = store.slab(ref);
  const at = store.indexOf(ref);
  if (entry > 0) return slab[at + within] ?? 0;
  let run = slab[at] ?? 0;
  let start = 0;
  do {
    run -= 1;
    start = slab[at + 2 + run * 2] ?? 0;
  } while (start > within);
  const value = slab[at + 3 + run * 2] ?? 0;
  return value > 0 ? value + within - start : value;
}

/** Writes the values of all blocks of the leaf to `target` from `at` on: in 0.6 us, one after the other take 20. */
export function copyValues(
  store: LeafStore,
  entry: number,
  target: Float64Array,
  at: number,
): void {
  if (entry === 0) {
    target.fill(0, at, at + leafBlocks);
    return;
  }
  const ref = Math.abs(entry) - 1;
  const slab = store.slab(ref);
  const from = store.indexOf(ref);
  if (entry > 0) {
    for (let block = 0; block < leafBlocks; block += 1)
      target[at + block] = slab[from + block] ?? 0;
    return;
  }
  const runs = slab[from] ?? 0;
  for (let run = 0; run < runs; run += 1) {
    const start = slab[from + 2 + run * 2] ?? 0;
    const next = run + 1 < runs ? (slab[from + 4 + run * 2] ?? leafBlocks) : leafBlocks;
    const value = slab[from + 3 + run * 2] ?? 0;
    const step = value > 0 ? 1 : 0;
    for (let block = start; block < next; block += 1) {
      target[at + block] = value + step * (block - start);
    }
  }
}

/** How many blocks of the leaf from `within` on surely continue `value`, which is the value of that one. */
export function runLengthIn(
  store: LeafStore,
  entry: number,
  within: number,
  value: number,
): number {
  if (entry === 0) return leafBlocks - within;
  const ref = Math.abs(entry) - 1;
  const slab = store.slab(ref);
  const at = store.indexOf(ref);
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

/** Whether some block of the leaf is unknown. */
export function hasUnknown(store: LeafStore, entry: number): boolean {
  if (entry === 0) return false;
  const ref = Math.abs(entry) - 1;
  const slab = store.slab(ref);
  const at = store.indexOf(ref);
  // A small leaf has the values among its numbers; first blocks of runs are never negative.
  const first = entry > 0 ? 0 : 2;
  const end = entry > 0 ? leafBlocks : 2 + (slab[at] ?? 0) * 2;
  for (let index = first; index < end; index += 1) {
    if (slab[at + index] === unknownValue) return true;
  }
  return false;
}

/** Blocks with data in the leaf. */
export function mappedIn(store: LeafStore, entry: number): number {
  if (entry === 0) return 0;
  const ref = Math.abs(entry) - 1;
  const slab = store.slab(ref);
  const at = store.indexOf(ref);
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

/** What leaf `at` of a page counts among the page's blocks with data; dropped ones do not count any more afterwards. */
export function takeCount(store: LeafStore, page: TopPage, at: number): number {
  const entry = page.entries[at] ?? 0;
  if (!isUnknownLeaf(entry) || page.dropped === undefined) return mappedIn(store, entry);
  const count = page.dropped[at] ?? 0;
  page.dropped[at] = 0;
  return count;
}

export interface DropFrom {
  readonly position: number;
  readonly source: LeafSource;
  /** Index of the first page to look at. */
  readonly page: number;
}

/**
 * Drops the leaves of a page that did not change from `position` on; they are unknown afterwards, and still counted. False
 * when there was none.
 */
export function dropLeaves(store: LeafStore, page: TopPage, position: number): boolean {
  const { entries, changedAt } = page;
  let hasDropped = false;
  for (let at = 0; at < pageLeaves; at += 1) {
    const entry = entries[at] ?? 0;
    if (entry === 0 || isUnknownLeaf(entry) || (changedAt?.[at] ?? 0) >= position) continue;
    page.dropped ??= new Uint16Array(pageLeaves);
    page.dropped[at] = mappedIn(store, entry);
    entries[at] = unknownLeafEntry;
    store.release(Math.abs(entry) - 1, entry > 0);
    hasDropped = true;
  }
  return hasDropped;
}
