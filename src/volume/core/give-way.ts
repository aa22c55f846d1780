/** Between two slices of work on the main thread that nobody's I/O waits for. */

import { limits } from '../limits.ts';
import type { PoolHost } from '../ports.ts';

/**
 * Runs `slice` in a later turn. At once while the main thread has nothing else to do; when others had work in between, after a
 * pause: a request takes several turns (it arrives, its data is read or logged, it is answered), and would wait for a slice in
 * each of them.
 */
export function giveWay(
  { clock, timers }: Pick<PoolHost, 'clock' | 'timers'>,
  slice: () => void,
): void {
  const endedMs = clock.monotonicMs();
  timers.defer(() => {
    if (clock.monotonicMs() - endedMs < limits.sliceGapMs) slice();
    else timers.after(limits.slicePauseMs, slice);
  });
}
