/** Long random runs from a fixed list of seeds; a failure names its seed and the command that replays it. */
import { describe, expect, it } from 'vitest';
import { longRun } from './long-run.ts';

const runs = 200;

describe('long random runs', () => {
  it('lose nothing through crash after crash', () => {
    let lives = 0;
    for (let seed = 1; seed <= runs; seed += 1) lives += longRun({ seed }).lives;
    expect(lives).toBeGreaterThan(2 * runs);
  });
});
