/** How fast the cleaner may copy: a rate that rises with the shortage of space and falls while clients write. */

import type { Pressure } from './garbage-share.ts';
import { cleanerLimits } from './limits.ts';

/** Bytes a second. */
export function copyRate(pressure: Pressure, isBusy: boolean): number {
  const { bytesPerSecond, busyFactor } = cleanerLimits.rates[pressure];
  return isBusy ? bytesPerSecond / busyFactor : bytesPerSecond;
}

export class Pace {
  /** What was copied is paid for up to here. */
  #paidMs = Number.NEGATIVE_INFINITY;

  /** `bytes` were copied since `startedMs`: how long to wait from `nowMs` on before more is. */
  delayMs(
    bytes: number,
    bytesPerSecond: number,
    { startedMs, nowMs }: { readonly startedMs: number; readonly nowMs: number },
  ): number {
    this.#paidMs = Math.max(this.#paidMs, startedMs) + (bytes * 1000) / bytesPerSecond;
    return Math.max(0, this.#paidMs - nowMs);
  }
}
