/** Walks segments in slices, so that I/O goes on meanwhile. */
import { failure, type Outcome, success } from '../../base/errors.ts';
import { DiskError } from '../../base/ports.ts';
import { type Operator, operationError } from '../core/operator.ts';
import { FormatError } from '../format/format-error.ts';
import { limits } from '../limits.ts';
import type { Progress } from '../reports.ts';
import { logUnreadable } from './resolve.ts';

/**
 * Calls `visit` with each of the segments, `progress` after each slice, and `done` in the end, or with what `visit` threw
 * of disk and format errors. May run inside the call.
 */
export function eachSegment(
  { parts: { host } }: Operator,
  work: {
    readonly segIds: readonly number[];
    readonly visit: (segId: number) => void;
    readonly progress: Progress | undefined;
  },
  done: (outcome: Outcome<undefined>) => void,
): void {
  const { segIds, visit, progress } = work;
  let next = 0;
  const slice = (): void => {
    const started = host.clock.monotonicMs();
    try {
      while (next < segIds.length && host.clock.monotonicMs() - started < limits.sliceMs) {
        visit(segIds[next] ?? 0);
        next += 1;
      }
    } catch (thrown) {
      if (thrown instanceof FormatError) done(failure(logUnreadable(thrown)));
      else if (thrown instanceof DiskError) done(failure(operationError(thrown)));
      else throw thrown;
      return;
    }
    progress?.(next, segIds.length);
    if (next < segIds.length) host.timers.defer(slice);
    else done(success(undefined));
  };
  slice();
}
