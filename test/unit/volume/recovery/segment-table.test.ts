import { expect, it } from 'vitest';
import { addressOf } from '../../../../src/volume/format/address.ts';
import { SegmentTable } from '../../../../src/volume/recovery/segment-table.ts';
import { SeededRandom } from '../../../sim/random.ts';

it('lists of sealed segments say what the rows of the table say', () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const random = new SeededRandom(seed);
    const table = new SegmentTable(64, { find: () => undefined });
    let segId = 0;
    for (let count = random.below(200); count > 0; count -= 1) {
      segId += random.between(1, 3);
      table.add({ segId, epoch: random.between(1, 9), hlcMs: 0 });
      const endSlot = random.between(1, 64);
      if (random.chance(0.9)) table.ended(segId, addressOf(segId, endSlot));
      const digest = new Uint8Array(32).map(() => random.below(256));
      if (random.chance(0.8)) table.sealed({ segId, endSlot, entryCount: 3, digest });
    }
    const rows = [...table.values()];
    const sealed = rows.filter(({ isSealed }) => isSealed);
    const tagsOf = (some: typeof rows): number[] =>
      some.flatMap(({ digestTag }) => [...(digestTag ?? [])]);
    const lists = table.sealedLists();
    expect([...lists.segIds]).toEqual(sealed.map((row) => row.segId));
    expect([...lists.epochs]).toEqual(sealed.map((row) => row.epoch));
    expect([...lists.endAddresses]).toEqual(sealed.map((row) => row.endAddress));
    expect([...lists.digests]).toEqual(tagsOf(sealed));
    for (const [index, row] of rows.entries()) {
      expect(addressOf(row.segId, table.slotsAt(index))).toBe(
        row.endAddress || addressOf(row.segId, 0),
      );
      expect(table.isSealedAt(index)).toBe(row.isSealed);
    }
    expect([table.slotsAt(rows.length), table.isSealedAt(rows.length)]).toEqual([0, false]);
    const first = random.below(segId + 2);
    const end = first + random.below(20);
    const inside = rows.filter((row) => row.segId >= first && row.segId < end);
    const range = table.sealedIn(first, end);
    expect(range === undefined).toBe(inside.some(({ isSealed }) => !isSealed));
    if (range === undefined) continue;
    expect([...range.segIds]).toEqual(inside.map((row) => row.segId));
    expect([...range.epochs]).toEqual(inside.map((row) => row.epoch));
    expect([...range.tags]).toEqual(tagsOf(inside));
  }
});
