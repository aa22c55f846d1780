/**
 * What the copies of one engine share: places for those that move data, their common rate, and results that may still be
 * asked for.
 */
import type { Clock } from '../base/ports.ts';
import { Turnstile, type Waiter } from '../base/turnstile.ts';
import { copiesMax, copyBytesPerSecond, copyResultsMax } from './limits.ts';
import type { NexusLun } from './nexus.ts';

/** How a copy stands. */
export interface CopyRecord {
  state: 'running' | 'done' | 'failed';
  segmentsDone: number;
  bytesDone: number;
  /** Sense of a failed one. */
  sense: Uint8Array;
}

export class CopyDesk {
  readonly #clock: Clock;
  readonly #turnstile = new Turnstile();
  #copying = 0;
  /** When the bytes that were let through are paid for. */
  #paidUntilMs = 0;
  readonly #records = new WeakMap<NexusLun, Map<number, CopyRecord>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A place for a copy that moves data; false when none is free or others came first. */
  take(): boolean {
    return !this.#turnstile.isCrowded && this.takeForWaiter();
  }

  /** For a waiter whose `retry` is being called. */
  takeForWaiter(): boolean {
    if (this.#copying === copiesMax) return false;
    this.#copying += 1;
    return true;
  }

  give(): void {
    this.#copying -= 1;
    this.#turnstile.advance();
  }

  wait(waiter: Waiter): void {
    this.#turnstile.join(waiter);
  }

  leave(waiter: Waiter): void {
    this.#turnstile.leave(waiter);
  }

  /** Milliseconds to wait before moving that many bytes. */
  delayMs(byteCount: number): number {
    const nowMs = this.#clock.monotonicMs();
    const startMs = Math.max(nowMs, this.#paidUntilMs);
    this.#paidUntilMs = startMs + (byteCount * 1000) / copyBytesPerSecond;
    return startMs - nowMs;
  }

  record(place: NexusLun, listId: number): CopyRecord | undefined {
    return this.#records.get(place)?.get(listId);
  }

  /** Begins to keep account of a copy, in the place of an earlier one with that id. */
  open(place: NexusLun, listId: number): CopyRecord {
    const records = this.#records.get(place) ?? new Map<number, CopyRecord>();
    this.#records.set(place, records);
    records.delete(listId);
    if (records.size >= copyResultsMax) dropOldest(records);
    const record: CopyRecord = {
      state: 'running',
      segmentsDone: 0,
      bytesDone: 0,
      sense: new Uint8Array(0),
    };
    records.set(listId, record);
    return record;
  }

  forget(place: NexusLun, listId: number): void {
    this.#records.get(place)?.delete(listId);
  }
}

/** Of those that ended; running ones are bounded by the task set. */
function dropOldest(records: Map<number, CopyRecord>): void {
  for (const [listId, { state }] of records) {
    if (state === 'running') continue;
    records.delete(listId);
    return;
  }
}
