/** The simulator is worth what it finds: stores that are broken on purpose must be found out. */
import { describe, expect, it } from 'vitest';
import { storeVariants } from './broken-stores.ts';
import { explore } from './explore.ts';
import { longRun } from './long-run.ts';
import { Violation } from './oracle.ts';
import { programs } from './programs.ts';

/** Enough for the rarest: a new segment whose name was never made durable. */
const longRunsMax = 150;

/** What the exploration of the programs says of a store; undefined = nothing wrong. */
function explored(variant: (typeof storeVariants)[number]): string | undefined {
  for (const program of programs) {
    try {
      explore({ program, seed: 1, recoveryStride: 0, variant });
    } catch (thrown) {
      if (thrown instanceof Violation) return thrown.message;
      throw thrown;
    }
  }
  return undefined;
}

function isFoundByLongRuns(variant: (typeof storeVariants)[number]): boolean {
  for (let seed = 1; seed <= longRunsMax; seed += 1) {
    try {
      longRun({ seed, variant });
    } catch (thrown) {
      if (!(thrown instanceof Violation)) throw thrown;
      return true;
    }
  }
  return false;
}

function traceOf(seed: number): string[] {
  const lines: string[] = [];
  longRun({ seed, trace: (line) => lines.push(line) });
  return lines;
}

describe('a broken store', () => {
  for (const variant of storeVariants) {
    it(`whose disk does this is found by small programs: ${variant}`, () => {
      expect(explored(variant)).toMatch(/replay: node test\/sim\/main.ts --program/);
    });
    it(`whose disk does this is found by random runs: ${variant}`, () => {
      expect(isFoundByLongRuns(variant)).toBe(true);
    });
  }
});

describe('a seed', () => {
  it('replays the same run', () => {
    const first = traceOf(11);
    expect(first.length).toBeGreaterThan(50);
    expect(traceOf(11)).toEqual(first);
  });
});
