/** Following an operation of the daemon to its end. */
import type { Operation } from '../contract/operation.ts';
import type { Session } from './command-session.ts';
import { CommandFailure, ExitCode } from './failure.ts';

/** First and longest wait between two looks at a running operation. */
const WATCH_FIRST_MS = 5;
const WATCH_MAX_MS = 500;
/** A daemon that went away may be on its way back for this long. */
const GONE_MAX_MS = 30_000;

type Watching = Pick<Session, 'send' | 'sleep' | 'terminal'>;

/**
 * Follows an operation to its end, with a progress line where it can be redrawn. A daemon that goes away meanwhile gets a while to
 * come back and say what became of it. Throws CommandFailure when the operation failed, or nobody knows.
 */
export async function watch<T extends Operation>(
  session: Watching,
  started: T,
  verb: string,
): Promise<T> {
  let operation = started;
  let delayMs = WATCH_FIRST_MS;
  let goneMs = 0;
  while (operation.state === 'running') {
    await session.sleep(delayMs);
    goneMs += delayMs;
    delayMs = Math.min(delayMs * 2, WATCH_MAX_MS);
    const seen = await look(session, started, verb);
    if (seen !== undefined) {
      operation = seen;
      goneMs = 0;
      drawProgress(session, operation, verb);
    } else if (goneMs > GONE_MAX_MS) throw gone(verb);
  }
  if (session.terminal.canRedraw) session.terminal.error('\r\u001b[K');
  if (operation.error !== undefined) throw new CommandFailure(ExitCode.failed, operation.error);
  return operation;
}

/** The operation now; undefined while no daemon answers. */
async function look<T extends Operation>(
  session: Watching,
  { id }: T,
  verb: string,
): Promise<T | undefined> {
  try {
    return await session.send<T>('GET', `/v1/operations/${id}`);
  } catch (thrown) {
    if (!(thrown instanceof CommandFailure)) throw thrown;
    if (thrown.exitCode === ExitCode.unreachable) return undefined;
    if (thrown.code !== 'not-found') throw thrown;
    const message = `the daemon does not know this ${verb} any more: its result is lost`;
    throw new CommandFailure(ExitCode.failed, {
      code: 'unavailable',
      message,
      hint: 'run it again',
    });
  }
}

function gone(verb: string): CommandFailure {
  const message = `the daemon went away during the ${verb} and did not come back: what became of it is not known`;
  const hint = 'start the daemon; tidemark pool operations then says more';
  return new CommandFailure(ExitCode.unreachable, { code: 'unavailable', message, hint });
}

function drawProgress(session: Watching, operation: Operation, verb: string): void {
  const { progress } = operation;
  if (!session.terminal.canRedraw || progress === undefined) return;
  const percent = progress.total === 0 ? 100 : Math.floor((progress.done / progress.total) * 100);
  const text = `${verb}: ${progress.done} of ${progress.total} ${progress.unit}, ${percent} %`;
  session.terminal.error(`\r${text}\u001b[K`);
}
