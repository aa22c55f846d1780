/**
 * Timeline: from a time to the position of the log that has everything up to it before it, and back.
 *
 *     time ─▶ segments by the time of their headers (in RAM, binary search) ─▶ frame table of one ─▶ its records' timeDelta
 *
 * Times are ticks of 10 us of the pool's hybrid clock: they never go back along the log, whatever the wall clock did.
 */
import type { PoolParts } from '../core/parts.ts';
import { type SegmentContents, type SegmentReading, visitFrom } from '../core/segment-contents.ts';
import { endPositionOf } from '../core/segment-end.ts';
import { prepareSegment } from '../core/segment-fetch.ts';
import { addressOf, frameAddressOf, positionOf, segIdOf } from '../format/address.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';
import type { SegmentTable } from '../recovery/segment-table.ts';

export class Timeline {
  readonly #parts: PoolParts;
  readonly #reading: SegmentReading;

  constructor(parts: PoolParts, reading: SegmentReading) {
    this.#parts = parts;
    this.#reading = reading;
  }

  /** Everything durable lies before it. */
  end(): number {
    return endPositionOf(this.#parts);
  }

  /** Position of the first durable record later than `ticks`; `end()` when there is none. Throws DiskError, FormatError. */
  cutAt(ticks: number): number {
    const segments = this.#parts.segmentById;
    for (let at = this.#firstToLook(segments, ticks); at < segments.size; at += 1) {
      const found = this.#firstAfter(segments.at(at)?.segId ?? 0, ticks);
      if (found !== undefined) return found;
    }
    return this.end();
  }

  /** Time of the newest record before `cut`; undefined when there is none. Throws DiskError, FormatError. */
  ticksBefore(cut: number): number | undefined {
    const segments = this.#parts.segmentById;
    let at = segments.indexOf(segIdOf(frameAddressOf(Math.max(0, cut - 1))) + 1) - 1;
    for (; at >= 0; at -= 1) {
      const segId = segments.at(at)?.segId ?? 0;
      const newest = newestBefore(this.#reading.contents(segId), segId, cut);
      if (newest !== undefined) return newest;
    }
    return undefined;
  }

  /** What `cutAt` will ask for is at hand when `done` is called, which is never inside the call. */
  prepareAt(ticks: number, done: () => void): void {
    const segments = this.#parts.segmentById;
    this.#prepare(segments.at(this.#firstToLook(segments, ticks))?.segId, done);
  }

  /** The same for `ticksBefore`. */
  prepareBefore(cut: number, done: () => void): void {
    const segments = this.#parts.segmentById;
    const at = segments.indexOf(segIdOf(frameAddressOf(Math.max(0, cut - 1))) + 1) - 1;
    this.#prepare(segments.at(at)?.segId, done);
  }

  #prepare(segId: number | undefined, done: () => void): void {
    const { timers } = this.#parts.host;
    if (segId === undefined) timers.defer(done);
    else {
      prepareSegment(this.#parts, this.#reading, segId, () => {
        timers.defer(done);
      });
    }
  }

  /** Ids of the segments that hold positions in [from, to). */
  segmentsBetween(from: number, to: number): number[] {
    const first = segIdOf(frameAddressOf(from));
    const last = segIdOf(frameAddressOf(Math.max(0, to - 1)));
    const { segmentById } = this.#parts;
    const end = segmentById.indexOf(last + 1);
    const found: number[] = [];
    for (let at = segmentById.indexOf(first); at < end; at += 1) {
      found.push(segmentById.at(at)?.segId ?? 0);
    }
    return found;
  }

  /** The last segment before which nothing is later than `ticks`. */
  #firstToLook(segments: SegmentTable, ticks: number): number {
    let low = 0;
    let high = segments.size - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (isSurelyBefore(segments.at(middle)?.hlcMs ?? 0, ticks)) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #firstAfter(segId: number, ticks: number): number | undefined {
    const contents = this.#reading.contents(segId);
    if (contents === undefined) return undefined;
    let low = 0;
    let high = contents.frameCount - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (isSurelyBefore(contents.frame(middle).hlcMs, ticks)) low = middle;
      else high = middle - 1;
    }
    let found: number | undefined;
    visitFrom(contents, low, (entry, entryTicks) => {
      if (entryTicks <= ticks) return true;
      found = entry.position;
      return false;
    });
    return found;
  }
}

/** Time of the newest record of the segment before `cut`: only frames are looked at until it is found. */
function newestBefore(
  contents: SegmentContents | undefined,
  segId: number,
  cut: number,
): number | undefined {
  if (contents === undefined) return undefined;
  let next = 0;
  let newest: { readonly entry: number; readonly hlcMs: number } | undefined;
  for (let at = 0; at < contents.frameCount; at += 1) {
    const { slot, descriptors, hlcMs } = contents.frame(at);
    const isAllBefore = positionOf(addressOf(segId, slot), descriptors) <= cut;
    let count = isAllBefore ? descriptors : 0;
    // A frame in a pack may have lost records: then those that are left have other numbers.
    while (count < descriptors && contents.entry(next + count).position < cut) count += 1;
    while (count > 0 && contents.entry(next + count - 1).position >= cut) count -= 1;
    if (count > 0) newest = { entry: next + count - 1, hlcMs };
    if (count < descriptors) break;
    next += descriptors;
  }
  if (newest === undefined) return undefined;
  return newest.hlcMs * ticksPerMs + contents.entry(newest.entry).timeDelta;
}

/** Whether everything before a header of this time is at most as late as `ticks`: it may be of the same millisecond. */
function isSurelyBefore(hlcMs: number, ticks: number): boolean {
  return hlcMs * ticksPerMs + ticksPerMs - 1 <= ticks;
}
