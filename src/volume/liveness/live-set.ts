/** Live set: which blocks of the sealed segments could be reached at one moment. What it calls dead is dead for ever. */
import { segIdOf, slotOf } from '../format/address.ts';
import { livenessLimits } from './limits.ts';
import { bitmapBytesOf, type MarkPlan } from './mark-plan.ts';

interface JudgedSegment {
  readonly liveBlocks: number;
  /** Undefined where there was no room for it. */
  bitmap: Uint8Array | undefined;
}

export class LiveSet {
  /** The segment that was being written: neither it nor later ones were judged. */
  readonly endSegId: number;
  /** The log before this position was looked at. */
  readonly endPosition: number;
  readonly #segmentSlots: number;
  readonly #judged = new Map<number, JudgedSegment>();

  constructor(
    { endSegId, endPosition }: Pick<LiveSet, 'endSegId' | 'endPosition'>,
    segmentSlots: number,
  ) {
    this.endSegId = endSegId;
    this.endPosition = endPosition;
    this.#segmentSlots = segmentSlots;
  }

  /** Ids of the segments that were judged, ascending: all that were sealed. */
  get segIds(): number[] {
    return [...this.#judged.keys()];
  }

  isJudged(segId: number): boolean {
    return this.#judged.has(segId);
  }

  /** Data blocks that could be reached; all slots where nobody judged. */
  liveBlocks(segId: number): number {
    return this.#judged.get(segId)?.liveBlocks ?? this.#segmentSlots;
  }

  /**
   * One bit a slot (slot s: bit s % 8 of byte s / 8), set for data blocks that could be reached. All ones where nobody
   * judged, and of a log of many TiB for the fullest segments: there is no room for theirs. Headers have no bits. Read it only.
   */
  bitmap(segId: number): Uint8Array {
    const known = this.#judged.get(segId)?.bitmap;
    return known ?? new Uint8Array(bitmapBytesOf(this.#segmentSlots)).fill(0xff);
  }

  isLive(address: number): boolean {
    const slot = slotOf(address);
    const byte = this.bitmap(segIdOf(address))[slot >>> 3] ?? 0;
    return (byte & (1 << (slot & 7))) !== 0;
  }

  /** Takes over what a pass found. Passes come in the order of the log. */
  add(found: Pick<MarkPlan, 'sealed' | 'first' | 'count' | 'bitmaps' | 'liveBlocks'>): void {
    const bytes = bitmapBytesOf(this.#segmentSlots);
    for (let place = 0; place < found.count; place += 1) {
      this.#judged.set(found.sealed.segIds[found.first + place] ?? 0, {
        liveBlocks: found.liveBlocks[place] ?? 0,
        bitmap: found.bitmaps.subarray(place * bytes, (place + 1) * bytes),
      });
    }
    this.#limit();
  }

  /** Gives up bitmaps of the fullest segments when there are more than may be. */
  #limit(): void {
    const bytes = bitmapBytesOf(this.#segmentSlots);
    const most = Math.max(1, Math.floor(livenessLimits.markBitmapBytes / bytes));
    if (this.#judged.size <= most) return;
    const fullestFirst = [...this.#judged.values()]
      .filter(({ bitmap }) => bitmap !== undefined)
      .sort((left, right) => right.liveBlocks - left.liveBlocks);
    for (const segment of fullestFirst.slice(0, fullestFirst.length - most)) {
      segment.bitmap = undefined;
    }
    // Those that stay must not hold the memory of a whole pass.
    for (const segment of fullestFirst) segment.bitmap = segment.bitmap?.slice();
  }
}
