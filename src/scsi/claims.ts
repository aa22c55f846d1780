/**
 * Memory besides staging that commands hold: parameter lists, data of COMPARE AND WRITE. Bounded for each nexus and for all of
 * them together, so that neither one session nor many of one host can exhaust the engine.
 */
import { claimedBytesMax, claimedTotalMaxBytes } from './limits.ts';
import type { Nexus } from './nexus.ts';

export class Claims {
  #bytes = 0;

  /** False when there is too much of it already; otherwise `give` follows. */
  take(nexus: Pick<Nexus, 'claimedBytes'>, byteCount: number): boolean {
    if (nexus.claimedBytes + byteCount > claimedBytesMax) return false;
    if (this.#bytes + byteCount > claimedTotalMaxBytes) return false;
    nexus.claimedBytes += byteCount;
    this.#bytes += byteCount;
    return true;
  }

  give(nexus: Pick<Nexus, 'claimedBytes'>, byteCount: number): void {
    nexus.claimedBytes -= byteCount;
    this.#bytes -= byteCount;
  }
}
