/**
 * Touched leaves: where two states of a volume can differ, whole leaves of 2 MiB each, kept so that neither the size of a volume
 * (2^29 leaves at most) nor one wide trim costs memory by the leaf.
 *
 *     ── leaves ──▶   ▪   ▪▪        ▪▪▪▪▪▪▪▪▪▪▪        ▪      ▪▪▪▪▪▪▪▪▪▪▪▪ end of the larger one
 *                     one by one    wide: first, end          from some leaf on: sizes differ
 */
import { leafBlocks } from '../map/leaf-store.ts';
import { livenessLimits } from './limits.ts';

export interface BlockRange {
  readonly block: number;
  readonly count: number;
}

/** What touches so many leaves or more is one stretch of them. */
const wideLeaves = 8;

export class TouchedLeaves {
  readonly #blockCount: number;
  /** From this leaf on all are touched. */
  readonly #restFrom: number;
  readonly #single = new Set<number>();
  /** First leaf and the one behind the last one, pair by pair. */
  readonly #wide: number[] = [];

  /** Of `blockCount` blocks; all leaves count from the one on that has block `sizeMin`, the smallest size that there was. */
  constructor(blockCount: number, sizeMin: number) {
    this.#blockCount = blockCount;
    this.#restFrom = sizeMin < blockCount ? Math.floor(sizeMin / leafBlocks) : Infinity;
  }

  /** More than are worth remembering. */
  get isTooMany(): boolean {
    return this.#single.size + this.#wide.length > livenessLimits.touchedLeavesMax;
  }

  /** Adds the leaves of `count` blocks from `block` on; nothing when there are too many already. */
  add(block: number, count: number): void {
    if (this.isTooMany) return;
    const first = Math.floor(block / leafBlocks);
    const end = Math.min(this.#restFrom, Math.ceil((block + count) / leafBlocks));
    if (end - first >= wideLeaves) {
      this.#addWide(first, end);
      return;
    }
    for (let leaf = first; leaf < end; leaf += 1) this.#single.add(leaf);
  }

  #addWide(first: number, end: number): void {
    const last = this.#wide.length - 1;
    // A trim of a whole volume comes in many pieces, one behind the other.
    if (this.#wide[last] === first) this.#wide[last] = end;
    else this.#wide.push(first, end);
  }

  /** Ranges of blocks, in order, none next to another; undefined when there are too many. */
  ranges(): readonly BlockRange[] | undefined {
    if (this.isTooMany) return undefined;
    const firsts = new Float64Array(this.#single.size + this.#wide.length / 2 + 1);
    const endByWide = new Map<number, number>();
    let count = 0;
    for (const leaf of this.#single) {
      firsts[count] = leaf;
      count += 1;
    }
    for (let at = 0; at < this.#wide.length; at += 2) {
      const first = this.#wide[at] ?? 0;
      endByWide.set(first, Math.max(endByWide.get(first) ?? 0, this.#wide[at + 1] ?? 0));
      firsts[count] = first;
      count += 1;
    }
    firsts[count] = this.#restFrom;
    endByWide.set(this.#restFrom, Infinity);
    return this.#joined(firsts.sort(), endByWide);
  }

  #joined(firsts: Float64Array, endByWide: ReadonlyMap<number, number>): BlockRange[] {
    const ranges: { block: number; count: number }[] = [];
    for (const leaf of firsts) {
      const block = leaf * leafBlocks;
      if (block >= this.#blockCount) break;
      const end = Math.min(this.#blockCount, (endByWide.get(leaf) ?? leaf + 1) * leafBlocks);
      const last = ranges.at(-1);
      if (last === undefined || last.block + last.count < block) {
        ranges.push({ block, count: end - block });
      } else {
        last.count = Math.max(last.count, end - last.block);
      }
    }
    return ranges;
  }
}
