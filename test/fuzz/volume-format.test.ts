/**
 * Hostile bytes for every decoder of the store's formats. A decoder may answer "nothing here" or throw FormatError; it
 * may never throw anything else, hang, or ask for memory that the bytes cannot justify.
 *
 * Three kinds of input: any bytes; valid structures with bytes changed (the checksum must catch it); and changed
 * structures with the checksum made right again, as a bug or an attacker would.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../src/base/crc32c.ts';
import { viewOf } from '../../src/base/fields.ts';
import { addressOf, slotSizeBytes, slotsPerSegmentMax } from '../../src/volume/format/address.ts';
import { Seeds } from '../../src/volume/format/checksum.ts';
import {
  decodeFooterHeader,
  encodeFooter,
  type FooterEntry,
  type FooterFrame,
  type FooterHeader,
  footerEntry,
  footerFrame,
  footerHeaderBytes,
  footerSlotCrcs,
  thinFooter,
  verifyFooter,
} from '../../src/volume/format/footer.ts';
import {
  blockCrc,
  decodeDescriptor,
  descriptorBytes,
  descriptorLayout,
  encodeFrameShape,
  finishFrame,
  frameFixedBytes,
  inlineAux,
  inlineOffset,
  peekFrame,
  RecordType,
  verifyFrameHeader,
} from '../../src/volume/format/frame.ts';
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  finishSegmentHeader,
} from '../../src/volume/format/segment-header.ts';
import {
  chooseSuperblock,
  decodeSuperblock,
  encodeSuperblock,
  superblockSizeBytes,
} from '../../src/volume/format/superblock.ts';
import { TlvWriter } from '../../src/volume/format/tlv.ts';
import { changed, changes, runs, tolerated } from './hostile-bytes.ts';

const poolUuid = Uint8Array.from({ length: 16 }, (_, index) => index * 7 + 1);
const seeds = new Seeds(poolUuid);
const epoch = 3;
const segId = 5;
const segmentSlots = 64;
function isEqual(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}

const superblock = encodeSuperblock({
  poolUuid,
  nodeUuid: poolUuid,
  generation: 9,
  epoch,
  isClean: true,
  segmentSlots,
  manifestAppliedPosition: 0,
  manifestDigest: new Uint8Array(32),
  replayFromSegId: 1,
  segIdHighWater: 7,
  hlcMsHighWater: 1,
  capacityBytes: 2 ** 30,
  createdMs: 1,
  durableThrough: 0,
  relogEpoch: 0,
  softPermille: 850,
  hardPermille: 950,
  ageMs: 1_800_000_000_000,
  name: 'main',
});

describe('superblock decoder', () => {
  it('answers any bytes with a superblock or FormatError', () => {
    const bytes = fc.uint8Array({ minLength: 0, maxLength: superblockSizeBytes });
    fc.assert(
      fc.property(bytes, (input) => {
        expect(tolerated(() => decodeSuperblock(input))).toBeUndefined();
      }),
      runs,
    );
  });

  it('refuses a copy in which any byte was changed', () => {
    fc.assert(
      fc.property(changes(superblock.length), (list) => {
        const input = changed(superblock, list);
        if (isEqual(input, superblock)) return;
        expect(tolerated(() => decodeSuperblock(input))).toBeUndefined();
      }),
      runs,
    );
  });

  it('reads a changed copy with a right checksum without any other error', () => {
    fc.assert(
      fc.property(changes(superblock.length), (list) => {
        const input = changed(superblock, list);
        viewOf(input).setUint32(0, crc32c(input.subarray(4), 0), true);
        const decoded = tolerated(() => decodeSuperblock(input));
        if (decoded !== undefined) expect(decoded.name.length).toBeLessThanOrEqual(128);
      }),
      runs,
    );
  });

  it('never chooses a generation that only one copy names', () => {
    fc.assert(
      fc.property(changes(superblock.length), fc.integer({ min: 0, max: 3 }), (list, place) => {
        const forged = changed(superblock, list);
        viewOf(forged).setUint32(0, crc32c(forged.subarray(4), 0), true);
        const copies = [superblock, superblock, superblock, superblock];
        copies[place] = forged;
        const chosen = tolerated(() => chooseSuperblock(copies));
        if (chosen !== undefined) expect(chosen.generation).toBe(9);
      }),
      runs,
    );
  });
});

function segmentHeaderBytes(): Uint8Array {
  const out = new Uint8Array(slotSizeBytes);
  const header = {
    segId,
    epoch,
    previousSegId: 4,
    previousEnd: addressOf(4, 60),
    hlcMs: 77,
    hlcCounter: 1,
    streamClass: 0,
    segmentSlots,
  };
  encodeSegmentHeader(out, header, poolUuid);
  finishSegmentHeader(out, new Uint8Array(32), addressOf(4, 60), seeds);
  return out;
}

describe('segment header decoder', () => {
  const original = segmentHeaderBytes();

  it('finds nothing in any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: slotSizeBytes }), (input) => {
        expect(tolerated(() => decodeSegmentHeader(input, segId, seeds))).toBeUndefined();
      }),
      runs,
    );
  });

  it('finds nothing in a header in which any byte was changed', () => {
    fc.assert(
      fc.property(changes(original.length), (list) => {
        const input = changed(original, list);
        if (isEqual(input, original)) return;
        expect(tolerated(() => decodeSegmentHeader(input, segId, seeds))).toBeUndefined();
      }),
      runs,
    );
  });

  it('finds nothing at another segment than the one it was written for', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 29 - 1 }), (other) => {
        const found = decodeSegmentHeader(original, other, seeds);
        expect(found?.segId).toBe(other === segId ? segId : undefined);
      }),
      runs,
    );
  });
});

/** A frame of two writes, a clone of `shared` and a catalogue record. */
function frameBytes(shared = addressOf(segId, 2)): {
  readonly header: Uint8Array;
  readonly address: number;
} {
  const address = addressOf(segId, 9);
  const payload = new TlvWriter().number(1, 42).text(2, 'lun0').finish();
  const header = new Uint8Array(slotSizeBytes);
  const view = viewOf(header);
  const shape = {
    address,
    epoch,
    hlcMs: 123,
    hlcCounter: 4,
    headerBlocks: 1,
    descriptors: 4,
    dataBlocks: 5,
    inlineBytes: payload.length,
  };
  encodeFrameShape(view, 0, shape);
  const types = [RecordType.write, RecordType.write, RecordType.clone, RecordType.volCreate];
  for (const [index, type] of types.entries()) {
    const at = frameFixedBytes + index * descriptorBytes;
    const isWrite = type === RecordType.write;
    const isClone = type === RecordType.clone;
    const inline = inlineAux(0, payload.length);
    descriptorLayout.line.set(view, at, 1);
    descriptorLayout.type.set(view, at, type);
    descriptorLayout.nBlocks.set(view, at, isWrite || isClone ? 2 : 0);
    descriptorLayout.lba.set(view, at, index * 100);
    descriptorLayout.dataSlot.set(view, at, isWrite ? index * 2 : 0);
    descriptorLayout.aux.set(view, at, isWrite ? 0 : isClone ? shared : inline);
    descriptorLayout.payloadCrc.set(view, at, isWrite || isClone ? 0 : crc32c(payload, 0));
  }
  header.set(payload, inlineOffset(4, 5));
  finishFrame(header, address, 0x1234, seeds);
  return { header, address };
}

/** Decodes as recovery does; returns the number of records. */
function decodeFrame(input: Uint8Array, address: number): number | undefined {
  return tolerated(() => {
    const frame = peekFrame(input, address, segmentSlots);
    if (frame === undefined || !verifyFrameHeader(input, frame, seeds)) return undefined;
    for (let index = 0; index < frame.descriptors; index += 1) {
      const descriptor = decodeDescriptor(input, frame, index);
      const payloadEnd = descriptor.payloadOffset + descriptor.payloadLength;
      expect(payloadEnd).toBeLessThanOrEqual(frame.headerBlocks * slotSizeBytes);
      if (descriptor.type === RecordType.clone) {
        expect(descriptor.address).toBeGreaterThan(0);
        expect(descriptor.address + descriptor.blockCount).toBeLessThanOrEqual(address);
      }
    }
    for (let index = 0; index < frame.dataBlocks; index += 1) blockCrc(input, frame, index);
    return frame.descriptors;
  });
}

describe('frame decoder', () => {
  const { header, address } = frameBytes();

  it('reads the frame that was made', () => {
    expect(decodeFrame(header, address)).toBe(4);
  });

  it('refuses a clone of what does not lie before its frame', () => {
    for (const shared of [1, addressOf(segId, 7)]) {
      expect(decodeFrame(frameBytes(shared).header, address)).toBe(4);
    }
    for (const shared of [0, addressOf(segId, 8), address, address + 1, 2 ** 40]) {
      expect(decodeFrame(frameBytes(shared).header, address)).toBeUndefined();
    }
  });

  it('finds nothing in any bytes', () => {
    const bytes = fc.uint8Array({ minLength: frameFixedBytes, maxLength: slotSizeBytes });
    fc.assert(
      fc.property(bytes, (input) => {
        expect(decodeFrame(input, address)).toBeUndefined();
      }),
      runs,
    );
  });

  it('finds nothing in a frame in which any byte was changed, or at another address', () => {
    fc.assert(
      fc.property(changes(header.length), (list) => {
        const input = changed(header, list);
        if (isEqual(input, header)) return;
        expect(decodeFrame(input, address)).toBeUndefined();
        expect(decodeFrame(header, address + 1 + (list[0]?.[0] ?? 0))).toBeUndefined();
      }),
      runs,
    );
  });

  it('reads a changed frame with a right checksum without any other error', () => {
    fc.assert(
      fc.property(changes(header.length), (list) => {
        const input = changed(header, list);
        const seed = seeds.structure(address, viewOf(input).getUint32(16, true));
        viewOf(input).setUint32(0, crc32c(input.subarray(4), seed), true);
        decodeFrame(input, address);
      }),
      runs,
    );
  });
});

function footerBytes(): Uint8Array {
  const entry = {
    position: addressOf(segId, 1) * 2048,
    address: addressOf(segId, 2),
    lba: 17,
    blockCount: 4,
    line: 1,
    timeDelta: 3,
    type: RecordType.write,
    flags: 0,
    writer: 99,
  };
  const frame = {
    slot: 1,
    headerBlocks: 1,
    descriptors: 1,
    dataBlocks: 4,
    hlcMs: 5,
    hlcCounter: 0,
  };
  return encodeFooter(
    {
      segId,
      epoch,
      endSlot: 6,
      entries: [entry],
      frames: [frame],
      slotCrcs: Uint32Array.of(0, 0, 1, 2, 3, 4),
      digest: new Uint8Array(32),
    },
    poolUuid,
    seeds,
  );
}

function decodeFooter(input: Uint8Array): FooterHeader | undefined {
  return tolerated(() => {
    const footer = decodeFooterHeader(input, segId, epoch, seeds);
    if (footer === undefined || !verifyFooter(input, footer, seeds)) return undefined;
    for (let index = 0; index < footer.recordCount; index += 1) footerEntry(input, index);
    for (let index = 0; index < footer.frameCount; index += 1) footerFrame(input, footer, index);
    footerSlotCrcs(input, footer);
    return footer;
  });
}

describe('footer decoder', () => {
  const original = footerBytes();

  it('reads the footer that was made', () => {
    expect(decodeFooter(original)?.entryCount).toBe(1);
  });

  it('finds nothing in any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 1024 }), (input) => {
        expect(decodeFooter(input)).toBeUndefined();
      }),
      runs,
    );
  });

  it('finds nothing in a footer in which any byte was changed, or that was cut short', () => {
    fc.assert(
      fc.property(changes(original.length), fc.nat(original.length - 1), (list, length) => {
        const input = changed(original, list);
        if (!isEqual(input, original)) expect(decodeFooter(input)).toBeUndefined();
        expect(decodeFooter(original.subarray(0, length))).toBeUndefined();
      }),
      runs,
    );
  });

  it('bounds what a changed header with a right checksum may ask for', () => {
    fc.assert(
      fc.property(changes(footerHeaderBytes), (list) => {
        const input = changed(original, list);
        const seed = seeds.structure(addressOf(segId, slotsPerSegmentMax - 1), epoch);
        viewOf(input).setUint32(0, crc32c(input.subarray(4, footerHeaderBytes), seed), true);
        const footer = tolerated(() => decodeFooterHeader(input, segId, epoch, seeds));
        if (footer === undefined) return;
        expect(footer.endSlot).toBeLessThanOrEqual(slotsPerSegmentMax);
        expect(footer.totalBytes).toBeGreaterThanOrEqual(footer.recordCount * 40);
        expect(footer.recordCount).toBeLessThanOrEqual(footer.entryCount);
      }),
      runs,
    );
  });
});

const frameSizes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 12 });

/** The footer of a segment with frames of so many records, each of one block. */
function footerOf(sizes: readonly number[]): Uint8Array {
  const entries: FooterEntry[] = [];
  const frames: FooterFrame[] = [];
  let slot = 1;
  for (const size of sizes) {
    const address = addressOf(segId, slot);
    frames.push({
      slot,
      headerBlocks: 1,
      descriptors: size,
      dataBlocks: size,
      hlcMs: 5 + slot,
      hlcCounter: 0,
    });
    for (let index = 0; index < size; index += 1) {
      entries.push({
        position: address * 2048 + index,
        address: address + 1 + index,
        lba: index,
        blockCount: 1,
        line: 1,
        timeDelta: index,
        type: RecordType.write,
        flags: 0,
        writer: 0,
      });
    }
    slot += 1 + size;
  }
  const slotCrcs = new Uint32Array(slot).fill(9);
  const digest = new Uint8Array(32).fill(3);
  const contents = { segId, epoch, endSlot: slot, entries, frames, slotCrcs, digest };
  return encodeFooter(contents, poolUuid, seeds);
}

/** Positions of a footer's records, frame by frame, with the time of the frame. */
function recordsOf(input: Uint8Array): { position: number; hlcMs: number }[] {
  const footer = decodeFooter(input);
  if (footer === undefined) throw new Error('no footer');
  const records: { position: number; hlcMs: number }[] = [];
  for (let at = 0; at < footer.frameCount; at += 1) {
    const { descriptors, hlcMs } = footerFrame(input, footer, at);
    for (const end = records.length + descriptors; records.length < end; ) {
      records.push({ position: footerEntry(input, records.length).position, hlcMs });
    }
  }
  return records;
}

describe('thinned footer', () => {
  it('has the records that are kept, in their frames, and says the same of the segment; thinned again, too', () => {
    fc.assert(
      fc.property(frameSizes, fc.array(fc.nat(9), { minLength: 72 }), (sizes, choices) => {
        const original = footerOf(sizes);
        const header = decodeFooter(original);
        if (header === undefined) throw new Error('no footer');
        let expected = recordsOf(original);
        let input = original;
        for (let round = 0; round < 2; round += 1) {
          const kept = new Set(
            expected
              .filter((_, at) => (choices[at] ?? 0) > 4 * round)
              .map(({ position }) => position),
          );
          const before = decodeFooter(input);
          if (before === undefined) throw new Error('no footer');
          input = thinFooter(input, before, ({ position }) => kept.has(position), seeds);
          expected = expected.filter(({ position }) => kept.has(position));
          const thin = decodeFooter(input);
          expect(thin).toMatchObject({
            isThinned: true,
            entryCount: header.entryCount,
            recordCount: expected.length,
            endSlot: header.endSlot,
            digest: header.digest,
            minHlcMs: header.minHlcMs,
            maxHlcMs: header.maxHlcMs,
          });
          expect(thin?.totalBytes).toBe(input.length);
          expect(recordsOf(input)).toEqual(expected);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('is refused when any byte was changed, or it was cut short', () => {
    const whole = footerOf([3, 1, 4]);
    const header = decodeFooter(whole);
    if (header === undefined) throw new Error('no footer');
    const original = thinFooter(whole, header, ({ lba }) => lba % 2 === 0, seeds);
    fc.assert(
      fc.property(changes(original.length), fc.nat(original.length - 1), (list, length) => {
        const input = changed(original, list);
        if (!isEqual(input, original)) expect(decodeFooter(input)).toBeUndefined();
        expect(decodeFooter(original.subarray(0, length))).toBeUndefined();
      }),
      runs,
    );
  });
});
