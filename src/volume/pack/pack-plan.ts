/** What the main thread asks of the keeper about packs, and what it gets: plain data. */
import type { PlainPack } from '../format/pack.ts';

export interface PackOrder {
  readonly segId: number;
  /** Bit n % 8 of byte n / 8 = data block in slot n is kept; all that can be reached must be. Other bits mean nothing. */
  readonly keep: Uint8Array;
  /** That was judged by the log before this position. */
  readonly keptThrough: number;
}

export interface PackPlan {
  readonly packId: number;
  /** By ascending segment id, each once; all sealed, with everything in them durable. */
  readonly members: readonly PackOrder[];
}

/** A segment that stays where it is, because what should be kept of it cannot be read or is not what was written. */
export interface RefusedMember {
  readonly segId: number;
  readonly reason: string;
}

export interface MadePack {
  /** Undefined when no member was left. */
  readonly pack: PlainPack | undefined;
  readonly refused: readonly RefusedMember[];
}
