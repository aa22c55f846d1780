import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkShares,
  pressureAt,
  sharesOf,
  spaceLimits,
} from '../../../../src/volume/core/space-limits.ts';

const segmentBytes = 32 * 2 ** 20;
const gib = 2 ** 30;
/** Of a pool that was told nothing else. */
const defaultShares = sharesOf({ softPermille: 0, hardPermille: 0 });

describe('limits of use', () => {
  it('are 85 and 95 percent, with 3.5 percent kept back, in a pool of usual size', () => {
    const limits = spaceLimits(1000 * gib, segmentBytes, defaultShares);
    expect(limits.softBytes).toBe(850 * gib);
    expect(limits.hardBytes).toBe(950 * gib);
    expect(limits.thickBytes / gib).toBeCloseTo(965, 5);
    expect(limits.trimBytes / gib).toBeCloseTo(967.5, 5);
    expect(limits.cleanerBytes / gib).toBeCloseTo(987.5, 5);
    expect(limits.runBytes / gib).toBeCloseTo(997.5, 5);
    expect(limits.marginBytes / gib).toBeCloseTo(10, 5);
  });

  it('leave the cleaner 8 segments, and a tenth of a pool that is too small for that', () => {
    const small = spaceLimits(4 * gib, segmentBytes, defaultShares);
    expect(small.cleanerBytes - small.trimBytes).toBe(8 * segmentBytes);
    expect(small.hardBytes).toBe(small.thickBytes);
    const tiny = spaceLimits(gib, segmentBytes, defaultShares);
    expect((tiny.cleanerBytes - tiny.trimBytes) / gib).toBeCloseTo(0.1, 5);
  });

  it('lie in their order whatever the pool and its shares are', () => {
    const shares = fc
      .record({ soft: fc.integer({ min: 500, max: 940 }), gap: fc.integer({ min: 20, max: 400 }) })
      .map(({ soft, gap }) => ({ soft: soft / 1000, hard: Math.min(soft + gap, 960) / 1000 }));
    const capacity = fc.integer({ min: 2 ** 20, max: 2 ** 50 });
    fc.assert(
      fc.property(capacity, shares, (capacityBytes, chosen) => {
        checkShares(chosen);
        const found = spaceLimits(capacityBytes, segmentBytes, chosen);
        const { softBytes, hardBytes, marginBytes, thickBytes, trimBytes, cleanerBytes } = found;
        const order = [0, softBytes, hardBytes, thickBytes + 1, trimBytes + 1, cleanerBytes];
        order.push(found.runBytes, capacityBytes);
        for (let index = 1; index < order.length; index += 1) {
          expect(order[index]).toBeGreaterThan(order[index - 1] ?? 0);
        }
        expect(hardBytes).toBeLessThanOrEqual(thickBytes);
        expect(marginBytes).toBeGreaterThan(0);
        expect(hardBytes - marginBytes).toBeGreaterThanOrEqual(softBytes);
        expect(pressureAt(softBytes, found)).toBe(0);
        expect(pressureAt(hardBytes, found)).toBe(1);
        expect(pressureAt(capacityBytes, found)).toBe(1);
      }),
    );
  });

  it('are refused when no pool should have them', () => {
    for (const [soft, hard] of [
      [0.49, 0.9],
      [0.9, 0.961],
      [0.9, 0.919],
      [0.95, 0.9],
      [Number.NaN, 0.9],
    ] as const) {
      expect(() => {
        checkShares({ soft, hard });
      }).toThrow('do not do');
    }
    checkShares({ soft: 0.5, hard: 0.96 });
    checkShares({ soft: 0.94, hard: 0.96 });
  });
});
