/**
 * Ports: how the cores reach the outside world. `host/` implements them for real, the simulator a second time.
 *
 *     cores (volume, nbd, ...) ──▶ ports ──▶ host/*        (production)
 *                                      └──▶ test/sim/*    (virtual disk, clock, random)
 *
 * Disk calls are synchronous: the threads that use them (commit, keeper, recovery) exist to block.
 * The one asynchronous call, `readLater`, is for the engine's main thread when the page cache may miss.
 */

/** Thrown by disk ports. `code` is the POSIX name: EIO, ENOSPC, ENOENT, EEXIST, ... */
export class DiskError extends Error {
  override readonly name = 'DiskError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface DiskFile {
  readonly path: string;
  /** Reads up to `target.length` bytes at byte `position`; returns how many were there (short only at the end of file). Throws DiskError. */
  read(target: Uint8Array, position: number): number;
  /** Like `read`, off this thread. `target` stays untouched by the caller until `done`. */
  readLater(
    target: Uint8Array,
    position: number,
    done: (error: DiskError | undefined, bytesRead: number) => void,
  ): void;
  /** Writes all bytes of all pieces, in order, at byte `position`; extends the file if needed. Throws DiskError. */
  write(pieces: readonly Uint8Array[], position: number): void;
  /** fdatasync: what was written (and a size that grew) is durable when this returns. Throws DiskError. */
  flush(): void;
  /** Bytes in the file now. */
  size(): number;
  truncate(sizeBytes: number): void;
  close(): void;
}

export interface OpenOptions {
  /** Make the file when it is missing. */
  readonly create: boolean;
  /**
   * Writes go to the device past the page cache where the file system can do that: nothing is copied, and no memory is
   * touched for the first time. Pieces then come from `Disk.memory`, and positions and lengths are multiples of 4096.
   */
  readonly isDirect?: boolean;
}

/** A folder of files. Paths are relative to it, with `/`. */
export interface Disk {
  /** Opens an existing file, or with `create` makes it when missing. Throws DiskError ENOENT. */
  open(path: string, options: OpenOptions): DiskFile;
  /** Zeroed shared memory of at least `bytes`, aligned so that files opened `isDirect` can write from it. */
  memory(bytes: number): SharedArrayBuffer;
  /** Names in a folder, sorted; empty when the folder is missing. */
  list(folder: string): string[];
  /**
   * Each name in a folder, in any order; none when the folder is missing. For folders of many files: nothing is kept. Nobody
   * changes anything there meanwhile.
   */
  names(folder: string): Iterable<string>;
  /** Bytes of a file; 0 when it is missing. Opens nothing, so locks on the file stay. */
  sizeOf(path: string): number;
  /** Makes the folder and its parents; fine when it exists. */
  makeFolder(folder: string): void;
  rename(from: string, to: string): void;
  /** Removes a file; fine when it is missing. */
  remove(path: string): void;
  /** fsync of the folder: names made, renamed and removed in it are durable when this returns. */
  flushFolder(folder: string): void;
  /** Bytes that the file system still has free for this process. */
  freeBytes(): number;
}

export interface Clock {
  /** Wall clock, milliseconds since 1970, with fraction. May step. */
  wallMs(): number;
  /** Monotonic milliseconds with fraction, arbitrary origin. */
  monotonicMs(): number;
}

export interface Random {
  /** Fills `target` with random bytes. */
  fill(target: Uint8Array): void;
}

export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Calls `action` once after `delayMs`. */
  after(delayMs: number, action: () => void): Timer;
  /** Calls `action` at the end of the current turn, after all input that is already waiting was handled. */
  defer(action: () => void): void;
}

/** Structured log lines. `fields` are plain values. */
export interface Log {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** What a stream tells its owner. All calls come from the event loop, never from inside a call to the stream. */
export interface StreamHandler {
  /** Bytes arrived. `chunk` is valid only during the call: copy what must stay. */
  onBytes(chunk: Uint8Array): void;
  /** The peer ended its half. */
  onEnd(): void;
  /** The stream is gone (after end, destroy or an error); nothing follows. */
  onClose(): void;
}

/** A connected byte stream: TCP, unix socket or TLS. */
export interface ByteStream {
  /** For logs: "unix" or "address:port". */
  readonly peer: string;
  /** Bytes given to `write` that the kernel has not taken yet. */
  readonly pendingBytes: number;
  /** Begins to deliver; called once. */
  start(handler: StreamHandler): void;
  pause(): void;
  resume(): void;
  /** Sends `bytes`, which stay untouched until `sent` was called (also called when the stream dies). */
  write(bytes: Uint8Array, sent: () => void): void;
  /** Ends our half after everything written has gone out, then closes. */
  end(): void;
  /** Closes now, dropping what has not gone out. */
  destroy(): void;
}

/** What a stream became when it was secured. */
export interface SecuredStream {
  /** Takes the place of the stream before; not started yet. */
  readonly stream: ByteStream;
  /** Who the client proved to be; undefined when that was not asked for. */
  readonly identity: string | undefined;
  /** For logs: "TLSv1.3". */
  readonly protocol: string;
}

/** Secures streams, as the server's side. */
export interface StreamSecurity {
  /**
   * Takes over a stream that was started, paused, and had everything written to it sent: its handler hears no more.
   * `done` gets undefined and the reason when the client failed; the stream is closed then. Until `done` is called,
   * `stream.destroy` gives up. The client's identity was checked before `done`: no byte of its has been delivered.
   */
  secure(
    stream: ByteStream,
    done: (secured: SecuredStream | undefined, reason: string) => void,
  ): void;
}
