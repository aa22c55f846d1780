/**
 * Warm-up: fills the maps of volumes and views behind the scenes once the pool is open, so that first touches find them in
 * memory and the mapped size is known; in slices, with pauses, and not beyond half of the memory that maps may take.
 */
import type { Timer } from '../../base/ports.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import { limits } from '../limits.ts';
import type { Done } from './operator.ts';
import type { PoolParts } from './parts.ts';

export class WarmUp {
  readonly #parts: PoolParts;
  #timer: Timer | undefined;
  /** Lines still to do, and the leaf to go on with in the first of them. */
  #lines: number[] = [];
  #leaf = 0;
  /** Lines that were given up for lack of memory. */
  readonly #givenUp = new Set<number>();
  #isStopped = false;

  constructor(parts: PoolParts) {
    this.#parts = parts;
  }

  /** Begins with a first slice, within the call: a small pool is warm then. */
  start(): void {
    this.#lines = [...this.#parts.lineById.keys()];
    this.#slice();
  }

  /** `done`, after an operation in which a volume began a new line: that is filled, too. */
  after(done: Done<VolumeState>): Done<VolumeState> {
    return (outcome) => {
      if (outcome.ok) this.#add(outcome.value.line);
      done(outcome);
    };
  }

  /** As `after`, for several volumes. */
  afterAll(done: Done<readonly VolumeState[]>): Done<readonly VolumeState[]> {
    return (outcome) => {
      if (outcome.ok) for (const { line } of outcome.value) this.#add(line);
      done(outcome);
    };
  }

  #add(line: number): void {
    this.#lines.push(line);
    if (this.#lines.length === 1) this.#pause();
  }

  /** Whether a part of the line's map was not looked at since opening: its mapped size is at least what it says. */
  isPartial(line: number): boolean {
    return this.#lines.includes(line) || this.#givenUp.has(line);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #slice(): void {
    const { host, leaves, settings } = this.#parts;
    const started = host.clock.monotonicMs();
    let leavesLeft: number = limits.warmUpLeavesPerSlice;
    while (this.#lines.length > 0) {
      if (leaves.usedBytes > settings.mapBytes / 2) {
        for (const line of this.#lines.splice(0)) this.#givenUp.add(line);
        return;
      }
      if (leavesLeft === 0 || host.clock.monotonicMs() - started > limits.sliceMs) {
        this.#pause();
        return;
      }
      leavesLeft -= 1;
      this.#step();
    }
  }

  #pause(): void {
    if (this.#isStopped) return;
    this.#timer = this.#parts.host.timers.after(limits.warmUpPauseMs, () => {
      this.#slice();
    });
  }

  #step(): void {
    const line = this.#parts.lineById.get(this.#lines[0] ?? 0);
    const next = line?.map.fillNext(this.#leaf);
    if (next === undefined) {
      this.#lines.shift();
      this.#leaf = 0;
    } else this.#leaf = next;
  }
}
