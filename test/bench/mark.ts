/**
 * `bench mark`: how long a pass of the liveness mark takes per GiB of log of random 4 KiB writes (the most entries a log can
 * have), what memory it takes, and how long the main thread is held up: with everything kept, and when only snapshots are.
 */
import fs from 'node:fs';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type BlockDevice, IoKind, IoRequest, IoStatus } from '../../src/device/block-device.ts';
import { startCommitThread } from '../../src/engine/commit-start.ts';
import { productionHost } from '../../src/engine/pool-host.ts';
import { systemClock } from '../../src/host/clock.ts';
import { AckMode } from '../../src/volume/catalogue/records.ts';
import { HorizonReason } from '../../src/volume/catalogue/retention-records.ts';
import { defaultSettings } from '../../src/volume/limits.ts';
import type { LiveSet } from '../../src/volume/liveness/live-set.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { openPool } from '../../src/volume/pool-open.ts';
import { sleep } from '../support/run.ts';
import { ask } from '../unit/volume/pool-world.ts';
import { writeResult } from './result-file.ts';
import { formatTable, median } from './table.ts';

export interface MarkBenchOptions {
  readonly rounds: number;
  readonly logGiB: number;
  readonly folder: string;
}

interface Pass {
  readonly ms: number;
  /** Peak above what the process took before. */
  readonly residentMiB: number;
  readonly longestTurnMs: number;
  readonly judgedGiB: number;
  readonly livePart: number;
}

const gibi = 2 ** 30;
const mebi = 2 ** 20;
const blockBytes = 4096;
const volume = 'bench';
const volumeBlocks = (256 * mebi) / blockBytes;
const inFlight = 128;
const snapshotCount = 4;
const sampleMs = 2;

/** Writes `count` random blocks. */
async function writeRandomly(pool: Pool, device: BlockDevice, count: number): Promise<void> {
  const bytes = new Uint8Array(blockBytes).fill(7);
  let begun = 0;
  const lane = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      const offset = Math.floor(Math.random() * volumeBlocks) * blockBytes;
      const payload = pool.staging.allocate(offset, blockBytes);
      if (payload === undefined) throw new Error('no room in staging');
      payload.fill(0, bytes, 0, blockBytes);
      const status = await new Promise<IoStatus>((resolve) => {
        const request = new IoRequest((finished) => {
          resolve(finished.status);
        });
        Object.assign(request, { kind: IoKind.write, offset, length: blockBytes, payload });
        device.submit(request);
      });
      if (status !== IoStatus.ok) throw new Error(`a write was answered with ${status}`);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}

async function filledPool(folder: string, logGiB: number): Promise<Pool> {
  const quiet = { info: () => undefined, warn: console.warn, error: console.error };
  const clocks = { clock: systemClock, logClock: systemClock };
  const commit = startCommitThread();
  commit.findFiles(folder);
  const host = productionHost({ folder, log: quiet, clocks, commit }, (error) => {
    throw error;
  });
  const { pool } = await ask((done: Parameters<typeof openPool>[2]) => {
    const options = {
      name: 'main',
      settings: {
        ...defaultSettings,
        manifestPath: path.join(folder, 'manifest.db'),
        scrubBytesPerSecond: 0,
        retentionStepMs: 100,
      },
      capacityBytes: logGiB * 4 * gibi,
      pageCacheBytes: gibi,
      onFailed: (message: string) => {
        throw new Error(message);
      },
    };
    openPool(host, options, done);
  });
  await ask((done: Parameters<Pool['volumeCreate']>[1]) => {
    const sizeBytes = volumeBlocks * blockBytes;
    pool.volumeCreate({ name: volume, sizeBytes, ack: AckMode.writeBack }, done);
  });
  const device = pool.volumeOpen(volume);
  const blocks = (logGiB * gibi) / blockBytes;
  for (let index = 0; index < snapshotCount; index += 1) {
    await writeRandomly(pool, device, Math.ceil(blocks / snapshotCount));
    await ask((done: Parameters<Pool['snapshotCreate']>[1]) => {
      pool.snapshotCreate([{ volume, name: `s${index}` }], done);
    });
  }
  return pool;
}

async function timeMark(pool: Pool): Promise<Pass> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const before = process.memoryUsage.rss();
  let peak = before;
  const sampler = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, sampleMs);
  delay.enable();
  const startedMs = performance.now();
  const live = await ask((done: Parameters<Pool['mark']['run']>[0]) => {
    pool.mark.run(done);
  });
  const ms = performance.now() - startedMs;
  delay.disable();
  clearInterval(sampler);
  const { judgedBlocks, liveBlocks } = blocksOf(live);
  return {
    ms,
    residentMiB: (peak - before) / mebi,
    longestTurnMs: delay.max / 1e6,
    judgedGiB: (judgedBlocks * blockBytes) / gibi,
    livePart: liveBlocks / judgedBlocks,
  };
}

function blocksOf(live: LiveSet): { readonly judgedBlocks: number; readonly liveBlocks: number } {
  const { segIds } = live;
  const liveBlocks = segIds.reduce((total, segId) => total + live.liveBlocks(segId), 0);
  return { judgedBlocks: segIds.length * defaultSettings.segmentSlots, liveBlocks };
}

async function passes(pool: Pool, rounds: number): Promise<Pass[]> {
  const found: Pass[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await sleep(500);
    found.push(await timeMark(pool));
  }
  return found;
}

function summary(name: string, found: readonly Pass[]): string[] {
  const of = (pick: (each: Pass) => number): number => median(found.map(pick));
  const gib = of((each) => each.judgedGiB);
  return [
    name,
    gib.toFixed(2),
    `${(of((each) => each.livePart) * 100).toFixed(0)} %`,
    of((each) => each.ms).toFixed(0),
    (of((each) => each.ms) / gib).toFixed(0),
    of((each) => each.residentMiB).toFixed(0),
    of((each) => each.longestTurnMs).toFixed(1),
  ];
}

export async function benchMark({ rounds, logGiB, folder }: MarkBenchOptions): Promise<void> {
  const place = fs.mkdtempSync(path.join(folder, 'tidemark-mark-'));
  try {
    const pool = await filledPool(place, logGiB);
    // The last index runs are made.
    await sleep(2000);
    const all = await passes(pool, rounds);
    await ask((done: Parameters<Pool['retention']['advanceHorizon']>[1]) => {
      const reason = HorizonReason.age;
      pool.retention.advanceHorizon({ volume, keepMs: -60_000, reason }, done);
    });
    const snapshots = await passes(pool, rounds);
    const head = ['kept', 'GiB judged', 'live', 'ms', 'ms/GiB', 'RSS MiB', 'longest turn ms'];
    const rows = [
      head,
      summary('every moment', all),
      summary(`present and ${snapshotCount} snapshots`, snapshots),
    ];
    console.log(`\n${formatTable(rows)}\n`);
    console.log(
      'random 4 KiB writes; live = of all slots, headers included; RSS = peak above before',
    );
    console.log(`details: ${writeResult('mark', { rounds, logGiB, all, snapshots })}`);
    await new Promise<void>((resolve) => {
      pool.close(resolve);
    });
  } finally {
    fs.rmSync(place, { recursive: true, force: true });
  }
}
