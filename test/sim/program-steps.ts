/** What small programs for the exhaustive runs are made of: see programs.ts. */
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
  /** Begins to log the whole catalogue: several turns, and several records; what follows goes on beside it. */
  | { readonly kind: 'checkpoint' }
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

export const block = 4096;
export const wait: Step = { kind: 'wait' };
export const reopen: Step = { kind: 'reopen' };
export const checkpoint: Step = { kind: 'checkpoint' };

export function op(stepOp: StepOp): Step {
  return { kind: 'op', op: stepOp };
}

export function create(volume: number, name: string, blocks: number, isWriteBack = false): Step {
  return op({ kind: 'volumeCreate', volume, name, sizeBytes: blocks * block, isWriteBack });
}

/** Bytes [offset, offset + length) of the volume. */
export function writeBytes(volume: number, offset: number, length: number): Step {
  return op({ kind: 'write', volume, offset, length });
}

export function write(volume: number, first: number, blocks: number): Step {
  return writeBytes(volume, first * block, blocks * block);
}

export function clear(kind: 'zero' | 'trim', first: number, blocks: number, noHole = false): Step {
  return op({ kind, volume: 1, offset: first * block, length: blocks * block, noHole });
}

export function clearBytes(kind: 'zero' | 'trim', offset: number, length: number): Step {
  return op({ kind, volume: 1, offset, length, noHole: false });
}

export function snapshot(kind: 'snapshotCreate' | 'snapshotDelete', name: string): Step {
  return op({ kind, volume: 1, name });
}

/** `wrongAt`: which byte is expected wrongly; undefined = none. */
export function compareAndWrite(
  volume: number,
  offset: number,
  length: number,
  wrongAt?: number,
): Step {
  return op({ kind: 'compareAndWrite', volume, offset, length, wrongAt });
}

export function orWrite(volume: number, offset: number, length: number): Step {
  return op({ kind: 'orWrite', volume, offset, length });
}

/** `to` and `from`: volume and first block. */
export function clone(
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

export function luState(volume: number): Step {
  return op({ kind: 'luState', volume });
}

export function flush(volume: number): Step {
  return { kind: 'flush', volume };
}

export function pack(every: number): Step {
  return { kind: 'pack', every };
}

export function repeat(count: number, make: (index: number) => readonly Step[]): readonly Step[] {
  return Array.from({ length: count }, (_, index) => make(index)).flat();
}
