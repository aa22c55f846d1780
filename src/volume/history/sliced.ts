/** Walks segments in slices, so that I/O goes on meanwhile. */
import { failure, type Outcome, success } from '../../base/errors.ts';
import { DiskError } from '../../base/ports.ts';
import { giveWay } from '../core/give-way.ts';
import { type Operator, operationError } from '../core/operator.ts';
import { prepareSegment } from '../core/segment-fetch.ts';
import { FormatError } from '../format/format-error.ts';
import { limits } from '../limits.ts';
import type { Progress } from '../reports.ts';
import { logUnreadable } from './resolve.ts';

interface SegmentWork {
  readonly segIds: readonly number[];
  readonly visit: (segId: number) => void;
  readonly progress: Progress | undefined;
  /** Whether `visit` needs nothing of the disk for this one. */
  readonly isKnown?: (segId: number) => boolean;
}

/**
 * Calls `visit` with each of the segments, whose records are at hand then; `progress` after each slice of time, and `done` in
 * the end, or with what `visit` threw of disk and format errors. May run inside the call.
 */
export function eachSegment(
  operator: Operator,
  work: SegmentWork,
  done: (outcome: Outcome<undefined>) => void,
): void {
  new SegmentWalk(operator, work, done).run();
}

class SegmentWalk {
  readonly #operator: Operator;
  readonly #work: SegmentWork;
  readonly #done: (outcome: Outcome<undefined>) => void;
  #next = 0;
  /** The segment that was prepared last. */
  #prepared = -1;
  #toldMs: number;

  constructor(operator: Operator, work: SegmentWork, done: (outcome: Outcome<undefined>) => void) {
    this.#operator = operator;
    this.#work = work;
    this.#done = done;
    this.#toldMs = operator.parts.host.clock.monotonicMs();
  }

  run(): void {
    const { host } = this.#operator.parts;
    const { clock } = host;
    const { segIds, progress } = this.#work;
    const startedMs = clock.monotonicMs();
    let missing: number | undefined;
    try {
      while (missing === undefined && this.#next < segIds.length) {
        if (clock.monotonicMs() - startedMs >= limits.sliceMs) break;
        missing = this.#visit(segIds[this.#next] ?? 0);
      }
    } catch (thrown) {
      if (thrown instanceof FormatError) this.#done(failure(logUnreadable(thrown)));
      else if (thrown instanceof DiskError) this.#done(failure(operationError(thrown)));
      else throw thrown;
      return;
    }
    const isOver = this.#next >= segIds.length;
    if (isOver || clock.monotonicMs() - this.#toldMs >= limits.sliceMs) {
      this.#toldMs = clock.monotonicMs();
      progress?.(this.#next, segIds.length);
    }
    const goOn = (): void => {
      giveWay(host, () => {
        this.run();
      });
    };
    if (isOver) this.#done(success(undefined));
    else if (missing === undefined) goOn();
    else this.#prepare(missing, goOn);
  }

  /** Returns the segment when it must be prepared first. */
  #visit(segId: number): number | undefined {
    const { visit, isKnown } = this.#work;
    if (segId !== this.#prepared && isKnown?.(segId) !== true) return segId;
    visit(segId);
    this.#next += 1;
    return undefined;
  }

  #prepare(segId: number, done: () => void): void {
    const { parts, reading } = this.#operator;
    this.#prepared = segId;
    prepareSegment(parts, reading, segId, done);
  }
}
