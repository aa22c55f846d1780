/**
 * When the log is to be judged again: when enough was written or trimmed since, or when states were given up that may have been
 * all that held blocks. A mark costs a walk over the whole index, so it takes a small part of the time only; one that led to
 * nothing makes the next one wait longer, until something is deleted. Where writes are stalled little or nothing is logged, so
 * there only time counts: else a pool that refuses writes would wait for writes.
 */

import type { Pressure } from './garbage-share.ts';
import { cleanerLimits } from './limits.ts';

export type MarkReason =
  | 'asked'
  | 'opened'
  | 'log written'
  | 'deleted'
  | 'windows moved'
  | 'writes stalled';

export interface LogState {
  /** Bytes logged, or blocks overwritten and trimmed, whichever is more; since the pool was opened. */
  readonly changedBytes: number;
  readonly usedBytes: number;
  readonly segmentBytes: number;
  readonly pressure: Pressure;
  /** Writes are refused, or as slow as they get. */
  readonly isStalled: boolean;
  readonly nowMs: number;
}

export class MarkDue {
  /** Undefined = not judged since the pool was opened. */
  #changedAtMark: number | undefined;
  #isDeleted = false;
  #areWindowsMoved = false;
  #begunMs = 0;
  #endedMs = 0;
  /** What the last pass took, packing left out. */
  #markMs = 0;
  /** How often in turn nothing was found. */
  #idleMarks = 0;

  /** A snapshot, a volume, or what a volume can go back to was given up. */
  deleted(): void {
    this.#isDeleted = true;
    this.#idleMarks = 0;
  }

  /** Writes stall from now on: what was not worth a mark before is worth one now. */
  stalled(): void {
    this.#idleMarks = 0;
  }

  /** States of a window were given up, as happens all the time. */
  windowsMoved(): void {
    this.#areWindowsMoved = true;
  }

  /** A mark begins: what is given up from now on is for the next one. */
  begun({ changedBytes, nowMs }: Pick<LogState, 'changedBytes' | 'nowMs'>): void {
    this.#changedAtMark = changedBytes;
    this.#isDeleted = false;
    this.#areWindowsMoved = false;
    this.#begunMs = nowMs;
  }

  /** All is judged. */
  judged(nowMs: number): void {
    this.#markMs = nowMs - this.#begunMs;
  }

  /** What was to be done after the mark is done. */
  ended(nowMs: number, hasFound: boolean): void {
    this.#endedMs = nowMs;
    this.#idleMarks = hasFound ? 0 : this.#idleMarks + 1;
  }

  /** Why there should be a mark now; undefined = there should be none. */
  reason(log: LogState): Exclude<MarkReason, 'asked'> | undefined {
    if (this.#changedAtMark === undefined) return 'opened';
    const { pauseMs, pauseFactor } = cleanerLimits.markAfter[log.pressure];
    const pause = Math.max(pauseMs, this.#markMs * pauseFactor);
    const waitedMs = log.nowMs - this.#endedMs;
    // Deletes come in crowds.
    if (waitedMs < pause) return undefined;
    if (this.#isDeleted) return 'deleted';
    const isPatient = waitedMs < pause * this.#patience;
    if (this.#areWindowsMoved && !isPatient) return 'windows moved';
    if (log.isStalled && !isPatient) return 'writes stalled';
    const { logSegments, logShare } = cleanerLimits.markAfter[log.pressure];
    const wanted = Math.max(logSegments * log.segmentBytes, logShare * log.usedBytes);
    const changed = log.changedBytes - this.#changedAtMark;
    return changed >= wanted * this.#patience ? 'log written' : undefined;
  }

  get #patience(): number {
    return 2 ** Math.min(this.#idleMarks, cleanerLimits.idleDoublingsMax);
  }
}
