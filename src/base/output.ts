/**
 * Output of one connection: replies of a turn are joined in one buffer and leave in one write.
 *
 *     reserve ─▶ │ sent │ being sent │ ready ready │ reserved (a read in flight) │ ready │ free │
 *                        └─ write ──┘ └──── range ─┘                             └ range ┘
 *
 * A read reserves room for its header and data, and the device reads straight into it; when it is done the place is
 * committed. Places are committed in any order, neighbours merge into one range, and ranges leave in the order in
 * which they were committed. A reply that needs several buffers commits its pieces one after the other.
 *
 * Invariants
 * 1. A byte is untouched from commit until the stream has reported it sent.
 * 2. `unsentBytes` counts what is reserved, ready or being sent.
 */
import { assert, present } from './assert.ts';
import { type OutputBuffer, type OutputPool, smallBufferBytes } from './output-pool.ts';
import type { ByteStream } from './ports.ts';

/** Small replies that may still join the output when reads no longer may. */
export const smallRepliesMaxBytes = 64 * 1024;
/** Collected output is handed to the kernel at once from here on, else at the end of the turn. */
const outputEagerBytes = 256 * 1024;

interface Range {
  readonly buffer: OutputBuffer;
  readonly start: number;
  end: number;
}

export interface OutputOwner {
  /** Something is ready: `flush` must be called at the end of the turn. */
  onOutputReady(): void;
  /** The kernel took something; there may be room again. */
  onOutputSent(): void;
}

export class Output {
  unsentBytes = 0;
  /** Counts writes that were taken: whether a connection moves. */
  sentCount = 0;
  readonly #stream: ByteStream;
  readonly #pool: OutputPool;
  readonly #owner: OutputOwner;
  readonly #onSent: () => void;
  #current: OutputBuffer | undefined;
  #ready: Range[] = [];
  #readyBytes = 0;
  #sending: Range[] = [];
  /** What left with the last flush: decides which size of buffer is taken next. */
  #recentBytes = 0;
  #isClosed = false;

  constructor(stream: ByteStream, pool: OutputPool, owner: OutputOwner) {
    this.#stream = stream;
    this.#pool = pool;
    this.#owner = owner;
    this.#onSent = () => {
      this.#sent();
    };
  }

  /**
   * Room for `size` bytes at `buffer.used - size` of the returned buffer; undefined when output memory is exhausted.
   * Must be followed by exactly one `commit` or `cancel`.
   */
  reserve(size: number): OutputBuffer | undefined {
    const current = this.#current;
    if (current !== undefined && current.roomBytes >= size) return this.#take(current, size);
    const isSmall = size <= smallBufferBytes && this.#isQuiet();
    if (!isSmall && !this.#pool.hasLarge(1)) return undefined;
    return this.#take(this.#replaceCurrent(isSmall), size);
  }

  /** Like `reserve` for a small reply: never fails. */
  reserveSmall(size: number): OutputBuffer {
    const current = this.#current;
    if (current !== undefined && current.roomBytes >= size) return this.#take(current, size);
    const isLarge = !this.#isQuiet() && this.#pool.hasLarge(1);
    return this.#take(this.#replaceCurrent(!isLarge), size);
  }

  /** Takes a fresh large buffer for what comes next: it was this connection's turn to get one. */
  refill(): void {
    this.#replaceCurrent(false);
  }

  /** A whole large buffer for a reply that spans several; `size` of its bytes are used. Ask the pool before. */
  reserveLarge(size: number): OutputBuffer {
    const buffer = this.#pool.takeLarge();
    return this.#take(buffer, size);
  }

  /** `[start, end)` of a place that ended at `reservedEnd` is ready to leave; what is between the two is given back. */
  commit(buffer: OutputBuffer, start: number, end: number, reservedEnd: number): void {
    this.unsentBytes -= reservedEnd - end;
    if (buffer.used === reservedEnd) buffer.used = end;
    const last = this.#ready.at(-1);
    if (last !== undefined && last.buffer === buffer && last.end === start) {
      last.end = end;
      buffer.holders -= 1;
    } else {
      this.#ready.push({ buffer, start, end });
    }
    this.#readyBytes += end - start;
    if (this.#isClosed) this.#dropReady();
    else if (this.#readyBytes >= outputEagerBytes) this.flush();
    else this.#owner.onOutputReady();
  }

  /** A reserved place is not needed: the request failed. */
  cancel(buffer: OutputBuffer, start: number, reservedEnd: number): void {
    this.unsentBytes -= reservedEnd - start;
    if (buffer.used === reservedEnd) buffer.used = start;
    this.#release(buffer);
  }

  /** Hands everything that is ready to the stream. */
  flush(): void {
    if (this.#readyBytes === 0 || this.#isClosed) return;
    this.#recentBytes = this.#readyBytes;
    this.#readyBytes = 0;
    const ranges = this.#ready;
    this.#ready = [];
    for (const range of ranges) {
      this.#sending.push(range);
      this.#stream.write(range.buffer.bytes.subarray(range.start, range.end), this.#onSent);
    }
  }

  /** The stream is gone: nothing more leaves. Reserved places may still be committed or cancelled. */
  close(): void {
    this.#isClosed = true;
    this.#dropReady();
    const current = this.#current;
    this.#current = undefined;
    if (current !== undefined && current.holders === 0) this.#pool.give(current);
  }

  /** A small buffer will do: little left last time, and the client takes what it gets. */
  #isQuiet(): boolean {
    return this.#recentBytes <= smallBufferBytes && this.unsentBytes <= smallRepliesMaxBytes;
  }

  #take(buffer: OutputBuffer, size: number): OutputBuffer {
    assert(buffer.roomBytes >= size, 'output buffer too small');
    buffer.used += size;
    buffer.holders += 1;
    this.unsentBytes += size;
    return buffer;
  }

  #replaceCurrent(isSmall: boolean): OutputBuffer {
    const old = this.#current;
    const buffer = isSmall ? this.#pool.takeSmall() : this.#pool.takeLarge();
    this.#current = buffer;
    if (old !== undefined && old.holders === 0) this.#pool.give(old);
    return buffer;
  }

  /** Writes are reported in the order in which they were made. */
  #sent(): void {
    const range = present(this.#sending.shift(), 'range being sent');
    this.sentCount += 1;
    this.unsentBytes -= range.end - range.start;
    this.#release(range.buffer);
    this.#owner.onOutputSent();
  }

  #release(buffer: OutputBuffer): void {
    buffer.holders -= 1;
    if (buffer.holders > 0) return;
    if (buffer === this.#current) this.#current = undefined;
    this.#pool.give(buffer);
  }

  #dropReady(): void {
    const ranges = this.#ready;
    this.#ready = [];
    this.#readyBytes = 0;
    for (const range of ranges) {
      this.unsentBytes -= range.end - range.start;
      this.#release(range.buffer);
    }
  }
}
