/**
 * Compares two maps block by block, as far as that is necessary: what both share is not looked at, nor what the caller knows
 * to be the same.
 */
import type { BlockMap } from './block-map.ts';
import { leafBlocks, unknownValue } from './leaf-store.ts';

/** Filling a leaf takes as long as comparing so many. */
const fillCost = 8;

export interface CompareRange {
  readonly block: number;
  readonly count: number;
  /** Compare so many leaves at most. */
  readonly leavesMax: number;
  /** How many leaves from this one on are the same in both, as far as that is known without their content. */
  readonly sameLeaves?: (leaf: number) => number;
  /** Leaves that are not in memory end the comparison, but for the first one when it is this: it cannot be read. */
  readonly unreadableLeaf?: number | undefined;
}

/** Called for each run of blocks that differ or do not; return false to stop. Compares nothing itself. */
export type CompareVisitor = (blockCount: number, isDifferent: boolean) => boolean;

/**
 * Runs of the range in which the maps differ or do not, neighbours joined, until `leavesMax` leaves were compared; leaves
 * are filled in place. What cannot be read is different. Returns how many blocks were told of.
 */
export function compareMaps(
  map: BlockMap,
  other: BlockMap,
  range: CompareRange,
  visitor: CompareVisitor,
): number {
  return new Comparison(map, other, visitor).run(range, (block) => {
    let cost = 0;
    for (const each of [map, other]) {
      if (each.isKnown(block)) continue;
      each.fillNow(block);
      cost += fillCost;
    }
    return cost;
  });
}

/**
 * As `compareMaps`, but fills nothing: it ends at a leaf that must be filled to go on. The map that lacks it is `missing`,
 * then, and the leaf that of the first block not told of.
 */
export function compareKnown(
  map: BlockMap,
  other: BlockMap,
  range: CompareRange,
  visitor: CompareVisitor,
): { readonly blocks: number; readonly missing: BlockMap | undefined } {
  let missing: BlockMap | undefined;
  const blocks = new Comparison(map, other, visitor).run(range, (block) => {
    if (Math.floor(block / leafBlocks) === range.unreadableLeaf) return 0;
    missing = [map, other].find((each) => !each.isKnown(block));
    return missing === undefined ? 0 : undefined;
  });
  return { blocks, missing };
}

class Comparison {
  readonly #map: BlockMap;
  readonly #other: BlockMap;
  readonly #visitor: CompareVisitor;
  #count = 0;
  #isDifferent = false;
  #isStopped = false;
  /** Blocks of the runs that the visitor took. */
  #blocksTold = 0;

  constructor(map: BlockMap, other: BlockMap, visitor: CompareVisitor) {
    this.#map = map;
    this.#other = other;
    this.#visitor = visitor;
  }

  /** `know` sees to it that a block's leaf is in memory; returns what that cost, in leaves, undefined: it ends here. */
  run(range: CompareRange, know: (block: number) => number | undefined): number {
    const { block, count, leavesMax, sameLeaves } = range;
    const end = block + count;
    let leavesLeft = leavesMax;
    let at = block;
    while (at < end && leavesLeft > 0 && !this.#isStopped) {
      let same = this.#same(at, sameLeaves);
      if (same === 0) {
        const cost = know(at);
        if (cost === undefined) break;
        leavesLeft -= cost;
        same = this.#map.sharedBlocks(this.#other, at);
      }
      if (same > 0) {
        const length = Math.min(end - at, same);
        this.#add(length, false);
        at += length;
      } else {
        leavesLeft -= 1;
        const leafEnd = Math.min(end, (Math.floor(at / leafBlocks) + 1) * leafBlocks);
        this.#compareLeaf(at, leafEnd);
        at = leafEnd;
      }
    }
    this.#end();
    return this.#blocksTold;
  }

  #same(block: number, sameLeaves: CompareRange['sameLeaves']): number {
    const shared = this.#map.sharedBlocks(this.#other, block);
    if (shared > 0 || sameLeaves === undefined) return shared;
    const leaf = Math.floor(block / leafBlocks);
    const leaves = sameLeaves(leaf);
    return leaves === 0 ? 0 : (leaf + leaves) * leafBlocks - block;
  }

  #compareLeaf(from: number, to: number): void {
    const leaf = Math.floor(from / leafBlocks);
    const first = leaf * leafBlocks;
    this.#map.peekLeaf(leaf, ours);
    this.#other.peekLeaf(leaf, theirs);
    let at = from - first;
    while (at < to - first && !this.#isStopped) {
      const isDifferent = isDifferentAt(at);
      let next = at + 1;
      while (next < to - first && isDifferentAt(next) === isDifferent) next += 1;
      this.#add(next - at, isDifferent);
      at = next;
    }
  }

  #add(count: number, isDifferent: boolean): void {
    if (isDifferent !== this.#isDifferent) this.#end();
    this.#isDifferent = isDifferent;
    this.#count += count;
  }

  #end(): void {
    if (this.#count === 0 || this.#isStopped) return;
    if (this.#visitor(this.#count, this.#isDifferent)) this.#blocksTold += this.#count;
    else this.#isStopped = true;
    this.#count = 0;
  }
}

/** Of one leaf while it is compared: nothing else is meanwhile. */
const ours = new Float64Array(leafBlocks);
const theirs = new Float64Array(leafBlocks);

function isDifferentAt(within: number): boolean {
  const value = ours[within];
  return value !== theirs[within] || value === unknownValue;
}
