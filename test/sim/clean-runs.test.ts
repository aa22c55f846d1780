/** Random runs on pools that give space back; a failure names its seed and the command that replays it. */
import { describe, expect, it } from 'vitest';
import { cleanRun } from './clean-run.ts';

const runs = 40;

describe('random runs with the cleaner', () => {
  it('lose nothing that is kept, whenever they are cut off, and give the rest back', () => {
    let packs = 0;
    let packsReplaced = 0;
    let crashes = 0;
    for (let seed = 1; seed <= runs; seed += 1) {
      const result = cleanRun({ seed });
      packs += result.packs;
      packsReplaced += result.packsReplaced;
      crashes += result.crashes;
    }
    expect(packs).toBeGreaterThan(2 * runs);
    expect(packsReplaced).toBeGreaterThan(runs / 4);
    expect(crashes).toBeGreaterThan(runs / 2);
  });
});
