/**
 * Throttle: between the soft and the hard limit writes are slowed down, so that cleaning keeps up and the pool does not run
 * into the hard limit at full speed.
 *
 *     write ─▶ its volume's lane ── due now ──▶ goes on
 *                    └── not yet ──▶ waits [r][r][r] ──timer──▶ goes on, in order
 *
 *     a block of a lane is due `d0 * p / (1 - p) * weight` after the one before; p = 0 at the soft limit, 1 at the hard one,
 *     which is d0 * (u - soft) / (hard - u). weight = the volume's share of the blocks that were replaced lately.
 *
 * Invariants
 * 1. No write waits longer than `throttleWaitMsMax`, and those that wait hold at most a part of staging: what would be more
 *    goes on at once. So a throttled volume never keeps other clients from memory.
 * 2. Only whole writes wait, before they have a position or a lock: reads, flushes, trims and what hypervisors lock with never do.
 */
import type { Timer } from '../../base/ports.ts';
import type { IoRequest } from '../../device/block-device.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { Line } from '../io/line.ts';
import { limits } from '../limits.ts';
import type { PoolHost } from '../ports.ts';
import type { PoolParts } from './parts.ts';

interface Lane {
  readonly line: Line;
  /** Milliseconds for each block; 0 = at full speed. */
  delayMs: number;
  /** When the next block is due. */
  nextMs: number;
  /** Those that wait, from `head` on, and when each of them is due. */
  waiting: IoRequest[];
  dueMs: number[];
  head: number;
  /** Blocks replaced lately, fading out, and the line's count of them at the last look. */
  replaced: number;
  replacedBefore: number;
}

/** How fast a volume may write now. */
export interface LaneReport {
  readonly line: number;
  readonly bytesPerSecond: number;
  readonly waitingCount: number;
}

/** What it needs of the pool. */
type ThrottleParts = Pick<PoolParts, 'lineById' | 'staging'> & {
  readonly host: Pick<PoolHost, 'clock' | 'timers'>;
};

export class Throttle {
  readonly #parts: ThrottleParts;
  readonly #release: (request: IoRequest, line: Line) => void;
  readonly #laneByLine = new Map<number, Lane>();
  #isOn = false;
  #timer: Timer | undefined;
  #timerMs = Number.POSITIVE_INFINITY;
  #heldBytes = 0;
  #heldCount = 0;

  /** `release` takes a write back that may go on. */
  constructor(parts: ThrottleParts, release: (request: IoRequest, line: Line) => void) {
    this.#parts = parts;
    this.#release = release;
  }

  /** Whether some volume is slowed down. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /** Writes that had to wait since the pool was opened. */
  get heldCount(): number {
    return this.#heldCount;
  }

  /** Volumes that are slowed down, and were written lately. */
  lanes(): LaneReport[] {
    const sinceMs = this.#parts.host.clock.monotonicMs() - limits.throttleShownMs;
    return [...this.#laneByLine.values()]
      .filter(({ delayMs, nextMs }) => delayMs > 0 && nextMs > sinceMs)
      .map(({ line, delayMs, waiting, head }) => ({
        line: line.id,
        bytesPerSecond: Math.round((slotSizeBytes * 1000) / delayMs),
        waitingCount: waiting.length - head,
      }));
  }

  /** Looks at what was replaced since, and sets the pace. `pressure` as of `pressureAt`; lines that are exempt go at full speed. */
  look(pressure: number, isExempt: (line: Line) => boolean): void {
    this.#countReplaced();
    const delayMs = delayAt(pressure);
    this.#isOn = delayMs > 0;
    let total = 0;
    for (const { replaced } of this.#laneByLine.values()) total += replaced;
    for (const lane of this.#laneByLine.values()) {
      const share = total === 0 ? 1 : lane.replaced / total;
      const weight = Math.max(share, limits.throttleWeightMin);
      lane.delayMs = isExempt(lane.line) ? 0 : delayMs * weight;
      if (lane.delayMs === 0) this.#releaseDue(lane, Number.POSITIVE_INFINITY);
    }
  }

  /** Whether the write has to wait: then `release` is called with it later. */
  holds(request: IoRequest, line: Line): boolean {
    if (!this.#isOn) return false;
    const lane = this.#laneByLine.get(line.id);
    if (lane === undefined || lane.delayMs === 0) return false;
    const nowMs = this.#parts.host.clock.monotonicMs();
    const dueMs = Math.max(lane.nextMs, nowMs);
    const blocks = Math.ceil(request.length / slotSizeBytes);
    lane.nextMs = Math.min(dueMs + blocks * lane.delayMs, nowMs + limits.throttleWaitMsMax);
    const isQueueEmpty = lane.head === lane.waiting.length;
    if (isQueueEmpty && dueMs - nowMs < limits.throttleStepMs) return false;
    const heldBytesMax = this.#parts.staging.sizeBytes * limits.throttleStagingShare;
    while (this.#heldBytes + request.length > heldBytesMax && lane.head < lane.waiting.length) {
      this.#releaseFirst(lane);
    }
    if (this.#heldBytes + request.length > heldBytesMax) return false;
    lane.waiting.push(request);
    lane.dueMs.push(dueMs);
    this.#heldBytes += request.length;
    this.#heldCount += 1;
    this.#wakeAt(dueMs, nowMs);
    return true;
  }

  /** Nothing waits any more, and nothing will. */
  stop(): void {
    this.#isOn = false;
    this.#timer?.cancel();
    for (const lane of this.#laneByLine.values()) {
      this.#releaseDue(lane, Number.POSITIVE_INFINITY);
    }
  }

  #countReplaced(): void {
    const { lineById } = this.#parts;
    for (const [id, lane] of this.#laneByLine) {
      if (lineById.has(id)) continue;
      this.#releaseDue(lane, Number.POSITIVE_INFINITY);
      this.#laneByLine.delete(id);
    }
    for (const [id, line] of lineById) {
      const { replacedBlocks } = line.map;
      const lane = this.#laneByLine.get(id);
      if (lane === undefined) this.#laneByLine.set(id, newLane(line));
      else {
        lane.replaced =
          lane.replaced * limits.throttleMemory + replacedBlocks - lane.replacedBefore;
        lane.replacedBefore = replacedBlocks;
      }
    }
  }

  #wakeAt(dueMs: number, nowMs: number): void {
    if (dueMs >= this.#timerMs) return;
    this.#timer?.cancel();
    this.#timerMs = dueMs;
    const delayMs = Math.max(limits.throttleStepMs, Math.ceil(dueMs - nowMs));
    this.#timer = this.#parts.host.timers.after(delayMs, () => {
      this.#timerMs = Number.POSITIVE_INFINITY;
      this.#releaseAllDue();
    });
  }

  #releaseAllDue(): void {
    const nowMs = this.#parts.host.clock.monotonicMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const lane of this.#laneByLine.values()) {
      this.#releaseDue(lane, nowMs + limits.throttleStepMs);
      nextMs = Math.min(nextMs, lane.dueMs[lane.head] ?? Number.POSITIVE_INFINITY);
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#wakeAt(nextMs, nowMs);
  }

  #releaseDue(lane: Lane, untilMs: number): void {
    while ((lane.dueMs[lane.head] ?? Number.POSITIVE_INFINITY) <= untilMs) {
      if (lane.head === lane.waiting.length) return;
      this.#releaseFirst(lane);
    }
  }

  #releaseFirst(lane: Lane): void {
    const request = lane.waiting[lane.head];
    lane.head += 1;
    if (lane.head === lane.waiting.length) {
      lane.waiting = [];
      lane.dueMs = [];
      lane.head = 0;
    }
    if (request === undefined) return;
    this.#heldBytes -= request.length;
    this.#release(request, lane.line);
  }
}

function newLane(line: Line): Lane {
  return {
    line,
    delayMs: 0,
    nextMs: Number.NEGATIVE_INFINITY,
    waiting: [],
    dueMs: [],
    head: 0,
    replaced: 0,
    replacedBefore: line.map.replacedBlocks,
  };
}

/** Milliseconds for each block of a volume that does all the replacing. */
function delayAt(pressure: number): number {
  if (pressure === 0) return 0;
  if (pressure >= 1) return limits.throttleDelayMsMax;
  return Math.min((limits.throttleBlockMs * pressure) / (1 - pressure), limits.throttleDelayMsMax);
}
