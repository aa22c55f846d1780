/**
 * Segment supply: keeps a few zero-written segment files ready so that a commit never has to extend a file.
 *
 *     keeper: prepare ──▶ ready [12][13][14] ──take──▶ log
 *                              none ready: the log makes a new file itself (0.28 ms instead of 0.15 ms a commit)
 *
 * Invariants
 * 1. Ids are taken in increasing order and never twice; an id that the log has passed while its file was being prepared is
 *    given up and the file renamed to a new one.
 * 2. Zeroing is paced: never more files than were consumed, never faster than the commit path bears, and not at all while
 *    the log takes segments so fast that zeroing could not keep up: it would only write everything twice.
 */
import type { Timers } from '../../base/ports.ts';
import { limits } from '../limits.ts';
import { segmentPath } from './segment-path.ts';

const rateWindowMs = 1000;

export interface PrepareOrder {
  readonly segId: number;
  /** An existing file to take instead of a new one; undefined = make one. */
  readonly recycledPath: string | undefined;
}

export interface TakenSegment {
  readonly segId: number;
  /** Its file was not prepared: make it while writing. */
  readonly createsFile: boolean;
}

export interface SupplyOptions {
  readonly target: number;
  readonly firstSegId: number;
  /** Files of the folder that are not part of the log, to be used again. */
  readonly leftovers: readonly string[];
  /** Segments that are ready from the start, by id, below firstSegId. */
  readonly ready: readonly number[];
  readonly timers: Timers;
  readonly order: (order: PrepareOrder) => void;
}

export class SegmentSupply {
  readonly #options: SupplyOptions;
  readonly #ready: number[];
  readonly #leftovers: string[];
  #nextSegId: number;
  /** Highest id that the log has taken. */
  #takenHighWater = 0;
  #isOrdered = false;
  /** The file that the order makes ready was there before. */
  #isRecycling = false;
  /** The file of the segment that was taken last was made ahead. */
  #isTakenPrepared = false;
  /** Segments taken within the last second. */
  #recentTakes = 0;
  #isPaused = false;
  #isStopped = false;

  constructor(options: SupplyOptions) {
    this.#options = options;
    this.#leftovers = [...options.leftovers];
    this.#ready = [...options.ready];
    this.#nextSegId = options.firstSegId;
  }

  get readyCount(): number {
    return this.#ready.length;
  }

  /** Files on disk for segments to come: ready, or to be used again. */
  get fileCount(): number {
    return this.#ready.length + this.#leftovers.length + (this.#isRecycling ? 1 : 0);
  }

  /** Whether the file of the segment that was taken last has its full length since then. */
  get isTakenPrepared(): boolean {
    return this.#isTakenPrepared;
  }

  /** One more than every id given out. */
  get segIdHighWater(): number {
    return this.#nextSegId;
  }

  /** The file system is full: make no file until `resume`. Files that are there already are still used again. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#refill();
  }

  /** A file whose segment lies elsewhere now, to be used again; false = there are enough of them. */
  offer(path: string): boolean {
    const count = this.#leftovers.length + this.#ready.length;
    if (this.#isStopped || count >= this.#options.target) return false;
    this.#leftovers.push(path);
    this.#refill();
    return true;
  }

  /**
   * Gives up the file that would be used last, unless no more than `kept` are ready: the id of its segment, which is not used
   * any more.
   */
  giveUp(kept: number): number | undefined {
    return this.#ready.length > kept ? this.#ready.pop() : undefined;
  }

  /** Takes back leftovers beyond those that it wants, of those that `isGivenUp` is true for. */
  takeSurplus(isGivenUp: (path: string) => boolean): string[] {
    const surplus = this.#leftovers.slice(this.#options.target).filter(isGivenUp);
    for (const path of surplus) this.#leftovers.splice(this.#leftovers.indexOf(path), 1);
    return surplus;
  }

  stop(): void {
    this.#isStopped = true;
  }

  start(): void {
    this.#refill();
  }

  take(): TakenSegment {
    const ready = this.#ready.shift();
    const segId = ready ?? this.#nextSegId++;
    this.#takenHighWater = segId;
    this.#isTakenPrepared = ready !== undefined;
    this.#recentTakes += 1;
    this.#options.timers.after(rateWindowMs, () => {
      this.#recentTakes -= 1;
      this.#refill();
    });
    this.#refill();
    return { segId, createsFile: ready === undefined };
  }

  /** The keeper finished an order. */
  prepared(segId: number): void {
    this.#isOrdered = false;
    this.#isRecycling = false;
    if (segId > this.#takenHighWater) {
      this.#ready.push(segId);
      this.#refillLater();
    } else {
      this.#order(segmentPath(segId));
    }
  }

  /** The keeper could not carry out an order (no space). */
  failed(): void {
    this.#isOrdered = false;
    this.#isRecycling = false;
    this.#isPaused = true;
  }

  #refillLater(): void {
    this.#options.timers.after(limits.prepareIntervalMs, () => {
      this.#refill();
    });
  }

  #refill(): void {
    const isPaused = this.#isPaused && this.#leftovers.length === 0;
    const isIdle =
      this.#isOrdered || isPaused || this.#isStopped || this.#recentTakes > limits.prepareTakesMax;
    if (isIdle || this.#ready.length >= this.#options.target) return;
    this.#order(this.#leftovers.shift());
  }

  #order(recycledPath: string | undefined): void {
    if (this.#isStopped) return;
    this.#isOrdered = true;
    this.#isRecycling = recycledPath !== undefined;
    const segId = this.#nextSegId++;
    this.#options.order({ segId, recycledPath });
  }
}
