/**
 * A real pool for `bench cleaner`: log, mark, cleaner and packing as they are, on a disk in memory and in virtual time, with one
 * volume of which nothing but the present is kept. Segments have 512 blocks, as in the reference.
 *
 *     present(V) ───────────── V / utilisation ──────── + headers, footers, runs ─── hard limit
 *
 * Utilisation = what lives / space of the log. What the reference does not have (headers, footers, index runs) gets room of
 * its own: the capacity is set again as they grow, so that data always has the same space.
 */
import path from 'node:path';
import { present } from '../../src/base/assert.ts';
import type { Outcome } from '../../src/base/errors.ts';
import { type BlockDevice, IoKind, IoRequest, IoStatus } from '../../src/device/block-device.ts';
import { AckMode } from '../../src/volume/catalogue/records.ts';
import { slotSizeBytes } from '../../src/volume/format/address.ts';
import { defaultSettings } from '../../src/volume/limits.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { openPool } from '../../src/volume/pool-open.ts';
import { SeededRandom } from '../sim/random.ts';
import { Scheduler } from '../sim/scheduler.ts';
import { inlineHost } from '../support/inline-host.ts';
import { SparseDisk } from './sparse-disk.ts';

const segmentBlocks = 512;
/** A sixteenth of 40 MiB/s, as segments are a sixteenth of 32 MiB: what the pool does by the clock keeps its proportions. */
const blocksPerSecond = 640;
/** Writes that a client has in flight. */
const batchBlocks = 256;
const eventsMax = 10_000_000;
/** A write that is refused comes again; after so many seconds in turn the pool counts as full. */
const retryMs = 1000;
const retriesMax = 300;
const volume = 'bench';
/** Space beside that of the data: hard limit = 0.95 of the capacity. */
const hardShare = 0.95;
/** Half-written tail, and what the log gets between two marks. */
const slackSegments = 4;

/** Everything counted in blocks of 4 KiB, since the pool was made. */
interface CleanerCounts {
  /** Data that clients wrote, and data that was copied into packs. */
  readonly written: number;
  readonly copied: number;
  /** Pages of any file but prepared zeros. */
  readonly pages: number;
}

/** How the pool stands now, in bytes. */
export interface CleanerSpace {
  readonly dataBytes: number;
  readonly otherBytes: number;
  readonly runBytes: number;
}

interface CleanerPoolOptions {
  /** Blocks of the volume, and which part of the log's space they are. */
  readonly blockCount: number;
  readonly utilisation: number;
  /** For the manifest, which is not on the disk in memory. */
  readonly folder: string;
}

export class PoolFull extends Error {
  override readonly name = 'PoolFull';
}

export class CleanerPool {
  readonly #blockCount: number;
  readonly #utilisation: number;
  readonly #block = new Uint8Array(slotSizeBytes).fill(7);
  readonly #scheduler = new Scheduler(new SeededRandom(1));
  readonly #disk: SparseDisk;
  readonly #pool: Pool;
  readonly #device: BlockDevice;
  readonly #free: IoRequest[] = [];
  #inFlight = 0;
  #refused: number[] = [];
  #written = 0;

  constructor({ blockCount, utilisation, folder }: CleanerPoolOptions) {
    this.#blockCount = blockCount;
    this.#utilisation = utilisation;
    this.#disk = new SparseDisk(this.#block, (action) => {
      this.#scheduler.post('pool', action);
    });
    const host = inlineHost('', this.#disk, { clock: this.#scheduler, timers: this.#scheduler });
    const { pool } = this.#ask((done: Parameters<typeof openPool>[2]) => {
      openPool(
        host,
        {
          name: 'main',
          settings: {
            ...defaultSettings,
            segmentSlots: segmentBlocks,
            stagingBytes: 16 * 2 ** 20,
            scrubBytesPerSecond: 0,
            retentionStepMs: 1000,
            cleaner: 'auto',
            manifestPath: path.join(folder, 'manifest.db'),
          },
          capacityBytes: this.#capacityBytes(0),
          pageCacheBytes: 2 ** 30,
          onFailed: (message) => {
            throw new Error(message);
          },
        },
        done,
      );
    });
    this.#pool = pool;
    this.#ask((done: Parameters<Pool['volumeCreate']>[1]) => {
      const sizeBytes = blockCount * slotSizeBytes;
      const policy = { windowMs: 0, windowBytes: undefined, tiers: [] };
      pool.volumeCreate({ name: volume, sizeBytes, ack: AckMode.writeBack, policy }, done);
    });
    this.#device = pool.volumeOpen(volume);
  }

  /** Writes `count` blocks that `next` names. Throws PoolFull when the pool takes no more. */
  write(count: number, next: () => number): void {
    for (let left = count; left > 0; left -= batchBlocks) {
      for (let each = Math.min(left, batchBlocks); each > 0; each -= 1) this.#submit(next());
      this.#settle();
      this.#written += Math.min(left, batchBlocks);
      this.#pass((batchBlocks / blocksPerSecond) * 1000);
    }
    this.#adjust();
  }

  get counts(): CleanerCounts {
    const folders = ['segments', 'packs', 'runs'].map((each) => this.#disk.writtenTo(each));
    const pages = folders.reduce((total, { data, other }) => total + data + other, 0);
    return { written: this.#written, copied: this.#disk.writtenTo('packs').data, pages };
  }

  space(): CleanerSpace {
    const { segmentBytes, packBytes, runBytes } = this.#pool.space().stored;
    const otherBytes = this.#otherBytes();
    const dataBytes = segmentBytes + packBytes + runBytes - otherBytes;
    return { dataBytes, otherBytes, runBytes };
  }

  close(): void {
    let isClosed = false;
    this.#pool.close(() => {
      isClosed = true;
    });
    this.#scheduler.runUntil(() => isClosed, eventsMax, 'the pool to close');
    this.#scheduler.clear();
  }

  #submit(block: number): void {
    const request =
      this.#free.pop() ??
      new IoRequest((finished) => {
        this.#inFlight -= 1;
        if (finished.status === IoStatus.noSpace) {
          this.#refused.push(finished.offset / slotSizeBytes);
        } else if (finished.status !== IoStatus.ok) {
          throw new Error(`a write was answered with ${finished.status}`);
        }
        this.#free.push(finished);
      });
    const offset = block * slotSizeBytes;
    const payload = present(this.#pool.staging.allocate(offset, slotSizeBytes), 'room in staging');
    payload.fill(0, this.#block, 0, slotSizeBytes);
    this.#inFlight += 1;
    Object.assign(request, { kind: IoKind.write, offset, length: slotSizeBytes, payload });
    this.#device.submit(request);
  }

  /** Waits for all answers; what was refused is written again. */
  #settle(): void {
    for (let retries = 0; ; retries += 1) {
      this.#scheduler.runUntil(() => this.#inFlight === 0, eventsMax, 'writes');
      if (this.#refused.length === 0) return;
      if (retries === retriesMax) throw new PoolFull('the pool takes no more');
      this.#adjust();
      this.#pass(retryMs);
      for (const block of this.#refused.splice(0)) this.#submit(block);
    }
  }

  #pass(elapsedMs: number): void {
    let isOver = false;
    this.#scheduler.after(elapsedMs, () => {
      isOver = true;
    });
    this.#scheduler.runUntil(() => isOver, eventsMax, 'time to pass');
  }

  /** Headers, footers and runs, and what else is not data. */
  #otherBytes(): number {
    const { segmentBytes, packBytes, runBytes } = this.#pool.space().stored;
    const { data, other } = this.#disk.writtenTo('segments');
    const packOther = packBytes - this.#disk.dataPagesOf('packs') * slotSizeBytes;
    return (segmentBytes * other) / Math.max(1, data + other) + packOther + runBytes;
  }

  #capacityBytes(otherBytes: number): number {
    const dataBytes = (this.#blockCount / this.#utilisation) * slotSizeBytes;
    const slackBytes = slackSegments * segmentBlocks * slotSizeBytes;
    return Math.ceil((dataBytes + otherBytes + slackBytes) / hardShare);
  }

  /** The capacity follows what is not data. One that is refused is too small for what is there: the cleaner is behind. */
  #adjust(): void {
    const capacityBytes = this.#capacityBytes(this.#otherBytes());
    let isOver = false;
    this.#pool.settings.resize(capacityBytes, () => {
      isOver = true;
    });
    this.#scheduler.runUntil(() => isOver, eventsMax, 'the new capacity');
  }

  #ask<T>(call: (done: (outcome: Outcome<T>) => void) => void): T {
    let outcome: Outcome<T> | undefined;
    call((answer) => {
      outcome = answer;
    });
    this.#scheduler.runUntil(() => outcome !== undefined, eventsMax, 'an answer');
    const answered = present<Outcome<T>>(outcome, 'an answer');
    if (!answered.ok) throw answered.error;
    return answered.value;
  }
}
