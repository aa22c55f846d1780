import { expect, it } from 'vitest';
import { SPACE_CHECK_MS } from '../../../src/engine/limits.ts';
import { SpaceWatch } from '../../../src/engine/space-watch.ts';
import { VirtualTime } from '../../support/virtual-time.ts';

it('hosts are told once each time that the pool passes 85 %, and again only after it was below 83 %', async () => {
  const time = new VirtualTime();
  const told: string[] = [];
  let usedBytes = 84;
  const listener = {
    spaceLow: (): void => void told.push('low'),
    spaceRecovered: (): void => void told.push('recovered'),
  };
  const log = {
    info: (): void => undefined,
    warn: (): void => undefined,
    error: (): void => undefined,
  };
  const space = (): {
    usedBytes: number;
    effectiveCapacityBytes: number;
    softLimitBytes: number;
  } => ({
    usedBytes,
    effectiveCapacityBytes: 100,
    softLimitBytes: 85,
  });
  const watch = new SpaceWatch({ space, timers: time, log }, listener);
  const seen: number[] = [];
  for (const next of [85, 99, 84, 83, 86, 82, 84, 85]) {
    usedBytes = next;
    await time.pass(SPACE_CHECK_MS);
    seen.push(told.length);
  }
  expect(told).toEqual(['low', 'recovered', 'low']);
  expect(seen).toEqual([1, 1, 1, 1, 1, 2, 2, 3]);
  watch.stop();
  usedBytes = 10;
  await time.pass(10 * SPACE_CHECK_MS);
  expect(told).toHaveLength(3);
});
