/**
 * History relief: gives up the past of volumes, a little at a time, when cleaning alone does not make room.
 *
 *     a fifth of the way from the soft to the hard limit:   what lies behind windows at once, not in steps
 *                                                           windows to 1/2, 1/4 ... 1/16 of what they are to be
 *     two fifths, and windows are as short as they get:     automatic pins, the oldest tier of each policy first
 *
 * One step every ten seconds at most, and only if less than before is not stored by then: what was given up must be found and
 * cleaned first. Below the threshold nothing more is given up, and windows grow again as time passes.
 *
 * Invariants
 * 1. Snapshots, views and what undo goes back to are never given up, nor the past of a volume that `isRelievable` excepts; the
 *    steward looks again when it is the step's turn.
 * 2. No window becomes shorter than `reliefWindowMsMin`.
 */
import type { CdpPolicy } from '../../base/cdp-policy.ts';
import type { Clock, Log } from '../../base/ports.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import { HorizonReason } from '../catalogue/retention-records.ts';
import { limits } from '../limits.ts';
import type { RetentionSteward } from '../retention/steward.ts';
import { isRelievable } from '../retention/window-report.ts';

/** Who gives up what. */
export type HistoryKeeper = Pick<RetentionSteward, 'moveWindows' | 'advanceHorizon' | 'expirePins'>;

interface HistoryReliefHost {
  readonly clock: Clock;
  readonly log: Log;
  readonly volumes: () => readonly VolumeState[];
}

export class HistoryRelief {
  readonly #host: HistoryReliefHost;
  readonly #keeper: HistoryKeeper;
  /** Windows are halved so often. */
  #halvings = 0;
  /** Tiers that were given up, counted from the coarsest. */
  #tiers = 0;
  #steppedMs = Number.NEGATIVE_INFINITY;
  #storedBefore = Number.POSITIVE_INFINITY;
  /** Volumes that are still to be told of the present step. */
  #pending: string[] = [];

  constructor(host: HistoryReliefHost, keeper: HistoryKeeper) {
    this.#host = host;
    this.#keeper = keeper;
  }

  get areWindowsShort(): boolean {
    return this.#halvings > 0;
  }

  get arePinsExpired(): boolean {
    return this.#tiers > 0;
  }

  /** Looks whether more has to be given up. `pressure` as of `pressureAt`. */
  look(pressure: number, storedBytes: number): void {
    const { reliefWindowsFrom, reliefPinsFrom, reliefStepMs, reliefHalvingsMax } = limits;
    if (pressure < reliefWindowsFrom / 2) {
      this.#halvings = 0;
      this.#tiers = 0;
      this.#pending = [];
      this.#storedBefore = Number.POSITIVE_INFINITY;
      return;
    }
    // Nothing may be written meanwhile: what nobody wants any more is not kept until the steward's next step.
    const isFirst = this.#storedBefore === Number.POSITIVE_INFINITY;
    if (pressure >= 1 || (pressure >= reliefWindowsFrom && isFirst)) this.#keeper.moveWindows();
    this.#tellSome();
    const nowMs = this.#host.clock.monotonicMs();
    if (pressure < reliefWindowsFrom || nowMs - this.#steppedMs < reliefStepMs) return;
    if (this.#pending.length > 0) return;
    const isFalling = storedBytes < this.#storedBefore;
    this.#steppedMs = nowMs;
    this.#storedBefore = storedBytes;
    if (!isFalling) {
      if (this.#halvings < reliefHalvingsMax) this.#halvings += 1;
      else if (pressure >= reliefPinsFrom) this.#tiers += 1;
    }
    // Time passes: what windows have gained since the last step is given up again.
    if (this.#halvings > 0) this.#pending = this.#relievable();
    this.#tellSome();
  }

  #relievable(): string[] {
    return this.#host
      .volumes()
      .filter((volume) => isRelievable(volume))
      .map(({ name }) => name);
  }

  /** A part at a time: each is a record that is waited for. */
  #tellSome(): void {
    const names = new Set(this.#pending.splice(0, limits.reliefVolumesPerLook));
    if (names.size === 0) return;
    for (const { name, policy } of this.#host.volumes())
      if (names.has(name)) this.#tell(name, policy);
  }

  #tell(volume: string, policy: CdpPolicy): void {
    const { windowMs } = policy;
    const shortMs = Math.max(windowMs / 2 ** this.#halvings, limits.reliefWindowMsMin);
    // Horizons move in steps: at the least, what lies behind a window is not kept any longer.
    const keepMs = Math.min(windowMs, shortMs);
    const wanted = { volume, keepMs, reason: HorizonReason.poolFull };
    this.#keeper.advanceHorizon(wanted, (outcome) => {
      if (!outcome.ok) this.#failed(volume, outcome.error);
    });
    const pinsKeepMs = pinsKeptMs(policy, this.#tiers);
    if (pinsKeepMs === undefined) return;
    this.#keeper.expirePins({ volume, keepMs: pinsKeepMs }, (outcome) => {
      if (!outcome.ok) this.#failed(volume, outcome.error);
      else if (outcome.value > 0) {
        const pinCount = outcome.value;
        this.#host.log.warn('space is short: automatic pins are given up', { volume, pinCount });
      }
    });
  }

  #failed(volume: string, error: Error): void {
    this.#host.log.warn('history was not given up', { volume, error: error.message });
  }
}

/** How old a pin may be when so many tiers, from the coarsest on, are given up; undefined = as old as the policy says. */
function pinsKeptMs({ windowMs, tiers }: CdpPolicy, count: number): number | undefined {
  if (count === 0 || tiers.length === 0) return undefined;
  return tiers[tiers.length - 1 - count]?.keepMs ?? windowMs;
}
