/**
 * Growth: how much more the pool has stored than an hour, a day and a week ago, and when it will be full at that rate.
 *
 *     samples of what was stored:   ... h ── h ── h ── m m m m m m ─▶ now      a minute apart for two hours, then an hour
 *     before the engine was started: from the log: what is stored of segments that were begun later was not stored then
 *
 * What was given back before the engine was started is not known any more: then less was stored in the past than is said
 * here, and the growth is what was written, as though nothing had been given back.
 */
import { slotSizeBytes } from '../format/address.ts';
import type { PoolHost } from '../ports.ts';
import type { Growth } from '../reports.ts';
import type { PoolParts } from './parts.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const periodsMs = [hourMs, dayMs, 7 * dayMs] as const;
/** Samples are kept this long; those older than `fineMs` an hour apart. */
const keptMs = 8 * dayMs;
const fineMs = 2 * hourMs;
/** A forecast further ahead than this says nothing. */
const forecastMsMax = 10 * 365 * dayMs;

interface Sample {
  readonly timeMs: number;
  readonly bytes: number;
}

/** What it needs of the pool. */
type GrowthParts = Pick<PoolParts, 'superblock' | 'segmentById'> & {
  readonly host: Pick<PoolHost, 'clock'>;
};

export class GrowthRecord {
  readonly #parts: GrowthParts;
  readonly #openedMs: number;
  #samples: Sample[] = [];

  /** Takes the past from the log. */
  constructor(parts: GrowthParts, storedBytes: number) {
    this.#parts = parts;
    this.#openedMs = parts.host.clock.wallMs();
    this.#samples = samplesOfLog(parts, this.#openedMs, storedBytes);
  }

  /** What is stored now; looked at once a minute. */
  note(storedBytes: number): void {
    const timeMs = this.#parts.host.clock.wallMs();
    const last = this.#samples.at(-1);
    if (last !== undefined && timeMs - last.timeMs < minuteMs && timeMs >= last.timeMs) return;
    // A clock that was set back: samples of a time that is still to come say nothing.
    this.#samples = this.#samples.filter((sample) => sample.timeMs < timeMs);
    this.#samples.push({ timeMs, bytes: storedBytes });
    this.#thin(timeMs);
  }

  forecast(storedBytes: number, limits: { softBytes: number; hardBytes: number }): Growth[] {
    const nowMs = this.#parts.host.clock.wallMs();
    const { createdMs } = this.#parts.superblock;
    return periodsMs.map((periodMs) => {
      const fromMs = nowMs - periodMs;
      const before = this.#samples.findLast((sample) => sample.timeMs <= fromMs);
      if (before === undefined || createdMs > fromMs) return { periodMs };
      const bytes = storedBytes - before.bytes;
      const rate = bytes / (nowMs - before.timeMs);
      return {
        periodMs,
        bytes,
        ...(before.timeMs < this.#openedMs ? { isWritten: true as const } : {}),
        ...reachedAt('softMs', nowMs, (limits.softBytes - storedBytes) / rate),
        ...reachedAt('hardMs', nowMs, (limits.hardBytes - storedBytes) / rate),
      };
    });
  }

  #thin(nowMs: number): void {
    let keptAt = Number.NEGATIVE_INFINITY;
    this.#samples = this.#samples.filter(({ timeMs }) => {
      const ageMs = nowMs - timeMs;
      if (ageMs > keptMs) return false;
      const isKept = ageMs <= fineMs || timeMs - keptAt >= hourMs;
      if (isKept) keptAt = timeMs;
      return isKept;
    });
  }
}

/** Present only for a time that lies ahead and is worth telling. */
function reachedAt<K extends string>(
  key: K,
  nowMs: number,
  afterMs: number,
): { readonly [key in K]?: number } {
  const isTold = afterMs >= 0 && afterMs <= forecastMsMax;
  // The key is what the type says.
  return (isTold ? { [key]: Math.round(nowMs + afterMs) } : {}) as { readonly [key in K]?: number };
}

/** What was stored at each full hour and minute of the past, had nothing been given back since. */
function samplesOfLog(parts: GrowthParts, nowMs: number, storedBytes: number): Sample[] {
  const timesMs: number[] = [];
  for (let ageMs = 0; ageMs <= keptMs; ageMs += ageMs < fineMs ? minuteMs : hourMs) {
    timesMs.push(nowMs - ageMs);
  }
  const samples: Sample[] = [];
  const { segmentById } = parts;
  let at = segmentById.size - 1;
  let bytes = storedBytes;
  for (const timeMs of timesMs) {
    for (; at >= 0; at -= 1) {
      if (segmentById.hlcMsAt(at) <= timeMs) break;
      bytes -= segmentById.slotsAt(at) * slotSizeBytes;
    }
    samples.push({ timeMs, bytes: Math.max(0, bytes) });
  }
  return samples.toReversed();
}
