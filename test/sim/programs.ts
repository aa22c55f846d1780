/**
 * Small programs for the exhaustive runs: each a few operations that meet in one corner of the store. A crash is taken at
 * every disk call of each.
 *
 * Steps are submitted one after the other without waiting for answers; `wait` waits for all of them.
 */
import type { ModelOp } from './model.ts';

type WithoutSequence<T> = T extends unknown ? Omit<T, 'sequence'> : never;

/** An operation as a program names it; writes get their sequence numbers when they are submitted. */
export type StepOp = WithoutSequence<ModelOp>;

export type Step =
  | { readonly kind: 'op'; readonly op: StepOp }
  | { readonly kind: 'wait' }
  | { readonly kind: 'flush'; readonly volume: number }
  /** Closes the pool in order and opens it again. */
  | { readonly kind: 'reopen' }
  | { readonly kind: 'stepClock'; readonly byMs: number };

export interface Program {
  readonly name: string;
  readonly steps: readonly Step[];
}

const block = 4096;
const wait: Step = { kind: 'wait' };
const reopen: Step = { kind: 'reopen' };

function op(stepOp: StepOp): Step {
  return { kind: 'op', op: stepOp };
}

function create(volume: number, name: string, blocks: number, isWriteBack = false): Step {
  return op({ kind: 'volumeCreate', volume, name, sizeBytes: blocks * block, isWriteBack });
}

/** Bytes [offset, offset + length) of the volume. */
function writeBytes(volume: number, offset: number, length: number): Step {
  return op({ kind: 'write', volume, offset, length });
}

function write(volume: number, first: number, blocks: number): Step {
  return writeBytes(volume, first * block, blocks * block);
}

function clear(kind: 'zero' | 'trim', first: number, blocks: number, noHole = false): Step {
  return op({ kind, volume: 1, offset: first * block, length: blocks * block, noHole });
}

function clearBytes(kind: 'zero' | 'trim', offset: number, length: number): Step {
  return op({ kind, volume: 1, offset, length, noHole: false });
}

function snapshot(kind: 'snapshotCreate' | 'snapshotDelete', name: string): Step {
  return op({ kind, volume: 1, name });
}

function flush(volume: number): Step {
  return { kind: 'flush', volume };
}

function repeat(count: number, make: (index: number) => readonly Step[]): readonly Step[] {
  return Array.from({ length: count }, (_, index) => make(index)).flat();
}

export const programs: readonly Program[] = [
  {
    name: 'first-write',
    steps: [
      create(1, 'a', 32),
      wait,
      write(1, 0, 1),
      wait,
      write(1, 0, 3),
      write(1, 1, 1),
      flush(1),
      wait,
    ],
  },
  {
    name: 'overwrites-in-flight',
    steps: [
      create(1, 'a', 32),
      wait,
      write(1, 0, 8),
      write(1, 4, 8),
      write(1, 2, 1),
      write(1, 0, 2),
      wait,
      write(1, 4, 1),
      write(1, 4, 1),
      wait,
    ],
  },
  {
    name: 'sub-block-writes',
    steps: [
      create(1, 'a', 16),
      wait,
      write(1, 0, 4),
      writeBytes(1, 512, 512),
      writeBytes(1, 1024, 512),
      write(1, 0, 1),
      writeBytes(1, 3 * block - 1000, 2000),
      wait,
      writeBytes(1, 5 * block + 1, 1),
      writeBytes(1, 8 * block - 512, 2 * block),
      wait,
    ],
  },
  {
    name: 'trim-and-zero',
    steps: [
      create(1, 'a', 32),
      wait,
      write(1, 0, 16),
      clear('trim', 2, 3),
      write(1, 3, 1),
      wait,
      clear('zero', 0, 2, true),
      clear('zero', 8, 4),
      clear('trim', 12, 20),
      wait,
      write(1, 9, 1),
      wait,
    ],
  },
  {
    name: 'snapshots',
    steps: [
      create(1, 'a', 16),
      wait,
      write(1, 0, 4),
      snapshot('snapshotCreate', 's1'),
      write(1, 1, 2),
      wait,
      snapshot('snapshotCreate', 's2'),
      wait,
      clear('trim', 0, 4),
      snapshot('snapshotDelete', 's1'),
      wait,
      snapshot('snapshotCreate', 's1'),
      wait,
    ],
  },
  {
    name: 'segment-rolls',
    steps: [
      create(1, 'a', 64),
      wait,
      ...repeat(9, (index) => [write(1, (index * 7) % 40, 16), write(1, index, 3)]),
      wait,
      snapshot('snapshotCreate', 'late'),
      wait,
      ...repeat(3, (index) => [write(1, index * 20, 20)]),
      wait,
    ],
  },
  {
    name: 'volumes',
    steps: [
      create(1, 'a', 16),
      create(2, 'b', 16),
      wait,
      write(1, 0, 4),
      write(2, 0, 4),
      wait,
      op({ kind: 'volumeRename', volume: 1, name: 'c' }),
      wait,
      op({ kind: 'volumeResize', volume: 1, sizeBytes: 24 * block }),
      wait,
      write(1, 20, 4),
      wait,
      op({ kind: 'volumeDelete', volume: 2 }),
      wait,
      create(3, 'b', 8),
      wait,
      write(3, 1, 1),
      wait,
    ],
  },
  {
    name: 'shrink-and-grow',
    steps: [
      create(1, 'a', 16),
      wait,
      write(1, 0, 16),
      snapshot('snapshotCreate', 'big'),
      wait,
      op({ kind: 'volumeResize', volume: 1, sizeBytes: 6 * block }),
      wait,
      write(1, 5, 1),
      wait,
      op({ kind: 'volumeResize', volume: 1, sizeBytes: 16 * block }),
      wait,
      write(1, 12, 1),
      wait,
    ],
  },
  {
    name: 'ragged-clears',
    steps: [
      create(1, 'a', 16),
      wait,
      write(1, 0, 12),
      wait,
      clearBytes('trim', 100, 2 * block),
      wait,
      clearBytes('zero', 5 * block + 512, 512),
      wait,
      reopen,
      clearBytes('zero', 6 * block + 1000, 4 * block),
      wait,
    ],
  },
  {
    name: 'write-back',
    steps: [
      create(1, 'a', 32, true),
      wait,
      write(1, 0, 4),
      write(1, 2, 4),
      writeBytes(1, 1000, 5000),
      flush(1),
      write(1, 8, 2),
      wait,
      write(1, 0, 1),
      clear('trim', 4, 2),
      wait,
      snapshot('snapshotCreate', 's'),
      wait,
      write(1, 0, 8),
      flush(1),
      wait,
      write(1, 1, 1),
      wait,
    ],
  },
  {
    name: 'restarts',
    steps: [
      create(1, 'a', 16),
      wait,
      write(1, 0, 4),
      wait,
      reopen,
      write(1, 2, 4),
      { kind: 'stepClock', byMs: -3_600_000 },
      wait,
      snapshot('snapshotCreate', 's'),
      wait,
      reopen,
      write(1, 0, 1),
      wait,
    ],
  },
];
