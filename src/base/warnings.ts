/**
 * Warnings about clients, at a rate that no flood can raise: so many lines a window, the others are counted. While windows
 * overflow they become longer, so that a flood of days costs a log megabytes, not the disk.
 */
import { warningLinesMax, warningWindowMaxMs, warningWindowMs } from './connection-limits.ts';
import type { Log, Timers } from './ports.ts';

export class Warnings {
  readonly #log: Log;
  readonly #timers: Timers;
  readonly #protocol: string;
  #lines = 0;
  #windowMs = warningWindowMs;
  #isOpen = false;

  /** `protocol` is named where warnings were left out. */
  constructor(log: Log, timers: Timers, protocol: 'iscsi' | 'nbd') {
    this.#log = log;
    this.#timers = timers;
    this.#protocol = protocol;
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
    const message = `${count} more ${this.#protocol} warnings in ${seconds} s were left out`;
    this.#log.warn(message, { count });
    this.#windowMs = Math.min(this.#windowMs * 2, warningWindowMaxMs);
    // The next one says whether the flood is over.
    this.#openWindow();
  }
}
