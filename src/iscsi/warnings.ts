/**
 * Warnings about initiators, at a rate that no flood can raise: so many lines a window, the others are counted. While windows
 * overflow they become longer, so that a flood of days costs a log megabytes, not the disk.
 */
import type { Log, Timers } from '../base/ports.ts';
import { warningLinesMax, warningWindowMaxMs, warningWindowMs } from './server-limits.ts';

export class Warnings {
  readonly #log: Log;
  readonly #timers: Timers;
  #lines = 0;
  #windowMs = warningWindowMs;
  #isOpen = false;

  constructor(log: Log, timers: Timers) {
    this.#log = log;
    this.#timers = timers;
  }

  warn(message: string, fields: Readonly<Record<string, unknown>>): void {
    if (!this.#isOpen) this.#openWindow();
    this.#lines += 1;
    if (this.#lines <= warningLinesMax) this.#log.warn(message, fields);
  }

  #openWindow(): void {
    this.#isOpen = true;
    this.#lines = 0;
    this.#timers.after(this.#windowMs, () => {
      this.#isOpen = false;
      this.#endWindow(this.#lines - warningLinesMax);
    });
  }

  #endWindow(count: number): void {
    if (count <= 0) {
      this.#windowMs = warningWindowMs;
      return;
    }
    const seconds = this.#windowMs / 1000;
    this.#log.warn(`${count} more iscsi warnings in ${seconds} s were left out`, { count });
    this.#windowMs = Math.min(this.#windowMs * 2, warningWindowMaxMs);
    // The next one says whether the flood is over.
    this.#openWindow();
  }
}
