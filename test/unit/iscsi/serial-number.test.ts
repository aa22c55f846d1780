/** RFC 1982: comparison and addition of 32-bit serial numbers. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSerialBefore, isSerialWithin, serialAdd } from '../../../src/iscsi/serial-number.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const half = 2 ** 31;

describe('serial numbers', () => {
  it('wrap: 2^32 - 1 comes before 0', () => {
    expect(serialAdd(0xffff_ffff, 1)).toBe(0);
    expect(serialAdd(0, -1)).toBe(0xffff_ffff);
    expect(isSerialBefore(0xffff_ffff, 0)).toBe(true);
    expect(isSerialBefore(0, 0xffff_ffff)).toBe(false);
    expect(isSerialBefore(0x7fff_ffff, 0x8000_0000)).toBe(true);
  });

  it('nothing is before itself, nor is it before what lies exactly half a circle away', () => {
    fc.assert(
      fc.property(u32, (number) => {
        expect(isSerialBefore(number, number)).toBe(false);
        expect(isSerialBefore(number, serialAdd(number, half))).toBe(false);
        expect(isSerialBefore(serialAdd(number, half), number)).toBe(false);
      }),
    );
  });

  it('a number is before what is made by adding 1 to 2^31 - 1, and never the other way round', () => {
    fc.assert(
      fc.property(u32, fc.integer({ min: 1, max: half - 1 }), (number, count) => {
        const later = serialAdd(number, count);
        expect(later).toBeGreaterThanOrEqual(0);
        expect(isSerialBefore(number, later)).toBe(true);
        expect(isSerialBefore(later, number)).toBe(false);
        expect(serialAdd(later, -count)).toBe(number);
      }),
    );
  });

  it('a window holds exactly its numbers, wherever it lies', () => {
    fc.assert(
      fc.property(u32, fc.integer({ min: 0, max: 1000 }), fc.integer(), (first, size, offset) => {
        const last = serialAdd(first, size - 1);
        const number = serialAdd(first, offset);
        const isInside = offset >= 0 && offset < size;
        expect(isSerialWithin(number, first, last)).toBe(isInside);
      }),
    );
    expect(isSerialWithin(5, 5, 4)).toBe(false);
    expect(isSerialWithin(4, 5, 4)).toBe(false);
    expect(isSerialWithin(0, 0xffff_ff80, 0x7f)).toBe(true);
    expect(isSerialWithin(0x80, 0xffff_ff80, 0x7f)).toBe(false);
  });
});
