/** Volumes of `bench day`: what each writes and reads, over a connection that comes back after every restart. */

import { sleep } from '../support/run.ts';
import type { DayAppliance } from './day-appliance.ts';
import { ConnectionLost, type DayDisk, Reconnecting, Refusal } from './day-disk.ts';
import { Latencies } from './day-latency.ts';
import { blockBytes, fillBlocks, type Journal, newStamps } from './day-oracle.ts';

export interface Extent {
  readonly first: number;
  readonly count: number;
}

/** What the volumes together have seen. */
export class DayTotals {
  readonly reads = new Latencies();
  readonly writes = new Latencies();
  readonly faults: string[] = [];
  bytesWritten = 0;
  /** Requests that a restart had to be waited for, and those that a full pool refused for a while. */
  interruptedCount = 0;
  refusedCount = 0;
  writeCount = 0;
  readCount = 0;

  fault(text: string): void {
    console.error(`FAULT: ${text}`);
    this.faults.push(text);
  }
}

const retryMs = 20;

/** A restart, or a pool that is full for a while. */
function isPassing(error: unknown): boolean {
  if (error instanceof ConnectionLost) return true;
  return error instanceof Refusal && error.reason !== 'other';
}

export interface DayVolumeParts {
  readonly name: string;
  readonly journal: Journal;
  readonly appliance: DayAppliance;
  readonly totals: DayTotals;
  readonly connect: () => Promise<DayDisk>;
}

export class DayVolume {
  readonly name: string;
  readonly journal: Journal;
  readonly #appliance: DayAppliance;
  readonly #totals: DayTotals;
  readonly #disk: Reconnecting<DayDisk>;
  #isWriting = false;
  #readsRunning = 0;
  #isPaused = false;
  #isGone = false;
  /** Ends when whoever has it for themselves has done with it. */
  #turn: Promise<void> = Promise.resolve();

  constructor({ name, journal, appliance, totals, connect }: DayVolumeParts) {
    this.name = name;
    this.journal = journal;
    this.#appliance = appliance;
    this.#totals = totals;
    this.#disk = new Reconnecting(connect, ({ isGone }) => isGone);
  }

  get isFree(): boolean {
    return !this.#isWriting && this.isReadable;
  }

  get isReadable(): boolean {
    return !this.#isPaused && !this.#isGone;
  }

  /** What the schedule does with the volume, one after the other; reads and writes go on beside it. */
  async alone(work: () => Promise<void>): Promise<void> {
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    try {
      await work();
    } finally {
      resolve();
    }
  }

  /** Writes new stamps, or trims; the volume must be free. Returns when it was answered, whatever happens meanwhile. */
  async write({ first, count }: Extent, isTrim: boolean): Promise<void> {
    const stamp = isTrim ? 0 : newStamps(count);
    const payload = Buffer.alloc(isTrim ? 0 : count * blockBytes);
    if (!isTrim) fillBlocks(payload, stamp);
    this.#isWriting = true;
    this.journal.issue(first, count, stamp);
    const offset = first * blockBytes;
    await this.#untilDone(this.#totals.writes, async (disk) => {
      if (isTrim) await disk.trim(offset, count * blockBytes);
      else await disk.write(offset, payload);
    });
    this.journal.answered();
    this.#isWriting = false;
    this.#totals.writeCount += 1;
    this.#totals.bytesWritten += payload.length;
  }

  /** Reads, and compares with what the volume may hold. */
  async read({ first, count }: Extent): Promise<void> {
    const { journal } = this;
    const before = journal.now;
    const state = journal.state(before);
    this.#readsRunning += 1;
    const data = await this.#untilDone(
      this.#totals.reads,
      async (disk) => await disk.read(first * blockBytes, count * blockBytes),
    );
    this.#readsRunning -= 1;
    if (data === undefined) return;
    const fault = journal.faultIn(data, first, { span: journal.until(before), state });
    if (fault !== undefined) this.#totals.fault(`${this.name}: ${fault}`);
    this.#totals.readCount += 1;
  }

  /** Nothing is under way when this returns, and nothing begins until `resume`. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    while (this.#isWriting || this.#readsRunning > 0) await sleep(1);
  }

  resume(): void {
    this.#isPaused = false;
  }

  /** The volume will be deleted: its connection ends. */
  async leave(): Promise<void> {
    await this.pause();
    this.#isGone = true;
    const disk = await this.#disk.last();
    disk?.close();
  }

  /** Repeats what a restart or a full pool cut off; undefined = the volume is gone. */
  async #untilDone<T>(
    latencies: Latencies,
    request: (disk: DayDisk) => Promise<T>,
  ): Promise<T | undefined> {
    let isDisturbed = false;
    const startedMs = performance.now();
    while (!this.#isGone) {
      try {
        const result = await request(await this.#disk.get());
        if (!isDisturbed) latencies.add(performance.now() - startedMs);
        return result;
      } catch (error) {
        if (!isPassing(error)) throw error;
        if (error instanceof Refusal && error.reason === 'full') this.#totals.refusedCount += 1;
        else if (!isDisturbed) this.#totals.interruptedCount += 1;
        isDisturbed = true;
        await this.#appliance.whenUp();
        await sleep(retryMs);
      }
    }
    return undefined;
  }
}
