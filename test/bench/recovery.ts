/**
 * `bench recovery`: how long it takes after kill -9 of engine and daemon until a client reads again, how long the engine of that to
 * open the pool, and what memory it then holds, per GiB of log;
 * then how long a view of an old moment takes to make on the pool that was just opened.
 * Two shapes of log: random 4 KiB writes (the most entries a log can have) and 1 MiB writes (the fewest).
 */
import fs from 'node:fs';
import path from 'node:path';
import { connectEngine } from '../../src/engine/client.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { Appliance } from '../support/appliance.ts';
import { sleep } from '../support/run.ts';
import { NbdSession } from './day-nbd.ts';
import { type Job, jobs, runJob } from './jobs.ts';
import { preTouch } from './measure.ts';
import { writeResult } from './result-file.ts';
import { formatTable, median } from './table.ts';

export interface RecoveryBenchOptions {
  readonly rounds: number;
  /** GiB of log to write for each shape. */
  readonly logGiB: number;
}

interface Recovered {
  readonly logGiB: number;
  /** Reported by the engine: open, replay and all. */
  readonly openMs: number;
  /** From starting the daemon to the first block read over NBD. */
  readonly ioMs: number;
  /** From starting the daemon to the first answer of its API. */
  readonly serveMs: number;
  readonly residentMiB: number;
  readonly mapMiB: number;
  /** A view of the moment before the log was filled: at the engine's control socket; undefined for the empty pool. */
  readonly viewMs: number | undefined;
  /** Index runs on disk. */
  readonly runMiB: number;
}

const gibi = 2 ** 30;
const mebi = 2 ** 20;
const volume = 'bench';
const volumeSizeBytes = 8 * gibi;
const slice = 2;
const oldSnapshot = 'old';
/** How often a client tries to connect. */
const retryMs = 2;
const ioWithinMs = 60_000;
const block = 4096;

function residentMiB(pid: number): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
}

/** Makes a view of the old snapshot and deletes it again. */
async function timeView(appliance: Appliance): Promise<number> {
  const engine = await connectEngine(
    path.join(appliance.dataFolder, 'run/main.sock'),
    systemTimers,
  );
  try {
    const startedMs = performance.now();
    await engine.call('viewCreate', { source: volume, name: 'old', at: `snapshot:${oldSnapshot}` });
    const viewMs = performance.now() - startedMs;
    await engine.call('viewDelete', { name: 'old', force: true });
    return viewMs;
  } finally {
    engine.close();
  }
}

function runMiB(appliance: Appliance): number {
  const folder = path.join(appliance.dataFolder, 'pools/main/runs');
  if (!fs.existsSync(folder)) return 0;
  const sizes = fs.readdirSync(folder).map((name) => fs.statSync(path.join(folder, name)).size);
  return sizes.reduce((total, size) => total + size, 0) / mebi;
}

async function fill(appliance: Appliance, job: Job, bytes: number): Promise<void> {
  const target = { uri: appliance.uri(volume), source: '', seconds: slice };
  const before = (await appliance.pool()).usedBytes;
  while ((await appliance.pool()).usedBytes - before < bytes) await runJob(job, target);
}

/** Reads one block as soon as somebody answers. */
async function firstRead(socketPath: string, endMs: number): Promise<void> {
  for (;;) {
    try {
      const session = await NbdSession.open(socketPath, volume);
      await session.read(volumeSizeBytes / 2, block);
      session.close();
      return;
    } catch (thrown) {
      if (performance.now() > endMs) throw thrown;
      await sleep(retryMs);
    }
  }
}

/** Kills daemon and engine as a whole and times the way back. */
async function crashAndReturn(appliance: Appliance, isFilled: boolean): Promise<Recovered> {
  const enginePid = await appliance.enginePid();
  // First who would start another engine.
  await appliance.killDaemon();
  await appliance.killEngine(enginePid);
  const startedMs = performance.now();
  const passedMs = (): number => performance.now() - startedMs;
  const [ioMs, serveMs] = await Promise.all([
    firstRead(appliance.nbdSocket, startedMs + ioWithinMs).then(passedMs),
    appliance.restart().then(passedMs),
  ]);
  const pool = await appliance.pool();
  return {
    logGiB: pool.recovery.logBytes / gibi,
    openMs: pool.recovery.durationMs,
    ioMs,
    serveMs,
    residentMiB: residentMiB(pool.engine.pid),
    mapMiB: pool.mapBytes / mebi,
    viewMs: isFilled ? await timeView(appliance) : undefined,
    runMiB: runMiB(appliance),
  };
}

async function rounds(
  appliance: Appliance,
  { count, isFilled }: { readonly count: number; readonly isFilled: boolean },
): Promise<Recovered[]> {
  const found: Recovered[] = [];
  for (let round = 0; round < count; round += 1) {
    found.push(await crashAndReturn(appliance, isFilled));
  }
  return found;
}

async function measureShape(
  name: string,
  options: RecoveryBenchOptions,
): Promise<readonly Recovered[]> {
  const base = jobs.find((each) => each.name === name);
  if (base?.fio === undefined) throw new Error(`no such job: ${name}`);
  const job = { ...base, fio: [...base.fio, `--size=${volumeSizeBytes}`] };
  const appliance = await Appliance.start();
  try {
    await appliance.volumeCreate(volume, volumeSizeBytes);
    const isFilled = options.logGiB > 0;
    if (isFilled) {
      await appliance.snapshotCreate(volume, oldSnapshot);
      await fill(appliance, job, options.logGiB * gibi);
    }
    await preTouch();
    return await rounds(appliance, { count: options.rounds, isFilled });
  } finally {
    await appliance.remove();
  }
}

function summary(name: string, found: readonly Recovered[], empty: readonly Recovered[]): string[] {
  const of = (pick: (each: Recovered) => number): number => median(found.map(pick));
  const ofEmpty = (pick: (each: Recovered) => number): number => median(empty.map(pick));
  const logGiB = of((each) => each.logGiB);
  const perGiB = (pick: (each: Recovered) => number): string =>
    ((of(pick) - ofEmpty(pick)) / logGiB).toFixed(0);
  return [
    name,
    logGiB.toFixed(2),
    of((each) => each.openMs).toFixed(0),
    of((each) => each.ioMs).toFixed(0),
    of((each) => each.serveMs).toFixed(0),
    of((each) => each.residentMiB).toFixed(0),
    ...(found === empty
      ? ['-', '-', '-', '-', '-']
      : [
          perGiB((each) => each.openMs),
          perGiB((each) => each.residentMiB),
          perGiB((each) => each.runMiB),
          of((each) => each.viewMs ?? 0).toFixed(1),
          // Of the pool as it was opened: warm-up fills maps afterwards.
          of((each) => each.mapMiB).toFixed(0),
        ]),
  ];
}

export async function benchRecovery(options: RecoveryBenchOptions): Promise<void> {
  const empty = await measureShape('4k write QD32', { ...options, logGiB: 0 });
  const random = await measureShape('4k write QD32', options);
  const sequential = await measureShape('1m write QD4', options);
  const head = [
    'log',
    'GiB',
    'open ms',
    'first I/O ms',
    'API ms',
    'RSS MiB',
    'ms/GiB',
    'RSS MiB/GiB',
    'runs MiB/GiB',
    'old view ms',
    'map MiB',
  ];
  const rows = [
    head,
    summary('empty pool', empty, empty),
    summary('random 4 KiB writes', random, empty),
    summary('1 MiB writes', sequential, empty),
  ];
  console.log(`\n${formatTable(rows)}\n`);
  console.log(
    'after kill -9 of engine and daemon, page cache warm; medians; per GiB = above the empty pool',
  );
  console.log(`details: ${writeResult('recovery', { options, empty, random, sequential })}`);
}
