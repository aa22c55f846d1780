/** The CLI's side of the REST API: one request, one parsed answer or a CommandFailure. */
import type { ErrorBody } from '../contract/common.ts';
import { httpOverSocket } from '../host/http-client.ts';
import { CommandFailure, ExitCode } from './failure.ts';

/** Deleting or listing a great many snapshots may take a while; work that is longer runs as an operation. */
const REQUEST_TIMEOUT_MS = 60_000;

export type Method = 'GET' | 'POST' | 'DELETE';

export class ApiClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /**
   * Sends a request and returns the answer's body, which has the shape that the contract gives this path.
   * Throws CommandFailure with the API's own message, or `unreachable` when no daemon answers.
   */
  async send<T>(method: Method, path: string, body?: unknown): Promise<T> {
    const answer = await this.#exchange(method, path, body);
    const value = parse(answer.body);
    // The daemon serves the contract of its own version; both ends come from one source tree.
    if (answer.status >= 200 && answer.status < 300 && value !== undefined) return value as T;
    if (isErrorBody(value)) {
      const exitCode = value.error.code === 'invalid' ? ExitCode.usage : ExitCode.failed;
      throw new CommandFailure(exitCode, value.error);
    }
    const message = `the daemon answered ${method} ${path} with HTTP ${answer.status}`;
    throw new CommandFailure(ExitCode.failed, { code: 'internal', message });
  }

  async #exchange(
    method: Method,
    path: string,
    body: unknown,
  ): Promise<{ status: number; body: string }> {
    const socketPath = this.#socketPath;
    try {
      return await httpOverSocket({
        socketPath,
        method,
        path,
        body: body === undefined ? undefined : JSON.stringify(body),
        timeoutMs: REQUEST_TIMEOUT_MS,
      });
    } catch (thrown) {
      throw unreachable(socketPath, thrown);
    }
  }
}

function unreachable(socketPath: string, thrown: unknown): CommandFailure {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  if (code === 'EACCES') {
    const message = `you may not talk to the tidemark daemon at ${socketPath}`;
    const hint = 'run this as the user who runs the daemon';
    return new CommandFailure(ExitCode.unreachable, { code: 'unavailable', message, hint });
  }
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR') {
    const message = `no tidemark daemon answers at ${socketPath}`;
    const hint = 'start it with: npm start; or name its folder with --data DIR or TIDEMARK_DATA';
    return new CommandFailure(ExitCode.unreachable, { code: 'unavailable', message, hint });
  }
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  const message = `the tidemark daemon at ${socketPath} went away before it answered: ${reason}`;
  const hint = 'look at the state before you try again';
  return new CommandFailure(ExitCode.unreachable, { code: 'unavailable', message, hint });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON, so not an answer of the API: reported as such by the caller.
    return undefined;
  }
}

function isErrorBody(value: unknown): value is ErrorBody {
  if (typeof value !== 'object' || value === null || !('error' in value)) return false;
  const { error } = value;
  return typeof error === 'object' && error !== null && 'code' in error && 'message' in error;
}
