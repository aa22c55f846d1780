/** Fuzz of the manifest's rows of segments: whatever the bytes, the rows that were written, or none. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Seeds } from '../../src/volume/format/checksum.ts';
import {
  decodeRowGroup,
  encodeRowGroup,
  rowGroupOf,
  type SegmentRow,
  wideGroupOf,
  wideGroups,
} from '../../src/volume/format/segment-rows.ts';
import { changed, changes, runs, tolerated } from './hostile-bytes.ts';

const poolUuid = Uint8Array.from({ length: 16 }, (_, index) => index * 3 + 1);
const seeds = new Seeds(poolUuid);
const bytesOf = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });

const groups = fc.tuple(fc.nat(2 ** 17 - 1), fc.boolean()).chain(([at, isWide]) => {
  const group = isWide ? at * wideGroups : at;
  return fc.tuple(
    fc.constant({ group, isWide }),
    fc.uniqueArray(
      fc.record({
        segId: fc.integer({ min: group * 128, max: (group + (isWide ? wideGroups : 1)) * 128 - 1 }),
        epoch: fc.nat(2 ** 32 - 1),
        hlcMs: fc.nat(2 ** 31 - 1),
        endSlot: fc.nat(8192),
        entryCount: fc.nat(2 ** 31 - 1),
        previousSegId: fc.nat(2 ** 29),
        previousTag: bytesOf(8),
        tag: bytesOf(8),
      }),
      { selector: ({ segId }) => segId, maxLength: 20 },
    ),
  );
});

function plain(rows: readonly SegmentRow[] | undefined): unknown {
  return rows?.map((row) => [
    row.segId,
    row.epoch,
    row.hlcMs,
    row.endSlot,
    row.entryCount,
    row.previousSegId,
    [...row.previousTag],
    [...row.tag],
  ]);
}

describe('rows of segments', () => {
  it('are given back as they were, in the order of the log', () => {
    fc.assert(
      fc.property(groups, ([place, found]) => {
        const rows = found.toSorted((left, right) => left.segId - right.segId);
        const { group, isWide } = place;
        const bytes = encodeRowGroup(place, rows, seeds);
        expect(decodeRowGroup(group, bytes, seeds)?.isWide).toBe(isWide);
        expect(plain(decodeRowGroup(group, bytes, seeds)?.rows())).toEqual(plain(rows));
        expect(decodeRowGroup(group + 1, bytes, seeds)).toBeUndefined();
        expect(decodeRowGroup(group, bytes, new Seeds(new Uint8Array(16)))).toBeUndefined();
        const groupOf = (segId: number): number => {
          const own = rowGroupOf(segId);
          return isWide ? wideGroupOf(own) : own;
        };
        expect(rows.every(({ segId }) => groupOf(segId) === group)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('are none in any bytes, in a group that was cut short or in which any byte was changed', () => {
    const row = {
      segId: 5,
      epoch: 1,
      hlcMs: 2,
      endSlot: 3,
      entryCount: 4,
      previousSegId: 0,
      previousTag: new Uint8Array(8),
      tag: new Uint8Array(8).fill(9),
    };
    const original = encodeRowGroup(
      { group: 0, isWide: false },
      [row, { ...row, segId: 6, previousSegId: 5 }],
      seeds,
    );
    fc.assert(
      fc.property(changes(original.length), (list) => {
        const bytes = changed(original, list);
        const found = tolerated(() => decodeRowGroup(0, bytes, seeds));
        if (Buffer.compare(bytes, original) !== 0) expect(found).toBeUndefined();
      }),
      runs,
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(original.length - 1), (any, cut) => {
        expect(tolerated(() => decodeRowGroup(0, any, seeds))).toBeUndefined();
        expect(decodeRowGroup(0, original.subarray(0, cut), seeds)).toBeUndefined();
      }),
      runs,
    );
  });
});
