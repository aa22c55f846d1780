/** Random runs with views, clones, rollbacks and deletes; a failure names its seed and the command that replays it. */
import { describe, expect, it } from 'vitest';
import { type StoreVariant, storeVariants } from './broken-stores.ts';
import { Violation } from './oracle.ts';
import type { Mistake } from './view-client.ts';
import { viewRun } from './view-run.ts';

const runs = 300;
const canaryRunsMax = 100;

/** Stores that do something else than what they were asked. */
const mistakes: Readonly<Record<string, Mistake>> = {
  'views and clones of snapshots begin with now': (op) =>
    op.kind === 'viewCreate' ? { ...op, at: undefined } : op,
  'a refresh to a snapshot goes to now': (op) =>
    op.kind === 'viewRefresh' ? { ...op, at: undefined } : op,
  'a clone stays a view': (op) => (op.kind === 'viewCreate' ? { ...op, isClone: false } : op),
  'an undo goes to a snapshot instead': (op) =>
    op.kind === 'volumeUndo' ? { kind: 'volumeRollback', volume: op.volume, to: 'one' } : op,
  'a cut forgets the other volumes': (op) =>
    op.kind === 'snapshotCut' ? { ...op, others: [] } : op,
};

/** Whether one of the runs finds something wrong. */
function isFound(broken: { variant?: StoreVariant; mistake?: Mistake }): boolean {
  for (let seed = 1; seed <= canaryRunsMax; seed += 1) {
    try {
      viewRun({ seed, ...broken });
    } catch (thrown) {
      if (!(thrown instanceof Violation)) throw thrown;
      return true;
    }
  }
  return false;
}

describe('random runs with views', () => {
  it('keep every line of history apart through crash after crash', () => {
    let crashes = 0;
    for (let seed = 1; seed <= runs; seed += 1) crashes += viewRun({ seed }).crashes;
    expect(crashes).toBeGreaterThan(2 * runs);
  });
});

describe('a broken store with views is found', () => {
  for (const [what, mistake] of Object.entries(mistakes)) {
    it(`when ${what}`, () => {
      expect(isFound({ mistake })).toBe(true);
    });
  }
  for (const variant of storeVariants) {
    it(`whose disk does this: ${variant}`, () => {
      expect(isFound({ variant })).toBe(true);
    });
  }
});
