import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../../src/base/fields.ts';
import { DiskError } from '../../../../src/base/ports.ts';
import { addressOf, slotOf, slotSizeBytes } from '../../../../src/volume/format/address.ts';
import { Seeds } from '../../../../src/volume/format/checksum.ts';
import { encodeFrameShape, finishFrame } from '../../../../src/volume/format/frame.ts';
import { SegmentReader } from '../../../../src/volume/recovery/scan.ts';

const segId = 3;
const epoch = 7;
const segmentSlots = 512;
const seeds = new Seeds(new Uint8Array(16).fill(9));
const start = addressOf(segId, 1);
const limit = addressOf(segId, segmentSlots - 1) + 1;

/** A segment file in memory that ends after `slots`, and refuses reads that touch a slot of `refused`. */
class MemorySegment {
  readonly bytes: Uint8Array;
  readonly refused = new Set<number>();
  reads = 0;

  constructor(slots = segmentSlots) {
    this.bytes = new Uint8Array(slots * slotSizeBytes);
  }

  read(target: Uint8Array, position: number): number {
    this.reads += 1;
    const piece = this.bytes.subarray(position, position + target.length);
    for (const slot of this.refused) {
      const at = slot * slotSizeBytes;
      if (at >= position && at < position + target.length) throw new DiskError('EIO', 'refused');
    }
    target.set(piece);
    return piece.length;
  }

  /** A frame of one block whose header verifies. */
  frame(slot: number, frameEpoch = epoch): number {
    const address = addressOf(segId, slot);
    const header = this.bytes.subarray(slot * slotSizeBytes, (slot + 1) * slotSizeBytes);
    const shape = {
      ...{ address, epoch: frameEpoch, hlcMs: 1, hlcCounter: 0 },
      ...{ headerBlocks: 1, descriptors: 1, dataBlocks: 0, inlineBytes: 0 },
    };
    encodeFrameShape(viewOf(header), 0, shape);
    finishFrame(header, address, 0, seeds);
    return address;
  }

  next(address = start): number | undefined {
    const reader = new SegmentReader(this, segmentSlots, seeds);
    return reader.nextFrame(address, epoch, limit)?.frame.address;
  }
}

describe('the next frame of a segment', () => {
  it('is found wherever it starts', () => {
    for (let slot = 1; slot < segmentSlots; slot += 1) {
      const segment = new MemorySegment();
      const address = segment.frame(slot);
      expect(segment.next()).toBe(address);
      if (slot > 1) expect(segment.next(addressOf(segId, slot - 1))).toBe(address);
      expect(segment.next(address + 1)).toBeUndefined();
    }
  });

  it('is the first of several, and none of another epoch or that does not verify', () => {
    const segment = new MemorySegment();
    segment.frame(100, epoch - 1);
    segment.bytes[(slotOf(segment.frame(101)) + 1) * slotSizeBytes - 1] = 1;
    const first = segment.frame(103);
    const second = segment.frame(104);
    expect(segment.next()).toBe(first);
    expect(segment.next(first + 1)).toBe(second);
  });

  it('is found behind and between slots that the disk refuses', () => {
    for (const slot of [2, 70, 200, 300]) {
      const segment = new MemorySegment();
      segment.refused.add(slot - 1).add(slot + 1);
      const address = segment.frame(slot);
      expect(segment.next()).toBe(address);
    }
  });

  it('is found up to the last slot of a file that ends early, in few reads', () => {
    const segment = new MemorySegment(200);
    expect(segment.next()).toBeUndefined();
    expect(segment.reads).toBeLessThan(20);
    const address = segment.frame(199);
    expect(segment.next()).toBe(address);
  });
});

it('a glance at slots gives none when the file ends among them or the disk refuses one', () => {
  const segment = new MemorySegment(100);
  const reader = new SegmentReader(segment, segmentSlots, seeds);
  const from = addressOf(segId, 36);
  segment.bytes[100 * slotSizeBytes - 1] = 1;
  expect(reader.glance(from, 64)?.at(-1)).toBe(1);
  expect(reader.glance(from + 1, 64)).toBeUndefined();
  segment.refused.add(40);
  expect(reader.glance(from, 64)).toBeUndefined();
});
