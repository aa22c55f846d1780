/** Rot and refusing disks, from fixed lists of seeds; a failure names its seed and the command that replays it. */
import { describe, expect, it } from 'vitest';
import { faultRun } from './fault-run.ts';
import { rotRun } from './rot-run.ts';

const rotRuns = 250;
const faultRuns = 250;
/** Seeds beyond that list that once found something. */
const formerFindings = [267, 450, 594, 618, 1523] as const;

describe('a damaged disk', () => {
  it('never makes the store show wrong bytes when files rot', () => {
    const outcomes = new Map<string, number>();
    for (let seed = 1; seed <= rotRuns; seed += 1) {
      const outcome = rotRun({ seed });
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect(outcomes.get('unreadable blocks') ?? 0).toBeGreaterThan(rotRuns / 20);
    expect(outcomes.get('read-only') ?? 0).toBeGreaterThan(rotRuns / 40);
  });

  it('never takes what was acknowledged when calls are refused', () => {
    let stops = 0;
    for (let seed = 1; seed <= faultRuns; seed += 1) stops += faultRun({ seed }).stops;
    expect(stops).toBeGreaterThan(faultRuns / 4);
    for (const seed of formerFindings) expect(faultRun({ seed }).lives).toBeGreaterThan(0);
  });
});
