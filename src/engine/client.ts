/**
 * The door to an engine: typed calls over its control socket. The daemon holds one of these per pool.
 *
 * A call ends with its result, with the OperationError that the engine answered, or with EngineGoneError
 * (`unavailable`) when the connection closed or the time ran out first: then the caller must look what happened.
 */
import { ErrorCode, OperationError } from '../base/errors.ts';
import type { Timer, Timers } from '../base/ports.ts';
import { connectText, type TextStream } from '../host/unix-socket.ts';
import type { EngineMethod, EngineMethods, EngineRequestLine } from './protocol.ts';
import { LineSplitter, type ProgressReport, parseObject } from './rpc.ts';
import { ANSWER_LINE_MAX_CHARS, CALL_TIMEOUT_MS } from './rpc-limits.ts';

export interface CallOptions {
  /** `Infinity` for requests that are long by nature; the default is CALL_TIMEOUT_MS. */
  readonly timeoutMs?: number;
  readonly onProgress?: ProgressReport;
}

/** The engine could not be asked, or its answer did not come: whether it did what was asked is not known. */
export class EngineGoneError extends OperationError {
  constructor(message: string) {
    super('unavailable', message, 'look at the state before you try again');
  }
}

/** Connects to the engine that listens on `path`. Rejects with OperationError `unavailable` when none does. */
export async function connectEngine(path: string, timers: Timers): Promise<EngineClient> {
  return new EngineClient(await connectText(path), path, timers);
}

interface PendingCall {
  readonly method: EngineMethod;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: OperationError) => void;
  readonly onProgress: ProgressReport | undefined;
  readonly timer: Timer | undefined;
}

export class EngineClient {
  /** Resolves when the connection is gone, whatever the reason. */
  readonly closed: Promise<void>;
  readonly #stream: TextStream;
  readonly #path: string;
  readonly #timers: Timers;
  readonly #lines = new LineSplitter(ANSWER_LINE_MAX_CHARS);
  readonly #callById = new Map<number, PendingCall>();
  #nextId = 1;
  #isClosed = false;

  constructor(stream: TextStream, path: string, timers: Timers) {
    this.#stream = stream;
    this.#path = path;
    this.#timers = timers;
    this.closed = new Promise((resolve) => {
      stream.start({
        onText: (chunk) => {
          this.#receive(chunk);
        },
        onClose: () => {
          this.#failAll();
          resolve();
        },
      });
    });
  }

  /** Runs one method in the engine. Rejects with OperationError only. */
  async call<M extends EngineMethod>(
    method: M,
    params: EngineMethods[M]['params'],
    options: CallOptions = {},
  ): Promise<EngineMethods[M]['result']> {
    if (this.#isClosed) throw this.#lost(method);
    const id = this.#nextId;
    this.#nextId += 1;
    const result = await new Promise<unknown>((resolve, reject) => {
      const timer = this.#limit(id, method, options.timeoutMs ?? CALL_TIMEOUT_MS);
      const onProgress = options.onProgress;
      this.#callById.set(id, { method, resolve, reject, onProgress, timer });
      const line: EngineRequestLine = { id, method, params };
      this.#stream.send(`${JSON.stringify(line)}\n`);
    });
    // The engine of the same protocol answers `method` with its result; both ends share `protocol.ts`.
    return result as EngineMethods[M]['result'];
  }

  /** Closes the connection; the engine goes on. */
  close(): void {
    this.#failAll();
    this.#stream.destroy();
  }

  #limit(id: number, method: EngineMethod, timeoutMs: number): Timer | undefined {
    if (timeoutMs === Infinity) return undefined;
    return this.#timers.after(timeoutMs, () => {
      const message = `the engine at ${this.#path} did not answer ${method} within ${timeoutMs} ms`;
      this.#take(id)?.reject(new EngineGoneError(message));
    });
  }

  #receive(chunk: string): void {
    const lines = this.#lines.push(chunk);
    if (lines?.every((line) => this.#deliver(line)) === true) return;
    // What cannot be understood cannot be matched to a call: every call fails, and the daemon attaches anew.
    this.close();
  }

  /** False when the line is no message of the protocol. */
  #deliver(line: string): boolean {
    const message = parseObject(line);
    const id = message?.['id'];
    if (message === undefined || typeof id !== 'number') return false;
    if (message['event'] === 'progress') return this.#deliverProgress(id, message);
    if ('result' in message) {
      this.#take(id)?.resolve(message['result']);
      return true;
    }
    const error = answeredError(message['error']);
    if (error === undefined) return false;
    this.#take(id)?.reject(error);
    return true;
  }

  #deliverProgress(id: number, message: Readonly<Record<string, unknown>>): boolean {
    const { done, total } = message;
    if (typeof done !== 'number' || typeof total !== 'number') return false;
    this.#callById.get(id)?.onProgress?.(done, total);
    return true;
  }

  /** Removes a call from those that wait; undefined when its time ran out before the answer came. */
  #take(id: number): PendingCall | undefined {
    const call = this.#callById.get(id);
    this.#callById.delete(id);
    call?.timer?.cancel();
    return call;
  }

  #failAll(): void {
    this.#isClosed = true;
    // Deleting the entry that is being visited is what a Map's iteration allows.
    for (const id of this.#callById.keys()) {
      const call = this.#take(id);
      call?.reject(this.#lost(call.method));
    }
  }

  #lost(method: EngineMethod): EngineGoneError {
    const message = `the connection to the engine at ${this.#path} closed before it answered ${method}`;
    return new EngineGoneError(message);
  }
}

const knownCodes: ReadonlySet<unknown> = new Set(Object.values(ErrorCode));

function isErrorCode(code: unknown): code is ErrorCode {
  return knownCodes.has(code);
}

function answeredError(error: unknown): OperationError | undefined {
  if (typeof error !== 'object' || error === null || !('message' in error)) return undefined;
  // A newer engine may know codes that we do not: to this daemon they are failures like any other.
  const code = 'code' in error && isErrorCode(error.code) ? error.code : ErrorCode.internal;
  const hint = 'hint' in error && typeof error.hint === 'string' ? error.hint : undefined;
  return new OperationError(code, String(error.message), hint);
}
