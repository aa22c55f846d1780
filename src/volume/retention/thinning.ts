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
import type { PinList } from '../catalogue/pin-list.ts';

/** Whether a volume whose newest pin is of `lastMs` (or that was made then) is to be pinned at `nowMs`, if it changed since. */
export function isPinDue({ tiers }: CdpPolicy, lastMs: number, nowMs: number): boolean {
  const [finest] = tiers;
  if (finest === undefined) return false;
  const { everyMs } = finest;
  return Math.floor(nowMs / everyMs) > Math.floor(lastMs / everyMs);
}

/** Cuts of the pins that the policy does not keep any more at `nowMs`, in order. */
export function expiredPins(pins: PinList, { tiers }: CdpPolicy, nowMs: number): number[] {
  const expired: number[] = [];
  const last = pins.length - 1;
  for (let index = 0; index < last; index += 1) {
    const isKept = isKeptBy(tiers, {
      fromMs: pins.timeAt(index),
      toMs: pins.timeAt(index + 1),
      nowMs,
    });
    if (!isKept) expired.push(pins.cutAt(index));
  }
  // The newest one is what the volume holds, or nearly.
  if (last >= 0 && tiers.length === 0) expired.push(pins.cutAt(last));
  return expired;
}

/** Whether a cell of a tier ends while the volume held what a pin tells: from its own time to that of the next one. */
function isKeptBy(
  tiers: CdpPolicy['tiers'],
  {
    fromMs,
    toMs,
    nowMs,
  }: { readonly fromMs: number; readonly toMs: number; readonly nowMs: number },
): boolean {
  for (const { everyMs, keepMs } of tiers) {
    const lastEndMs = (Math.ceil(toMs / everyMs) - 1) * everyMs;
    if (lastEndMs >= fromMs && nowMs - lastEndMs <= keepMs) return true;
  }
  return false;
}
