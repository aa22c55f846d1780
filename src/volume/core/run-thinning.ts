/**
 * Run thinning: which runs a mark writes again without what no kept state can see, and what becomes of those before. The main
 * thread's part:
 *
 *     mark ─▶ how much of each run is needed ─▶ next mark: those of which little is ─▶ thinned runs, durable and read back
 *                ─▶ lookups go to them ─▶ the ones before, and narrower ones in their range, are given up: removed
 *
 * A thinned run has a name of its own, so nobody takes tables of one file for blocks of another. What is removed is not looked up
 * any more, and lookups that wait for it begin again.
 *
 * Invariants
 * 1. A run is removed only when the one that counts in its stead was read back whole from the medium, is of this pool's own
 *    segments, and its name is durable.
 * 2. Runs are removed between marks: a pass has none taken away.
 */
import { DiskError } from '../../base/ports.ts';
import type { Pressure } from '../cleaner/garbage-share.ts';
import { cleanerLimits } from '../cleaner/limits.ts';
import { FormatError } from '../format/format-error.ts';
import { type LookupSteps, runLater } from '../index/lookup-steps.ts';
import { describeRun, type RunPlace } from '../index/run-format.ts';
import { runName } from '../index/run-path.ts';
import { RunsChanged } from '../index/run-reader.ts';
import type { Superseded } from '../index/run-set.ts';
import type { MarkPiece, MarkStepped, RunCount } from '../liveness/mark-plan.ts';
import type { Maintenance } from './maintenance.ts';
import type { PoolParts } from './parts.ts';
import type { RunStore } from './run-upkeep.ts';

export class RunThinning {
  readonly #parts: PoolParts;
  readonly #maintenance: Maintenance;
  readonly #store: RunStore;
  readonly #onBadRun: (place: RunPlace) => void;
  /** By name: what the last mark found. */
  #counts: ReadonlyMap<string, RunCount> = new Map();
  /** Thinned runs that were read back by this process: as the set has them, so not others that got their names since. */
  readonly #readBack = new WeakSet<RunPlace>();

  /** `onBadRun`: a run is damaged and must not be used any more. */
  constructor(
    parts: PoolParts,
    maintenance: Maintenance,
    store: RunStore,
    onBadRun: (place: RunPlace) => void,
  ) {
    this.#parts = parts;
    this.#maintenance = maintenance;
    this.#store = store;
    this.#onBadRun = onBadRun;
  }

  /**
   * The runs that a mark thins, those first of which most is not needed. `isAll`: also those of which nothing is known yet; how
   * little is needed decides in the end.
   */
  targets(pieces: readonly MarkPiece[], pressure: Pressure, isAll: boolean): RunPlace[] {
    const { keptShareMax, entriesMin } = cleanerLimits.thinWhen[pressure];
    const wanted: { readonly place: RunPlace; readonly gain: number }[] = [];
    for (const piece of pieces) {
      if (piece.kind !== 'run') continue;
      const count = this.#counts.get(runName(piece.place));
      if (count === undefined) {
        if (isAll) wanted.push({ place: piece.place, gain: 0 });
        continue;
      }
      const { entryCount, keptCount } = count;
      const gain = entryCount - keptCount;
      const isWorthIt = keptCount <= entryCount * keptShareMax && gain >= entriesMin;
      if (isWorthIt) wanted.push({ place: piece.place, gain });
    }
    return wanted
      .sort((left, right) => right.gain - left.gain)
      .slice(0, cleanerLimits.thinRunsPerMark)
      .map(({ place }) => place);
  }

  /** A mark has looked at all runs, and made those. */
  marked({ counts = [], thinned = [], thinError }: MarkStepped): void {
    const { log } = this.#parts.host;
    const { runs, reader } = this.#store;
    this.#counts = new Map(counts.map((count) => [runName(count.place), count]));
    if (thinError !== undefined) log.warn('index runs were not thinned', { error: thinError });
    for (const summary of thinned) {
      const { level, firstSegId, generation = 0, entryCount, bytes } = summary;
      const place = { level, firstSegId, generation };
      log.info('an index run was thinned', { run: describeRun(place), entryCount, bytes });
      // One of the same name may have been given up before.
      reader.forget(place);
      runs.add(place);
      const added = runs.inForce(place);
      if (added !== undefined && runName(added) === runName(place)) this.#readBack.add(added);
    }
  }

  /** Removes runs in whose stead thinned ones count. `done` may run inside the call. */
  settle(done: () => void): void {
    const superseded = this.#store.runs.superseded();
    const guards = new Map(superseded.map(({ by }) => [runName(by), by]));
    this.#checkAll([...guards.values()], () => {
      this.#remove(superseded, done);
    });
  }

  /** Reads those back that no mark of this process made. */
  #checkAll([guard, ...rest]: readonly RunPlace[], done: () => void): void {
    if (guard === undefined) {
      done();
      return;
    }
    const next = (): void => {
      this.#checkAll(rest, done);
    };
    if (this.#readBack.has(guard)) next();
    else this.#check(guard, next);
  }

  #check(guard: RunPlace, done: () => void): void {
    const job = { kind: 'verify-run', place: guard, isOnMedium: true } as const;
    this.#maintenance.ask<'verify-run'>(job, ({ error }) => {
      if (error !== undefined) {
        if (error.code === 'format') this.#onBadRun(guard);
        done();
        return;
      }
      runLater(this.#isOurs(guard), (isOurs) => {
        if (isOurs === true) this.#readBack.add(guard);
        else if (isOurs === false) this.#onBadRun(guard);
        done();
      });
    });
  }

  /** Whether it is of this very pool: one that is whole may be of another history of it. Undefined: that is not known. */
  *#isOurs(guard: RunPlace): LookupSteps<boolean | undefined> {
    const { runs, reader } = this.#store;
    while (runs.inForce(guard) === guard) {
      try {
        yield* reader.tables(guard);
        return true;
      } catch (thrown) {
        if (thrown instanceof FormatError) return false;
        if (thrown instanceof DiskError) return undefined;
        if (!(thrown instanceof RunsChanged)) throw thrown;
      }
    }
    return undefined;
  }

  #remove(superseded: readonly Superseded[], done: () => void): void {
    const { runs, reader } = this.#store;
    const places = superseded
      .filter(({ by }) => this.#readBack.has(by) && runs.inForce(by) === by)
      .map(({ place }) => place);
    if (places.length === 0) {
      done();
      return;
    }
    for (const place of places) {
      runs.remove(place);
      reader.forget(place);
    }
    this.#maintenance.ask<'remove-runs'>({ kind: 'remove-runs', places }, ({ error }) => {
      // What is still there is removed when the pool is opened again.
      if (error !== undefined) {
        this.#parts.host.log.warn('index runs were not removed', { error: error.message });
      }
      done();
    });
  }
}
