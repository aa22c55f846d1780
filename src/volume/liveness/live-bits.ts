/** Live bits: one bit a slot for the segments that are judged, set once, and counted. */
import { addressOf, segIdOf } from '../format/address.ts';
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

  /** The blocks from `address` on can be reached. Throws FormatError when no segment has such a slot. */
  set(address: number, count: number): void {
    const end = address + count;
    for (let from = address; from < end; ) {
      const segId = segIdOf(from);
      const to = Math.min(end, addressOf(segId + 1, 0));
      this.#setSlots(segId, from - addressOf(segId, 0), to - addressOf(segId, 0));
      from = to;
    }
  }

  /** Slots [from, to) of a segment, a byte of the bitmap at a time. */
  #setSlots(segId: number, from: number, to: number): void {
    const place = this.#places[segId - this.#firstSegId] ?? -1;
    if (place < 0) return;
    const { bitmaps, liveBlocks, segmentSlots } = this.#judged;
    if (to > segmentSlots) throw new FormatError(`no segment has slot ${to - 1}`);
    let added = 0;
    for (let slot = from; slot < to; ) {
      const count = Math.min(8 - (slot & 7), to - slot);
      const at = place * this.#bitmapBytes + (slot >>> 3);
      const before = bitmaps[at] ?? 0;
      const mask = ((1 << count) - 1) << (slot & 7);
      bitmaps[at] = before | mask;
      added += bitCount(mask & ~before);
      slot += count;
    }
    liveBlocks[place] = (liveBlocks[place] ?? 0) + added;
  }
}

function bitCount(byte: number): number {
  if (byte === 0xff) return 8;
  let count = 0;
  for (let left = byte; left !== 0; left &= left - 1) count += 1;
  return count;
}
