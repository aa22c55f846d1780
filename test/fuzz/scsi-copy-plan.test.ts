/** Pieces of a copy: whatever the offsets, the result is that of reading everything first, and clones are whole blocks. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextPiece, type RangeShape } from '../../src/scsi/copy-plan.ts';
import { clonePieceBytes, scratchBytes } from '../../src/scsi/limits.ts';

const blockBytes = 4096;

/** Carries the pieces out on bytes. The clone and the buffer bounds are checked on the way. */
function copy(shape: RangeShape, source: Uint8Array, target: Uint8Array): number {
  let done = 0;
  let pieces = 0;
  while (done < shape.length) {
    const { at, length, isClone } = nextPiece(shape, done);
    const from = shape.sourceOffset + at;
    const to = shape.targetOffset + at;
    expect(length).toBeGreaterThan(0);
    expect(length).toBeLessThanOrEqual(isClone ? clonePieceBytes : scratchBytes);
    if (isClone) {
      expect([from % blockBytes, to % blockBytes, length % blockBytes]).toEqual([0, 0, 0]);
      if (shape.isOneDevice) expect(Math.abs(from - to)).toBeGreaterThanOrEqual(length);
    }
    target.set(source.slice(from, from + length), to);
    done += length;
    pieces += 1;
  }
  expect(done).toBe(shape.length);
  return pieces;
}

function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 1) bytes[at] = (at * 31 + (at >> 8) * 17 + seed) & 0xff;
  return bytes;
}

const deviceBytes = 3 << 20;
const anyShape = fc
  .record({
    source: fc.nat(1 << 20),
    distance: fc.oneof(
      fc.integer({ min: -20, max: 20 }).map((blocks) => blocks * blockBytes),
      fc.integer({ min: -40, max: 40 }).map((sectors) => sectors * 512),
      fc.integer({ min: -600_000, max: 600_000 }),
    ),
    length: fc.oneof(fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 1, max: 900_000 })),
    isOneDevice: fc.boolean(),
    canClone: fc.boolean(),
    isAligned: fc.boolean(),
  })
  .map(({ source, distance, length, isOneDevice, canClone, isAligned }) => {
    const sourceOffset = isAligned ? source - (source % blockBytes) : source;
    const targetOffset = Math.max(0, sourceOffset + distance);
    return { sourceOffset, targetOffset, length, isOneDevice, canClone };
  })
  .filter((shape) => !(shape.isOneDevice && shape.sourceOffset === shape.targetOffset));

describe('pieces of a copy', () => {
  it('make the target what the source was, overlapping or not', () => {
    fc.assert(
      fc.property(anyShape, (shape) => {
        const source = pattern(deviceBytes, 1);
        const target = shape.isOneDevice ? source : pattern(deviceBytes, 2);
        const expected = target.slice();
        const { sourceOffset, targetOffset, length } = shape;
        expected.set(source.slice(sourceOffset, sourceOffset + length), targetOffset);
        copy(shape, source, target);
        expect(Buffer.compare(target, expected)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('of whole congruent blocks are clones only, a segment of 16 MiB in four', () => {
    const shape = {
      sourceOffset: 0,
      targetOffset: 1 << 25,
      length: 16 << 20,
      isOneDevice: true,
      canClone: true,
    };
    const kinds: boolean[] = [];
    for (let done = 0; done < shape.length; ) {
      const piece = nextPiece(shape, done);
      kinds.push(piece.isClone);
      done += piece.length;
    }
    expect(kinds).toEqual([true, true, true, true]);
  });

  it('of congruent ranges with ragged ends move only the ends', () => {
    const shape = {
      sourceOffset: 512,
      targetOffset: 512 + 8192 * 10,
      length: 20_000,
      isOneDevice: true,
      canClone: true,
    };
    const pieces: [number, boolean][] = [];
    for (let done = 0; done < shape.length; ) {
      const { length, isClone } = nextPiece(shape, done);
      pieces.push([length, isClone]);
      done += length;
    }
    expect(pieces).toEqual([
      [3584, false],
      [16_384, true],
      [32, false],
    ]);
  });
});
