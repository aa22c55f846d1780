/** What may go wrong in `bench day` without being wrong: restarts, a pool that is full for a while, moments that were given up. */
import { ErrorCode, OperationError } from '../../src/base/errors.ts';
import { ConnectionLost, Refusal } from './day-disk.ts';

/** Whether a restart got in between, or the pool was full. */
export function isCutOff(error: unknown): boolean {
  if (error instanceof ConnectionLost || error instanceof Refusal) return true;
  if (!(error instanceof OperationError)) return false;
  return error.code === ErrorCode.unavailable || error.code === ErrorCode.noSpace;
}

/** There is no such thing, or no such moment any more. */
export function isMissing(error: unknown): boolean {
  return error instanceof OperationError && error.code === ErrorCode.notFound;
}
