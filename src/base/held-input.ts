/**
 * Input that its reader cannot take now: what is left of one read of the socket is kept while the stream is paused, and is
 * offered again when something went on.
 */
import { concatenate } from './bytes.ts';

export interface InputReader {
  /** Something that was read already was put off: `take` must be called again, even without new bytes. */
  readonly isWaiting: boolean;
  /** Nothing of the client is listened to any more. */
  readonly isOver: boolean;
  /** Takes bytes from the front of `chunk`, valid during the call; returns how many. */
  take(chunk: Uint8Array): number;
}

export class HeldInput {
  readonly #reader: InputReader;
  /** May be empty when only something that was read already waits. */
  #held: Uint8Array | undefined;
  #isTaking = false;

  constructor(reader: InputReader) {
    this.#reader = reader;
  }

  get isEmpty(): boolean {
    return this.#held === undefined;
  }

  /** Bytes came. True when some of them could not be taken: the stream is to be paused. */
  offer(chunk: Uint8Array): boolean {
    if (this.#held !== undefined) {
      this.#held = concatenate([this.#held, chunk]);
      return false;
    }
    const taken = this.#take(chunk);
    const reader = this.#reader;
    if (reader.isOver || (taken === chunk.length && !reader.isWaiting)) return false;
    // A copy, whatever kind of array the stream hands out.
    this.#held = new Uint8Array(chunk.subarray(taken));
    return true;
  }

  /** Offers what is held. True when all of it was taken by this: the stream may go on. */
  retry(): boolean {
    const held = this.#held;
    if (held === undefined || this.#isTaking) return false;
    const taken = this.#take(held);
    const reader = this.#reader;
    if (reader.isOver) return false;
    const isLeft = taken < held.length || reader.isWaiting;
    this.#held = isLeft ? held.subarray(taken) : undefined;
    return !isLeft;
  }

  drop(): void {
    this.#held = undefined;
  }

  #take(chunk: Uint8Array): number {
    this.#isTaking = true;
    const taken = this.#reader.take(chunk);
    this.#isTaking = false;
    return taken;
  }
}
