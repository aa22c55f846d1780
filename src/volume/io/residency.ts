/**
 * Residency predictor: is this part of the log likely in the page cache? A synchronous read of a cached block takes 1.1 us,
 * a hop through the thread pool about 10 us of CPU; a synchronous read that misses blocks every client.
 *
 * One stamp per block, set when it was read: log writes go past the cache. The clock advances with the bytes touched: after as many bytes as the cache
 * is thought to hold, a stamp is too old. When synchronous reads turn out slow anyway, prediction stops for a while.
 */
import { segIdOf, slotOf, slotSizeBytes, slotsPerSegmentMax } from '../format/address.ts';

/** The cache is aged in this many steps. */
const generations = 8;
/** A synchronous read slower than this was no cache hit. */
const slowReadMs = 0.3;
/** More than this many slow ones among `windowReads` means: do not trust the prediction. */
const slowReadsMax = 10;
const windowReads = 1000;
const distrustReads = 5000;

export class Residency {
  readonly #stamps = new Map<number, Uint16Array>();
  readonly #bytesPerGeneration: number;
  #generation = generations + 1;
  #bytesInGeneration = 0;
  #slowReads = 0;
  #readsInWindow = 0;
  #distrust = 0;

  /** `cacheBytes`: how much the page cache may hold for us. */
  constructor(cacheBytes: number) {
    this.#bytesPerGeneration = Math.max(slotSizeBytes, cacheBytes / generations);
  }

  /** Whether `count` slots from `address` on are probably cached. */
  predicts(address: number, count: number): boolean {
    if (this.#distrust > 0) {
      this.#distrust -= 1;
      return false;
    }
    const stamps = this.#stamps.get(segIdOf(address));
    if (stamps === undefined) return false;
    const first = slotOf(address);
    for (let slot = first; slot < first + count; slot += 1) {
      if ((stamps[slot] ?? 0) + generations <= this.#generation) return false;
    }
    return true;
  }

  /** `count` slots from `address` on were read just now. */
  touch(address: number, count: number): void {
    const segId = segIdOf(address);
    let stamps = this.#stamps.get(segId);
    if (stamps === undefined) {
      stamps = new Uint16Array(slotsPerSegmentMax);
      this.#stamps.set(segId, stamps);
    }
    const first = slotOf(address);
    for (let slot = first; slot < first + count; slot += 1) {
      if (stamps[slot] !== this.#generation) {
        stamps[slot] = this.#generation;
        this.#bytesInGeneration += slotSizeBytes;
      }
    }
    if (this.#bytesInGeneration >= this.#bytesPerGeneration) this.#age();
  }

  /** A synchronous read took `elapsedMs`. */
  report(elapsedMs: number): void {
    this.#readsInWindow += 1;
    if (elapsedMs > slowReadMs) this.#slowReads += 1;
    if (this.#slowReads > slowReadsMax) {
      this.#distrust = distrustReads;
      this.#slowReads = 0;
      this.#readsInWindow = 0;
    } else if (this.#readsInWindow >= windowReads) {
      this.#slowReads = 0;
      this.#readsInWindow = 0;
    }
  }

  #age(): void {
    this.#bytesInGeneration = 0;
    this.#generation += 1;
    if (this.#generation === 0xffff) {
      this.#stamps.clear();
      this.#generation = generations + 1;
    }
  }
}
