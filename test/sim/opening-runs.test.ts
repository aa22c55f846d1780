/** Openings with manifests of every kind, from a fixed list of seeds; a failure names its seed and the command that replays it. */
import { describe, expect, it } from 'vitest';
import { openingRun } from './opening-run.ts';

const runs = 80;

describe('openings', () => {
  it('show what was acknowledged whatever the manifest says, and believe it when it is right', () => {
    let lives = 0;
    let known = 0;
    for (let seed = 1; seed <= runs; seed += 1) {
      const result = openingRun({ seed });
      lives += result.lives;
      known += result.known;
    }
    expect(known).toBeGreaterThan(lives / 5);
    expect(known).toBeLessThan(lives);
  });
});
