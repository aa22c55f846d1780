/**
 * Live set: which blocks of the sealed segments could be reached at one moment. What it calls dead is dead for ever.
 *
 *     pass    segIds   liveBlocks   bitmapAt        bitmaps, one beside the other
 *             4711     8000         -1              there was no room for it
 *             4712     17           0          ──▶  [0] [1] ...
 *
 * In columns, as passes come in the order of the log: there may be hundreds of thousands of segments.
 */
import { lowerBound } from '../../base/lower-bound.ts';
import { segIdOf, slotOf } from '../format/address.ts';
import { livenessLimits } from './limits.ts';
import { bitmapBytesOf, type MarkPlan } from './mark-plan.ts';

interface Pass {
  /** Ascending. */
  readonly segIds: Float64Array;
  readonly liveBlocks: Uint32Array;
  /** Which of the bitmaps; -1 where there was no room for it. */
  readonly bitmapAt: Int32Array;
  bitmaps: Uint8Array;
  bitmapCount: number;
}

export class LiveSet {
  /** The segment that was being written: neither it nor later ones were judged. */
  readonly endSegId: number;
  /** The log before this position was looked at. */
  readonly endPosition: number;
  readonly #segmentSlots: number;
  readonly #bitmapBytes: number;
  readonly #passes: Pass[] = [];

  constructor(
    { endSegId, endPosition }: Pick<LiveSet, 'endSegId' | 'endPosition'>,
    segmentSlots: number,
  ) {
    this.endSegId = endSegId;
    this.endPosition = endPosition;
    this.#segmentSlots = segmentSlots;
    this.#bitmapBytes = bitmapBytesOf(segmentSlots);
  }

  /** Ids of the segments that were judged, ascending: all that were sealed. A new list. */
  get segIds(): number[] {
    const all: number[] = [];
    for (const { segIds } of this.#passes) for (const segId of segIds) all.push(segId);
    return all;
  }

  isJudged(segId: number): boolean {
    const pass = this.#passOf(segId);
    return pass !== undefined && placeOf(pass, segId) >= 0;
  }

  /** Data blocks that could be reached; all slots where nobody judged. */
  liveBlocks(segId: number): number {
    const pass = this.#passOf(segId);
    return pass?.liveBlocks[placeOf(pass, segId)] ?? this.#segmentSlots;
  }

  /**
   * One bit a slot (slot s: bit s % 8 of byte s / 8), set for data blocks that could be reached. All ones where nobody
   * judged, and of a log of many TiB for the fullest segments: there is no room for theirs. Headers have no bits. Read it only.
   */
  bitmap(segId: number): Uint8Array {
    const pass = this.#passOf(segId);
    const at = pass === undefined ? -1 : bitmapOf(pass, segId);
    const bytes = this.#bitmapBytes;
    return at < 0 || pass === undefined
      ? new Uint8Array(bytes).fill(0xff)
      : pass.bitmaps.subarray(at * bytes, (at + 1) * bytes);
  }

  isLive(address: number): boolean {
    const segId = segIdOf(address);
    const pass = this.#passOf(segId);
    const at = pass === undefined ? -1 : bitmapOf(pass, segId);
    if (at < 0) return true;
    const slot = slotOf(address);
    const byte = pass?.bitmaps[at * this.#bitmapBytes + (slot >>> 3)] ?? 0;
    return (byte & (1 << (slot & 7))) !== 0;
  }

  /** Takes over what a pass found. Passes come in the order of the log. */
  add(found: Pick<MarkPlan, 'sealed' | 'first' | 'count' | 'bitmaps' | 'liveBlocks'>): void {
    const { sealed, first, count, bitmaps, liveBlocks } = found;
    this.#passes.push({
      segIds: Float64Array.from(sealed.segIds.subarray(first, first + count)),
      liveBlocks: liveBlocks.slice(0, count),
      bitmapAt: Int32Array.from({ length: count }, (_, place) => place),
      bitmaps,
      bitmapCount: count,
    });
    this.#limit();
  }

  /** The only one that may have judged the segment. */
  #passOf(segId: number): Pass | undefined {
    return this.#passes.find(({ segIds }) => segId <= (segIds[segIds.length - 1] ?? -1));
  }

  /** Gives up bitmaps of the fullest segments when there are more than may be. */
  #limit(): void {
    const most = Math.max(1, Math.floor(livenessLimits.markBitmapBytes / this.#bitmapBytes));
    const count = this.#passes.reduce((sum, { bitmapCount }) => sum + bitmapCount, 0);
    if (count <= most) return;
    // How many have how many live blocks: from the fullest on, as many as have to go.
    const byLive = new Uint32Array(this.#segmentSlots + 1);
    for (const { liveBlocks, bitmapAt } of this.#passes) {
      bitmapAt.forEach((at, place) => {
        const live = liveBlocks[place] ?? 0;
        if (at >= 0) byLive[live] = (byLive[live] ?? 0) + 1;
      });
    }
    let kept = count;
    let limit = this.#segmentSlots;
    for (; kept - (byLive[limit] ?? 0) >= most; limit -= 1) kept -= byLive[limit] ?? 0;
    // All above the limit go, and of those at it as many as are too many still.
    let tooMany = kept - most;
    for (const pass of this.#passes) {
      tooMany -= this.#giveUp(pass, { limit, atLimit: tooMany });
    }
  }

  /** Bitmaps of segments with more than `limit` live blocks, and up to `atLimit` of those with as many: returns how many of them. */
  #giveUp(
    pass: Pass,
    { limit, atLimit }: { readonly limit: number; readonly atLimit: number },
  ): number {
    const { bitmapAt, liveBlocks } = pass;
    let [gone, kept] = [0, 0];
    bitmapAt.forEach((at, place) => {
      if (at < 0) return;
      const live = liveBlocks[place] ?? 0;
      const isAtLimit = live === limit && gone < atLimit;
      if (isAtLimit) gone += 1;
      if (live > limit || isAtLimit) bitmapAt[place] = -1;
      else kept += 1;
    });
    if (kept < pass.bitmapCount) keepOnly(pass, kept, this.#bitmapBytes);
    return gone;
  }
}

/** Those that stay must not hold the memory of a whole pass. */
function keepOnly(pass: Pass, count: number, bytes: number): void {
  const { bitmapAt, bitmaps } = pass;
  const made = new Uint8Array(count * bytes);
  let next = 0;
  bitmapAt.forEach((at, place) => {
    if (at < 0) return;
    made.set(bitmaps.subarray(at * bytes, (at + 1) * bytes), next * bytes);
    bitmapAt[place] = next;
    next += 1;
  });
  pass.bitmaps = made;
  pass.bitmapCount = count;
}

/** -1 when it was not judged. */
function placeOf({ segIds }: Pass, segId: number): number {
  const place = lowerBound(segIds, segId);
  return segIds[place] === segId ? place : -1;
}

/** Where its bitmap is; -1 when it has none. */
function bitmapOf(pass: Pass, segId: number): number {
  const place = placeOf(pass, segId);
  return place < 0 ? -1 : (pass.bitmapAt[place] ?? -1);
}
