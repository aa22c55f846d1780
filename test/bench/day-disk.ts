/** A volume as its client in `bench day` has it: whole blocks, each request a promise. NBD (day-nbd.ts) or iSCSI (day-iscsi.ts). */

/** The connection is gone: whether the request happened is not known. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

/** Why a server may refuse for a while. */
export type RefusalReason = 'full' | 'stopping' | 'other';

/** The server answered with an error. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, text: string) {
    super(`the server answered with ${text}`);
    this.reason = reason;
  }
}

/** One connection for whoever asks, made anew when it is gone. */
export class Reconnecting<T> {
  readonly #connect: () => Promise<T>;
  readonly #isGone: (connection: T) => boolean;
  #connection: Promise<T> | undefined;

  constructor(connect: () => Promise<T>, isGone: (connection: T) => boolean) {
    this.#connect = connect;
    this.#isGone = isGone;
  }

  /** Rejects as `connect` does. */
  async get(): Promise<T> {
    const before = this.#connection;
    const known = await before?.catch(() => undefined);
    if (known !== undefined && !this.#isGone(known)) return known;
    // Many may find out at once; one of them connects.
    const now = this.#connection;
    if (now !== undefined && now !== before) return await now;
    this.#connection = this.#connect();
    return await this.#connection;
  }

  /** The connection that there was last; undefined = none. */
  async last(): Promise<T | undefined> {
    return await this.#connection?.catch(() => undefined);
  }
}

/** Offsets and lengths in bytes, multiples of a block. Requests reject with ConnectionLost or Refusal. */
export interface DayDisk {
  readonly isGone: boolean;
  read(offset: number, length: number): Promise<Buffer>;
  write(offset: number, payload: Buffer): Promise<void>;
  trim(offset: number, length: number): Promise<void>;
  /** Leaves in good order. */
  close(): void;
}
