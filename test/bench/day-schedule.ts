/**
 * What an operator and the schedules do during `bench day`: snapshots made and deleted by the clock, views opened and dropped,
 * rollbacks, clones, differences, reports, and restarts in between. Each task goes round on its own; what a restart cuts off is settled
 * after it, for then nobody knows whether it happened.
 */
import { ErrorCode, OperationError } from '../../src/base/errors.ts';
import { sleep } from '../support/run.ts';
import type { DayAppliance } from './day-appliance.ts';
import type { DayTime } from './day-clock.ts';
import { isCutOff, isMissing } from './day-errors.ts';
import type { DayLoad } from './day-load.ts';
import { applianceMs, faultOfDiff, faultOfView, type Moment, momentOf } from './day-moments.ts';
import { NbdSession } from './day-nbd.ts';
import type { Span } from './day-oracle.ts';
import { rollBack } from './day-rollback.ts';
import { type DayTotals, DayVolume } from './day-volumes.ts';

export interface DayWorld {
  readonly appliance: DayAppliance;
  readonly time: DayTime;
  readonly load: DayLoad;
  readonly totals: DayTotals;
  /** Those of the whole run; clones come and go besides. */
  readonly volumes: readonly DayVolume[];
}

export interface SchedulePlan {
  /** Snapshots of every volume so often, by the appliance; and how many are kept of each. */
  readonly snapshotEveryMs: number;
  readonly snapshotsKept: number;
  /** Pauses by the machine. */
  readonly viewPauseMs: number;
  readonly diffPauseMs: number;
  readonly rollbackPauseMs: number;
  readonly clonePauseMs: number;
  readonly cloneLifeMs: number;
  readonly reportPauseMs: number;
  /** After so long by the machine each. */
  readonly restartsMs: readonly number[];
}

export interface DaySnapshot {
  readonly name: string;
  readonly span: Span;
}

export interface ScheduleCounts {
  snapshotsMade: number;
  snapshotsDeleted: number;
  views: number;
  clones: number;
  rollbacks: number;
  undone: number;
  diffs: number;
  reports: number;
  kills: number;
  stops: number;
  /** Moments that a window had passed before they were asked for. */
  passed: number;
}

const batch = 16;
const pollMs = 20;
const minuteMs = 60_000;
const undoneShare = 1 / 3;

export class DaySchedule {
  readonly #world: DayWorld;
  readonly #plan: SchedulePlan;
  readonly #startedMs = Date.now();
  #isOver = false;
  #lastId = 0;
  /** By volume, oldest first. */
  readonly snapshots = new Map<string, DaySnapshot[]>();
  /** Snapshots of which nobody knows whether they are there: VOL@NAME. */
  readonly inDoubt = new Set<string>();
  readonly counts: ScheduleCounts = {
    snapshotsMade: 0,
    snapshotsDeleted: 0,
    views: 0,
    clones: 0,
    rollbacks: 0,
    undone: 0,
    diffs: 0,
    reports: 0,
    kills: 0,
    stops: 0,
    passed: 0,
  };
  /** From the end of one engine to the first answer of the next, milliseconds. */
  readonly restartMs: number[] = [];

  constructor(world: DayWorld, plan: SchedulePlan) {
    this.#world = world;
    this.#plan = plan;
    for (const { name } of world.volumes) this.snapshots.set(name, []);
  }

  /** Whether it has done of everything something; on a busy machine a short day may not come to that. */
  get hasDoneAll(): boolean {
    const { snapshotsDeleted, views, rollbacks, clones, diffs } = this.counts;
    return [snapshotsDeleted, views, rollbacks, clones, diffs].every((count) => count > 0);
  }

  /** Returns after `stop`, when nothing of it runs any more. */
  async run(): Promise<void> {
    const { viewPauseMs, diffPauseMs, rollbackPauseMs, clonePauseMs, reportPauseMs } = this.#plan;
    await Promise.all([
      this.#snapshots(),
      this.#round(viewPauseMs, async () => {
        const volume = this.#any();
        await volume.alone(async () => {
          await this.#view(volume);
        });
      }),
      this.#round(diffPauseMs, async () => {
        const volume = this.#any();
        await volume.alone(async () => {
          await this.#diff(volume);
        });
      }),
      this.#round(rollbackPauseMs, async () => {
        const volume = this.#any();
        await volume.alone(async () => {
          await this.#rollback(volume);
        });
      }),
      this.#round(clonePauseMs, async () => {
        await this.#clone();
      }),
      this.#round(reportPauseMs, async () => {
        await this.#world.appliance.call('poolSpace', { deleted: [] });
        this.counts.reports += 1;
      }),
      this.#restarts(),
    ]);
  }

  stop(): void {
    this.#isOver = true;
  }

  /** A method, because it changes during every wait. */
  #mustEnd(): boolean {
    return this.#isOver;
  }

  async #pause(ms: number): Promise<void> {
    const endMs = performance.now() + ms;
    while (!this.#isOver && performance.now() < endMs) await sleep(pollMs);
  }

  /** `work` now and then, until it is over; restarts may cut it off. */
  async #round(pauseMs: number, work: () => Promise<void>): Promise<void> {
    for (;;) {
      await this.#pause(pauseMs * (0.5 + Math.random()));
      if (this.#isOver) return;
      await this.#world.appliance.whenUp();
      await this.#tolerant(work);
    }
  }

  /** False when a restart got in between. */
  async #tolerant(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      // What the engine says while it stops is of no interest.
      if (!isCutOff(error) && this.#world.appliance.isUp) throw error;
      return false;
    }
  }

  async #snapshots(): Promise<void> {
    const { snapshotEveryMs, snapshotsKept } = this.#plan;
    const everyMs = snapshotEveryMs / this.#world.time.speed;
    const { volumes } = this.#world;
    for (let turn = 1; !this.#isOver; turn += 1) {
      await this.#pause(this.#startedMs + turn * everyMs - Date.now());
      for (let first = 0; first < volumes.length; first += batch) {
        if (this.#mustEnd()) return;
        await this.#world.appliance.whenUp();
        await Promise.all(
          volumes.slice(first, first + batch).map(async (volume) => {
            await volume.alone(async () => {
              await this.#snapshot(volume, `every${turn}`);
              await this.#thin(volume, snapshotsKept);
            });
          }),
        );
      }
    }
  }

  async #snapshot(volume: DayVolume, name: string): Promise<void> {
    const before = volume.journal.now;
    const isMade = await this.#tolerant(async () => {
      await this.#world.appliance.call('snapshotCreate', { volume: volume.name, name });
    });
    if (!isMade) {
      this.inDoubt.add(`${volume.name}@${name}`);
      return;
    }
    this.snapshots.get(volume.name)?.push({ name, span: volume.journal.until(before) });
    this.counts.snapshotsMade += 1;
  }

  async #thin(volume: DayVolume, keptMax: number): Promise<void> {
    const kept = this.snapshots.get(volume.name) ?? [];
    while (kept.length > keptMax) {
      const [oldest] = kept.splice(0, 1);
      if (oldest === undefined) return;
      const { name } = oldest;
      const isDeleted = await this.#tolerant(async () => {
        await this.#world.appliance.call('snapshotDelete', {
          volume: volume.name,
          name,
          force: false,
        });
      });
      if (isDeleted) this.counts.snapshotsDeleted += 1;
      else this.inDoubt.add(`${volume.name}@${name}`);
    }
  }

  /** A view of a snapshot, or of a time inside the window; looked at, written to, dropped. */
  async #view(source: DayVolume): Promise<void> {
    const { appliance, totals } = this.#world;
    const { journal } = source;
    const moment = this.#anyMoment(source);
    const name = this.#newName('view');
    try {
      await appliance.call('viewCreate', { source: source.name, name, at: moment.at });
      const fault = await faultOfView(appliance, name, { journal, span: moment.span });
      if (fault !== undefined) totals.fault(`view of ${source.name} at ${moment.at}: ${fault}`);
      this.counts.views += 1;
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.counts.passed += 1;
    } finally {
      await this.#drop('viewDelete', name);
    }
  }

  async #diff(volume: DayVolume): Promise<void> {
    const { appliance, totals } = this.#world;
    const moments = [this.#anyMoment(volume), this.#anyMoment(volume)];
    const [from, to] = moments.sort((left, right) => left.span.certain - right.span.certain);
    if (from === undefined || to === undefined || from.span.possible > to.span.certain) return;
    try {
      const fault = await faultOfDiff(appliance, volume, from, to);
      if (fault !== undefined) totals.fault(`diff: ${fault}`);
      this.counts.diffs += 1;
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.counts.passed += 1;
    }
  }

  /** Back to a moment while the volume's clients are connected; every third time back again. */
  async #rollback(volume: DayVolume): Promise<void> {
    const { appliance } = this.#world;
    const { name, journal } = volume;
    await volume.pause();
    try {
      const before = journal.now;
      const { at, span } = this.#anyMoment(volume);
      const isDone = await this.#rollBackTo(volume, span, async () => {
        await appliance.call('volumeRollback', { name, to: at, disconnect: true });
      });
      if (isDone) this.counts.rollbacks += 1;
      if (!isDone || Math.random() > undoneShare) return;
      const isUndone = await this.#rollBackTo(volume, before, async () => {
        await appliance.call('volumeUndoRollback', { name, disconnect: true });
      });
      if (isUndone) this.counts.undone += 1;
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.counts.passed += 1;
    } finally {
      volume.resume();
    }
  }

  async #rollBackTo(volume: DayVolume, wanted: Span, call: () => Promise<void>): Promise<boolean> {
    const { appliance, totals } = this.#world;
    const attempt = async (): Promise<boolean> => await this.#tolerant(call);
    const { isDone, fault } = await rollBack({ appliance, volume, attempt, wanted });
    if (fault !== undefined) totals.fault(`rollback of ${volume.name}: ${fault}`);
    return isDone;
  }

  /** A clone that works for a while like the others, and goes again. */
  async #clone(): Promise<void> {
    const { load } = this.#world;
    const name = this.#newName('clone');
    try {
      const clone = await this.#cloneOf(this.#any(), name);
      load.add(clone);
      await this.#pause(this.#plan.cloneLifeMs);
      load.remove(clone);
      await clone.leave();
      this.counts.clones += 1;
    } finally {
      await this.#drop('volumeDelete', name);
    }
  }

  async #cloneOf(source: DayVolume, name: string): Promise<DayVolume> {
    const { appliance, totals } = this.#world;
    let journal = source.journal;
    await source.alone(async () => {
      await source.pause();
      try {
        await appliance.call('volumeClone', { source: source.name, name });
        journal = source.journal.fork();
      } finally {
        source.resume();
      }
    });
    const connect = async (): Promise<NbdSession> =>
      await NbdSession.open(appliance.nbdSocket, name);
    return new DayVolume({ name, journal, appliance, totals, connect });
  }

  /** Whether it is there or not, in the end it is not; restarts are waited for. */
  async #drop(method: 'viewDelete' | 'volumeDelete', name: string): Promise<void> {
    for (let isDone = false; !isDone; ) {
      await this.#world.appliance.whenUp();
      try {
        await this.#world.appliance.call(method, { name, force: true });
        isDone = true;
      } catch (error) {
        if (isMissing(error)) return;
        // A connection to it may not have ended yet.
        const isUsed = error instanceof OperationError && error.code === ErrorCode.conflict;
        if (!isCutOff(error) && !isUsed && this.#world.appliance.isUp) throw error;
        await sleep(pollMs);
      }
    }
  }

  async #restarts(): Promise<void> {
    const { appliance } = this.#world;
    for (const [index, afterMs] of this.#plan.restartsMs.entries()) {
      await this.#pause(this.#startedMs + afterMs - Date.now());
      if (this.#isOver) return;
      const isKill = index % 2 === 0;
      if (isKill) await appliance.kill();
      else await appliance.stop();
      const beganMs = performance.now();
      await appliance.start();
      this.restartMs.push(performance.now() - beganMs);
      if (isKill) this.counts.kills += 1;
      else this.counts.stops += 1;
    }
  }

  #any(): DayVolume {
    const { volumes } = this.#world;
    const volume = volumes[Math.floor(Math.random() * volumes.length)];
    if (volume === undefined) throw new Error('no volumes');
    return volume;
  }

  #anyMoment({ name, journal }: DayVolume): Moment {
    const kept = this.snapshots.get(name) ?? [];
    const snapshot = kept[Math.floor(Math.random() * kept.length)];
    if (snapshot !== undefined && Math.random() < 0.5) {
      return { at: `snapshot:${snapshot.name}`, span: snapshot.span };
    }
    const { time } = this.#world;
    const nowMs = applianceMs(time, Date.now());
    const oldestMs = applianceMs(time, this.#startedMs);
    // Most windows of the run are an hour long or shorter.
    const backMs = Math.min(Math.random() * 60 * minuteMs, nowMs - oldestMs);
    return momentOf(journal, time, Math.floor(nowMs - backMs));
  }

  #newName(kind: string): string {
    this.#lastId += 1;
    return `${kind}${this.#lastId}`;
  }
}
