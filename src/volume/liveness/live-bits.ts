/** Live bits: one bit a slot for the segments that are judged, set once, and counted. */
import { segIdOf, slotOf } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import { bitmapBytesOf, type MarkPlan } from './mark-plan.ts';

type Judged = Pick<
  MarkPlan,
  'sealed' | 'first' | 'count' | 'segmentSlots' | 'bitmaps' | 'liveBlocks'
>;

export class LiveBits {
  readonly #judged: Judged;
  readonly #bitmapBytes: number;
  readonly #firstSegId: number;
  /** Place among those that are judged, by segment id less the first; -1 = not judged. */
  readonly #places: Int32Array;

  constructor(judged: Judged) {
    this.#judged = judged;
    const { sealed, first, count, segmentSlots } = judged;
    this.#bitmapBytes = bitmapBytesOf(segmentSlots);
    const segIds = sealed.segIds.subarray(first, first + count);
    this.#firstSegId = segIds[0] ?? 0;
    const range = count === 0 ? 0 : (segIds.at(-1) ?? 0) - this.#firstSegId + 1;
    this.#places = new Int32Array(range).fill(-1);
    segIds.forEach((segId, place) => {
      this.#places[segId - this.#firstSegId] = place;
    });
  }

  /** The block at `address` can be reached. Throws FormatError when no segment has such a slot. */
  set(address: number): void {
    const place = this.#places[segIdOf(address) - this.#firstSegId] ?? -1;
    if (place < 0) return;
    const { bitmaps, liveBlocks, segmentSlots } = this.#judged;
    const slot = slotOf(address);
    if (slot >= segmentSlots) throw new FormatError(`no segment has slot ${slot}`);
    const at = place * this.#bitmapBytes + (slot >>> 3);
    const before = bitmaps[at] ?? 0;
    const bit = 1 << (slot & 7);
    if ((before & bit) !== 0) return;
    bitmaps[at] = before | bit;
    liveBlocks[place] = (liveBlocks[place] ?? 0) + 1;
  }
}
