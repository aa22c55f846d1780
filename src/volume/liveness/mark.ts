/**
 * Liveness mark: which blocks of the sealed log can still be reached, decided from what is kept (see retention/) and the index.
 *
 *     1. the log is flushed: what was answered counts, and no clone from what is given back meanwhile is overlooked
 *     2. at one instant: end of the log, catalogue, leases, segments, runs ─▶ plan
 *     3. the keeper walks through all entries in steps (see MarkPass) and fills the bitmaps ─▶ LiveSet
 *
 * Why it may be believed later: states that are kept only ever become fewer, but for what is written later, and a new reference
 * to an old block is made by who can reach it. So a block that the set calls dead stays dead, whatever happens meanwhile.
 *
 * Invariants
 * 1. Everything that takes a reference away is a catalogue record, durable before it is published, or a data record before
 *    `end`: so what the mark does not see yet can only make it keep too much.
 * 2. Records of all segments are looked at, also of those behind `endSegId`: a CLONE there keeps blocks that lie before.
 * 3. A run, footer or frame that cannot be read ends the pass with an error: nothing is called dead.
 */
import { ErrorCode, failure, OperationError, type Outcome, success } from '../../base/errors.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import type { Pressure } from '../cleaner/garbage-share.ts';
import { cleanerLimits } from '../cleaner/limits.ts';
import type { Maintenance } from '../core/maintenance.ts';
import type { Operator } from '../core/operator.ts';
import type { RunThinning } from '../core/run-thinning.ts';
import { durableEndOf, endPositionOf } from '../core/segment-end.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import type { RunPlace } from '../index/run-format.ts';
import type { RunSet } from '../index/run-set.ts';
import { type LineRetention, retentionOf } from '../retention/retention.ts';
import { livenessLimits } from './limits.ts';
import { LiveSet } from './live-set.ts';
import {
  bitmapBytesOf,
  type MarkLine,
  type MarkPiece,
  type MarkPlan,
  type MarkStepped,
} from './mark-plan.ts';

type Done = (outcome: Outcome<LiveSet>) => void;

/** What a volume is supposed to be, for a question of what would be. */
type Supposing = (volume: VolumeState) => VolumeState;

/** For a mark that thins runs. */
interface Thins {
  readonly pressure: Pressure;
  /** Also runs that no mark has counted yet. */
  readonly isAll: boolean;
}

interface Asked {
  readonly done: Done;
  readonly supposing?: Supposing | undefined;
  readonly thins?: Thins;
}

export interface MarkIndex {
  readonly runs: RunSet;
  readonly thinning: RunThinning;
  /** A run is damaged and must not be used any more. */
  readonly onBadRun: (place: RunPlace) => void;
}

/** All that is decided at the instant of a mark. */
type MarkView = Omit<MarkPlan, 'first' | 'count' | 'bitmaps' | 'liveBlocks'> & {
  readonly endSegId: number;
};

export class LivenessMark {
  readonly #operator: Operator;
  readonly #maintenance: Maintenance;
  readonly #index: MarkIndex;
  readonly #waiting: Asked[] = [];
  #isRunning = false;

  constructor(operator: Operator, maintenance: Maintenance, index: MarkIndex) {
    this.#operator = operator;
    this.#maintenance = maintenance;
    this.#index = index;
  }

  /**
   * Judges all sealed segments as of some moment from now on. One after the other; `done` never runs inside the call. A set
   * that was made with `supposing` says what would be: nothing may be given back by it.
   */
  run(done: Done, supposing?: Supposing): void {
    this.#waiting.push({ done, supposing });
    this.#next();
  }

  /** The same, and runs of which little is needed are thinned on the way: by the same walk, judged by the same states. */
  runAndThin(thins: Thins, done: Done): void {
    this.#waiting.push({ done, thins });
    this.#next();
  }

  #next(): void {
    if (this.#isRunning) return;
    const asked = this.#waiting.shift();
    if (asked === undefined) return;
    this.#isRunning = true;
    this.#settle(asked, () => {
      this.#flush(() => {
        this.#mark(asked, (outcome) => {
          this.#settle(asked, () => {
            this.#isRunning = false;
            asked.done(outcome);
            this.#next();
          });
        });
      });
    });
  }

  /** Runs that are not needed any more go while no pass looks at them. */
  #settle({ thins }: Asked, action: () => void): void {
    if (thins === undefined) action();
    else this.#index.thinning.settle(action);
  }

  /** Calls `action` when everything that is published now is durable. */
  #flush(action: () => void): void {
    const { parts, moments } = this.#operator;
    moments.watchLeases();
    if (parts.writer === undefined) parts.host.timers.defer(action);
    else {
      parts.writer.log.flush(() => {
        parts.host.timers.defer(action);
      });
    }
  }

  #mark({ supposing, thins }: Asked, done: Done): void {
    const view = this.#view(supposing, thins);
    const { segmentSlots, sealed } = view;
    const live = new LiveSet(view, segmentSlots);
    const bytes = bitmapBytesOf(segmentSlots);
    const most = Math.max(1, Math.floor(livenessLimits.markBitmapBytes / bytes));
    const total = sealed.segIds.length;
    const next = (first: number): void => {
      const count = Math.min(most, total - first);
      if (count === 0) {
        done(success(live));
        return;
      }
      const bitmaps = new Uint8Array(new SharedArrayBuffer(count * bytes));
      const liveBlocks = new Uint32Array(new SharedArrayBuffer(count * 4));
      // One pass thins: the others come to the same.
      const thin = first === 0 ? view.thin : [];
      const plan = { ...view, thin, first, count, bitmaps, liveBlocks };
      this.#pass(plan, (result) => {
        if (result.error !== undefined) {
          done(failure(this.#unreadable(result)));
          return;
        }
        if (first === 0 && supposing === undefined) this.#index.thinning.marked(result);
        live.add(plan);
        next(first + count);
      });
    };
    next(0);
  }

  /** One walk of the keeper over the index. */
  #pass(plan: MarkPlan, done: (result: MarkStepped) => void): void {
    const step = (begun: MarkPlan | undefined): void => {
      this.#maintenance.ask<'mark'>({ kind: 'mark', plan: begun }, (result) => {
        if (result.isUnfinished) step(undefined);
        else done(result);
      });
    };
    step(plan);
  }

  #unreadable({ error, badRun }: MarkStepped): OperationError {
    if (badRun !== undefined) this.#index.onBadRun(badRun);
    const hint =
      badRun === undefined
        ? 'Run "tidemark pool verify" to see what is damaged.'
        : 'The run is made again; this is repeated then.';
    return new OperationError(
      ErrorCode.unavailable,
      `which blocks can be reached is not known: ${error?.message ?? ''}`,
      hint,
    );
  }

  /** Everything at one instant. */
  #view(supposing: Supposing | undefined, thins: Thins | undefined): MarkView {
    const { parts, moments } = this.#operator;
    const { catalogue } = parts;
    const supposed = {
      line: (id: number) => catalogue.line(id),
      volumes: () => {
        const volumes = catalogue.volumes();
        return supposing === undefined ? volumes : volumes.map(supposing);
      },
    };
    const lastSegId = parts.segmentById.last()?.segId ?? 0;
    const pieces = this.#pieces();
    const { pressure, isAll } = thins ?? { pressure: 'none', isAll: false };
    const { keptShareMax } = cleanerLimits.thinWhen[pressure];
    return {
      endSegId: parts.writer?.log.place.segId ?? lastSegId + 1,
      segmentSlots: parts.settings.segmentSlots,
      sealed: parts.segmentById.sealedLists(),
      pieces,
      endPosition: endPositionOf(parts),
      thin: thins === undefined ? [] : this.#index.thinning.targets(pieces, pressure, isAll),
      keptShareMax,
      lines: retentionOf(supposed, moments.leases()).map((kept) => this.#line(kept)),
    };
  }

  #line({ line, pins, windowFrom, windowTo }: LineRetention): MarkLine {
    const { resizes } = this.#operator.parts.catalogue.line(line);
    const sizes = resizes.flatMap(({ position, sizeBytes }) => [
      position,
      sizeBytes / slotSizeBytes,
    ]);
    return {
      line,
      pins,
      windowFrom,
      windowTo,
      resizes: Float64Array.from(sizes),
    };
  }

  /** What holds the records of all segments, in the order of the log. */
  #pieces(): MarkPiece[] {
    const { parts } = this.#operator;
    const first = parts.segmentById.segIdAt(0);
    const last = parts.segmentById.last()?.segId ?? -1;
    const pieces: MarkPiece[] = [];
    const has = (segId: number): boolean => parts.segmentById.has(segId);
    for (const piece of this.#index.runs.pieces(first, last, has)) {
      const segment = piece.kind === 'run' ? undefined : parts.segmentById.get(piece.segId);
      if (piece.kind === 'run') pieces.push(piece);
      else if (segment?.isSealed === true) pieces.push({ ...piece, epoch: segment.epoch });
      else {
        const { segId } = piece;
        const endAddress = durableEndOf(parts, segId);
        if (endAddress > addressOf(segId, 1)) {
          pieces.push({ kind: 'open-segment', segId, endAddress });
        }
      }
    }
    return pieces;
  }
}
