/** How much of its past a volume keeps, as text. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatCdpPolicy, parseCdpPolicy, parseCdpWindow } from '../../../src/base/cdp-policy.ts';

const hour = 3_600_000;
const day = 24 * hour;

describe('the text of a policy', () => {
  it('is read', () => {
    expect(parseCdpPolicy('all:1h,1m:24h,1h:7d,1d:30d')).toEqual({
      windowMs: hour,
      windowBytes: undefined,
      tiers: [
        { everyMs: 60_000, keepMs: day },
        { everyMs: hour, keepMs: 7 * day },
        { everyMs: day, keepMs: 30 * day },
      ],
    });
    expect(parseCdpPolicy('all:0')).toEqual({ windowMs: 0, windowBytes: undefined, tiers: [] });
    expect(parseCdpPolicy('all:unlimited')?.windowMs).toBe(Infinity);
    expect(parseCdpWindow('1d12h/10G')).toEqual({ windowMs: 36 * hour, windowBytes: 10 * 2 ** 30 });
    expect(parseCdpWindow('500ms')?.windowMs).toBe(500);
  });

  it.each([
    '',
    '1h',
    'all:',
    'all:-1h',
    'all:1h,1m',
    'all:1h,1m:1h',
    'all:1h,0:2h',
    'all:1h,500ms:2h',
    'all:1h,1h:7d,1m:24h',
    'all:1h,1m:24h,1m:7d',
    'all:1h,1m:unlimited',
    'all:unlimited,1m:24h',
    'all:1h/0',
    'all:1h/x',
    'all:1h/1G/1G',
    'all:5',
    'all:1m1h',
    'all:200000w',
    `all:0${',1m:24h'.repeat(9)}`,
  ])('is refused: "%s"', (text) => {
    expect(parseCdpPolicy(text)).toBeUndefined();
  });

  it('is written so that it is read again', () => {
    expect(formatCdpPolicy({ windowMs: 90_000, windowBytes: 1536, tiers: [] })).toBe(
      'all:1m30s/1536',
    );
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 10 ** 9 }), fc.nat(10 ** 9)), {
      maxLength: 8,
    });
    const bytes = fc.option(fc.integer({ min: 1, max: 2 ** 50 }), { nil: undefined });
    fc.assert(
      fc.property(fc.nat(10 ** 9), bytes, steps, (windowMs, windowBytes, list) => {
        let [everyMs, keepMs] = [1000, windowMs];
        const tiers = list.map(([every, keep]) => {
          everyMs += every;
          keepMs += keep + 1;
          return { everyMs, keepMs };
        });
        const policy = { windowMs, windowBytes, tiers };
        expect(parseCdpPolicy(formatCdpPolicy(policy))).toEqual(policy);
      }),
    );
  });
});
