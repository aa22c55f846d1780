/** How long to wait before an engine that ended is started again. */
import {
  RESTART_DELAY_FIRST_MS,
  RESTART_DELAY_MAX_MS,
  RESTART_HEALTHY_AFTER_MS,
} from './limits.ts';

/** Doubles from the first wait to the longest; an engine that ran for a while starts the row anew. */
export class RestartBackoff {
  #nextMs = RESTART_DELAY_FIRST_MS;

  /** The wait to take now, for an engine that was up for `uptimeMs` (0 when it never came up). */
  delayMs(uptimeMs: number): number {
    if (uptimeMs >= RESTART_HEALTHY_AFTER_MS) this.#nextMs = RESTART_DELAY_FIRST_MS;
    const delayMs = this.#nextMs;
    this.#nextMs = Math.min(delayMs * 2, RESTART_DELAY_MAX_MS);
    return delayMs;
  }
}
