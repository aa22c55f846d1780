/**
 * Unix sockets for the control plane: few, slow, textual. The data plane's streams are in `socket.ts`.
 *
 * Whoever may open the socket's path may give orders, so a listening socket is made readable and writable
 * by its owner only. The path must fit the kernel's 107 bytes; a longer one is refused by name, because the kernel
 * would cut it silently or answer "invalid argument".
 */
import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { OperationError } from '../base/errors.ts';

/** `sun_path` of Linux holds 108 bytes with its closing zero. */
const SOCKET_PATH_MAX_BYTES = 107;

export interface TextHandler {
  /** Text arrived; it may end anywhere, but never inside a character. */
  onText(chunk: string): void;
  /** The stream is gone; nothing follows. */
  onClose(): void;
}

/** A connected stream of UTF-8 text. */
export interface TextStream {
  /** Begins to deliver; called once. */
  start(handler: TextHandler): void;
  send(text: string): void;
  /** Closes after everything sent has gone out. */
  end(): void;
  /** Closes now. */
  destroy(): void;
}

export interface TextListener {
  /** Stops accepting and removes the path. Connections that are open stay open. */
  close(): void;
}

/** Connects to a unix socket. Rejects with an OperationError `unavailable` when nobody listens there. */
export async function connectText(path: string): Promise<TextStream> {
  checkSocketPath(path);
  return await new Promise((resolve, reject) => {
    const socket = connect({ path });
    const refused = (cause: Error): void => {
      reject(new OperationError('unavailable', `nothing answers at ${path}`, undefined, cause));
    };
    socket.once('error', refused);
    socket.once('connect', () => {
      socket.off('error', refused);
      resolve(textStream(socket));
    });
  });
}

/**
 * Listens on a unix socket. A file left there by a dead process is removed first: the caller holds the lock that
 * makes it the only owner of the path.
 */
export async function listenText(
  path: string,
  onConnection: (stream: TextStream) => void,
): Promise<TextListener> {
  checkSocketPath(path);
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    onConnection(textStream(socket));
  });
  await bindPrivately(server, path);
  return {
    close: () => {
      server.close();
    },
  };
}

/** Throws OperationError `invalid` when the kernel cannot hold `path` as the address of a socket. */
export function checkSocketPath(path: string): void {
  const length = new TextEncoder().encode(path).length;
  if (length <= SOCKET_PATH_MAX_BYTES) return;
  throw new OperationError(
    'invalid',
    `the socket path ${path} has ${length} bytes; the system allows ${SOCKET_PATH_MAX_BYTES}`,
    'choose a shorter data folder',
  );
}

/** The path comes into being inside `listen`, so the mask covers exactly that call: there is no moment when others may connect. */
async function bindPrivately(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    const before = process.umask(0o177);
    try {
      server.listen({ path });
    } finally {
      process.umask(before);
    }
  });
}

function textStream(socket: Socket): TextStream {
  socket.setEncoding('utf8');
  // A reset by the peer is followed by 'close', which is what the owner acts on.
  socket.on('error', () => undefined);
  return {
    start: (handler) => {
      socket.on('data', (chunk: string | Uint8Array) => {
        // `setEncoding` makes every chunk a string.
        handler.onText(String(chunk));
      });
      socket.on('end', () => {
        socket.end();
      });
      socket.on('close', () => {
        handler.onClose();
      });
      if (socket.destroyed) handler.onClose();
    },
    send: (text) => {
      if (!socket.destroyed) socket.write(text);
    },
    end: () => {
      socket.end();
    },
    destroy: () => {
      socket.destroy();
    },
  };
}
