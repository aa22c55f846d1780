/**
 * History: past moments of volumes by name, and what happened between them. The door of `history/`.
 *
 *     name of a moment ─▶ line, position ─▶ map ─▶ diff with another          (NBD: the same as a dirty bitmap)
 *     log between two moments ─▶ rate of change, quiet gaps, single changes
 *
 * Nothing here changes the pool; it works on a read-only one, too. Until there are index runs everything is linear in the
 * log between the nearest map that is kept and the moment, in slices.
 */
import { ErrorCode, failure, OperationError, success } from '../base/errors.ts';
import type { VolumeState } from './catalogue/catalogue.ts';
import type { OpenMoment } from './core/moment-maps.ts';
import { momentUnreadable } from './core/open-moments.ts';
import type { Done, Operator } from './core/operator.ts';
import { slotSizeBytes } from './format/address.ts';
import { type ChangesBetween, changesBetween, linesOf } from './history/changes.ts';
import { type ByteRange, DiffPage, MapDiff } from './history/diff.ts';
import { type QuietGap, type RateBucket, RateOfChange } from './history/rate.ts';
import { type ResolvedMoment, resolveMoments } from './history/resolve.ts';
import { eachSegment } from './history/sliced.ts';
import { limits } from './limits.ts';
import type { Progress } from './reports.ts';

export interface DiffOptions {
  readonly volume: string;
  readonly from: string;
  readonly to: string;
  /** First byte to look at, a multiple of 4096. */
  readonly offset: number;
  readonly extentsMax: number;
}

export interface Diff {
  readonly from: ResolvedMoment;
  readonly to: ResolvedMoment;
  readonly extents: readonly ByteRange[];
  /** Where to go on; undefined = that was all. */
  readonly nextOffset: number | undefined;
}

export type Changes = ChangesBetween & Pick<Diff, 'from' | 'to'>;

/** Two moments with their maps; close it once. */
export interface OpenPair {
  readonly from: ResolvedMoment;
  readonly to: ResolvedMoment;
  readonly toMap: OpenMoment['map'];
  readonly diff: MapDiff;
  close(): void;
}

export interface RateOptions {
  readonly volume: string;
  /** A moment; undefined, or one that is not kept: since the beginning of the window. */
  readonly from: string | undefined;
  /** A moment; undefined: until now. */
  readonly to: string | undefined;
  readonly bucketCount: number;
  readonly gapsMax: number;
}

export interface Rate {
  /** From here on every moment can be opened. */
  readonly windowFromMs: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly buckets: readonly RateBucket[];
  readonly gaps: readonly QuietGap[];
}

export class PoolHistory {
  readonly #operator: Operator;

  constructor(operator: Operator) {
    this.#operator = operator;
  }

  /** Where `at` is in the volume's history. */
  resolve(volumeName: string, at: string, done: Done<ResolvedMoment>): void {
    this.#attempt(done, () => {
      const volume = this.#operator.volume(volumeName);
      this.#resolve(volume, at, done);
    });
  }

  /** Opens the map of a moment and gives it back: whether it can be opened there. */
  prepare(volumeName: string, at: string, done: Done<ResolvedMoment>): void {
    this.resolve(volumeName, at, (outcome) => {
      if (!outcome.ok) {
        done(outcome);
        return;
      }
      const { moment } = outcome.value;
      const opened = (open: OpenMoment | undefined): void => {
        open?.release();
        done(open === undefined ? failure(momentUnreadable()) : outcome);
      };
      this.#operator.moments.open(moment, opened);
    });
  }

  /** Both moments with their maps. */
  openPair(
    { volume, from, to }: Pick<DiffOptions, 'volume' | 'from' | 'to'>,
    done: Done<OpenPair>,
  ): void {
    this.resolve(volume, from, (first) => {
      if (!first.ok) done(first);
      else {
        this.resolve(volume, to, (second) => {
          if (!second.ok) done(second);
          else this.#openBoth(first.value, second.value, done);
        });
      }
    });
  }

  /** One page of the extents in which two moments differ, in slices. */
  diff(options: DiffOptions, done: Done<Diff>): void {
    const { offset, extentsMax } = options;
    this.#attempt(done, () => {
      checkPage(offset, extentsMax);
      this.openPair(options, (outcome) => {
        if (!outcome.ok) {
          done(outcome);
          return;
        }
        const pair = outcome.value;
        const { sizeBytes } = pair.to.moment;
        const page = new DiffPage(pair.diff, offset, extentsMax);
        const stepped = (hasMore: boolean): void => {
          if (hasMore) {
            this.#operator.parts.host.timers.defer(step);
            return;
          }
          pair.close();
          const nextOffset = page.isFull ? page.offset : undefined;
          done(success({ from: pair.from, to: pair.to, extents: page.extents, nextOffset }));
        };
        const step = (): void => {
          page.step(sizeBytes, stepped);
        };
        step();
      });
    });
  }

  /** The changes of a volume between two moments, the earlier one first. */
  changes(
    { volume: name, from, to }: Pick<DiffOptions, 'volume' | 'from' | 'to'>,
    progress: Progress,
    done: Done<Changes>,
  ): void {
    this.resolve(name, from, (first) => {
      if (!first.ok) done(first);
      else {
        this.resolve(name, to, (second) => {
          if (!second.ok) {
            done(second);
            return;
          }
          const between = { from: first.value, to: second.value };
          this.#attempt(done, () => {
            const volume = this.#operator.volume(name);
            changesBetween(this.#operator, { volume, ...between, progress }, (outcome) => {
              done(outcome.ok ? success({ ...between, ...outcome.value }) : outcome);
            });
          });
        });
      }
    });
  }

  /** How much was written when, and when nothing was. */
  rate(options: RateOptions, progress: Progress, done: Done<Rate>): void {
    const { volume: name, from, to = 'now' } = options;
    this.resolve(name, to, (end) => {
      if (!end.ok) {
        done(end);
        return;
      }
      if (from === undefined) {
        this.#rate(options, { start: undefined, end: end.value }, progress, done);
        return;
      }
      this.resolve(name, from, (start) => {
        if (!start.ok && start.error.code !== ErrorCode.notFound) done(start);
        else if (start.ok && start.value.moment.cut > end.value.moment.cut) {
          done(failure(notBefore(from, to)));
        } else {
          const moments = { start: start.ok ? start.value : undefined, end: end.value };
          this.#rate(options, moments, progress, done);
        }
      });
    });
  }

  #rate(
    { volume: name, bucketCount, gapsMax }: RateOptions,
    { start, end }: { readonly start: ResolvedMoment | undefined; readonly end: ResolvedMoment },
    progress: Progress,
    done: Done<Rate>,
  ): void {
    this.#attempt(done, () => {
      checkRate(bucketCount, gapsMax);
      const { timeline, reading } = this.#operator;
      const volume = this.#operator.volume(name);
      // What was written before the window may be gone, with its records.
      const { horizon } = volume;
      const windowCut = horizon?.position ?? volume.createdPosition;
      const windowMs = horizon?.timeMs ?? volume.createdMs;
      const isInside = start !== undefined && start.moment.cut >= windowCut;
      const fromMs = isInside ? start.timeMs : windowMs;
      const fromCut = isInside ? start.moment.cut : windowCut;
      const toMs = Math.max(fromMs, end.timeMs);
      const toCut = end.moment.cut;
      const rate = new RateOfChange({ fromMs, toMs, bucketCount, gapsMax }, fromCut);
      const lines = linesOf(volume);
      const visit = (segId: number): void => {
        reading.visit(segId, (entry, ticks) => {
          if (entry.position >= toCut) return false;
          if (entry.position >= fromCut && lines.has(entry.line)) rate.add(entry, ticks);
          return true;
        });
      };
      const segIds = timeline.segmentsBetween(fromCut, toCut);
      eachSegment(this.#operator, { segIds, visit, progress }, (finished) => {
        rate.finish();
        const { buckets, gaps } = rate;
        const windowFromMs = windowMs;
        done(finished.ok ? success({ windowFromMs, fromMs, toMs, buckets, gaps }) : finished);
      });
    });
  }

  #resolve(volume: VolumeState, at: string, done: Done<ResolvedMoment>): void {
    resolveMoments(this.#operator, [volume], at, (outcome) => {
      if (!outcome.ok) {
        done(outcome);
        return;
      }
      const [resolved] = outcome.value;
      if (resolved !== undefined) done(success(resolved));
    });
  }

  #openBoth(from: ResolvedMoment, to: ResolvedMoment, done: Done<OpenPair>): void {
    const { moments } = this.#operator;
    moments.open(from.moment, (first) => {
      if (first === undefined) {
        done(failure(momentUnreadable()));
        return;
      }
      moments.open(to.moment, (second) => {
        if (second === undefined) {
          first.release();
          done(failure(momentUnreadable()));
          return;
        }
        const changes = moments.changes(from.moment, to.moment);
        const maps = { from: first.map, to: second.map };
        const diff = new MapDiff(maps, to.moment.sizeBytes, changes);
        const close = (): void => {
          first.release();
          second.release();
        };
        done(success({ from, to, toMap: second.map, diff, close }));
      });
    });
  }

  #attempt<T>(done: Done<T>, action: () => void): void {
    this.#operator.attempt(done, action);
  }
}

/** Throws OperationError invalid. */
function checkPage(offset: number, extentsMax: number): void {
  const isPage = offset % slotSizeBytes === 0 && extentsMax >= 1;
  if (isPage && extentsMax <= limits.diffExtentsMax) return;
  throw new OperationError(
    ErrorCode.invalid,
    `a diff begins at a multiple of ${slotSizeBytes} and tells at most ${limits.diffExtentsMax} extents at once`,
    'Ask for less, then go on at nextOffset.',
  );
}

/** Throws OperationError invalid. */
function checkRate(bucketCount: number, gapsMax: number): void {
  const { rateBucketsMax, quietGapsMax } = limits;
  if (bucketCount >= 1 && bucketCount <= rateBucketsMax && gapsMax <= quietGapsMax) return;
  throw new OperationError(
    ErrorCode.invalid,
    `a rate of change has 1 to ${rateBucketsMax} buckets and at most ${quietGapsMax} quiet gaps`,
    'Ask for fewer.',
  );
}

function notBefore(from: string, to: string): OperationError {
  return new OperationError(
    ErrorCode.invalid,
    `${from} is not before ${to}`,
    'Name the earlier moment first.',
  );
}
