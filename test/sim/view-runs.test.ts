/** Random runs with views, clones, rollbacks and deletes; a failure names its seed and the command that replays it. */
import { describe, expect, it } from 'vitest';
import { blockSizeBytes } from '../../src/device/block-device.ts';
import { type StoreVariant, storeVariants } from './broken-stores.ts';
import { Violation } from './oracle.ts';
import type { Mistake } from './view-client.ts';
import { viewRun } from './view-run.ts';

const runs = 160;
const canaryRunsMax = 100;

/** Stores that do something else than what they were asked. */
const mistakes: Readonly<Record<string, Mistake>> = {
  'views and clones of snapshots begin with now': {
    catalogue: (op) => (op.kind === 'viewCreate' ? { ...op, at: undefined } : op),
  },
  'a refresh to a snapshot goes to now': {
    catalogue: (op) => (op.kind === 'viewRefresh' ? { ...op, at: undefined } : op),
  },
  'a clone stays a view': {
    catalogue: (op) => (op.kind === 'viewCreate' ? { ...op, isClone: false } : op),
  },
  'an undo goes to a snapshot instead': {
    catalogue: (op) =>
      op.kind === 'volumeUndo' ? { kind: 'volumeRollback', volume: op.volume, to: 'one' } : op,
  },
  'a cut forgets the other volumes': {
    catalogue: (op) => (op.kind === 'snapshotCut' ? { ...op, others: [] } : op),
  },
  'an older state is kept': {
    catalogue: (op) => (op.kind === 'luState' ? { ...op, sequence: op.sequence - 1 } : op),
  },
  'a compare-and-write does not compare': {
    data: (op) => (op.kind === 'compareAndWrite' ? { ...op, kind: 'write' } : op),
  },
  'an OR write overwrites': {
    data: (op) => (op.kind === 'orWrite' ? { ...op, kind: 'write' } : op),
  },
  'a clone shares the blocks beside': {
    data: (op) => {
      if (op.kind !== 'clone') return op;
      return { ...op, sourceOffset: Math.max(0, op.sourceOffset - blockSizeBytes) };
    },
  },
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
