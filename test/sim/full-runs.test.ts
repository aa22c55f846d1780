/** Pools that run full, from a fixed list of seeds; a failure names its seed and the command that replays it. */
import { describe, expect, it } from 'vitest';
import { fullRun } from './full-run.ts';

const runs = 10;
/** From here on the runs meet everything that is counted below. */
const firstSeed = 16;

describe('full pools', () => {
  it('lose nothing, refuse no delete and take writes again when there is space', () => {
    let fullCount = 0;
    let relievedCount = 0;
    let cleanedCount = 0;
    let shortenedCount = 0;
    let guaranteedCount = 0;
    let takenCount = 0;
    let returnedCount = 0;
    for (let seed = firstSeed; seed < firstSeed + runs; seed += 1) {
      const { full, relieved, cleaned, shortened, guaranteed, taken, returned } = fullRun({
        seed,
      });
      fullCount += full;
      relievedCount += relieved;
      cleanedCount += cleaned;
      shortenedCount += shortened;
      guaranteedCount += guaranteed;
      takenCount += taken;
      returnedCount += returned;
    }
    expect(fullCount).toBeGreaterThan(runs / 2);
    expect(shortenedCount).toBeGreaterThan(runs / 8);
    expect(guaranteedCount).toBeGreaterThan(runs / 8);
    expect(relievedCount).toBeGreaterThan(runs / 10);
    expect(takenCount).toBeGreaterThan(runs);
    expect(returnedCount).toBeGreaterThan(runs / 20);
    // In half of all lives the cleaner works by itself, and has left nothing to do.
    expect(cleanedCount).toBeGreaterThan(runs / 20);
  });
});
