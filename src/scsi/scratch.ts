/**
 * Buffers for commands that look at data instead of passing it on: VERIFY, WRITE AND VERIFY, PRE-FETCH. Their number is
 * bounded for the whole engine; commands wait for one in order.
 */
import { Turnstile, type Waiter } from '../base/turnstile.ts';
import { scratchBuffersMax, scratchBytes } from './limits.ts';

export class ScratchPool {
  readonly #free: Uint8Array[] = [];
  readonly #turnstile = new Turnstile();
  #made = 0;

  get isCrowded(): boolean {
    return this.#turnstile.isCrowded;
  }

  /** A buffer of `scratchBytes`; undefined when there is none or others came first. */
  take(): Uint8Array | undefined {
    return this.#turnstile.isCrowded ? undefined : this.takeForWaiter();
  }

  /** For a waiter whose `retry` is being called. */
  takeForWaiter(): Uint8Array | undefined {
    const free = this.#free.pop();
    if (free !== undefined || this.#made === scratchBuffersMax) return free;
    this.#made += 1;
    return new Uint8Array(scratchBytes);
  }

  give(buffer: Uint8Array): void {
    this.#free.push(buffer);
    this.#turnstile.advance();
  }

  wait(waiter: Waiter): void {
    this.#turnstile.join(waiter);
  }

  leave(waiter: Waiter): void {
    this.#turnstile.leave(waiter);
  }
}
