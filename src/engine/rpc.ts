/**
 * The engine's control socket, served: one JSON object per line in both directions (`protocol.ts` has the shapes).
 *
 *     daemon ── {id, method, params} ──▶ split lines ─▶ parse, check params ─▶ handlers[method]
 *            ◀── {id, result} | {id, error} ◀───────── as each one finishes, in any order
 *            ◀── {event: 'progress', id, done, total} ─ in between, for long ones
 *
 * Invariants: every request line with an id gets exactly one answer, unless its connection is gone. A request that
 * runs goes on when its connection closes: a daemon that dies does not undo what it asked for. A line that is not a
 * request ends the connection, because nothing after it can be trusted to be one. An assertion that fails in a handler
 * stops the process.
 */
import { AssertionError } from '../base/assert.ts';
import { OperationError, toError } from '../base/errors.ts';
import type { Log, Timers } from '../base/ports.ts';
import { listenText, type TextStream } from '../host/unix-socket.ts';
import { isIds, isIscsiWanted } from './iscsi-params.ts';
import type {
  EngineAnswerLine,
  EngineErrorShape,
  EngineMethod,
  EngineMethods,
  EngineProgressLine,
} from './protocol.ts';
import {
  CONNECTIONS_MAX,
  PEM_PARAM_MAX_CHARS,
  REQUEST_LINE_MAX_CHARS,
  RUNNING_REQUESTS_MAX,
  SHARED_KEYS_MAX,
  TEXT_PARAM_MAX_CHARS,
  TEXTS_PARAM_MAX,
  VIEWS_AT_ONCE_MAX,
} from './rpc-limits.ts';

/** Reports how far a long request is: `done` of `total` segments. */
export type ProgressReport = (done: number, total: number) => void;

/** One function per method. Rejects with OperationError for what the daemon should tell its operator. */
export type EngineHandlers = {
  readonly [M in EngineMethod]: (
    params: EngineMethods[M]['params'],
    progress: ProgressReport,
  ) => Promise<EngineMethods[M]['result']>;
};

export interface EngineRpcServer {
  /**
   * Stops listening, waits until the requests that run now are answered (at most `withinMs`), and closes the
   * connections after their last byte. May be called from a handler: its own answer still goes out.
   */
  close(withinMs: number): Promise<void>;
}

export interface EngineRpcHost {
  readonly log: Log;
  readonly timers: Timers;
}

/** Serves `handlers` on the unix socket `path`; the caller holds the pool's lock, so a file that is there is stale. */
export async function serveEngineRpc(
  path: string,
  handlers: EngineHandlers,
  host: EngineRpcHost,
): Promise<EngineRpcServer> {
  const connections = new Set<RpcConnection>();
  let isClosing = false;
  const listener = await listenText(path, (stream) => {
    if (isClosing || connections.size >= CONNECTIONS_MAX) {
      stream.destroy();
      return;
    }
    const connection = new RpcConnection(stream, handlers, host.log, () => {
      connections.delete(connection);
    });
    connections.add(connection);
  });
  return {
    close: async (withinMs) => {
      isClosing = true;
      listener.close();
      await Promise.all([...connections].map(async (each) => await each.finish(withinMs, host)));
    },
  };
}

/** Cuts a stream of text into lines; a line that grows beyond `maxChars` is reported once, as undefined. */
export class LineSplitter {
  readonly #maxChars: number;
  #pending = '';

  constructor(maxChars: number) {
    this.#maxChars = maxChars;
  }

  /** Complete lines in order, without their ends; undefined when one is too long. */
  push(chunk: string): readonly string[] | undefined {
    const lines: string[] = [];
    let from = 0;
    for (let at = chunk.indexOf('\n'); at >= 0; at = chunk.indexOf('\n', from)) {
      const line = this.#pending + chunk.slice(from, at);
      if (line.length > this.#maxChars) return undefined;
      lines.push(line);
      this.#pending = '';
      from = at + 1;
    }
    this.#pending += chunk.slice(from);
    return this.#pending.length > this.#maxChars ? undefined : lines;
  }
}

type ParamKind =
  | 'text'
  | 'size'
  | 'flag'
  | 'duration'
  | 'nbd'
  | 'iscsi'
  | 'ids'
  | 'optional ack'
  | 'optional provisioning'
  | 'optional flag'
  | 'optional text'
  | 'optional size'
  | 'texts'
  | 'list of views';

/** What each method must be given: the daemon may be of another version than the engine it attaches to. */
const paramKinds: { readonly [M in EngineMethod]: Readonly<Record<string, ParamKind>> } = {
  hello: {},
  listen: { nbd: 'nbd' },
  iscsiConfigure: { iscsi: 'iscsi' },
  sessionList: {},
  sessionDrop: { ids: 'ids' },
  poolStatus: {},
  poolResize: { capacityBytes: 'size' },
  poolSetLimits: { softPermille: 'size', hardPermille: 'size' },
  poolVerify: {},
  poolSpace: { volume: 'optional text', deleted: 'texts', windowMs: 'optional size' },
  poolRebuild: {},
  poolClean: {},
  scrubStatus: {},
  scrubStart: { bytesPerSecond: 'optional size' },
  scrubPause: {},
  volumeList: {},
  volumeShow: { name: 'text' },
  volumeCreate: {
    name: 'text',
    sizeBytes: 'size',
    ack: 'optional ack',
    provisioning: 'optional provisioning',
    cdpPolicy: 'optional text',
    cdpWindow: 'optional text',
    cdpGuarantee: 'optional flag',
  },
  volumeSet: {
    name: 'text',
    ack: 'optional ack',
    prIgnoresIsid: 'optional flag',
    provisioning: 'optional provisioning',
    cdpPolicy: 'optional text',
    cdpWindow: 'optional text',
    cdpGuarantee: 'optional flag',
    force: 'optional flag',
  },
  volumeClone: { source: 'text', name: 'text' },
  volumeRollback: { name: 'text', to: 'text', disconnect: 'flag' },
  volumeUndoRollback: { name: 'text', disconnect: 'flag' },
  volumeHistory: { name: 'text' },
  volumeKept: { name: 'text' },
  viewList: {},
  viewShow: { name: 'text' },
  viewCreate: { source: 'text', name: 'text', at: 'text' },
  viewsCreate: { views: 'list of views', at: 'text' },
  viewRefresh: { name: 'text', at: 'text', disconnect: 'flag' },
  viewPromote: { name: 'text' },
  viewDelete: { name: 'text', force: 'flag' },
  volumeRename: { name: 'text', newName: 'text' },
  volumeResize: { name: 'text', sizeBytes: 'size', force: 'flag' },
  volumeDelete: { name: 'text', force: 'flag' },
  snapshotList: { volume: 'text' },
  snapshotCreate: { volume: 'text', name: 'text', at: 'optional text' },
  snapshotSet: { volume: 'text', name: 'text', lockedUntilMs: 'size', force: 'flag' },
  snapshotDelete: { volume: 'text', name: 'text', force: 'flag' },
  momentOpen: { volume: 'text', at: 'text' },
  volumeDiff: { name: 'text', from: 'text', to: 'text', offset: 'size', extentsMax: 'size' },
  volumeChanges: { name: 'text', from: 'text', to: 'text' },
  volumeRate: {
    name: 'text',
    from: 'optional text',
    to: 'optional text',
    bucketCount: 'size',
    gapsMax: 'size',
  },
  stop: { withinMs: 'duration' },
};

class RpcConnection {
  readonly #stream: TextStream;
  readonly #handlers: EngineHandlers;
  readonly #log: Log;
  readonly #lines = new LineSplitter(REQUEST_LINE_MAX_CHARS);
  #runningCount = 0;
  #isGone = false;
  #onIdle: (() => void) | undefined;

  constructor(stream: TextStream, handlers: EngineHandlers, log: Log, onGone: () => void) {
    this.#stream = stream;
    this.#handlers = handlers;
    this.#log = log;
    stream.start({
      onText: (chunk) => {
        this.#receive(chunk);
      },
      onClose: () => {
        this.#isGone = true;
        this.#onIdle?.();
        onGone();
      },
    });
  }

  /** Resolves when nothing runs any more or `withinMs` is over; the stream then ends after its last byte. */
  async finish(withinMs: number, host: EngineRpcHost): Promise<void> {
    await new Promise<void>((resolve) => {
      if (this.#runningCount === 0 || this.#isGone) {
        resolve();
        return;
      }
      const timer = host.timers.after(withinMs, resolve);
      this.#onIdle = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#stream.end();
  }

  #receive(chunk: string): void {
    const lines = this.#lines.push(chunk);
    if (lines === undefined) {
      this.#refuse('a request line is too long');
      return;
    }
    for (const line of lines) {
      if (this.#isGone) return;
      const request = parseRequest(line);
      if (request === undefined) {
        this.#refuse('a line is not a request');
        return;
      }
      void this.#run(request);
    }
  }

  #refuse(reason: string): void {
    this.#log.warn('engine control connection closed', { reason });
    this.#isGone = true;
    this.#stream.destroy();
  }

  async #run(request: RawRequest): Promise<void> {
    this.#runningCount += 1;
    try {
      this.#answer({ id: request.id, result: await this.#dispatch(request) });
    } catch (thrown) {
      this.#answer({ id: request.id, error: this.#describe(request, toError(thrown)) });
      // Our own mistake: the rejection that nobody handles ends the process, and recovery decides.
      if (thrown instanceof AssertionError) throw thrown;
    } finally {
      this.#runningCount -= 1;
      if (this.#runningCount === 0) this.#onIdle?.();
    }
  }

  async #dispatch(request: RawRequest): Promise<unknown> {
    if (this.#runningCount > RUNNING_REQUESTS_MAX) {
      throw new OperationError('unavailable', 'the engine is running too many requests');
    }
    const method = request.method;
    if (!isEngineMethod(method)) {
      throw new OperationError('invalid', `the engine knows no method ${method.slice(0, 100)}`);
    }
    const fault = paramsFault(request.params, paramKinds[method]);
    if (fault !== undefined) throw new OperationError('invalid', `${method}: ${fault}`);
    // `paramsFault` has compared the parameters with the table of exactly this method.
    const handler = this.#handlers[method] as (
      params: unknown,
      progress: ProgressReport,
    ) => Promise<unknown>;
    return await handler(request.params, (done, total) => {
      this.#send({ event: 'progress', id: request.id, done, total, unit: 'segments' });
    });
  }

  #describe(request: RawRequest, error: Error): EngineErrorShape {
    if (error instanceof OperationError) {
      const { code, message, hint } = error;
      return hint === undefined ? { code, message } : { code, message, hint };
    }
    this.#log.error('engine request failed', { method: request.method, error: error.stack });
    return { code: 'internal', message: `${request.method} failed: ${error.message}` };
  }

  #answer(line: EngineAnswerLine): void {
    this.#send(line);
  }

  #send(line: EngineAnswerLine | EngineProgressLine): void {
    if (!this.#isGone) this.#stream.send(`${JSON.stringify(line)}\n`);
  }
}

interface RawRequest {
  readonly id: number;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

function parseRequest(line: string): RawRequest | undefined {
  const value = parseObject(line);
  if (value === undefined) return undefined;
  const { id, method, params } = value;
  if (typeof id !== 'number' || !Number.isSafeInteger(id)) return undefined;
  if (typeof method !== 'string' || !isObject(params)) return undefined;
  return { id, method, params };
}

/** The JSON object in `line`, or undefined when it holds anything else. */
export function parseObject(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    // Not JSON: the caller treats it like any other line that is not a message.
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEngineMethod(method: string): method is EngineMethod {
  return Object.hasOwn(paramKinds, method);
}

/** Says what is wrong with the parameters, or undefined. Fields that the table does not have are refused. */
function paramsFault(
  params: Readonly<Record<string, unknown>>,
  kinds: Readonly<Record<string, ParamKind>>,
): string | undefined {
  for (const name of Object.keys(params)) {
    if (!Object.hasOwn(kinds, name)) return `unknown parameter ${name.slice(0, 100)}`;
  }
  for (const [name, kind] of Object.entries(kinds)) {
    if (!isOfKind(params[name], kind)) return `parameter ${name} is not a ${kind}`;
  }
  return undefined;
}

const isOfKindByKind: Readonly<Record<ParamKind, (value: unknown) => boolean>> = {
  text: (value) => typeof value === 'string' && value.length <= TEXT_PARAM_MAX_CHARS,
  size: isCount,
  duration: isCount,
  flag: (value) => typeof value === 'boolean',
  nbd: isNbdListen,
  iscsi: isIscsiWanted,
  ids: isIds,
  'optional ack': (value) => value === undefined || isAck(value),
  'optional provisioning': (value) => value === undefined || value === 'thin' || value === 'thick',
  'optional flag': (value) => value === undefined || isOfKind(value, 'flag'),
  'optional text': (value) => value === undefined || isOfKind(value, 'text'),
  'optional size': (value) => value === undefined || isCount(value),
  texts: isTexts,
  'list of views': isViewTargets,
};

function isTexts(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > TEXTS_PARAM_MAX) return false;
  return value.every((each) => isOfKind(each, 'text'));
}

function isViewTargets(value: unknown): boolean {
  if (!Array.isArray(value) || value.length === 0 || value.length > VIEWS_AT_ONCE_MAX) return false;
  return value.every((each) => {
    if (!isObject(each)) return false;
    const { source, name, ...unknown } = each;
    return Object.keys(unknown).length === 0 && isOfKind(source, 'text') && isOfKind(name, 'text');
  });
}

function isAck(value: unknown): boolean {
  return value === 'durable' || value === 'write-back';
}

function isOfKind(value: unknown, kind: ParamKind): boolean {
  return isOfKindByKind[kind](value);
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isNbdListen(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { tcp, socketPath } = value;
  if (socketPath !== undefined && !isOfKind(socketPath, 'text')) return false;
  if (tcp === undefined) return true;
  if (!isObject(tcp) || !isOfKind(tcp['address'], 'text')) return false;
  const { port, tls } = tcp;
  if (tls !== undefined && !isNbdTls(tls)) return false;
  return typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535;
}

/** Every field by name: one that is not understood could be a rule that is not kept. */
function isNbdTls(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { certificatePem, keyPem, clientAuthorityPem, keyByIdentity, ...unknown } = value;
  return (
    Object.keys(unknown).length === 0 &&
    isPem(certificatePem) &&
    isPem(keyPem) &&
    (clientAuthorityPem === undefined || isPem(clientAuthorityPem)) &&
    (keyByIdentity === undefined || isSharedKeys(keyByIdentity))
  );
}

function isPem(value: unknown): boolean {
  return typeof value === 'string' && value.length <= PEM_PARAM_MAX_CHARS;
}

function isSharedKeys(value: unknown): boolean {
  if (!isObject(value)) return false;
  const keys = Object.values(value);
  return keys.length > 0 && keys.length <= SHARED_KEYS_MAX && keys.every(isHexKey);
}

function isHexKey(value: unknown): boolean {
  return typeof value === 'string' && /^(?:[0-9a-f]{2}){1,512}$/i.test(value);
}
