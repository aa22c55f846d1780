/**
 * Memory for replies, shared by all connections. Buffers come in two sizes: small for a reply now and then, large for
 * bursts and data. The buffer given back last is handed out first, because touched memory is fast memory.
 *
 * Invariants
 * 1. A buffer belongs to one connection's output or to its free list.
 * 2. What is not needed does not stay: of free large buffers that no burst of late has taken, half go at each look.
 * 3. Large buffers in use never exceed the limit; small ones may (they carry replies without data, which are bounded
 *    per connection), so that an answer to a write never waits for memory.
 */
import { assert } from './assert.ts';
import { viewOf } from './fields.ts';
import { Turnstile, type Waiter } from './turnstile.ts';

export const smallBufferBytes = 16 * 1024;
/** Data bytes of one read piece: what one large buffer holds. Measured: larger pieces fall out of the cache. */
export const outputPieceBytes = 256 * 1024;
/**
 * Large buffers given back between two looks at how many of them were needed. 200 clients who were all held up at once left 147 of
 * them, 37 MiB, of which 10 were in use in the minutes after; at 400 reads a second this is a look in ten seconds.
 */
const givesPerLook = 4096;
/** One read piece with its header, and some small replies beside it. */
const largeBufferBytes = outputPieceBytes + 4096;

export interface OutputPoolLimits {
  /** Memory for output of all connections together. */
  readonly outputPoolMaxBytes: number;
  /** Free output memory that is kept for the next burst instead of being given back to the system. */
  readonly outputPoolKeepBytes: number;
}

export class OutputBuffer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Bytes handed out from the start. */
  used = 0;
  /** Reservations and unsent ranges in it. */
  holders = 0;

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
    this.view = viewOf(this.bytes);
  }

  get roomBytes(): number {
    return this.bytes.length - this.used;
  }
}

export class OutputPool {
  readonly #freeSmall: OutputBuffer[] = [];
  readonly #freeLarge: OutputBuffer[] = [];
  readonly #largeMax: number;
  readonly #keepMax: number;
  #largeInUse = 0;
  /** Free large buffers since the last look, at least. */
  #leastFree = 0;
  #givesUntilLook = givesPerLook;
  #isAdvancing = false;
  /** Connections that need large buffers. */
  readonly turnstile = new Turnstile();

  constructor(limits: OutputPoolLimits) {
    this.#largeMax = Math.max(1, Math.floor(limits.outputPoolMaxBytes / largeBufferBytes));
    this.#keepMax = Math.floor(limits.outputPoolKeepBytes / largeBufferBytes);
  }

  /** Whether `count` large buffers may be taken now by somebody who did not wait. */
  hasLarge(count: number): boolean {
    return !this.turnstile.isCrowded && this.#hasLarge(count);
  }

  /** For a waiter whose turn it is: like `hasLarge`, without regard to the queue it heads. */
  hasLargeForWaiter(count: number): boolean {
    return this.#hasLarge(count);
  }

  /** A need larger than the whole pool is served when nothing else is in use: it is bounded by the largest payload. */
  #hasLarge(count: number): boolean {
    return this.#largeInUse === 0 || this.#largeInUse + count <= this.#largeMax;
  }

  takeSmall(): OutputBuffer {
    return this.#freeSmall.pop() ?? new OutputBuffer(smallBufferBytes);
  }

  /** Ask `hasLarge` before. */
  takeLarge(): OutputBuffer {
    this.#largeInUse += 1;
    const free = this.#freeLarge.pop();
    this.#leastFree = Math.min(this.#leastFree, this.#freeLarge.length);
    return free ?? new OutputBuffer(largeBufferBytes);
  }

  give(buffer: OutputBuffer): void {
    assert(buffer.holders === 0, 'output buffer given back while in use');
    buffer.used = 0;
    if (buffer.bytes.length === smallBufferBytes) {
      if (this.#freeSmall.length < this.#keepMax) this.#freeSmall.push(buffer);
      return;
    }
    this.#largeInUse -= 1;
    if (this.#freeLarge.length < this.#keepMax) this.#freeLarge.push(buffer);
    this.#givesUntilLook -= 1;
    if (this.#givesUntilLook === 0) this.#dropUnneeded();
    this.#advance();
  }

  /** Those that were given back first go: they were not touched for longest. */
  #dropUnneeded(): void {
    this.#givesUntilLook = givesPerLook;
    this.#freeLarge.splice(0, Math.ceil(this.#leastFree / 2));
    this.#leastFree = this.#freeLarge.length;
  }

  wait(waiter: Waiter): void {
    this.turnstile.join(waiter);
  }

  /** A waiter that is served may give buffers back meanwhile: the outer loop sees them. */
  #advance(): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    this.turnstile.advance();
    this.#isAdvancing = false;
  }
}
