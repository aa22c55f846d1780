/**
 * The clock by which moments grow old. It follows the pool's time, and never goes back. Where that time jumps ahead (a wall
 * clock that was set wrong, or a machine that was off), it follows slowly: a wrong clock must not take history with it before
 * somebody has seen it. How far it has come is kept over restarts: the newest times of the log may be of a clock that was wrong.
 */
import type { Clock } from '../../base/ports.ts';

/** How many times faster than time goes by it catches up. */
const catchUpSpeed = 10;
/** A jump that is worth a line in the log. */
const jumpToldMs = 3_600_000;

export class RetentionClock {
  readonly #clock: Clock;
  #nowMs: number;
  #lookedMs: number;
  /** Whether it is behind by a jump that was told already. */
  isBehind = false;

  /** `startMs`: how far it had come; 0 = nobody knows. */
  constructor(clock: Clock, startMs: number) {
    this.#clock = clock;
    this.#nowMs = startMs === 0 ? clock.wallMs() : startMs;
    this.#lookedMs = clock.monotonicMs();
  }

  /** Milliseconds since 1970. `poolMs`: what the pool's time is now. */
  now(poolMs: number): number {
    const lookedMs = this.#clock.monotonicMs();
    const most = this.#nowMs + catchUpSpeed * (lookedMs - this.#lookedMs);
    this.#lookedMs = lookedMs;
    this.#nowMs = Math.max(this.#nowMs, Math.min(poolMs, most));
    return this.#nowMs;
  }

  /** How far it is behind, once for each jump that is worth telling; else 0. */
  newJump(poolMs: number): number {
    const behindMs = poolMs - this.#nowMs;
    const wasBehind = this.isBehind;
    this.isBehind = behindMs > jumpToldMs;
    return this.isBehind && !wasBehind ? behindMs : 0;
  }
}
