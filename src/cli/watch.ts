/** Following an operation of the daemon to its end. */
import type { Operation } from '../contract/operation.ts';
import type { Session } from './command-session.ts';
import { CommandFailure, ExitCode } from './failure.ts';

/** First and longest wait between two looks at a running operation. */
const WATCH_FIRST_MS = 5;
const WATCH_MAX_MS = 500;

/** Follows an operation to its end, with a progress line where it can be redrawn. Throws CommandFailure when it failed. */
export async function watch<T extends Operation>(
  session: Session,
  started: T,
  verb: string,
): Promise<T> {
  let operation = started;
  let delayMs = WATCH_FIRST_MS;
  while (operation.state === 'running') {
    await session.sleep(delayMs);
    delayMs = Math.min(delayMs * 2, WATCH_MAX_MS);
    operation = await session.send<T>('GET', `/v1/operations/${started.id}`);
    drawProgress(session, operation, verb);
  }
  if (session.terminal.canRedraw) session.terminal.error('\r\u001b[K');
  if (operation.error !== undefined) throw new CommandFailure(ExitCode.failed, operation.error);
  return operation;
}

function drawProgress(session: Session, operation: Operation, verb: string): void {
  const { progress } = operation;
  if (!session.terminal.canRedraw || progress === undefined) return;
  const percent = progress.total === 0 ? 100 : Math.floor((progress.done / progress.total) * 100);
  const text = `${verb}: ${progress.done} of ${progress.total} ${progress.unit}, ${percent} %`;
  session.terminal.error(`\r${text}\u001b[K`);
}
