/** Rate of change: how much was written to a volume when, and when nothing was. */
import { slotSizeBytes } from '../format/address.ts';
import type { FooterEntry } from '../format/footer.ts';
import { isDataType, RecordType } from '../format/frame.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';

export interface RateBucket {
  readonly fromMs: number;
  /** Bytes of writes and clones. */
  writtenBytes: number;
  /** Bytes of trims and zeros. */
  clearedBytes: number;
  /** Records of either kind. */
  changeCount: number;
}

/** Nothing changed between the two: good moments for a consistent point. */
export interface QuietGap {
  readonly fromMs: number;
  readonly toMs: number;
  /** Everything before the gap lies before it. */
  readonly position: number;
}

export interface RateRange {
  readonly fromMs: number;
  readonly toMs: number;
  readonly bucketCount: number;
  readonly gapsMax: number;
}

export class RateOfChange {
  readonly buckets: RateBucket[];
  /** Longest first. */
  readonly gaps: QuietGap[] = [];
  readonly #range: RateRange;
  readonly #bucketMs: number;
  #lastMs: number;
  #lastPosition: number;

  /** `position` of the log at `fromMs`. */
  constructor(range: RateRange, position: number) {
    this.#range = range;
    this.#bucketMs = Math.max(range.toMs - range.fromMs, 1) / range.bucketCount;
    this.#lastMs = range.fromMs;
    this.#lastPosition = position;
    this.buckets = Array.from({ length: range.bucketCount }, (_, index) => ({
      fromMs: range.fromMs + index * this.#bucketMs,
      writtenBytes: 0,
      clearedBytes: 0,
      changeCount: 0,
    }));
  }

  /** An entry of a line that the volume was in, in log order. */
  add(entry: FooterEntry, ticks: number): void {
    // The end of the range is a whole millisecond, and what was written in it belongs to the range.
    const timeMs = Math.min(ticks / ticksPerMs, this.#range.toMs);
    this.#quietUntil(timeMs);
    this.#lastMs = Math.max(this.#lastMs, timeMs);
    this.#lastPosition = entry.position + 1;
    const index = Math.floor((timeMs - this.#range.fromMs) / this.#bucketMs);
    const bucket = this.buckets[Math.max(0, Math.min(index, this.buckets.length - 1))];
    if (bucket === undefined || !isDataType(entry.type)) return;
    const lengthBytes = entry.blockCount * slotSizeBytes;
    if (isCleared(entry.type)) bucket.clearedBytes += lengthBytes;
    else bucket.writtenBytes += lengthBytes;
    bucket.changeCount += 1;
  }

  finish(): void {
    this.#quietUntil(this.#range.toMs);
  }

  #quietUntil(timeMs: number): void {
    const gap = { fromMs: this.#lastMs, toMs: timeMs, position: this.#lastPosition };
    const { gapsMax } = this.#range;
    const last = this.gaps.at(-1);
    const isLong = last === undefined || lengthOf(gap) > lengthOf(last);
    if (lengthOf(gap) < 1 || (this.gaps.length === gapsMax && !isLong)) return;
    const at = this.gaps.findIndex((other) => lengthOf(other) < lengthOf(gap));
    this.gaps.splice(at < 0 ? this.gaps.length : at, 0, gap);
    this.gaps.length = Math.min(this.gaps.length, gapsMax);
  }
}

function lengthOf(gap: QuietGap): number {
  return gap.toMs - gap.fromMs;
}

function isCleared(type: number): boolean {
  return type === RecordType.trim || type === RecordType.zero;
}
