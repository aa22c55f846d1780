/**
 * Hostile bytes for the decoder of packs. It may refuse (undefined, FormatError); it may never throw anything else, hang, or
 * ask for memory that the file cannot justify. What it accepts unchanged is what was written.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../src/base/crc32c.ts';
import { viewOf } from '../../src/base/fields.ts';
import { Seeds } from '../../src/volume/format/checksum.ts';
import {
  addSlot,
  encodePack,
  type Pack,
  type PackMember,
  packHeaderBytes,
  packMapBytes,
  packMemberEnd,
  packOf,
  plainPackOf,
} from '../../src/volume/format/pack.ts';
import { readPack } from '../../src/volume/pack/pack-file.ts';
import { PackedSegment } from '../../src/volume/pack/packed-segment.ts';
import { changed, changes, tolerated } from './hostile-bytes.ts';

const poolUuid = Uint8Array.from({ length: 16 }, (_, index) => index * 5 + 2);
const seeds = new Seeds(poolUuid);
const packId = 42;
const keptThrough = 2 ** 40;
const segmentSlots = 8192;

/** Members as a pack could have them, one behind the other. */
const membersOf = fc
  .array(
    fc.record({
      gap: fc.integer({ min: 1, max: 1000 }),
      endSlot: fc.integer({ min: 2, max: segmentSlots }),
      slots: fc.uniqueArray(fc.integer({ min: 1, max: segmentSlots - 1 }), { maxLength: 60 }),
      footerBytes: fc.integer({ min: 192, max: 20_000 }),
      headBytes: fc.integer({ min: 1, max: 200 }),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((drafts): PackMember[] => {
    const members: PackMember[] = [];
    for (const { gap, endSlot, slots, footerBytes, headBytes } of drafts) {
      const last = members.at(-1);
      const kept = slots.filter((slot) => slot < endSlot);
      const bitmap = new Uint8Array(kept.length === 0 ? 0 : packMapBytes(endSlot));
      for (const slot of kept) addSlot(bitmap, slot);
      members.push({
        segId: (last?.segId ?? 0) + gap,
        epoch: 3,
        endSlot,
        entryCount: footerBytes,
        digest: new Uint8Array(32).fill(gap),
        segmentHeader: new Uint8Array(headBytes).fill(7),
        bitmap,
        keptSlots: kept.length,
        keptBlocks: Math.floor(kept.length / 2),
        offset: last === undefined ? packHeaderBytes : packMemberEnd(last),
        footerBytes,
        metaCrc: gap,
      });
    }
    return members;
  });

interface Whole {
  readonly header: Uint8Array;
  readonly end: Uint8Array;
  readonly pack: Pack;
}

/** Reads a pack whose blocks and footers are not looked at. */
function read({ header, end, pack }: Whole, size = pack.totalBytes): Pack | undefined {
  const tableOffset = pack.totalBytes - end.length;
  return readPack(
    {
      size: () => size,
      read: (target, position) => {
        const source = position === 0 ? header : end;
        const at = position === 0 ? 0 : position - tableOffset;
        const part = at < 0 ? new Uint8Array(0) : source.subarray(at, at + target.length);
        target.set(part);
        return part.length;
      },
    },
    packId,
    seeds,
  );
}

describe('pack', () => {
  it('gives back the members that were written', () => {
    fc.assert(
      fc.property(membersOf, (members) => {
        const whole = encodePack({ packId, keptThrough, members }, poolUuid, seeds);
        expect(read(whole)).toEqual(whole.pack);
        expect([...whole.pack.members]).toEqual(members);
        // As the keeper hands it to the main thread.
        const { members: taken } = packOf(structuredClone(plainPackOf(whole.pack)));
        expect([...taken]).toEqual(members);
        for (const member of members) expect(taken.find(member.segId)).toEqual(member);
        expect(taken.find((members.at(-1)?.segId ?? 0) + 1)).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });

  it('is refused when any byte of header, table or trailer was changed, and when its size is another', () => {
    fc.assert(
      fc.property(membersOf, fc.nat(), fc.integer({ min: 1, max: 255 }), (members, place, flip) => {
        const whole = encodePack({ packId, keptThrough, members }, poolUuid, seeds);
        const bytes = place % 2 === 0 ? whole.header : whole.end;
        const at = place % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ flip;
        expect(tolerated(() => read(whole))).toBeUndefined();
        bytes[at] = (bytes[at] ?? 0) ^ flip;
        expect(read(whole, whole.pack.totalBytes + 1)).toBeUndefined();
        expect(read(whole, whole.pack.totalBytes - 1)).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });

  it('whose table was changed and checksummed again is one that fits, or is refused', () => {
    fc.assert(
      fc.property(
        membersOf.chain((members) => {
          const { end } = encodePack({ packId, keptThrough, members }, poolUuid, seeds);
          return fc.tuple(fc.constant(members), changes(end.length - 64));
        }),
        ([members, list]) => {
          const whole = encodePack({ packId, keptThrough, members }, poolUuid, seeds);
          const tableBytes = whole.end.length - 64;
          const table = changed(whole.end.subarray(0, tableBytes), list);
          const view = viewOf(whole.header);
          view.setUint32(44, crc32c(table, seeds.pack(packId, 0xffff_fffe)), true);
          const headerCrc = crc32c(whole.header.subarray(4), seeds.pack(packId, 0));
          view.setUint32(0, headerCrc, true);
          const ending = new Uint8Array(whole.end.length);
          ending.set(table);
          const trailer = whole.end.slice(tableBytes);
          viewOf(trailer).setUint32(24, headerCrc, true);
          viewOf(trailer).setUint32(
            0,
            crc32c(trailer.subarray(4), seeds.pack(packId, 0xffff_ffff)),
            true,
          );
          ending.set(trailer, tableBytes);
          const pack = tolerated(() => read({ ...whole, end: ending }));
          for (const member of pack?.members ?? []) {
            const packed = new PackedSegment(whole.pack, member, segmentSlots);
            const end = member.offset + member.keptSlots * 4096;
            let wrong = 0;
            for (let slot = 1; slot < member.endSlot; slot += 1) {
              const offset = packed.offsetOf(slot * 4096, 4096);
              if (offset >= 0 !== packed.has(slot) || offset >= end) wrong += 1;
            }
            expect(wrong).toBe(0);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('with an unknown incompatible flag needs a newer version', () => {
    const whole = encodePack({ packId, keptThrough, members: [] }, poolUuid, seeds);
    whole.header[12] = 2;
    viewOf(whole.header).setUint32(
      0,
      crc32c(whole.header.subarray(4), seeds.pack(packId, 0)),
      true,
    );
    expect(() => read(whole)).toThrow(/newer tidemark/u);
  });
});
