/** The simulator is worth what it finds: stores that are broken on purpose must be found out. */
import { describe, expect, it } from 'vitest';
import { storeVariants } from './broken-stores.ts';
import { explore } from './explore.ts';
import { longRun } from './long-run.ts';
import { Violation } from './oracle.ts';
import { programs } from './programs.ts';

const longRuns = 20;

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

function foundByLongRuns(variant: (typeof storeVariants)[number]): number {
  let found = 0;
  for (let seed = 1; seed <= longRuns; seed += 1) {
    try {
      longRun({ seed, variant });
    } catch (thrown) {
      if (!(thrown instanceof Violation)) throw thrown;
      found += 1;
    }
  }
  return found;
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
      expect(foundByLongRuns(variant)).toBeGreaterThan(0);
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
