import { expect, it } from 'vitest';
import { RestartBackoff } from '../../../src/control/backoff.ts';

/** A source of chance that always says `byte`. */
function always(byte: number): { fill: (target: Uint8Array) => void } {
  return {
    fill: (target) => {
      target.fill(byte);
    },
  };
}

function delays(backoff: RestartBackoff): number[] {
  return Array.from({ length: 9 }, () => backoff.delayMs(0));
}

it('doubles the wait from 100 ms to 10 s', () => {
  expect(delays(new RestartBackoff(always(0)))).toEqual([
    100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000,
  ]);
});

it('leaves up to a quarter of each wait to chance', () => {
  expect(delays(new RestartBackoff(always(255)))).toEqual([
    75, 150, 300, 601, 1202, 2403, 4806, 7510, 7510,
  ]);
});

it('does not wait for an engine that ran for 60 s and then begins anew; it does for one that ran a little less', () => {
  const backoff = new RestartBackoff(always(0));
  backoff.delayMs(0);
  expect(backoff.delayMs(59_999)).toBe(200);
  expect(backoff.delayMs(60_000)).toBe(0);
  expect(backoff.delayMs(0)).toBe(100);
  expect(backoff.delayMs(0)).toBe(200);
});
