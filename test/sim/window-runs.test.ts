/** Random runs over windows and pins; a failure names its seed and the command that replays it. */
import { describe, expect, it } from 'vitest';
import type { VolumeState } from '../../src/volume/catalogue/catalogue.ts';
import { Violation } from './oracle.ts';
import { windowRun } from './window-run.ts';

const runs = 48;
const canaryRunsMax = 30;

/** Stores that do not keep what they say. */
const mistakes: Readonly<Record<string, (volume: VolumeState) => void>> = {
  'a pin is forgotten when another is made': ({ pins }) => {
    if (pins.length > 2) pins.remove(pins.cutAt(pins.length - 1));
  },
  'the horizon is lost': (volume) => {
    if (volume.horizon !== undefined) volume.horizon = undefined;
  },
  'a lock is forgotten': ({ snapshotByName }) => {
    for (const snapshot of snapshotByName.values()) snapshot.lockedUntilMs = 0;
  },
  'a guarantee is forgotten': (volume) => {
    volume.isGuaranteed = false;
  },
};

describe('random runs over windows and pins', () => {
  it('open what is kept, refuse the rest, in every life', () => {
    let [opened, refused, shortened, guaranteed] = [0, 0, 0, 0];
    for (let seed = 1; seed <= runs; seed += 1) {
      const result = windowRun({ seed });
      opened += result.opened;
      refused += result.refused;
      shortened += result.shortened;
      guaranteed += result.guaranteed;
    }
    expect(opened).toBeGreaterThan(2 * runs);
    expect(refused).toBeGreaterThan(runs);
    // A pool that is short of space asked so often for some of the past, and was given it, or was not.
    expect(shortened).toBeGreaterThan(runs / 4);
    expect(guaranteed).toBeGreaterThan(runs / 4);
  });

  for (const [what, mistake] of Object.entries(mistakes)) {
    it(`find a store that is wrong: ${what}`, () => {
      expect(() => {
        for (let seed = 1; seed <= canaryRunsMax; seed += 1) windowRun({ seed, mistake });
      }).toThrow(Violation);
    });
  }
});
