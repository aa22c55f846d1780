/**
 * `bench snapshots`: what 10,000 snapshots of one volume cost. First each creation, timed at the engine's control socket
 * (so a little more than in the engine); then durable 4 KiB writes on that volume beside the same on a volume
 * without snapshots, in turns, so that drifts of the machine meet both.
 */
import path from 'node:path';
import { connectEngine } from '../../src/engine/client.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { Appliance } from '../support/appliance.ts';
import { jobs, runJob } from './jobs.ts';
import { preTouch } from './measure.ts';
import { writeResult } from './result-file.ts';
import { formatNumber, formatTable, median } from './table.ts';
import { segmentsReady } from './tidemark-server.ts';

export interface SnapshotBenchOptions {
  readonly count: number;
  readonly rounds: number;
  readonly seconds: number;
}

const sizeBytes = 1 << 30;
const batch = 32;
const goalRatio = 0.97;
const goalCreateMs = 1;

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

interface Creation {
  readonly eachMs: readonly number[];
  /** Per snapshot when `batch` of them are asked for at once. */
  readonly batchedMs: number;
}

/** Half of the snapshots one after another, half in batches that share their flush. */
async function createSnapshots(
  appliance: Appliance,
  volume: string,
  count: number,
): Promise<Creation> {
  const socket = path.join(appliance.dataFolder, 'run/main.sock');
  const engine = await connectEngine(socket, systemTimers);
  try {
    const eachMs: number[] = [];
    const single = Math.floor(count / 2);
    for (let index = 0; index < single; index += 1) {
      const startedMs = performance.now();
      await engine.call('snapshotCreate', { volume, name: `s${index}` });
      eachMs.push(performance.now() - startedMs);
    }
    const startedMs = performance.now();
    for (let first = single; first < count; first += batch) {
      const names = Array.from(
        { length: Math.min(batch, count - first) },
        (_, at) => `s${first + at}`,
      );
      await Promise.all(
        names.map(async (name) => await engine.call('snapshotCreate', { volume, name })),
      );
    }
    return { eachMs, batchedMs: (performance.now() - startedMs) / (count - single) };
  } finally {
    engine.close();
  }
}

export async function benchSnapshots(options: SnapshotBenchOptions): Promise<void> {
  const appliance = await Appliance.start();
  try {
    await appliance.volumeCreate('plain', sizeBytes);
    await appliance.volumeCreate('snapped', sizeBytes);
    const creation = await createSnapshots(appliance, 'snapped', options.count);
    const job = jobs.find((each) => each.name === '4k write QD32');
    if (job === undefined) throw new Error('no such job');
    const rates: Record<'plain' | 'snapped', number[]> = { plain: [], snapped: [] };
    for (let round = 0; round < options.rounds; round += 1) {
      // The order alternates too: whoever is second finds warmer memory.
      const order =
        round % 2 === 0 ? (['plain', 'snapped'] as const) : (['snapped', 'plain'] as const);
      for (const volume of order) {
        await preTouch();
        await segmentsReady(appliance);
        const target = { uri: appliance.uri(volume), source: '', seconds: options.seconds };
        rates[volume].push((await runJob(job, target)).rate);
      }
    }
    printResult(options, creation, rates);
  } finally {
    await appliance.remove();
  }
}

function printResult(
  options: SnapshotBenchOptions,
  creation: Creation,
  rates: Readonly<Record<'plain' | 'snapped', readonly number[]>>,
): void {
  const ratio = median(rates.snapped) / median(rates.plain);
  const eachMs = median(creation.eachMs);
  const rows = [
    [`${options.count} snapshots of one volume`, 'value', 'goal'],
    ['create, one at a time, ms (median)', eachMs.toFixed(3), `< ${goalCreateMs}`],
    ['create, one at a time, ms (p99)', percentile(creation.eachMs, 0.99).toFixed(3), ''],
    [`create, ${batch} at once, ms each`, creation.batchedMs.toFixed(3), ''],
    ['4k writes QD32 without snapshots, IO/s', formatNumber(median(rates.plain)), ''],
    ['4k writes QD32 with them, IO/s', formatNumber(median(rates.snapped)), ''],
    ['ratio', ratio.toFixed(3), `>= ${goalRatio}`],
  ];
  console.log(`\n${formatTable(rows)}\n`);
  const file = writeResult('snapshots', { options, creation, rates, ratio });
  console.log(`details: ${file}`);
}
