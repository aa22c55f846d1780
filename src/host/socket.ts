/**
 * Sockets of the data plane: byte streams over TCP and unix sockets, and their listeners.
 *
 * Receiving is the hot path. Node would allocate a buffer per read; instead all streams of this thread share one
 * receive buffer: libuv asks for memory, reads and calls back in one go, so nothing else can come between, and a
 * handler copies what it keeps. A thousand idle connections thereby cost no buffer at all. Node offers this
 * (`onread`) only for sockets that it makes itself, so an accepted socket's handle is moved into a new one;
 * should Node stop showing the handle, the stream falls back to 'data' events.
 */
import { lstatSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, Socket, type SocketConstructorOpts } from 'node:net';
import { OperationError, toError } from '../base/errors.ts';
import type { ByteStream, StreamHandler } from '../base/ports.ts';
import { checkSocketPath } from './unix-socket.ts';

/** As much as a unix socket's buffer holds by default, so that one read empties it. */
const receiveBufferBytes = 256 * 1024;
/** A TCP client that vanished without a word is noticed after this, plus the kernel's probes. */
const keepAliveMs = 60_000;
const backlog = 1024;

export interface StreamListener {
  /** Where it listens: the port that was bound for TCP, 0 for a unix socket. */
  readonly port: number;
  /** Stops accepting; streams that are open stay open. */
  close(): void;
}

export type ListenDone = (error: OperationError | undefined, listener?: StreamListener) => void;

export interface TcpPlace {
  readonly address: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** On `::` no IPv4: that may be somebody else's. */
  readonly isIpv6Only?: boolean;
}

/** Listens on a TCP address. */
export function listenTcp(
  { address, port, isIpv6Only = false }: TcpPlace,
  onStream: (stream: ByteStream) => void,
  done: ListenDone,
): void {
  const server = makeServer(onStream);
  listen(server, address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`, done);
  server.listen({ host: address, port, backlog, ipv6Only: isIpv6Only });
}

/** Listens on a unix socket. A socket that a dead process left at `path` is replaced; a live one is not. */
export function listenUnix(
  path: string,
  onStream: (stream: ByteStream) => void,
  done: ListenDone,
): void {
  try {
    checkSocketPath(path);
  } catch (error) {
    done(error instanceof OperationError ? error : unavailable(path, toError(error)));
    return;
  }
  removeStaleSocket(path, () => {
    const server = makeServer(onStream);
    listen(server, path, done);
    server.listen({ path, backlog });
  });
}

function makeServer(onStream: (stream: ByteStream) => void): Server {
  return createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (accepted) => {
    onStream(acceptedStream(accepted));
  });
}

function listen(server: Server, where: string, done: ListenDone): void {
  const onError = (cause: Error): void => {
    done(unavailable(where, cause));
  };
  server.once('error', onError);
  server.once('listening', () => {
    server.off('error', onError);
    // Too many open files, for example: that client is not served, others are.
    server.on('error', () => undefined);
    const bound = server.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
    done(undefined, {
      port,
      close: () => {
        server.close();
      },
    });
  });
}

function unavailable(where: string, cause: Error): OperationError {
  const message = `cannot listen on ${where}: ${cause.message}`;
  return new OperationError('unavailable', message, 'choose another address, or free it', cause);
}

/** Removes a socket nobody listens on; anything else stays, and binding then reports it. */
function removeStaleSocket(path: string, then: () => void): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) {
    then();
    return;
  }
  const probe = connect({ path });
  probe.once('connect', () => {
    probe.destroy();
    then();
  });
  probe.once('error', () => {
    rmSync(path, { force: true });
    then();
  });
}

function acceptedStream(accepted: Socket): ByteStream {
  return new SocketStream(accepted, (socket, deliver) => {
    const wrapped = sharedBufferSocket(socket, deliver);
    return wrapped.setKeepAlive(true, keepAliveMs);
  });
}

/** Where Node keeps the system's side of a socket; its types do not show it. */
const handleKey = '_handle';

let receiveBuffer: Uint8Array | undefined;

/** Peer of an accepted socket, for logs. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  if (remoteAddress === undefined) return 'unix';
  const host = remoteAddress.includes(':') ? `[${remoteAddress}]` : remoteAddress;
  return `${host}:${remotePort ?? 0}`;
}

export class SocketStream implements ByteStream {
  readonly peer: string;
  readonly #socket: Socket;
  #handler: StreamHandler | undefined;
  #isCorked = false;
  readonly #uncork: () => void;

  /** Takes over a paused socket. `wrap` gives the one to use instead, which hands what it receives to `deliver`. */
  constructor(
    socket: Socket,
    wrap: (socket: Socket, deliver: (chunk: Uint8Array) => void) => Socket,
  ) {
    this.peer = peerOf(socket);
    this.#socket = wrap(socket, (chunk) => {
      this.#handler?.onBytes(chunk);
    });
    // A reset by the peer is followed by 'close', which is what the handler acts on.
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => {
      this.#handler?.onClose();
    });
    this.#uncork = () => {
      this.#isCorked = false;
      this.#socket.uncork();
    };
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  start(handler: StreamHandler): void {
    this.#handler = handler;
    const onEnd = (): void => {
      this.#handler?.onEnd();
    };
    // The client of a stream that was just secured may have ended with the last message of the handshake.
    if (this.#socket.readableEnded) setImmediate(onEnd);
    else this.#socket.on('end', onEnd);
    this.#socket.resume();
  }

  /** The socket, for somebody else to use from now on: the handler hears no more. */
  detach(): Socket {
    this.#handler = undefined;
    return this.#socket;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Writes of one turn are corked together: the kernel gets them in one gathered call. */
  write(bytes: Uint8Array, sent: () => void): void {
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      queueMicrotask(this.#uncork);
    }
    this.#socket.write(bytes, sent);
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** A socket that delivers into buffers that Node allocates. */
export function plainSocket(socket: Socket, deliver: (chunk: Uint8Array) => void): Socket {
  socket.on('data', deliver);
  return socket;
}

/** Moves the accepted socket's handle into a socket that receives into the shared buffer. */
function sharedBufferSocket(accepted: Socket, deliver: (chunk: Uint8Array) => void): Socket {
  // Node's own field, unchanged for years; that it may be missing is what the fallback is for.
  const handle = Reflect.get(accepted, handleKey) as SocketConstructorOpts['handle'] | null;
  if (handle === undefined || handle === null) return plainSocket(accepted, deliver);
  Reflect.set(accepted, handleKey, null);
  // The empty shell is destroyed so that the server no longer counts it.
  accepted.destroy();
  receiveBuffer ??= new Uint8Array(receiveBufferBytes);
  const buffer = receiveBuffer;
  return new Socket({
    handle,
    allowHalfOpen: true,
    onread: {
      buffer,
      callback: (count) => {
        deliver(buffer.subarray(0, count));
        return true;
      },
    },
  });
}
