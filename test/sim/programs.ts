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
  /** Waits for answers and seals, then begins to pack every n-th of the sealed segments; what follows goes on beside it. */
  | { readonly kind: 'pack'; readonly every: number }
  /** Closes the pool in order and opens it again. */
  | { readonly kind: 'reopen' }
  | { readonly kind: 'stepClock'; readonly byMs: number }
  /** How much of its past a volume keeps from now on. */
  | { readonly kind: 'policy'; readonly name: string; readonly policy: string }
  /** Waits for answers, then lets time go by: windows move. */
  | { readonly kind: 'passTime'; readonly ms: number };

export interface Program {
  readonly name: string;
  /** Too long for `npm test`: by hand. */
  readonly isByHand?: true;
  /** Every life needs the keeper: a footer that a lost machine never wrote is made again when it is read. */
  readonly isKeeperNeeded?: true;
  /** The cleaner works by itself, whatever the seed says. */
  readonly hasCleaner?: true;
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

/** `wrongAt`: which byte is expected wrongly; undefined = none. */
function compareAndWrite(volume: number, offset: number, length: number, wrongAt?: number): Step {
  return op({ kind: 'compareAndWrite', volume, offset, length, wrongAt });
}

function orWrite(volume: number, offset: number, length: number): Step {
  return op({ kind: 'orWrite', volume, offset, length });
}

/** `to` and `from`: volume and first block. */
function clone(
  to: readonly [number, number],
  from: readonly [number, number],
  blocks: number,
): Step {
  const [volume, first] = to;
  const [source, sourceFirst] = from;
  return op({
    kind: 'clone',
    volume,
    offset: first * block,
    length: blocks * block,
    source,
    sourceOffset: sourceFirst * block,
    snapshot: undefined,
  });
}

function luState(volume: number): Step {
  return op({ kind: 'luState', volume });
}

function flush(volume: number): Step {
  return { kind: 'flush', volume };
}

function pack(every: number): Step {
  return { kind: 'pack', every };
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
    name: 'packs',
    steps: [
      create(1, 'a', 64),
      wait,
      ...repeat(3, (index) => [write(1, index * 16, 24)]),
      wait,
      snapshot('snapshotCreate', 's'),
      wait,
      ...repeat(6, () => [write(1, 0, 40)]),
      wait,
      pack(1),
      write(1, 50, 3),
      clear('trim', 30, 4),
      wait,
      ...repeat(4, (index) => [write(1, index * 10, 30)]),
      wait,
    ],
  },
  {
    name: 'packs-of-packs',
    steps: [
      create(1, 'a', 64),
      wait,
      ...repeat(5, (index) => [write(1, index * 5, 40)]),
      snapshot('snapshotCreate', 's'),
      wait,
      pack(2),
      wait,
      ...repeat(4, () => [write(1, 3, 40)]),
      snapshot('snapshotDelete', 's'),
      wait,
      reopen,
      pack(1),
      write(1, 0, 20),
      wait,
      pack(3),
      wait,
    ],
  },
  {
    name: 'cleaning',
    isByHand: true,
    isKeeperNeeded: true,
    steps: [
      create(1, 'a', 48),
      create(2, 'b', 48),
      wait,
      { kind: 'policy', name: 'a', policy: 'all:0' },
      ...repeat(3, (index) => [write(1, index * 4, 16), write(2, index * 8, 8), write(1, 0, 30)]),
      wait,
      snapshot('snapshotCreate', 's'),
      ...repeat(2, (index) => [write(1, index * 9, 20), write(2, index * 8, 6)]),
      wait,
      { kind: 'passTime', ms: 11_000 },
      op({ kind: 'volumeDelete', volume: 2 }),
      write(1, 20, 8),
      { kind: 'passTime', ms: 10 },
      snapshot('snapshotDelete', 's'),
      { kind: 'passTime', ms: 10 },
    ],
  },
  {
    // Index runs are thinned, and those before and narrower ones removed.
    name: 'thinning',
    isByHand: true,
    hasCleaner: true,
    steps: [
      create(1, 'a', 24),
      wait,
      { kind: 'policy', name: 'a', policy: 'all:0' },
      ...repeat(6, (index) => [write(1, index, 16), clear('trim', index, 3)]),
      snapshot('snapshotCreate', 's'),
      ...repeat(4, (index) => [write(1, index * 2, 16)]),
      wait,
      { kind: 'passTime', ms: 30_000 },
      ...repeat(2, (index) => [write(1, index, 20), { kind: 'passTime', ms: 30_000 } as const]),
      snapshot('snapshotDelete', 's'),
      ...repeat(2, (index) => [{ kind: 'passTime', ms: 20 } as const, write(1, index, 20)]),
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
    name: 'compare-and-write',
    steps: [
      create(1, 'a', 32),
      wait,
      compareAndWrite(1, 512, 512),
      compareAndWrite(1, 512, 512),
      wait,
      compareAndWrite(1, 0, 2 * block),
      write(1, 1, 2),
      compareAndWrite(1, 2 * block, block),
      compareAndWrite(1, block + 100, 3 * block, 7000),
      wait,
      orWrite(1, 3 * block - 256, 512),
      orWrite(1, 0, block),
      compareAndWrite(1, 8 * block, 4 * block),
      wait,
      clear('trim', 8, 2),
      compareAndWrite(1, 9 * block + 1, block),
      wait,
    ],
  },
  {
    name: 'clones',
    steps: [
      create(1, 'a', 32),
      create(2, 'b', 32),
      wait,
      write(1, 0, 6),
      write(1, 8, 4),
      wait,
      clear('zero', 2, 1, true),
      wait,
      clone([2, 4], [1, 0], 12),
      write(1, 1, 2),
      clone([1, 20], [1, 0], 10),
      clone([1, 0], [2, 4], 3),
      wait,
      op({ kind: 'snapshotCreate', volume: 2, name: 's' }),
      clear('trim', 0, 32),
      clone([2, 10], [1, 18], 6),
      wait,
      reopen,
      write(2, 5, 1),
      clone([1, 2], [2, 0], 16),
      wait,
      op({ kind: 'volumeDelete', volume: 2 }),
      wait,
    ],
  },
  {
    name: 'write-back-clones',
    steps: [
      create(1, 'a', 32, true),
      create(2, 'b', 32, true),
      wait,
      write(1, 0, 4),
      clone([2, 2], [1, 0], 6),
      compareAndWrite(2, 3 * block + 512, 512),
      flush(2),
      orWrite(1, block - 1, 2),
      clone([1, 8], [2, 2], 4),
      wait,
      write(2, 2, 1),
      clone([1, 0], [1, 8], 8),
      wait,
    ],
  },
  {
    name: 'states',
    steps: [
      create(1, 'a', 16),
      create(2, 'b', 16),
      wait,
      luState(1),
      luState(1),
      luState(2),
      write(1, 0, 1),
      wait,
      op({ kind: 'volumeRename', volume: 1, name: 'c' }),
      wait,
      luState(1),
      op({ kind: 'snapshotCreate', volume: 1, name: 's' }),
      wait,
      reopen,
      op({ kind: 'volumeDelete', volume: 2 }),
      wait,
      luState(1),
      wait,
    ],
  },
  {
    name: 'windows',
    steps: [
      create(1, 'a', 16),
      create(2, 'b', 16),
      wait,
      { kind: 'policy', name: 'a', policy: 'all:0,10s:30s' },
      { kind: 'policy', name: 'b', policy: 'all:15s' },
      write(1, 0, 4),
      write(2, 0, 2),
      { kind: 'passTime', ms: 12_000 },
      write(1, 2, 4),
      snapshot('snapshotCreate', 's'),
      { kind: 'passTime', ms: 11_000 },
      write(1, 1, 2),
      write(2, 1, 2),
      { kind: 'passTime', ms: 45_000 },
    ],
  },
  {
    name: 'past-pins',
    steps: [
      create(1, 'a', 16),
      wait,
      write(1, 0, 4),
      { kind: 'passTime', ms: 12_000 },
      write(1, 2, 4),
      { kind: 'passTime', ms: 11_000 },
      write(1, 1, 2),
      wait,
      { kind: 'policy', name: 'a', policy: 'all:0,10s:5m' },
      write(1, 3, 2),
      { kind: 'passTime', ms: 25_000 },
      write(1, 3, 2),
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
