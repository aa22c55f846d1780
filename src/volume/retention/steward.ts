/**
 * Steward: decides now and then which moments are pinned, which pins have had their time, and how far the horizon moves, and
 * logs it: a few records for all volumes together.
 *
 *     every while ─▶ who changed since its last pin, and a minute began?   PIN      ┐
 *                 ─▶ which pins does the policy not keep any more?         UNPIN    ├ one frame, in this order
 *                 ─▶ what is older than the window?                        HORIZON  ┘
 *
 * Invariants
 * 1. The horizon moves forward only, to positions that are durable, and everything that is told of it is read from the
 *    catalogue, where it is only once its record is durable.
 * 2. Pins are made while every moment around them is kept, long before the horizon passes; those of the past with the policy
 *    that asks for them, before it gives up anything.
 * 3. Nothing is logged for a volume that did not change (but once after each opening: what it did before nobody has looked at).
 * 4. Time comes from the pool's clock, which never goes back; age from one that does not jump ahead either.
 */
import { present } from '../../base/assert.ts';
import { success } from '../../base/errors.ts';
import type { Timer } from '../../base/ports.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import type { HorizonState } from '../catalogue/kept-moments.ts';
import type { PinState } from '../catalogue/pin-list.ts';
import type { CatalogueRecord } from '../catalogue/records.ts';
import {
  type CdpFields,
  type HorizonMove,
  HorizonReason,
  retentionEntriesMax,
  type Unpin,
} from '../catalogue/retention-records.ts';
import type { Done, Operator } from '../core/operator.ts';
import { addressOf, positionOf } from '../format/address.ts';
import { volumeAt } from '../history/volume-at.ts';
import type { WindowReport } from '../reports.ts';
import { type Anchor, Anchors, anchorsMax } from './anchors.ts';
import { ByteBudget } from './byte-budget.ts';
import { type KeptMoment, keptMoments } from './kept.ts';
import { retentionLimits as limits } from './limits.ts';
import { type Budgeted, countPastBytes } from './past-bytes.ts';
import { findPastPins, type RetentionTimes } from './past-pins.ts';
import { RetentionClock } from './retention-clock.ts';
import { SnapshotLocks } from './snapshot-locks.ts';
import { expiredPins, isPinDue } from './thinning.ts';
import { isRelievable, windowOf } from './window-report.ts';

type UnpinnedState = Unpin['pins'][number];

interface Plan {
  /** Volumes that get a pin. */
  readonly pinned: readonly VolumeState[];
  readonly unpinned: readonly UnpinnedState[];
  readonly moves: readonly HorizonMove[];
}

/** Who keeps how old history is over restarts. */
interface AgeNotes {
  aged(ageMs: number): void;
}

/** What is remembered of a volume. */
interface Notes {
  readonly budget: ByteBudget;
  /** What was written before is being counted in, or is. */
  isPastCounted: boolean;
  /** When its pins are looked through next. */
  thinMs: number;
}

export class RetentionSteward {
  readonly #operator: Operator;
  readonly #clock: RetentionClock;
  readonly #age: AgeNotes;
  /** Snapshots that cannot be deleted. */
  readonly locks: SnapshotLocks;
  readonly #anchors = new Anchors();
  readonly #notes = new WeakMap<VolumeState, Notes>();
  #timer: Timer | undefined;
  /** Index of the volume whose pins are looked through first. */
  #thinFrom = 0;
  #isDeciding = false;
  /** Horizons move however small the step is. */
  #isUrgent = false;
  #isStopped = false;
  #isCountingPast = false;

  constructor(operator: Operator, age: AgeNotes) {
    this.#operator = operator;
    this.#age = age;
    const { host, superblock, segmentById } = operator.parts;
    const { ageMs, hlcMsHighWater } = superblock;
    this.#clock = new RetentionClock(host.logClock, ageMs === 0 ? hlcMsHighWater : ageMs);
    this.locks = new SnapshotLocks(operator, () => this.#times().ageMs);
    // What was written before the pool was opened is known as well as where segments begin; of many, as many as are remembered.
    const stride = Math.max(1, Math.ceil(segmentById.size / anchorsMax));
    const first = Math.max(0, segmentById.size - 1) % stride;
    for (let at = first; at < segmentById.size; at += stride) {
      const { segId, hlcMs } = present(segmentById.at(at), 'segment of the log');
      const position = positionOf(addressOf(segId, 0), 0);
      this.#anchors.add({ position, timeMs: hlcMs + limits.segmentMarginMs });
    }
  }

  /** Begins to look; a read-only pool has nothing to decide. */
  start(): void {
    if (this.#operator.parts.writer === undefined || this.#isStopped) return;
    this.#look(false);
    this.#timer = this.#operator.parts.host.timers.after(this.#stepMs, () => {
      this.start();
    });
  }

  /** Moves all horizons to where windows begin now, however little that is: a full pool cannot wait for the next step. */
  moveWindows(): void {
    if (this.#operator.parts.writer === undefined || this.#isStopped || this.#isDeciding) return;
    this.#look(true);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** How much of a volume's past can be opened now. */
  window(volume: VolumeState): WindowReport {
    return windowOf(volume, this.#operator.parts.host.clock.wallMs());
  }

  /** Volumes and views of whose past a pool that is short of space takes nothing, by name. */
  untouched(): VolumeState[] {
    return this.#operator.parts.catalogue.volumes().filter((volume) => !isRelievable(volume));
  }

  /** What is kept before the window, and where it begins, in order; empty when everything is kept. Throws OperationError not-found. */
  kept(volume: string): readonly KeptMoment[] {
    return keptMoments(this.#operator.volume(volume));
  }

  /**
   * From now on this much is kept, guaranteed or not; what is absent stays, and what was given up before does not come back.
   * Errors: not-found, read-only.
   */
  setPolicy(
    { volume: name, ...change }: CdpFields & { readonly volume: string },
    done: Done<VolumeState>,
  ): void {
    const { policy } = change;
    if (policy === undefined) {
      this.#set(name, { change, past: [] }, done);
      return;
    }
    this.#operator.attempt(done, () => {
      const wanted = { volume: this.#operator.volume(name), policy, times: this.#times() };
      findPastPins(this.#operator, wanted, (past) => {
        if (past.ok) this.#set(name, { change, past: past.value }, done);
        else done(past);
      });
    });
  }

  /** `past`: states that were kept a moment ago. */
  #set(
    name: string,
    { change, past }: { readonly change: CdpFields; readonly past: readonly PinState[] },
    done: Done<VolumeState>,
  ): void {
    this.#operator.operate(done, (finish) => {
      const volume = this.#operator.volume(name);
      const { uuid, line, horizon, pins } = volume;
      const oldest = horizon?.position ?? volume.createdPosition + 1;
      // What the steward did meanwhile counts.
      const first = pins.at(0);
      const isOpen = ({ cut, timeMs }: PinState): boolean =>
        cut >= oldest && (first === undefined || (cut < first.cut && timeMs <= first.timeMs));
      const open = past
        .filter(isOpen)
        .map((pin) => ({ ...this.#stateAt(volume, pin.cut), ...pin }));
      const timeMs = Math.max(this.#times().poolMs, open.at(-1)?.timeMs ?? 0);
      const records = chunks(open).map((list) => ({
        kind: 'pin' as const,
        timeMs,
        lines: [],
        past: list,
      }));
      this.#operator.commit([...records, { kind: 'vol-set', line, uuid, ...change }], () => {
        if (change.policy !== undefined) this.#notes.delete(volume);
        finish(success(volume));
      });
    });
  }

  /**
   * Gives up every moment of a volume that is older than `keepMs` and not pinned, whatever its window: what a full pool needs.
   * A guaranteed window stays. `done` gets where its horizon is then; undefined = nothing was given up yet. Errors: not-found,
   * read-only.
   */
  advanceHorizon(
    { volume: name, keepMs, reason }: AdvanceOptions,
    done: Done<HorizonState | undefined>,
  ): void {
    this.#operator.operate(done, (finish) => {
      const volume = this.#operator.volume(name);
      const { ageMs } = this.#times();
      const target = this.#anchors.at(ageMs - keepMs);
      const isAhead = (target?.position ?? -1) > this.#oldest(volume);
      if (target === undefined || !isAhead || volume.isGuaranteed) {
        finish(success(volume.horizon));
        return;
      }
      const move = { line: volume.line, ...target, reason };
      this.#operator.commit([{ kind: 'horizon', moves: [move] }], () => {
        finish(success(volume.horizon));
      });
    });
  }

  /**
   * Removes the automatic pins of a volume that are older than `keepMs`, unless its window is guaranteed; `done` gets how many
   * they were. Errors: not-found, read-only.
   */
  expirePins(
    { volume: name, keepMs }: { readonly volume: string; readonly keepMs: number },
    done: Done<number>,
  ): void {
    this.#operator.operate(done, (finish) => {
      const volume = this.#operator.volume(name);
      const { ageMs } = this.#times();
      const old = Math.min(volume.pins.countBefore(ageMs - keepMs), limits.unpinsAtOnceMax);
      const pins = Array.from(volume.pins.cuts(0, old), (cut) => this.#stateAt(volume, cut));
      if (pins.length === 0 || volume.isGuaranteed) {
        finish(success(0));
        return;
      }
      const records = chunks(pins).map((list) => ({ kind: 'unpin' as const, pins: list }));
      this.#operator.commit(records, () => {
        finish(success(pins.length));
      });
    });
  }

  get #stepMs(): number {
    return this.#operator.parts.settings.retentionStepMs;
  }

  #times(): RetentionTimes {
    const { host, writer } = this.#operator.parts;
    const poolMs = Math.ceil(Math.max(host.clock.wallMs(), writer?.log.lastHlcMs ?? 0));
    return { poolMs, ageMs: this.#clock.now(poolMs) };
  }

  #look(isUrgent: boolean): void {
    if (!this.#isDeciding) this.#isUrgent = isUrgent;
    const { parts, timeline } = this.#operator;
    const times = this.#times();
    this.#age.aged(times.ageMs);
    const jumpMs = this.#clock.newJump(times.poolMs);
    if (jumpMs > 0) {
      parts.host.log.warn(
        'the clock is far ahead of the log: history is kept until that is made up',
        {
          hours: Math.round(jumpMs / 3_600_000),
        },
      );
    }
    const anchor = { position: timeline.end(), timeMs: times.poolMs + limits.anchorMarginMs };
    this.#anchors.add(anchor);
    this.#countBytes(anchor);
    if (this.#isDeciding || isEmpty(this.#plan(times, false))) return;
    this.#isDeciding = true;
    this.#operator.operate<undefined>(
      (outcome) => {
        this.#isDeciding = false;
        if (!outcome.ok) {
          parts.host.log.warn('windows were not moved', { error: outcome.error.message });
        }
      },
      (finish) => {
        // What waited before has changed what there is to decide; it may have taken seconds, and what was written meanwhile will be
        // in the pins.
        const now = this.#times();
        const records = this.#records(this.#plan(now, true), now);
        if (records.length === 0) finish(success(undefined));
        else {
          this.#operator.commit(records, () => {
            finish(success(undefined));
          });
        }
      },
    );
  }

  #countBytes(anchor: Anchor): void {
    const { catalogue, lineById } = this.#operator.parts;
    const uncounted: Budgeted[] = [];
    for (const volume of catalogue.volumes()) {
      const line = lineById.get(volume.line);
      const { windowBytes: budgetBytes } = volume.policy;
      if (budgetBytes === undefined || line === undefined) continue;
      const notes = this.#notesOf(volume);
      const { budget } = notes;
      budget.look(line, anchor);
      if (notes.isPastCounted || this.#isCountingPast) continue;
      notes.isPastCounted = true;
      uncounted.push({ volume, budgetBytes, budget });
    }
    if (uncounted.length > 0) this.#countPast(uncounted);
  }

  /** Once for each budget: a walk through the log. */
  #countPast(uncounted: readonly Budgeted[]): void {
    this.#isCountingPast = true;
    countPastBytes(this.#operator, uncounted, (outcome) => {
      this.#isCountingPast = false;
      if (outcome.ok) return;
      this.#operator.parts.host.log.warn(
        'what volumes wrote before is not known: their budgets of bytes keep more until they have written so much again',
        { volumes: uncounted.length, error: outcome.error.message },
      );
    });
  }

  /** `isFinal`: what is looked through now need not be so soon again. */
  #plan(times: RetentionTimes, isFinal: boolean): Plan {
    const pinned: VolumeState[] = [];
    const moves: HorizonMove[] = [];
    const volumes = this.#operator.parts.catalogue.volumes();
    for (const volume of volumes) {
      if (this.#isPinned(volume, times)) pinned.push(volume);
      const move = this.#moveOf(volume, times);
      if (move !== undefined) moves.push(move);
    }
    return { pinned, unpinned: this.#thinOut(volumes, times, isFinal), moves };
  }

  /** Pins that have had their time, of as many volumes as there is room for; those that are left come first the next time. */
  #thinOut(
    volumes: readonly VolumeState[],
    times: RetentionTimes,
    isFinal: boolean,
  ): UnpinnedState[] {
    const unpinned: UnpinnedState[] = [];
    const first = this.#thinFrom;
    let room: number = limits.pinsLookedAtMax;
    for (let at = 0; at < volumes.length; at += 1) {
      const index = (first + at) % volumes.length;
      const volume = present(volumes[index], 'volume');
      const { policy, pins } = volume;
      const notes = this.#notesOf(volume);
      if (pins.length === 0 || times.ageMs < notes.thinMs) continue;
      if (room <= 0 || unpinned.length >= limits.unpinsAtOnceMax) {
        if (isFinal || unpinned.length === 0) this.#thinFrom = index;
        break;
      }
      room -= pins.length;
      const old = expiredPins(pins, policy, times.ageMs);
      for (const cut of old) unpinned.push(this.#stateAt(volume, cut));
      if (isFinal || old.length === 0) {
        notes.thinMs = times.ageMs + Math.max(this.#stepMs, policy.tiers[0]?.everyMs ?? 0);
      }
    }
    return unpinned;
  }

  /** Whether the volume gets a pin now. */
  #isPinned(volume: VolumeState, { poolMs }: RetentionTimes): boolean {
    const last = volume.pins.last();
    const isDue = isPinDue(volume.policy, last?.timeMs ?? volume.createdMs, poolMs);
    return isDue && this.#hasChanged(volume, last?.cut);
  }

  /** Whether anything was written to the volume at `position` or behind; undefined = since it was made. */
  #hasChanged(volume: VolumeState, position: number | undefined): boolean {
    const last = this.#operator.parts.lineById.get(volume.line)?.lastPosition ?? 0;
    return last >= (position ?? volume.createdPosition + 1);
  }

  #moveOf(volume: VolumeState, { ageMs }: RetentionTimes): HorizonMove | undefined {
    const { policy, horizon, line, createdMs } = volume;
    // Nothing was written since: there is nothing to give up.
    if (!this.#hasChanged(volume, horizon?.position)) return undefined;
    const target = this.#target(volume, ageMs);
    if (target === undefined || target.position <= this.#oldest(volume)) return undefined;
    const isByAge = target.reason === HorizonReason.age;
    const stepMs = Math.max(this.#stepMs, isByAge ? policy.windowMs / limits.windowSteps : 0);
    if (this.#isUrgent) return { line, ...target };
    return target.timeMs - (horizon?.timeMs ?? createdMs) < stepMs
      ? undefined
      : { line, ...target };
  }

  /** Where the policy has the window begin; undefined = it has nothing to give up yet. */
  #target(volume: VolumeState, ageMs: number): Omit<HorizonMove, 'line'> | undefined {
    const { windowMs, windowBytes } = volume.policy;
    const byAge = Number.isFinite(windowMs) ? this.#anchors.at(ageMs - windowMs) : undefined;
    const byBytes =
      windowBytes === undefined ? undefined : this.#notesOf(volume).budget.horizon(windowBytes);
    if (byBytes !== undefined && byBytes.position > (byAge?.position ?? -1)) {
      const { position, timeMs } = byBytes;
      return { position, timeMs, reason: HorizonReason.budget };
    }
    return byAge && { ...byAge, reason: HorizonReason.age };
  }

  /** Everything of the volume before it is given up already, or was never there. */
  #oldest({ horizon, createdPosition }: VolumeState): number {
    return horizon?.position ?? createdPosition;
  }

  #stateAt(volume: VolumeState, cut: number): UnpinnedState {
    const line = volumeAt(this.#operator.parts.catalogue, volume, cut)?.line ?? volume.line;
    return { line, cut };
  }

  #notesOf(volume: VolumeState): Notes {
    const known = this.#notes.get(volume);
    if (known !== undefined) return known;
    const notes = { budget: new ByteBudget(), isPastCounted: false, thinMs: 0 };
    this.#notes.set(volume, notes);
    return notes;
  }

  #records({ pinned, unpinned, moves }: Plan, { poolMs }: RetentionTimes): CatalogueRecord[] {
    const newestMs = pinned.reduce(
      (most, { pins }) => Math.max(most, pins.last()?.timeMs ?? 0),
      poolMs,
    );
    const lines = pinned.map(({ line }) => line);
    return [
      ...chunks(lines).map((list) => ({ kind: 'pin' as const, timeMs: newestMs, lines: list })),
      ...chunks(unpinned).map((list) => ({ kind: 'unpin' as const, pins: list })),
      ...chunks(moves).map((list) => ({ kind: 'horizon' as const, moves: list })),
    ];
  }
}

export interface AdvanceOptions {
  readonly volume: string;
  readonly keepMs: number;
  readonly reason: HorizonReason;
}

function isEmpty({ pinned, unpinned, moves }: Plan): boolean {
  return pinned.length + unpinned.length + moves.length === 0;
}

/** Lists as long as a record can take. */
function chunks<T>(items: readonly T[]): T[][] {
  const lists: T[][] = [];
  for (let at = 0; at < items.length; at += retentionEntriesMax) {
    lists.push(items.slice(at, at + retentionEntriesMax));
  }
  return lists;
}
