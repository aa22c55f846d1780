/** A live set says what its passes found, and all ones of segments whose bitmaps it had no room for: the fullest. */
import { afterEach, expect, it } from 'vitest';
import { addressOf } from '../../../../src/volume/format/address.ts';
import { livenessLimits } from '../../../../src/volume/liveness/limits.ts';
import { LiveSet } from '../../../../src/volume/liveness/live-set.ts';
import { bitmapBytesOf } from '../../../../src/volume/liveness/mark-plan.ts';
import { SeededRandom } from '../../../sim/random.ts';

const segmentSlots = 64;
const bytes = bitmapBytesOf(segmentSlots);
const { markBitmapBytes } = livenessLimits;

afterEach(() => {
  Object.assign(livenessLimits, { markBitmapBytes });
});

interface Judged {
  readonly segId: number;
  readonly live: number;
  readonly bitmap: number[];
}

/** Segments of a log, each with its first blocks alive. */
function judgedSegments(random: SeededRandom, count: number): Judged[] {
  let segId = random.below(3);
  return Array.from({ length: count }, () => {
    segId += random.between(1, 3);
    const live = random.below(random.chance(0.3) ? 4 : segmentSlots + 1);
    const bitmap = Array.from({ length: bytes }, (_, at) => {
      const bits = Math.max(0, Math.min(8, live - at * 8));
      return (1 << bits) - 1;
    });
    return { segId, live, bitmap };
  });
}

/** The set after passes of random lengths. */
function liveSetOf(random: SeededRandom, judged: readonly Judged[]): LiveSet {
  const live = new LiveSet({ endSegId: 0, endPosition: 0 }, segmentSlots);
  const segIds = Float64Array.from(judged, ({ segId }) => segId);
  const sealed = { segIds } as Parameters<LiveSet['add']>[0]['sealed'];
  for (let first = 0; first < judged.length; ) {
    const count = Math.min(judged.length - first, random.between(1, 12));
    const part = judged.slice(first, first + count);
    const bitmaps = Uint8Array.from(part.flatMap(({ bitmap }) => bitmap));
    const liveBlocks = Uint32Array.from(part, (each) => each.live);
    live.add({ sealed, first, count, bitmaps, liveBlocks });
    first += count;
  }
  return live;
}

it('says what was found, and keeps the bitmaps of the emptiest segments', () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = new SeededRandom(seed);
    const room = random.between(1, 30);
    Object.assign(livenessLimits, { markBitmapBytes: room * bytes });
    const judged = judgedSegments(random, random.below(40));
    const live = liveSetOf(random, judged);
    expect(live.segIds).toEqual(judged.map(({ segId }) => segId));
    const known = new Map(judged.map((each) => [each.segId, each]));
    const kept: number[] = [];
    const given: number[] = [];
    for (let segId = 0; segId <= (judged.at(-1)?.segId ?? 0) + 1; segId += 1) {
      const each = known.get(segId);
      expect(live.isJudged(segId)).toBe(each !== undefined);
      expect(live.liveBlocks(segId)).toBe(each?.live ?? segmentSlots);
      const bitmap = [...live.bitmap(segId)];
      const isKept = each !== undefined && String(bitmap) === String(each.bitmap);
      if (!isKept) expect(bitmap).toEqual(Array.from({ length: bytes }, () => 0xff));
      for (let slot = 0; slot < segmentSlots; slot += 1) {
        const bit = ((bitmap[slot >>> 3] ?? 0) >>> (slot & 7)) & 1;
        expect(live.isLive(addressOf(segId, slot))).toBe(bit === 1);
      }
      if (each !== undefined && each.live < segmentSlots) (isKept ? kept : given).push(each.live);
    }
    expect(kept.length).toBeLessThanOrEqual(room);
    const full = judged.filter(({ live: blocks }) => blocks === segmentSlots).length;
    expect(kept.length).toBeGreaterThanOrEqual(Math.min(room, judged.length) - full);
    expect(Math.max(0, ...kept)).toBeLessThanOrEqual(Math.min(segmentSlots, ...given));
  }
});
