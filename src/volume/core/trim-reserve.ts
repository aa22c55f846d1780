/**
 * Trim reserve: how long a full pool goes on taking trims and zeros. Each is a record in the log, so a flood of them grows the
 * log as writes do, and what they leave dead comes back only when it is cleaned.
 *
 *     stored    hard ── thick ── trims ─────────── cleaner
 *               trims go on       │ as much of the log again, then they are refused
 *
 * Beyond the limit it is counted what the log takes, not what is stored: while the cleaner copies, more is stored for a moment,
 * and that is not the trims' fault.
 *
 * Invariant: trims take no more of the log beyond their limit than their reserve, until less than the limit is stored again.
 */
import type { SpaceLimits } from './space-limits.ts';

export class TrimReserve {
  /** How much was logged when the limit was passed; undefined = less is stored. */
  #loggedAtLimit: number | undefined;
  #isUsedUp = false;

  /** Trims are being refused. */
  get isUsedUp(): boolean {
    return this.#isUsedUp;
  }

  /** Whether a trim is taken now. `loggedBytes`: since the pool was opened. */
  admits(
    { storedBytes, loggedBytes }: { readonly storedBytes: number; readonly loggedBytes: number },
    { trimBytes, trimReserveBytes }: SpaceLimits,
  ): boolean {
    if (storedBytes < trimBytes) {
      this.#loggedAtLimit = undefined;
      this.#isUsedUp = false;
      return true;
    }
    this.#loggedAtLimit ??= loggedBytes;
    this.#isUsedUp = loggedBytes - this.#loggedAtLimit >= trimReserveBytes;
    return !this.#isUsedUp;
  }
}
