/**
 * Load of `bench day`: a paced mix, a part of what the machine can do, so that latencies say something. Each volume has a profile.
 *
 *     random      4 KiB anywhere                         hot        nine of ten writes to 64 blocks
 *     sequential  64 KiB one after another, round        log        8 KiB round a small region, pages anywhere
 *     files       16 KiB anywhere, trims of 64 KiB
 */
import { toError } from '../../src/base/errors.ts';
import { sleep } from '../support/run.ts';
import type { DayVolume, Extent } from './day-volumes.ts';

export interface LoadRates {
  readonly writesPerSecond: number;
  readonly readsPerSecond: number;
}

interface Step {
  readonly extent: Extent;
  readonly isTrim: boolean;
}

type Profile = (blockCount: number) => () => Step;

const tickMs = 4;
/** After a stop of the engine what was not written is not made up for. */
const owedMax = 64;
const hotBlocks = 64;
const hotShare = 0.9;
const trimShare = 0.2;
const logBlocks = 256;

function below(limit: number): number {
  return Math.floor(Math.random() * limit);
}

/** Somewhere, inside the device. */
function anywhere(blockCount: number, count: number): Extent {
  return { first: below(Math.floor(blockCount / count)) * count, count };
}

function round(blockCount: number, count: number): () => Extent {
  let next = 0;
  return () => {
    if (next + count > blockCount) next = 0;
    next += count;
    return { first: next - count, count };
  };
}

const random: Profile = (blockCount) => () => {
  return { extent: anywhere(blockCount, 1), isTrim: false };
};
const sequential: Profile = (blockCount) => {
  const next = round(blockCount, 16);
  return () => ({ extent: next(), isTrim: false });
};
const hot: Profile = (blockCount) => () => {
  const within = Math.random() < hotShare ? Math.min(hotBlocks, blockCount) : blockCount;
  return { extent: anywhere(within, 1), isTrim: false };
};
const files: Profile = (blockCount) => () => {
  const isTrim = Math.random() < trimShare;
  return { extent: anywhere(blockCount, isTrim ? 16 : 4), isTrim };
};
const log: Profile = (blockCount) => {
  const next = round(Math.min(logBlocks, blockCount), 2);
  return () => ({ extent: Math.random() < 0.5 ? next() : anywhere(blockCount, 1), isTrim: false });
};

/**
 * How often each is chosen, beside the others. Every second one keeps its past for a shorter while (day-run.ts) and does most of
 * the writing: what it overwrites is what the cleaner lives on.
 */
const profiles: readonly { readonly make: Profile; readonly weight: number }[] = [
  { make: random, weight: 0.5 },
  { make: hot, weight: 4 },
  { make: log, weight: 1 },
  { make: sequential, weight: 0.5 },
  { make: files, weight: 0.5 },
  { make: hot, weight: 4 },
  { make: random, weight: 0.05 },
  { make: log, weight: 3 },
];
const weightMax = 4;

interface Worker {
  readonly volume: DayVolume;
  readonly next: () => Step;
  readonly weight: number;
}

export class DayLoad {
  readonly #workers: Worker[] = [];
  readonly #rates: LoadRates;
  readonly #isUp: () => boolean;
  readonly #running = new Set<Promise<void>>();
  #failure: Error | undefined;
  #isOver = false;
  #added = 0;

  /** Nothing is asked for while `isUp` is false. */
  constructor(rates: LoadRates, isUp: () => boolean) {
    this.#rates = rates;
    this.#isUp = isUp;
  }

  /** The volume gets its part of the load from now on. */
  add(volume: DayVolume): void {
    const profile = profiles[this.#added % profiles.length];
    this.#added += 1;
    if (profile === undefined) return;
    const next = profile.make(volume.journal.blockCount);
    this.#workers.push({ volume, next, weight: profile.weight });
  }

  remove(volume: DayVolume): void {
    const at = this.#workers.findIndex((worker) => worker.volume === volume);
    if (at >= 0) this.#workers.splice(at, 1);
  }

  /** Returns after `stop`, when everything is answered. Throws what a request failed with. */
  async run(): Promise<void> {
    let lastMs = performance.now();
    let writes = 0;
    let reads = 0;
    while (!this.#isOver && this.#failure === undefined) {
      await sleep(tickMs);
      const nowMs = performance.now();
      const seconds = (nowMs - lastMs) / 1000;
      lastMs = nowMs;
      if (!this.#isUp()) continue;
      writes = Math.min(owedMax, writes + seconds * this.#rates.writesPerSecond);
      reads = Math.min(owedMax, reads + seconds * this.#rates.readsPerSecond);
      for (; writes >= 1; writes -= 1) this.#write();
      for (; reads >= 1; reads -= 1) this.#read();
    }
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure;
  }

  stop(): void {
    this.#isOver = true;
  }

  #write(): void {
    for (let look = 0; look < 2 * weightMax; look += 1) {
      const worker = this.#workers[below(this.#workers.length)];
      if (worker === undefined) return;
      const { volume, next, weight } = worker;
      if (!volume.isFree || Math.random() * weightMax > weight) continue;
      const { extent, isTrim } = next();
      this.#track(volume.write(extent, isTrim));
      return;
    }
  }

  #read(): void {
    const worker = this.#workers[below(this.#workers.length)];
    if (worker?.volume.isReadable !== true) return;
    const { volume } = worker;
    const count = Math.random() < 0.8 ? 1 : 16;
    this.#track(volume.read(anywhere(volume.journal.blockCount, count)));
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        this.#failure ??= toError(error);
      })
      .finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }
}
