import { describe, expect, it } from 'vitest';
import { Claims } from '../../../src/scsi/claims.ts';
import { claimedBytesMax, claimedTotalMaxBytes } from '../../../src/scsi/limits.ts';

describe('memory of commands besides staging', () => {
  it('is bounded for each nexus', () => {
    const claims = new Claims();
    const [one, other] = [{ claimedBytes: 0 }, { claimedBytes: 0 }];
    expect(claims.take(one, claimedBytesMax)).toBe(true);
    expect(claims.take(one, 1)).toBe(false);
    expect(claims.take(other, 1)).toBe(true);
    claims.give(one, claimedBytesMax);
    expect(one.claimedBytes).toBe(0);
    expect(claims.take(one, claimedBytesMax)).toBe(true);
  });

  it('is bounded for all of them together, and there again when it was given back', () => {
    const claims = new Claims();
    const crowd = Array.from({ length: claimedTotalMaxBytes / claimedBytesMax }, () => ({
      claimedBytes: 0,
    }));
    expect(crowd.every((nexus) => claims.take(nexus, claimedBytesMax))).toBe(true);
    const late = { claimedBytes: 0 };
    expect(claims.take(late, 1)).toBe(false);
    expect(late.claimedBytes).toBe(0);
    for (const nexus of crowd.slice(0, 1)) claims.give(nexus, claimedBytesMax);
    expect(claims.take(late, claimedBytesMax)).toBe(true);
  });
});
