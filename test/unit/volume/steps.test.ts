import { expect, it } from 'vitest';
import { runInSlices, type Steps } from '../../../src/volume/steps.ts';

/** Each look at the clock takes a millisecond: a slice of two has two steps. */
function slowHost(): {
  readonly clock: { wallMs(): number; monotonicMs(): number };
  readonly timers: { after(): { cancel(): void }; defer(action: () => void): void };
  readonly deferred: (() => void)[];
} {
  let nowMs = 0;
  const deferred: (() => void)[] = [];
  return {
    clock: {
      wallMs: () => 0,
      monotonicMs: () => {
        nowMs += 1;
        return nowMs;
      },
    },
    timers: {
      after: () => ({ cancel: () => undefined }),
      defer: (action) => {
        deferred.push(action);
      },
    },
    deferred,
  };
}

it('long work is done a slice at a time, and what goes wrong in any of them is told', () => {
  const host = slowHost();
  const done: number[] = [];
  const failures: unknown[] = [];
  function* work(): Steps<void> {
    for (let step = 0; step < 5; step += 1) {
      done.push(step);
      yield;
    }
    throw new Error('at the end');
  }
  runInSlices(host, work(), (thrown) => {
    failures.push(thrown);
  });
  const counts = [done.length];
  for (let next = host.deferred.shift(); next !== undefined; next = host.deferred.shift()) {
    expect(failures).toEqual([]);
    next();
    counts.push(done.length);
  }
  expect(counts).toEqual([2, 4, 5]);
  expect(failures).toEqual([new Error('at the end')]);
});
