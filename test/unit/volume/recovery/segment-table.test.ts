import { expect, it } from 'vitest';
import { addressOf } from '../../../../src/volume/format/address.ts';
import { Seeds } from '../../../../src/volume/format/checksum.ts';
import { footerCrcOffset } from '../../../../src/volume/format/footer.ts';
import {
  decodeRowGroup,
  encodeRowGroup,
  type SegmentRow,
} from '../../../../src/volume/format/segment-rows.ts';
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
      const tag = new Uint8Array(8).map(() => random.below(256));
      if (random.chance(0.8)) table.sealed({ segId, endSlot, entryCount: 3, tag });
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

it('sums over sealed segments are what adding them up gives, also when rows came from a manifest and some were cut off', () => {
  const seeds = new Seeds(new Uint8Array(16));
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = new SeededRandom(seed);
    const rows: SegmentRow[] = [];
    let before = { segId: 0, tag: new Uint8Array(8) };
    for (let segId = 1; segId < 100; segId += random.between(1, 2)) {
      const tag = new Uint8Array(8).fill(random.below(256));
      const endSlot = random.chance(0.1) ? 0 : random.between(1, 64);
      const numbers = { epoch: 1, hlcMs: 5, endSlot, entryCount: random.below(9) };
      // One that does not follow ends it.
      const previousSegId = random.chance(0.01) ? before.segId + 1 : before.segId;
      rows.push({ segId, ...numbers, previousSegId, previousTag: before.tag, tag });
      before = { segId, tag };
    }
    const table = new SegmentTable(64, { find: () => undefined });
    const group = decodeRowGroup(
      0,
      encodeRowGroup({ group: 0, isWide: false }, rows, seeds),
      seeds,
    );
    if (group !== undefined) table.addRows(group);
    for (let round = 0; round < 3; round += 1) {
      expect(table.sealedSums(0)).toEqual(sumsOf(table));
      table.cutAt(random.below(120));
      addSome(table, random);
    }
    expect(table.sealedSums(0)).toEqual(sumsOf(table));
  }
});

function addSome(table: SegmentTable, random: SeededRandom): void {
  const last = table.last()?.segId ?? 0;
  for (let segId = last + 1; segId < last + random.below(5); segId += 1) {
    table.add({ segId, epoch: 1, hlcMs: 9 });
    const tag = new Uint8Array(8);
    if (random.chance(0.9)) table.ended(segId, addressOf(segId, 7));
    if (random.chance(0.9)) table.sealed({ segId, endSlot: 7, entryCount: 2, tag });
  }
}

/** Up to the first that is not sealed. */
function sumsOf(table: SegmentTable): ReturnType<SegmentTable['sealedSums']> {
  const sums = { end: 0, written: 0, entries: 0, slots: 0 };
  for (const [index, row] of [...table.values()].entries()) {
    if (!row.isSealed) break;
    sums.end = index + 1;
    const slots = table.slotsAt(index);
    if (slots === 0) continue;
    sums.written += 1;
    sums.slots += slots;
    const tables = (row.crcPlace?.offset ?? 0) - 64 * 4096 - footerCrcOffset({ entryCount: 0 });
    sums.entries +=
      tables / (footerCrcOffset({ entryCount: 1 }) - footerCrcOffset({ entryCount: 0 }));
  }
  return sums;
}
