/**
 * One row of the command table: everything that is known about a command before it runs. The same rows choose the handler,
 * check the CDB, decide about reservations and unit attentions, and answer REPORT SUPPORTED OPERATION CODES.
 */
import type { Command } from './command.ts';
import type { ReservationRule } from './reservation-rules.ts';

export type Direction = 'none' | 'in' | 'out';

/** Runs a command: ends it now or later with exactly one of `succeed`, `check` and `conclude`. */
export type Handler = (command: Command) => void;

export interface CommandRow {
  readonly opcode: number;
  /** Present when the opcode carries several commands, told apart by byte 1, bits 4 to 0. */
  readonly serviceAction?: number;
  readonly name: string;
  readonly handler: Handler;
  readonly direction: Direction;
  /**
   * One byte per byte of the CDB: the bits that this command looks at; a bit that is 0 here must be 0 in the CDB. Byte 0
   * is the opcode; the service action belongs to the mask.
   */
  readonly usage: readonly number[];
  /** What another nexus' reservation means for it. */
  readonly reservation: ReservationRule;
  /** Changes the medium: refused on write-protected units with DATA PROTECT. */
  readonly changesMedium?: boolean;
  /** Neither reports nor clears pending unit attentions. */
  readonly bypassesAttention?: boolean;
  /** Seconds for REPORT SUPPORTED OPERATION CODES: how long it usually takes at most, and when to give up. */
  readonly timeouts: { readonly nominal: number; readonly recommended: number };
}

/** Answers at once from memory. */
export const quick = { nominal: 1, recommended: 10 } as const;
/** Moves data. */
export const moving = { nominal: 5, recommended: 60 } as const;
/** Works on large ranges. */
export const long = { nominal: 15, recommended: 120 } as const;
