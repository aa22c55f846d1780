import { describe, expect, it } from 'vitest';
import { copyRate, Pace } from '../../../../src/volume/cleaner/pace.ts';

const mebi = 2 ** 20;

describe('pace of copies', () => {
  it('keeps to its rate, the time of copying included', () => {
    const pace = new Pace();
    // 32 MiB at 16 MiB a second take 2 s, of which the copy took half a second.
    expect(pace.delayMs(32 * mebi, 16 * mebi, { startedMs: 1000, nowMs: 1500 })).toBe(1500);
    // One that began on time but took too long must not wait.
    expect(pace.delayMs(mebi, mebi, { startedMs: 3000, nowMs: 5000 })).toBe(0);
    // What was slow before is not made up for by more than this one.
    expect(pace.delayMs(mebi, mebi, { startedMs: 5000, nowMs: 5000 })).toBe(1000);
  });

  it('is faster when space is short, and slower while clients write, unless space is all but gone', () => {
    expect(copyRate('none', true)).toBeLessThan(copyRate('none', false));
    expect(copyRate('soft', false)).toBeGreaterThan(copyRate('none', false));
    expect(copyRate('soft', true)).toBeLessThan(copyRate('soft', false));
    expect(copyRate('hard', true)).toBe(copyRate('hard', false));
  });
});
