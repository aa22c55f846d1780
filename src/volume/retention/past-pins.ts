/**
 * Past pins: what a volume held when minutes, hours and days of its past ended, found in the log when it gets its first tiers.
 *
 *     log      ──w─w────────w───────────────w──▶ now        w  a change of the volume; what it holds now counts likewise
 *     minutes  │     │     │     │     │     │
 *              cut: ─────┘ └───────────────┘               before the first change of a later minute: the state at the end of
 *                                                           the minute, and of all that follow in which nothing changed
 *
 * Everything that is looked at is still kept, so every cut that is found can be pinned; the catalogue refuses one that is not.
 */
import type { CdpPolicy } from '../../base/cdp-policy.ts';
import { type Outcome, success } from '../../base/errors.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import { PinList, type PinState } from '../catalogue/pin-list.ts';
import type { Operator } from '../core/operator.ts';
import { isChange, linesOf } from '../history/changes.ts';
import { eachSegment } from '../history/sliced.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';
import { retentionLimits as limits } from './limits.ts';
import { expiredPins } from './thinning.ts';

/** Milliseconds. */
export interface RetentionTimes {
  /** Of the pool; whole. */
  readonly poolMs: number;
  /** By which moments are old. */
  readonly ageMs: number;
}

interface PastWanted {
  readonly volume: VolumeState;
  readonly policy: CdpPolicy;
  readonly times: RetentionTimes;
}

/** States of a volume at the ends of cells of the finest tier, from its changes in log order. */
class CellEnds {
  readonly #found = new PinList();
  readonly #wanted: PastWanted;
  readonly #everyMs: number;
  #lastMs: number | undefined;
  #thinAt: number = 2 * limits.pastPinsMax;

  constructor(wanted: PastWanted, everyMs: number) {
    this.#wanted = wanted;
    this.#everyMs = everyMs;
    // What it held at its horizon it held until the first change behind it.
    this.#lastMs = wanted.volume.horizon?.timeMs;
  }

  /** A change at `position`. */
  add(position: number, timeMs: number): void {
    this.#held(position, timeMs);
    this.#lastMs = Math.max(timeMs, this.#lastMs ?? timeMs);
    if (this.#found.length >= this.#thinAt) this.#thin();
  }

  /** Those that the policy keeps; of too many the newest ones. Everything before `end` was looked at. */
  finish(end: number): readonly PinState[] {
    this.#held(end, this.#wanted.times.poolMs);
    this.#thin();
    return [...this.#found].slice(-limits.pastPinsMax);
  }

  /** What the last change led to was there until `timeMs`, and is everything before `cut`. */
  #held(cut: number, timeMs: number): void {
    if (this.#lastMs === undefined) return;
    const endMs = (Math.floor(this.#lastMs / this.#everyMs) + 1) * this.#everyMs;
    if (endMs <= timeMs) this.#found.add({ cut, timeMs: endMs });
  }

  #thin(): void {
    const { policy, times } = this.#wanted;
    this.#found.removeAll(expiredPins(this.#found, policy, times.ageMs));
    this.#thinAt = Math.max(2 * limits.pastPinsMax, 2 * this.#found.length);
  }
}

/**
 * Pins that the policy would have of the volume's past, oldest first; empty for one that has pins already, or a policy without
 * tiers. Linear in the log that it looks at, in slices; `done` never runs inside the call. Errors: the log cannot be read.
 */
export function findPastPins(
  operator: Operator,
  wanted: PastWanted,
  done: (outcome: Outcome<readonly PinState[]>) => void,
): void {
  const { volume, policy } = wanted;
  const { timeline, reading, parts } = operator;
  const [finest] = policy.tiers;
  if (finest === undefined || volume.pins.length > 0) {
    parts.host.timers.defer(() => {
      done(success([]));
    });
    return;
  }
  const ends = new CellEnds(wanted, finest.everyMs);
  let from = volume.horizon?.position ?? volume.createdPosition;
  const walk = (): void => {
    const end = timeline.end();
    const lines = linesOf(volume);
    const visit = (segId: number): void => {
      reading.visit(segId, (entry, ticks) => {
        if (entry.position >= end) return false;
        const isOurs = entry.position >= from && lines.has(entry.line) && isChange(entry.type);
        if (isOurs) ends.add(entry.position, ticks / ticksPerMs);
        return true;
      });
    };
    const segIds = timeline.segmentsBetween(from, end);
    eachSegment(operator, { segIds, visit, progress: undefined }, (outcome) => {
      if (!outcome.ok) {
        done(outcome);
        return;
      }
      from = end;
      // What was written meanwhile is looked at, too, until it is little.
      if (segIds.length > 2) parts.host.timers.defer(walk);
      else done(success(ends.finish(end)));
    });
  };
  parts.host.timers.defer(walk);
}
