/**
 * `bench nbd`: tidemark beside other NBD servers in one run, on one file system, with one client.
 *
 *     for each round, for each server:  start ─▶ each job, memory touched before those that write ─▶ stop
 *     per job and server: the median of the rounds; per goal: tidemark's ratio to the best peer it names
 *
 * Servers take turns within a round, so slow drifts of the machine meet all of them. Everything is told in a table and
 * in out/nbd-TIME.json.
 */
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { run } from '../support/run.ts';
import { goals } from './goals.ts';
import { type Job, jobs } from './jobs.ts';
import { deviceSizeBytes, foreignShareMax } from './limits.ts';
import { preTouch, type Sample, sample } from './measure.ts';
import { type BenchPlace, peers, type ServerKind } from './peers.ts';
import { writeResult } from './result-file.ts';
import { formatNumber, formatTable, median } from './table.ts';
import { tidemarkServer } from './tidemark-server.ts';

export interface NbdBenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly isTcp: boolean;
  /** Folder to measure in; the default is the temporary folder. */
  readonly folder: string;
  /** Only servers whose name contains one of these; empty = all. */
  readonly only: readonly string[];
}

interface ServerResult {
  readonly kind: ServerKind;
  readonly samplesByJob: Map<string, Sample[]>;
  /** Why a round failed; absent when all went well. */
  failure?: string;
}

const temporaryFileSystem = 0x0102_1994;

async function freePort(): Promise<number> {
  const server = net.createServer();
  const { promise, resolve } = Promise.withResolvers<number>();
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    resolve(typeof address === 'object' && address !== null ? address.port : 0);
  });
  const port = await promise;
  server.close();
  return port;
}

/** Random bytes as large as the device, made without holding them in memory. */
async function makeSource(folder: string): Promise<string> {
  const file = path.join(folder, 'source.raw');
  const mebi = String(deviceSizeBytes >> 20);
  await run('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', `count=${mebi}`, 'status=none']);
  return file;
}

async function runRound(result: ServerResult, place: BenchPlace, seconds: number): Promise<void> {
  const server = await result.kind.start(place);
  try {
    const target = { uri: server.uri, source: place.source, seconds };
    for (const job of jobs) {
      await server.settle?.();
      if (job.writes) await preTouch();
      const measured = await sample(job, target, server.pids);
      const known = result.samplesByJob.get(job.name) ?? [];
      known.push(measured);
      result.samplesByJob.set(job.name, known);
    }
  } finally {
    await server.stop();
  }
}

function rateOf(result: ServerResult, job: string): number {
  return median((result.samplesByJob.get(job) ?? []).map((each) => each.rate));
}

/** A figure with a mark when every try was disturbed by other programs. */
function cell(result: ServerResult, job: Job): string {
  const samples = result.samplesByJob.get(job.name) ?? [];
  if (samples.length === 0) return '-';
  const isNoisy = median(samples.map((each) => each.foreignShare)) > foreignShareMax;
  return formatNumber(rateOf(result, job.name)) + (isNoisy ? '~' : ' ');
}

function costCell(result: ServerResult, job: string): string {
  const samples = result.samplesByJob.get(job) ?? [];
  if (samples.length === 0) return '-';
  return median(samples.map((each) => each.serverUsPerOperation)).toFixed(1);
}

function ratesTable(results: readonly ServerResult[]): string {
  const head = ['server', 'acknowledges', ...jobs.map((job) => job.name)];
  const units = ['', '', ...jobs.map((job) => job.unit)];
  const rows = results.map((result) => [
    result.kind.name,
    result.kind.acknowledges,
    ...jobs.map((job) => cell(result, job)),
  ]);
  return formatTable([head, units, ...rows]);
}

function costTable(results: readonly ServerResult[]): string {
  const fioJobs = jobs.filter((job) => job.fio !== undefined);
  const head = ['server CPU per operation, µs', ...fioJobs.map((job) => job.name)];
  const rows = results.map((result) => [
    result.kind.name,
    ...fioJobs.map((job) => costCell(result, job.name)),
  ]);
  return formatTable([head, ...rows]);
}

interface GoalOutcome {
  readonly job: string;
  readonly against: string;
  readonly ratio: number;
  readonly ratioMin: number;
  readonly isReached: boolean;
}

function goalOutcomes(results: readonly ServerResult[]): GoalOutcome[] {
  const ours = results.find((result) => result.kind === tidemarkServer);
  if (ours === undefined) return [];
  return goals.map((goal) => {
    const rates = results
      .filter((each) => each !== ours && goal.isPeer(each.kind.name, each.kind.acknowledges))
      .map((each) => rateOf(each, goal.job))
      .filter((rate) => !Number.isNaN(rate));
    const ratio = rates.length === 0 ? Number.NaN : rateOf(ours, goal.job) / Math.max(...rates);
    const { job, against, ratioMin } = goal;
    return { job, against, ratio, ratioMin, isReached: ratio >= ratioMin };
  });
}

function verdictOf(outcome: GoalOutcome): string {
  if (Number.isNaN(outcome.ratio)) return 'not measured';
  return outcome.isReached ? 'reached' : 'MISSED';
}

function goalsTable(outcomes: readonly GoalOutcome[]): string {
  const rows = outcomes.map((outcome) => [
    outcome.job,
    outcome.against,
    outcome.ratio.toFixed(2),
    outcome.ratioMin.toFixed(1),
    verdictOf(outcome),
  ]);
  return formatTable([['tidemark, durable', 'against', 'ratio', 'goal', ''], ...rows]);
}

function detailsOf(results: readonly ServerResult[]): unknown[] {
  return results.map((result) => ({
    name: result.kind.name,
    acknowledges: result.kind.acknowledges,
    failure: result.failure,
    jobs: Object.fromEntries(
      [...result.samplesByJob].map(([job, samples]) => [
        job,
        { median: rateOf(result, job), samples },
      ]),
    ),
  }));
}

export async function benchNbd(options: NbdBenchOptions): Promise<void> {
  const folder = fs.mkdtempSync(path.join(options.folder, 'tidemark-bench-'));
  if (fs.statfsSync(folder).type === temporaryFileSystem) {
    throw new Error(`${folder} is in memory: choose a folder on a disk with --folder`);
  }
  const chosen = [tidemarkServer, ...peers].filter(
    (kind) => options.only.length === 0 || options.only.some((part) => kind.name.includes(part)),
  );
  const results: ServerResult[] = chosen.map((kind) => ({ kind, samplesByJob: new Map() }));
  try {
    const source = await makeSource(folder);
    const place = { folder, source, isTcp: options.isTcp, port: await freePort() };
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const result of results) {
        console.error(`round ${round} of ${options.rounds}: ${result.kind.name}`);
        await runRound(result, place, options.seconds).catch((error: unknown) => {
          result.failure = String(error);
          console.error(result.failure);
        });
      }
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  console.log(`\n${ratesTable(results)}\n\n${costTable(results)}\n`);
  const outcomes = goalOutcomes(results);
  if (outcomes.length > 0) console.log(`${goalsTable(outcomes)}\n`);
  console.log('medians of the rounds; ~ = other programs used more than a fifth of a processor');
  const file = writeResult('nbd', { options, goals: outcomes, servers: detailsOf(results) });
  console.log(`details: ${file}`);
  if (results.some((result) => result.failure !== undefined)) process.exitCode = 1;
}
