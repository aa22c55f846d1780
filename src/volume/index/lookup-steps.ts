/**
 * Lookup steps: a lookup that stops at each read of the disk, so that whoever runs it decides how the read is made.
 *
 *     runNow    in place: opening, tools, background slices
 *     runLater  off the main thread: what a client waits for, so that only that client waits
 */
import { DiskError, type DiskFile } from '../../base/ports.ts';

/** Bytes that a lookup needs to go on: it is told how many were there. `target` is its own. */
interface DiskRead<F> {
  readonly file: F;
  readonly target: Uint8Array;
  readonly position: number;
}

/** Throws DiskError where a read fails. */
export type LookupSteps<T, F = DiskFile> = Generator<DiskRead<F>, T, number>;
type Step<T, F = DiskFile> = IteratorResult<DiskRead<F>, T>;
/** A file that is read in place. */
type Readable = Pick<DiskFile, 'read'>;

/** Throws what the steps throw. */
export function runNow<T>(steps: LookupSteps<T, Readable>): T {
  let step = steps.next();
  while (step.done !== true) step = readNow(steps, step.value);
  return step.value;
}

function readNow<T>(
  steps: LookupSteps<T, Readable>,
  { file, target, position }: DiskRead<Readable>,
): Step<T, Readable> {
  let bytesRead: number;
  try {
    bytesRead = file.read(target, position);
  } catch (thrown) {
    if (!(thrown instanceof DiskError)) throw thrown;
    return steps.throw(thrown);
  }
  return steps.next(bytesRead);
}

/** `done` gets what the steps return, within the call when nothing had to be read. They throw no DiskError or FormatError. */
export function runLater<T>(steps: LookupSteps<T>, done: (value: T) => void): void {
  goOn(steps, steps.next(), done);
}

function goOn<T>(steps: LookupSteps<T>, step: Step<T>, done: (value: T) => void): void {
  if (step.done === true) {
    done(step.value);
    return;
  }
  const { file, target, position } = step.value;
  file.readLater(target, position, (error, bytesRead) => {
    goOn(steps, error === undefined ? steps.next(bytesRead) : steps.throw(error), done);
  });
}
