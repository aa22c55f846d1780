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

/** Offsets and lengths in bytes, multiples of a block. Requests reject with ConnectionLost or Refusal. */
export interface DayDisk {
  readonly isGone: boolean;
  read(offset: number, length: number): Promise<Buffer>;
  write(offset: number, payload: Buffer): Promise<void>;
  trim(offset: number, length: number): Promise<void>;
  /** Leaves in good order. */
  close(): void;
}
