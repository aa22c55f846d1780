/**
 * The only source of time and order in a simulated run.
 *
 *     lanes, first in first out but pool      next event: a lane picked by seed, weighted per run
 *     client  ▢▢▢
 *     main    ▢▢      progress, results, due timers
 *     pool    ▢▢▢     reads in the thread pool, in any order
 *     turn    ▢       deferred to the end of the turn
 *     commit  ▢       drains of the committer
 *     keeper  ▢▢      jobs of the keeper
 *
 * Threads are lanes: an event of one may fall before or after any event of another, as the seed says. Time moves a
 * little with every event, and jumps to the next timer when nothing else can run.
 */
import type { Clock, Timer, Timers } from '../../src/base/ports.ts';
import type { SeededRandom } from './random.ts';

const lanes = ['client', 'main', 'pool', 'turn', 'commit', 'keeper'] as const;
export type Lane = (typeof lanes)[number];

interface PendingTimer extends Timer {
  readonly dueMs: number;
  readonly action: () => void;
  isCancelled: boolean;
}

/** 2026-01-01T00:00:00Z: where the virtual wall clock begins. */
const wallStartMs = 1767225600000;

export class Scheduler implements Clock, Timers {
  readonly #random: SeededRandom;
  readonly #eventsByLane = new Map<Lane, (() => void)[]>();
  readonly #weightByLane = new Map<Lane, number>();
  #timers: PendingTimer[] = [];
  #nowMs = 0;
  #wallOffsetMs = 0;
  #eventCount = 0;
  /** A lane that does not get to run for a while. */
  #held: Lane | undefined;

  /** `startMs`: virtual milliseconds that have passed before this process. */
  constructor(random: SeededRandom, startMs = 0) {
    this.#random = random;
    this.#nowMs = startMs;
    for (const lane of lanes) {
      this.#eventsByLane.set(lane, []);
      this.#weightByLane.set(lane, random.pick([1, 1, 2, 4]));
    }
  }

  get eventCount(): number {
    return this.#eventCount;
  }

  wallMs(): number {
    return wallStartMs + this.#nowMs + this.#wallOffsetMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  /** The wall clock is set by someone: it jumps by `byMs`, forwards or back. */
  stepWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  post(lane: Lane, action: () => void): void {
    this.#eventsByLane.get(lane)?.push(action);
  }

  after(delayMs: number, action: () => void): Timer {
    const timer: PendingTimer = {
      dueMs: this.#nowMs + delayMs,
      action,
      isCancelled: false,
      cancel(): void {
        this.isCancelled = true;
      },
    };
    this.#timers.push(timer);
    return timer;
  }

  defer(action: () => void): void {
    this.post('turn', action);
  }

  /** From now on this lane does not run: its thread is stuck, or waits for a slow disk. Undefined: all run again. */
  hold(lane: Lane | undefined): void {
    this.#held = lane;
  }

  /** Forgets everything that is to come: the process died. */
  clear(): void {
    for (const lane of lanes) this.#eventsByLane.set(lane, []);
    this.#timers = [];
  }

  /** Runs one event; false when there is none, not even a timer. */
  runOne(): boolean {
    this.#nowMs += this.#random.below(64) / 1024;
    this.#moveDueTimers();
    let lane = this.#pickLane();
    if (lane === undefined && this.#jumpToTimer()) lane = this.#pickLane();
    if (lane === undefined) return false;
    const events = this.#eventsByLane.get(lane) ?? [];
    const index = lane === 'pool' ? this.#random.below(events.length) : 0;
    const [action] = events.splice(index, 1);
    if (action === undefined) return false;
    this.#eventCount += 1;
    action();
    return true;
  }

  /**
   * Runs until `isDone`, or throws after `eventsMax` events or when nothing is left to run: the store hangs.
   * `what` names the wait.
   */
  runUntil(isDone: () => boolean, eventsMax: number, what: string): void {
    const limit = this.#eventCount + eventsMax;
    while (!isDone()) {
      if (this.#eventCount >= limit) throw new Error(`${what}: not done after ${eventsMax} events`);
      if (!this.runOne() && !isDone()) throw new Error(`${what}: not done and nothing left to run`);
    }
  }

  /** Runs what there is to run in the next `durationMs` of virtual time. */
  runFor(durationMs: number): void {
    const end = this.#nowMs + durationMs;
    while (this.#nowMs < end && this.runOne());
  }

  #pickLane(): Lane | undefined {
    let total = 0;
    for (const lane of lanes) if (this.#has(lane)) total += this.#weightByLane.get(lane) ?? 1;
    if (total === 0) return undefined;
    let chosen = this.#random.below(total);
    for (const lane of lanes) {
      if (!this.#has(lane)) continue;
      chosen -= this.#weightByLane.get(lane) ?? 1;
      if (chosen < 0) return lane;
    }
    return undefined;
  }

  #has(lane: Lane): boolean {
    return lane !== this.#held && (this.#eventsByLane.get(lane)?.length ?? 0) > 0;
  }

  #moveDueTimers(): void {
    if (this.#timers.length === 0) return;
    const due = this.#timers.filter((timer) => timer.dueMs <= this.#nowMs);
    this.#timers = this.#timers.filter((timer) => timer.dueMs > this.#nowMs && !timer.isCancelled);
    due.sort((left, right) => left.dueMs - right.dueMs);
    for (const timer of due) {
      this.post('main', () => {
        if (!timer.isCancelled) timer.action();
      });
    }
  }

  #jumpToTimer(): boolean {
    this.#timers = this.#timers.filter((timer) => !timer.isCancelled);
    if (this.#timers.length === 0) return false;
    const next = Math.min(...this.#timers.map((timer) => timer.dueMs));
    this.#nowMs = Math.max(this.#nowMs, next);
    this.#moveDueTimers();
    return true;
  }
}
