/**
 * Thinning: which pins a volume gets, and which of them it keeps as they grow old. Pure: times in, answers out.
 *
 *     age      0 ─────── 24 h ─────────── 7 d ──────────── 30 d
 *     pins     one a minute │ one an hour  │ one a day      │ none         (all:1h,1m:24h,1h:7d,1d:30d)
 *
 *     pins       o     o  o   o             o       a pin tells what the volume held until the next one: nothing is pinned
 *     hours   │        ▲   │        ▲│      ▲  │    that did not change. So the last pin before the end of an hour (UTC) is
 *                      kept     kept        kept    what it held then, however long before it was made.
 *
 * A pin that is not kept is of no use later either: the ends of cells that it tells of only grow older.
 */
import type { CdpPolicy } from '../../base/cdp-policy.ts';
import type { PinState } from '../catalogue/kept-moments.ts';

/** Whether a volume whose newest pin is of `lastMs` (or that was made then) is to be pinned at `nowMs`, if it changed since. */
export function isPinDue({ tiers }: CdpPolicy, lastMs: number, nowMs: number): boolean {
  const [finest] = tiers;
  if (finest === undefined) return false;
  const { everyMs } = finest;
  return Math.floor(nowMs / everyMs) > Math.floor(lastMs / everyMs);
}

/** Pins that the policy does not keep any more at `nowMs`, in order. `pins` in order. */
export function expiredPins(
  pins: readonly PinState[],
  { tiers }: CdpPolicy,
  nowMs: number,
): PinState[] {
  return pins.filter(({ timeMs }, index) => {
    const next = pins[index + 1];
    // The newest one is what the volume holds, or nearly.
    if (next === undefined) return tiers.length === 0;
    return !tiers.some(({ everyMs, keepMs }) => {
      const lastEndMs = (Math.ceil(next.timeMs / everyMs) - 1) * everyMs;
      return lastEndMs >= timeMs && nowMs - lastEndMs <= keepMs;
    });
  });
}
