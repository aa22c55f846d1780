/**
 * First come, first served admission to something scarce that several connections want: staging, output memory.
 * A newcomer may try only when nobody waits, so that a large need is not starved by many small ones.
 */

export interface Waiter {
  /** Tries again; true when it needs to wait no longer. */
  retry(): boolean;
}

export class Turnstile {
  readonly #queue = new Set<Waiter>();

  get isCrowded(): boolean {
    return this.#queue.size > 0;
  }

  /** Joins the end of the queue; joining again keeps the place. */
  join(waiter: Waiter): void {
    this.#queue.add(waiter);
  }

  leave(waiter: Waiter): void {
    this.#queue.delete(waiter);
  }

  /** Lets waiters through in order until one must go on waiting. Returns whether somebody still waits. */
  advance(): boolean {
    for (const waiter of this.#queue) {
      if (!waiter.retry()) return true;
      this.#queue.delete(waiter);
    }
    return false;
  }
}
