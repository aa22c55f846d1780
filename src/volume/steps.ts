/**
 * Steps: long work on the main thread that stops now and then, so that whoever runs it decides whether something else comes first.
 *
 *     finish       all at once: where nobody waits for anything else
 *     runInSlices  a slice of time, then whatever else is due, then the next slice
 */
import type { Clock, Timers } from '../base/ports.ts';
import { limits } from './limits.ts';

/** Each step takes far less than a slice. */
export type Steps<T> = Generator<undefined, T, undefined>;

/** Throws what the steps throw. */
export function finish<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  return step.value;
}

/** `failed` gets what the steps throw, within the call when that is in the first slice. */
export function runInSlices(
  { clock, timers }: { readonly clock: Clock; readonly timers: Timers },
  steps: Steps<void>,
  failed: (thrown: unknown) => void,
): void {
  const startedMs = clock.monotonicMs();
  let step: IteratorResult<undefined, void>;
  try {
    do step = steps.next();
    while (step.done !== true && clock.monotonicMs() - startedMs < limits.sliceMs);
  } catch (thrown) {
    failed(thrown);
    return;
  }
  if (step.done === true) return;
  timers.defer(() => {
    runInSlices({ clock, timers }, steps, failed);
  });
}
