/**
 * Thinning: which pins a volume gets, and which of them it keeps as they grow old. Pure: times in, answers out.
 *
 *     age      0 ─────── 24 h ─────────── 7 d ──────────── 30 d
 *     pins     one a minute │ one an hour  │ one a day      │ none         (all:1h,1m:24h,1h:7d,1d:30d)
 *
 * Of the pins in one cell (a minute, hour or day of UTC) the oldest one stays: it is the same one for every coarser tier, so
 * thinning never has to be undone.
 */
import type { CdpPolicy } from '../../base/cdp-policy.ts';
import type { PinState } from '../catalogue/kept-moments.ts';

/** Whether a volume whose newest pin is of `lastMs` (or that was made then) is to be pinned at `nowMs`, if it changed since. */
export function isPinDue({ tiers }: CdpPolicy, lastMs: number, nowMs: number): boolean {
  const [finest] = tiers;
  return finest !== undefined && cellOf(nowMs, finest.everyMs) > cellOf(lastMs, finest.everyMs);
}

/** Pins that the policy does not keep any more at `nowMs`, in order. `pins` in order. */
export function expiredPins(
  pins: readonly PinState[],
  { tiers }: CdpPolicy,
  nowMs: number,
): PinState[] {
  const expired: PinState[] = [];
  let keptMs = Number.NEGATIVE_INFINITY;
  for (const pin of pins) {
    const tier = tiers.find(({ keepMs }) => nowMs - pin.timeMs <= keepMs);
    if (tier === undefined || cellOf(pin.timeMs, tier.everyMs) === cellOf(keptMs, tier.everyMs)) {
      expired.push(pin);
    } else {
      keptMs = pin.timeMs;
    }
  }
  return expired;
}

function cellOf(timeMs: number, everyMs: number): number {
  return Math.floor(timeMs / everyMs);
}
