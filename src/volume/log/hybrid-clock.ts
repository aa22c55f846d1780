/**
 * Hybrid logical clock of a pool, in ticks of 10 us since 1970: follows the wall clock, never goes back, whatever the wall
 * clock does. A step back of the wall makes it stand (almost) still until the wall has caught up.
 */
import type { Clock } from '../../base/ports.ts';

export const ticksPerMs = 100;
/** A double of milliseconds since 1970 is exact to 0.00024 ms, which is this part of a tick. */
const ticksRounding = 0.05;

/** Milliseconds with fraction as ticks. */
export function ticksOf(timeMs: number): number {
  return Math.floor(timeMs * ticksPerMs + ticksRounding);
}

/** Wall and monotonic clock may disagree this much before the wall is taken over again. */
const driftMsMax = 2;

export class HybridClock {
  readonly #clock: Clock;
  #offsetMs: number;
  #lastTicks: number;

  /** `floorMs`: the newest time in the recovered log; everything from now on is later. */
  constructor(clock: Clock, floorMs: number) {
    this.#clock = clock;
    this.#offsetMs = clock.wallMs() - clock.monotonicMs();
    this.#lastTicks = (floorMs + 1) * ticksPerMs;
  }

  /** Now, in ticks; never less than before. */
  now(): number {
    const ticks = Math.floor((this.#clock.monotonicMs() + this.#offsetMs) * ticksPerMs);
    if (ticks > this.#lastTicks) this.#lastTicks = ticks;
    return this.#lastTicks;
  }

  /** Follows the wall clock after a step. Cheap; called once per frame. */
  resync(): void {
    const offset = this.#clock.wallMs() - this.#clock.monotonicMs();
    if (Math.abs(offset - this.#offsetMs) > driftMsMax) this.#offsetMs = offset;
  }

  /** Makes sure that everything from now on is at least `ticks`. */
  raise(ticks: number): void {
    if (ticks > this.#lastTicks) this.#lastTicks = ticks;
  }
}
