/** Random runs over the past of a pool; a failure names its seed and the command that replays it. */
import { describe, expect, it } from 'vitest';
import { historyRun, type MomentMistake } from './history-run.ts';
import { Violation } from './oracle.ts';

const runs = 50;
const canaryRunsMax = 60;

/** Stores that open another moment than they were asked for. */
const mistakes: Readonly<Record<string, MomentMistake>> = {
  'views of the past begin with now': () => 'now',
  'a view begins one note later': (at, notes) => {
    const position = Number(at.replace('position:', ''));
    const index = notes.findIndex((note) => note.position === position);
    return `position:${notes[index + 1]?.position ?? position}`;
  },
};

describe('random runs over the past', () => {
  it('find every moment again, in every life', () => {
    let comparisons = 0;
    for (let seed = 1; seed <= runs; seed += 1) comparisons += historyRun({ seed }).comparisons;
    expect(comparisons).toBeGreaterThan(5 * runs);
  });

  for (const [what, mistake] of Object.entries(mistakes)) {
    it(`find a store that is wrong: ${what}`, () => {
      expect(() => {
        for (let seed = 1; seed <= canaryRunsMax; seed += 1) historyRun({ seed, mistake });
      }).toThrow(Violation);
    });
  }
});
