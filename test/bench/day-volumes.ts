/** Volumes of `bench day`: what each writes and reads, over a connection of its own that comes back after every restart. */

import { sleep } from '../support/run.ts';
import type { DayAppliance } from './day-appliance.ts';
import { Latencies } from './day-latency.ts';
import { ConnectionLost, NbdRefusal, NbdSession } from './day-nbd.ts';
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
/** Errors of NBD. */
const noSpace = 28;
const shuttingDown = 108;

/** A restart, or a pool that is full for a while. */
function isPassing(error: unknown): boolean {
  if (error instanceof ConnectionLost) return true;
  if (!(error instanceof NbdRefusal)) return false;
  return error.code === noSpace || error.code === shuttingDown;
}

export class DayVolume {
  readonly name: string;
  readonly journal: Journal;
  readonly #appliance: DayAppliance;
  readonly #totals: DayTotals;
  #session: Promise<NbdSession> | undefined;
  #isWriting = false;
  #isPaused = false;
  #isGone = false;

  constructor(name: string, journal: Journal, appliance: DayAppliance, totals: DayTotals) {
    this.name = name;
    this.journal = journal;
    this.#appliance = appliance;
    this.#totals = totals;
  }

  get isFree(): boolean {
    return !this.#isWriting && !this.#isPaused && !this.#isGone;
  }

  /** Writes new stamps, or trims; the volume must be free. Returns when it was answered, whatever happens meanwhile. */
  async write({ first, count }: Extent, isTrim: boolean): Promise<void> {
    const stamp = isTrim ? 0 : newStamps(count);
    const payload = Buffer.alloc(isTrim ? 0 : count * blockBytes);
    if (!isTrim) fillBlocks(payload, stamp);
    this.#isWriting = true;
    this.journal.issue(first, count, stamp);
    const offset = first * blockBytes;
    await this.#untilDone(this.#totals.writes, async (session) => {
      if (isTrim) await session.trim(offset, count * blockBytes);
      else await session.write(offset, payload);
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
    const data = await this.#untilDone(
      this.#totals.reads,
      async (session) => await session.read(first * blockBytes, count * blockBytes),
    );
    if (data === undefined) return;
    const fault = journal.faultIn(data, first, { span: journal.until(before), state });
    if (fault !== undefined) this.#totals.fault(`${this.name}: ${fault}`);
    this.#totals.readCount += 1;
  }

  /** No write is under way when this returns, and none begins until `resume`. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    while (this.#isWriting) await sleep(1);
  }

  resume(): void {
    this.#isPaused = false;
  }

  /** The volume will be deleted: its connection ends. */
  async leave(): Promise<void> {
    await this.pause();
    this.#isGone = true;
    const session = await this.#session?.catch(() => undefined);
    session?.close();
  }

  /** Repeats what a restart or a full pool cut off; undefined = the volume is gone. */
  async #untilDone<T>(
    latencies: Latencies,
    request: (session: NbdSession) => Promise<T>,
  ): Promise<T | undefined> {
    let isDisturbed = false;
    const startedMs = performance.now();
    while (!this.#isGone) {
      try {
        const result = await request(await this.#connected());
        if (!isDisturbed) latencies.add(performance.now() - startedMs);
        return result;
      } catch (error) {
        if (!isPassing(error)) throw error;
        if (error instanceof NbdRefusal && error.code === noSpace) this.#totals.refusedCount += 1;
        else if (!isDisturbed) this.#totals.interruptedCount += 1;
        isDisturbed = true;
        await this.#appliance.whenUp();
        await sleep(retryMs);
      }
    }
    return undefined;
  }

  async #connected(): Promise<NbdSession> {
    const before = this.#session;
    const known = await before?.catch(() => undefined);
    if (known?.isGone === false) return known;
    // A read and a write may find out at once; one of them connects.
    const now = this.#session;
    if (now !== undefined && now !== before) return await now;
    this.#session = NbdSession.open(this.#appliance.nbdSocket, this.name);
    return await this.#session;
  }
}
