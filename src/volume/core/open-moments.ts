/** Several moments that an operation needs: open until it is done, so that nothing of them is given up meanwhile. */
import { ErrorCode, failure, OperationError } from '../../base/errors.ts';
import type { Moment, OpenMoment } from './moment-maps.ts';
import type { Done, Operator } from './operator.ts';

/** Calls `action` with the maps of the moments, which it releases, or ends the operation with an error. */
export function withMoments<T>(
  operator: Operator,
  moments: readonly Moment[],
  done: Done<T>,
  action: (opened: readonly OpenMoment[]) => void,
): void {
  const opened: OpenMoment[] = [];
  const next = (): void => {
    const moment = moments[opened.length];
    if (moment === undefined) {
      action(opened);
      return;
    }
    operator.moments.open(moment, (map) => {
      if (map !== undefined) {
        opened.push(map);
        next();
        return;
      }
      for (const each of opened) each.release();
      done(failure(momentUnreadable()));
    });
  };
  next();
}

/** The log that a moment's map is made from is damaged. */
export function momentUnreadable(): OperationError {
  return new OperationError(
    ErrorCode.internal,
    'that moment cannot be read: the log is damaged',
    'Run "tidemark pool verify" to see where.',
  );
}
