/** Timers that move only when a test says so. */
import type { Timer, Timers } from '../../src/base/ports.ts';

interface Alarm {
  readonly atMs: number;
  readonly action: () => void;
  isCancelled: boolean;
}

export class ManualTimers implements Timers {
  #nowMs = 0;
  #alarms: Alarm[] = [];
  #deferred: (() => void)[] = [];

  /** Alarms that may still ring. */
  get pendingCount(): number {
    return this.#alarms.filter(({ isCancelled }) => !isCancelled).length;
  }

  after(delayMs: number, action: () => void): Timer {
    const alarm: Alarm = { atMs: this.#nowMs + delayMs, action, isCancelled: false };
    this.#alarms.push(alarm);
    return {
      cancel: () => {
        alarm.isCancelled = true;
      },
    };
  }

  defer(action: () => void): void {
    this.#deferred.push(action);
  }

  /** Ends the turn: runs what was deferred, but not what that defers again. Returns whether there was anything. */
  endTurn(): boolean {
    const actions = this.#deferred;
    this.#deferred = [];
    for (const action of actions) action();
    return actions.length > 0;
  }

  /** Moves the time on, ringing alarms in order. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      const due = this.#alarms
        .filter(({ atMs, isCancelled }) => !isCancelled && atMs <= untilMs)
        .sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#nowMs = due.atMs;
      due.isCancelled = true;
      due.action();
    }
    this.#alarms = this.#alarms.filter(({ isCancelled }) => !isCancelled);
    this.#nowMs = untilMs;
  }
}
