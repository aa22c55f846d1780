/**
 * `bench snapshots`: what 10,000 snapshots of one volume cost. First each creation, timed at the engine's control socket
 * (so a little more than in the engine); then durable 4 KiB writes on that volume beside the same on a volume
 * without snapshots, in turns, so that drifts of the machine meet both; last the first write to a part of the map that
 * a snapshot shares, beside the writes that follow it there.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
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
const firstWriteSizeBytes = 64 << 20;
const batch = 32;
const goalRatio = 0.97;
const goalCreateMs = 1;
const goalFirstWrite = 1.03;
const firstWriteRounds = 1000;

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

/** Microseconds of single writes. */
interface FirstWrites {
  readonly first: readonly number[];
  readonly later: readonly number[];
}

async function timeFirstWrites(appliance: Appliance, volume: string): Promise<FirstWrites> {
  const script = path.join(import.meta.dirname, 'first-write.py');
  const args = [script, appliance.uri(volume), String(firstWriteRounds)];
  const child = spawn('/usr/bin/python3', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  let count = 0;
  for await (const line of readline.createInterface({ input: child.stdout })) {
    if (line !== 'snapshot') return JSON.parse(line) as FirstWrites;
    count += 1;
    await appliance.snapshotCreate(volume, `first${count}`);
    child.stdin.write('\n');
  }
  throw new Error('the writer ended without a result');
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
    await appliance.volumeCreate('first', firstWriteSizeBytes);
    const firstWrites = await timeFirstWrites(appliance, 'first');
    printResult(options, creation, rates, firstWrites);
  } finally {
    await appliance.remove();
  }
}

function printResult(
  options: SnapshotBenchOptions,
  creation: Creation,
  rates: Readonly<Record<'plain' | 'snapped', readonly number[]>>,
  firstWrites: FirstWrites,
): void {
  const ratio = median(rates.snapped) / median(rates.plain);
  const eachMs = median(creation.eachMs);
  const firstWriteRatio = median(firstWrites.first) / median(firstWrites.later);
  const rows = [
    [`${options.count} snapshots of one volume`, 'value', 'goal'],
    ['create, one at a time, ms (median)', eachMs.toFixed(3), `< ${goalCreateMs}`],
    ['create, one at a time, ms (p99)', percentile(creation.eachMs, 0.99).toFixed(3), ''],
    [`create, ${batch} at once, ms each`, creation.batchedMs.toFixed(3), ''],
    ['4k writes QD32 without snapshots, IO/s', formatNumber(median(rates.plain)), ''],
    ['4k writes QD32 with them, IO/s', formatNumber(median(rates.snapped)), ''],
    ['ratio', ratio.toFixed(3), `>= ${goalRatio}`],
    ['first write after a snapshot, us (median)', median(firstWrites.first).toFixed(0), ''],
    ['those that follow, us (median)', median(firstWrites.later).toFixed(0), ''],
    ['ratio', firstWriteRatio.toFixed(3), `<= ${goalFirstWrite}`],
  ];
  console.log(`\n${formatTable(rows)}\n`);
  const file = writeResult('snapshots', { options, creation, rates, ratio, firstWrites });
  console.log(`details: ${file}`);
}
