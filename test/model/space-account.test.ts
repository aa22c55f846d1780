/** The account of space beside plain sets, over random histories. */
import { describe, it } from 'vitest';
import { History, limitsOfTests } from '../unit/volume/liveness/random-history.ts';
import { close, worldOfTests } from '../unit/volume/pool-world.ts';

const world = worldOfTests();
const limits = limitsOfTests();

describe('space account', () => {
  it.each([1, 2, 3, 4])('agrees with plain sets over random histories (seed %i)', async (seed) => {
    // Of an even seed the log is looked at three segments (of 64 slots) at a time.
    if (seed % 2 === 0) Object.assign(limits, { holderTableBytes: 3 * 64 * 4 });
    // Of others than every third neighbours are compared only where the log says that they can differ.
    if (seed % 3 > 0) Object.assign(limits, { leavesPerSegment: 0 });
    const history = new History((await world.open()).pool, seed);
    for (let round = 0; round < 4; round += 1) {
      for (let step = 0; step < 25; step += 1) await history.step();
      await history.check();
      if (round % 2 === 0) continue;
      await close(history.pool);
      history.pool = (await world.open()).pool;
      await history.check();
    }
  });
});
