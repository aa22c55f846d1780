/**
 * The front ends' way to staging: payload memory in the order of arrival, in two queues, because small and large
 * payloads come from different parts of the slab and must not wait for each other.
 */

import { Turnstile, type Waiter } from '../base/turnstile.ts';
import type { Payload, Staging } from './staging.ts';

/** Payloads up to here come from staging's pages, larger ones from its chunks. */
const smallPayloadMaxBytes = 16 * 1024;

export class StagingDoor {
  readonly #staging: Staging;
  readonly #small = new Turnstile();
  readonly #large = new Turnstile();
  readonly #onFree: () => void;
  #isArmed = false;

  constructor(staging: Staging) {
    this.#staging = staging;
    this.#onFree = () => {
      this.#isArmed = false;
      const smallWait = this.#small.advance();
      const largeWait = this.#large.advance();
      if (smallWait || largeWait) this.#arm();
    };
  }

  /** Whether a connection waits for memory that others hold. */
  get isCrowded(): boolean {
    return this.#small.isCrowded || this.#large.isCrowded;
  }

  /** What one connection may hold: half of everything, so that a single client is fast and two get along. */
  get shareBytes(): number {
    return this.#staging.sizeBytes / 2;
  }

  /** Memory for `length` payload bytes at device byte `offset`; undefined when there is none, or others came first. */
  allocate(offset: number, length: number): Payload | undefined {
    if (this.#queueFor(length).isCrowded) return undefined;
    return this.#staging.allocate(offset, length);
  }

  /** For a waiter whose `retry` is being called. */
  allocateForWaiter(offset: number, length: number): Payload | undefined {
    return this.#staging.allocate(offset, length);
  }

  /** `waiter.retry` is called when it is its turn and something was released. */
  wait(waiter: Waiter, length: number): void {
    this.#queueFor(length).join(waiter);
    this.#arm();
  }

  leave(waiter: Waiter): void {
    this.#small.leave(waiter);
    this.#large.leave(waiter);
  }

  #queueFor(length: number): Turnstile {
    return length <= smallPayloadMaxBytes ? this.#small : this.#large;
  }

  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#staging.whenFree(this.#onFree);
  }
}
