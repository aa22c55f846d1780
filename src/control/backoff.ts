/** How long to wait before an engine that ended is started again. */
import type { Random } from '../base/ports.ts';
import {
  RESTART_DELAY_FIRST_MS,
  RESTART_DELAY_MAX_MS,
  RESTART_HEALTHY_AFTER_MS,
  RESTART_JITTER,
} from './limits.ts';

/**
 * Doubles from the first wait to the longest; an engine that ran for a while is started again at once, and the row begins
 * anew. Chance shortens each wait a little: what makes an engine fail again and again on many machines should not find them
 * all starting at once.
 */
export class RestartBackoff {
  readonly #random: Random;
  readonly #chance = new Uint8Array(1);
  #nextMs = RESTART_DELAY_FIRST_MS;

  constructor(random: Random) {
    this.#random = random;
  }

  /** The wait to take now, for an engine that was up for `uptimeMs` (0 when it never came up). */
  delayMs(uptimeMs: number): number {
    if (uptimeMs >= RESTART_HEALTHY_AFTER_MS) {
      this.#nextMs = RESTART_DELAY_FIRST_MS;
      return 0;
    }
    const delayMs = this.#nextMs;
    this.#nextMs = Math.min(delayMs * 2, RESTART_DELAY_MAX_MS);
    this.#random.fill(this.#chance);
    const part = (this.#chance[0] ?? 0) / 256;
    return Math.round(delayMs * (1 - RESTART_JITTER * part));
  }
}
