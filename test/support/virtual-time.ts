/** Time that moves only when a test says so: timers and clock behind their ports. */
import type { Clock, Timer, Timers } from '../../src/base/ports.ts';

interface Waiting {
  readonly dueMs: number;
  readonly action: () => void;
}

export class VirtualTime implements Clock, Timers {
  #nowMs = 0;
  #waiting: Waiting[] = [];

  wallMs(): number {
    return 1_800_000_000_000 + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): Timer {
    const waiting = { dueMs: this.#nowMs + delayMs, action };
    this.#waiting.push(waiting);
    return {
      cancel: () => {
        this.#waiting = this.#waiting.filter((each) => each !== waiting);
      },
    };
  }

  defer(action: () => void): void {
    this.after(0, action);
  }

  /** Lets `elapsedMs` pass: every timer that is due runs at its time, and promises settle in between. */
  async pass(elapsedMs: number): Promise<void> {
    const endMs = this.#nowMs + elapsedMs;
    await settled();
    for (;;) {
      const next = this.#waiting.toSorted((left, right) => left.dueMs - right.dueMs)[0];
      if (next === undefined || next.dueMs > endMs) break;
      this.#waiting = this.#waiting.filter((each) => each !== next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.action();
      await settled();
    }
    this.#nowMs = endMs;
  }
}

/** Resolves after the chains of promises that are ready now have run to their next wait. */
export async function settled(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}
