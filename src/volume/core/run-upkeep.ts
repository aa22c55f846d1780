/**
 * Run upkeep: decides which index run is made next, and has the keeper make it, one at a time, in small steps, so that seals
 * never wait long.
 *
 *     segment sealed ─▶ all of its group sealed? ─▶ run of level 1 ─▶ all of its group there? ─▶ level 2 ─▶ ...
 *     run found damaged, or of another history of the pool ─▶ made again the same way
 *
 * Before runs are merged it is looked, off the main thread, whether each is of the pool's own segments: a folder may hold runs
 * of another history, and merged they could not be told apart any more.
 *
 * Runs that were thinned (see RunThinning) are merged as others are. In the range of one of them nothing is made again as long
 * as it is whole: narrower ones are not needed beside it.
 *
 * A run that cannot be made (a footer is unreadable, no space) is left out until the pool is opened again: lookups do
 * without it.
 */
import { present } from '../../base/assert.ts';
import { DiskError } from '../../base/ports.ts';
import { FormatError } from '../format/format-error.ts';
import { type LookupSteps, runLater } from '../index/lookup-steps.ts';
import type { RunInput, RunPlan } from '../index/run-builder.ts';
import { describeRun, isThinned, type RunPlace } from '../index/run-format.ts';
import { runName } from '../index/run-path.ts';
import { type RunReader, RunsChanged } from '../index/run-reader.ts';
import { levelsOfRuns, type RunSet } from '../index/run-set.ts';
import type { KeeperResult } from '../keeper-jobs.ts';
import type { SegmentState } from '../recovery/segment-table.ts';
import type { Maintenance, RunChecks } from './maintenance.ts';
import type { PoolParts } from './parts.ts';

/** A plan whose inputs were not looked at. */
type DraftPlan = Omit<RunPlan, 'inputs'> & { readonly inputs: readonly RunPlace[] };
type BuildResult = Extract<KeeperResult, { kind: 'build-run' }>;

export interface RunStore {
  readonly runs: RunSet;
  readonly reader: RunReader;
}

/** Files of runs that the keeper looks at in one job: 2 us each, from a cold disk 0.1 ms. */
const runsPerMeasure = 500;

export class RunUpkeep implements RunChecks {
  readonly #parts: PoolParts;
  readonly #maintenance: Maintenance;
  readonly #runs: RunSet;
  readonly #reader: RunReader;
  /** Runs that could not be made. */
  readonly #failed = new Set<string>();
  /** Runs that were given up when they were to be merged. */
  readonly #givenUp = new Set<string>();
  /** By level: all groups below this one are done with. */
  #nextGroup: number[] = [];
  #isBuilding = false;
  #isPaused = false;
  #isStopped = false;
  #isStarted = false;
  readonly #paused: (() => void)[] = [];

  constructor(parts: PoolParts, maintenance: Maintenance, { runs, reader }: RunStore) {
    this.#parts = parts;
    this.#maintenance = maintenance;
    this.#runs = runs;
    this.#reader = reader;
    maintenance.whenSealed(() => {
      this.look();
    });
  }

  /** The pool is open: from now on runs are made. Not before what recovery could not keep is durable elsewhere. */
  start(): void {
    this.#isStarted = true;
    this.#maintenance.openRuns(() => {
      this.#measure();
    });
    this.look();
  }

  /** Has the keeper look at the files whose size is not known, some at a time: what else is asked of it comes in between. */
  #measure(): void {
    const places = this.#runs.firstNotMeasured(runsPerMeasure);
    if (places.length === 0 || this.#isStopped) return;
    this.#maintenance.ask<'measure-runs'>({ kind: 'measure-runs', places }, ({ bytes, error }) => {
      // The disk refuses: it is asked again, a few a second, where space is counted.
      if (error !== undefined) return;
      for (const [index, place] of places.entries()) this.#runs.measured(place, bytes[index] ?? 0);
      this.#measure();
    });
  }

  /** The pool is being closed: nothing more is made. */
  stop(): void {
    this.#isPaused = true;
    this.#isStopped = true;
  }

  /** A segment was sealed, or a run is not used any more: looks whether one can be made. */
  look(): void {
    if (this.#isBuilding || this.#isPaused || !this.#isStarted) return;
    const plan = this.#nextPlan();
    if (plan === undefined) return;
    this.#isBuilding = true;
    this.#build(plan, (result) => {
      this.#isBuilding = false;
      if (result?.built !== undefined) this.#add(result.built.summary);
      // One of those that it was to be made from may have been thinned meanwhile.
      else if (result !== undefined && this.#isCurrent(plan)) this.#failed.add(runName(plan));
      for (const action of this.#paused.splice(0)) action();
      this.look();
    });
  }

  /** A run is damaged: it is not used any more, and made again. */
  drop(place: RunPlace): void {
    this.#runs.remove(place);
    this.#reader.forget(place);
    this.lost(place);
  }

  /** A run is not used any more. What is made again has the name that it had before it was thinned. */
  lost(place: RunPlace): void {
    const { level } = place;
    if (isThinned(place) && this.#parts.writer !== undefined) this.#remove(place);
    // Narrower ones in the range of one that was thinned are gone: they are made first.
    const lowest = isThinned(place) ? 0 : level;
    this.#nextGroup = this.#nextGroup.map((group, at) => (at >= lowest ? 0 : group));
    this.#nextGroup[level] = 0;
    // Not inside the lookup that found it.
    this.#parts.host.timers.defer(() => {
      this.look();
    });
  }

  #remove(place: RunPlace): void {
    this.#maintenance.ask<'remove-runs'>({ kind: 'remove-runs', places: [place] }, ({ error }) => {
      if (error === undefined) return;
      const { log } = this.#parts.host;
      log.warn('a damaged index run was not removed', { error: error.message });
    });
  }

  /** Makes all runs again and compares; `done` gets whether all were right, or why it stopped. */
  rebuild(
    progress: () => void,
    done: (outcome: { readonly wasEqual: boolean; readonly error?: string }) => void,
  ): void {
    this.#pause(() => {
      const places = this.all();
      let wasEqual = true;
      const next = (index: number): void => {
        progress();
        const place = places[index];
        if (place === undefined) {
          this.#isPaused = false;
          done({ wasEqual });
          this.look();
          return;
        }
        const plan = this.isKnown(place) ? this.#plan(place, true) : undefined;
        if (plan === 'thinned') {
          this.#verify(place, (isWhole) => {
            wasEqual &&= isWhole;
            next(index + 1);
          });
          return;
        }
        if (plan === undefined || plan === 'empty') {
          next(index + 1);
          return;
        }
        this.#build(plan, (result) => {
          if (result?.built === undefined) {
            this.#isPaused = false;
            const error = result?.error?.message ?? 'an index run is not of this pool';
            done({ wasEqual: false, error });
            return;
          }
          wasEqual &&= result.built.wasEqual;
          if (!result.built.wasEqual) this.#reader.forget(place);
          next(index + 1);
        });
      };
      next(0);
    });
  }

  /** What was thinned cannot be made again as it is: it is read whole, and given up when it is damaged. */
  #verify(place: RunPlace, done: (isWhole: boolean) => void): void {
    const job = { kind: 'verify-run', place, isOnMedium: true } as const;
    this.#maintenance.ask<'verify-run'>(job, ({ error }) => {
      if (error?.code === 'format') this.drop(place);
      done(error === undefined);
    });
  }

  isKnown(place: RunPlace): boolean {
    return this.#runs.isKnown(place);
  }

  /** All runs, lower levels first. */
  all(): RunPlace[] {
    return [...this.#runs.places()].sort(
      (left, right) => left.level - right.level || left.firstSegId - right.firstSegId,
    );
  }

  /** Calls `action` when nothing is being made, and keeps it so. */
  #pause(action: () => void): void {
    this.#isPaused = true;
    if (this.#isBuilding) this.#paused.push(action);
    else action();
  }

  #add(place: RunPlace): void {
    this.#reader.forget(place);
    this.#runs.add(place);
  }

  /** `done` gets undefined when one of the runs that it is made from is not of this pool: that one is given up. */
  #build(draft: DraftPlan, done: (result: BuildResult | undefined) => void): void {
    runLater(this.#inputsOf(draft), (inputs) => {
      if (inputs === undefined) done(undefined);
      else this.#goOn({ ...draft, inputs }, done);
    });
  }

  /** Looks at the runs that a run is made from; undefined: there is one less. */
  *#inputsOf({ inputs }: DraftPlan): LookupSteps<RunInput[] | undefined> {
    const looked: RunInput[] = [];
    while (looked.length < inputs.length) {
      const place = present(inputs[looked.length], 'run to look at');
      try {
        const { digest } = yield* this.#reader.tables(place);
        looked.push({ ...place, digest });
      } catch (thrown) {
        if (thrown instanceof RunsChanged) continue;
        if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
        // It may have been thinned, and removed, while others were read.
        if (this.#runs.isKnown(place)) this.#giveUp(place, thrown.message);
        return undefined;
      }
    }
    return looked;
  }

  /** A run cannot be merged: it is made again, once. */
  #giveUp(place: RunPlace, error: string): void {
    const name = runName(place);
    const { log } = this.#parts.host;
    log.error('an index run cannot be used; it is made again', { run: describeRun(place), error });
    this.#runs.remove(place);
    this.#reader.forget(place);
    if (this.#givenUp.has(name)) this.#failed.add(name);
    this.#givenUp.add(name);
    this.lost(place);
  }

  /** Step by step: the keeper does what else was asked of it in between. */
  #goOn(plan: RunPlan, done: (result: BuildResult) => void): void {
    this.#maintenance.ask<'build-run'>({ kind: 'build-run', plan }, (result) => {
      if (result.isUnfinished) {
        this.#goOn(plan, done);
        return;
      }
      if (result.error !== undefined) {
        this.#parts.host.log.warn('an index run cannot be made', {
          run: describeRun(plan),
          error: result.error.message,
        });
      }
      done(result);
    });
  }

  #nextPlan(): DraftPlan | undefined {
    // The segment that is being written: no later id is part of the log.
    const lastSegId = this.#parts.writer?.log.place.segId ?? 0;
    for (let level = 1; level <= levelsOfRuns; level += 1) {
      const span = this.#runs.span(level);
      let firstOpen: number | undefined;
      let group = this.#nextGroup[level] ?? 0;
      for (; (group + 1) * span <= lastSegId; group += 1) {
        const place = { level, firstSegId: group * span };
        if (this.#isDone(place)) continue;
        const plan = this.#plan(place, false);
        if (plan === undefined) firstOpen ??= group;
        else if (plan !== 'empty' && plan !== 'thinned') {
          this.#nextGroup[level] = firstOpen ?? group;
          return plan;
        }
      }
      this.#nextGroup[level] = firstOpen ?? group;
    }
    return undefined;
  }

  /** Nothing is made there: a run is there, or a wider one that was thinned, or it cannot be made. */
  #isDone(place: RunPlace): boolean {
    if (this.#runs.has(place) || this.#failed.has(runName(place))) return true;
    return this.#runs.thinnedAround(place) !== undefined;
  }

  /** Whether all that a run was to be made from is in force. */
  #isCurrent({ inputs }: DraftPlan): boolean {
    return inputs.every((input) => {
      const inForce = this.#runs.inForce(input);
      return inForce !== undefined && runName(inForce) === runName(input);
    });
  }

  /**
   * What a run is made from; undefined when that is not all there. 'thinned': it was made when there was more, or has been thinned
   * itself, so something else would come out.
   */
  #plan(place: RunPlace, isRebuild: boolean): DraftPlan | 'empty' | 'thinned' | undefined {
    const { fanOut } = this.#runs;
    const { level, firstSegId } = place;
    const base = { level, firstSegId, fanOut, isRebuild };
    if (isRebuild && isThinned(place)) return 'thinned';
    if (place.level === 1) {
      const segments = this.#segments(place.firstSegId, fanOut);
      if (segments.length === 0) return 'empty';
      if (segments.some(({ isSealed }) => !isSealed)) return undefined;
      if (isRebuild && segments.some(({ segId }) => this.#isFooterThin(segId))) return 'thinned';
      return {
        ...base,
        segments: segments.map(({ segId, epoch }) => ({ segId, epoch })),
        inputs: [],
      };
    }
    const below = this.#runs.span(place.level - 1);
    const inputs: RunPlace[] = [];
    for (let index = 0; index < fanOut; index += 1) {
      const input = { level: place.level - 1, firstSegId: place.firstSegId + index * below };
      const inForce = this.#runs.inForce(input);
      if (inForce !== undefined) inputs.push(inForce);
      else if (this.#segments(input.firstSegId, below).length > 0) return undefined;
    }
    if (isRebuild && (inputs.some(isThinned) || this.#hasThinFooter(firstSegId, level)))
      return 'thinned';
    return inputs.length === 0 ? 'empty' : { ...base, segments: [], inputs };
  }

  /** The run was made when the footers said more. */
  #hasThinFooter(first: number, level: number): boolean {
    return this.#segments(first, this.#runs.span(level)).some(({ segId }) =>
      this.#isFooterThin(segId),
    );
  }

  #isFooterThin(segId: number): boolean {
    return this.#parts.containers.find(segId)?.pack.isThinned === true;
  }

  #segments(first: number, count: number): SegmentState[] {
    const { segmentById } = this.#parts;
    const segments: SegmentState[] = [];
    for (let segId = first; segId < first + count; segId += 1) {
      const segment = segmentById.get(segId);
      if (segment !== undefined) segments.push(segment);
    }
    return segments;
  }
}
