import { describe, expect, it } from 'vitest';
import { sharesOf, spaceLimits } from '../../../../src/volume/core/space-limits.ts';
import { TrimReserve } from '../../../../src/volume/core/trim-reserve.ts';

const gib = 2 ** 30;
const limits = spaceLimits(100 * gib, 2 ** 25, sharesOf({ softPermille: 0, hardPermille: 0 }));
const { trimBytes, trimReserveBytes } = limits;

describe('the reserve of trims', () => {
  it('begins at its limit, counts what is logged, and ends', () => {
    const trims = new TrimReserve();
    const admits = (storedBytes: number, loggedBytes: number): boolean =>
      trims.admits({ storedBytes, loggedBytes }, limits);
    expect(admits(trimBytes - 1, 1000)).toBe(true);
    expect(admits(trimBytes, 1000)).toBe(true);
    expect(admits(trimBytes + 100, 999 + trimReserveBytes)).toBe(true);
    expect(trims.isUsedUp).toBe(false);
    expect(admits(trimBytes + 100, 1000 + trimReserveBytes)).toBe(false);
    expect(trims.isUsedUp).toBe(true);
    // Space was given back: all of it is there again.
    expect(admits(trimBytes - 1, 2000 + trimReserveBytes)).toBe(true);
    expect(trims.isUsedUp).toBe(false);
    expect(admits(trimBytes, 3000 + trimReserveBytes)).toBe(true);
  });

  it('is not used up by what is stored for a moment while space is made', () => {
    const trims = new TrimReserve();
    const storedBytes = trimBytes + 100 * trimReserveBytes;
    expect(trims.admits({ storedBytes, loggedBytes: 0 }, limits)).toBe(true);
    expect(trims.admits({ storedBytes, loggedBytes: trimReserveBytes - 1 }, limits)).toBe(true);
  });
});
