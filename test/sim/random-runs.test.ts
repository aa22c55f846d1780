/** Long random runs from a fixed list of seeds; a failure names its seed and the command that replays it. */
import { describe, expect, it } from 'vitest';
import { faultRun } from './fault-run.ts';
import { longRun } from './long-run.ts';
import { rotRun } from './rot-run.ts';

const longRuns = 400;
const rotRuns = 400;
const faultRuns = 400;

describe('random runs', () => {
  it('lose nothing through crash after crash', () => {
    let lives = 0;
    for (let seed = 1; seed <= longRuns; seed += 1) lives += longRun({ seed }).lives;
    expect(lives).toBeGreaterThan(2 * longRuns);
  });

  it('never show wrong bytes when files rot', () => {
    const outcomes = new Map<string, number>();
    for (let seed = 1; seed <= rotRuns; seed += 1) {
      const outcome = rotRun({ seed });
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect(outcomes.get('unreadable blocks') ?? 0).toBeGreaterThan(rotRuns / 20);
    expect(outcomes.get('read-only') ?? 0).toBeGreaterThan(rotRuns / 40);
  });

  it('keep what was acknowledged when the disk refuses calls', () => {
    let stops = 0;
    for (let seed = 1; seed <= faultRuns; seed += 1) stops += faultRun({ seed }).stops;
    expect(stops).toBeGreaterThan(faultRuns / 4);
  });
});
