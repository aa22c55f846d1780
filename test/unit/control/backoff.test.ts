import { expect, it } from 'vitest';
import { RestartBackoff } from '../../../src/control/backoff.ts';

it('doubles the wait from 100 ms to 10 s', () => {
  const backoff = new RestartBackoff();
  const delays = Array.from({ length: 9 }, () => backoff.delayMs(0));
  expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
});

it('begins anew for an engine that ran for 60 s, and not for one that ran a little less', () => {
  const backoff = new RestartBackoff();
  backoff.delayMs(0);
  expect(backoff.delayMs(59_999)).toBe(200);
  expect(backoff.delayMs(60_000)).toBe(100);
});
