/**
 * Servers side by side: the same work on each in one run, on one file system, with one client.
 *
 *     for each round, for each server:  start ─▶ each work, memory touched before those that write ─▶ stop
 *     per work and server: the median of the rounds; per goal: tidemark's ratio to the best peer it names
 *
 * Servers take turns within a round, so slow drifts of the machine meet all of them.
 */
import fs from 'node:fs';
import path from 'node:path';
import { run } from '../support/run.ts';
import type { Goal } from './goals.ts';
import type { Measured } from './jobs.ts';
import { deviceSizeBytes, foreignShareMax } from './limits.ts';
import { preTouch, type Sample, sample } from './measure.ts';
import type { Acknowledges, RunningServer } from './peers.ts';
import { writeResult } from './result-file.ts';
import { formatNumber, formatTable, median } from './table.ts';

/** One piece of work that every server is given. */
export interface Work {
  readonly name: string;
  readonly unit: 'IO/s' | 'MiB/s';
  readonly writes: boolean;
  /** Whether processor time per operation says something about it. */
  readonly tellsCost: boolean;
}

export interface Contender {
  readonly name: string;
  readonly acknowledges: Acknowledges;
  readonly start: () => Promise<RunningServer>;
}

export interface Comparison<W extends Work> {
  /** Name of the benchmark, for the file of its results. */
  readonly bench: string;
  readonly works: readonly W[];
  readonly contenders: readonly Contender[];
  readonly goals: readonly Goal[];
  readonly rounds: number;
  readonly run: (work: W, server: RunningServer) => Promise<Measured>;
  /** Kept in the file of results. */
  readonly options: unknown;
}

interface Result {
  readonly contender: Contender;
  readonly samplesByWork: Map<string, Sample[]>;
  /** Why a round failed; absent when all went well. */
  failure?: string;
}

const temporaryFileSystem = 0x0102_1994;

/** A new folder to measure in, refused when it would lie in memory. */
export function benchFolder(parent: string): string {
  const folder = fs.mkdtempSync(path.join(parent, 'tidemark-bench-'));
  if (fs.statfsSync(folder).type === temporaryFileSystem) {
    fs.rmSync(folder, { recursive: true });
    throw new Error(`${parent} is in memory: choose a folder on a disk with --folder`);
  }
  return folder;
}

/** Random bytes as large as the device, made without holding them in memory. */
export async function makeSource(folder: string): Promise<string> {
  const file = path.join(folder, 'source.raw');
  const mebi = String(deviceSizeBytes >> 20);
  await run('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', `count=${mebi}`, 'status=none']);
  return file;
}

async function runRound<W extends Work>(result: Result, comparison: Comparison<W>): Promise<void> {
  const server = await result.contender.start();
  try {
    for (const work of comparison.works) {
      await server.settle?.();
      if (work.writes) await preTouch();
      const measured = await sample(async () => await comparison.run(work, server), server.pids);
      const known = result.samplesByWork.get(work.name) ?? [];
      known.push(measured);
      result.samplesByWork.set(work.name, known);
    }
  } finally {
    await server.stop();
  }
}

function rateOf(result: Result, work: string): number {
  return median((result.samplesByWork.get(work) ?? []).map((each) => each.rate));
}

/** A figure with a mark when every try was disturbed by other programs. */
function cell(result: Result, work: string): string {
  const samples = result.samplesByWork.get(work) ?? [];
  if (samples.length === 0) return '-';
  const isNoisy = median(samples.map((each) => each.foreignShare)) > foreignShareMax;
  return formatNumber(rateOf(result, work)) + (isNoisy ? '~' : ' ');
}

function costCell(result: Result, work: string): string {
  const samples = result.samplesByWork.get(work) ?? [];
  if (samples.length === 0) return '-';
  return median(samples.map((each) => each.serverUsPerOperation)).toFixed(1);
}

function ratesTable(results: readonly Result[], works: readonly Work[]): string {
  const head = ['server', 'acknowledges', ...works.map((work) => work.name)];
  const units = ['', '', ...works.map((work) => work.unit)];
  const rows = results.map((result) => [
    result.contender.name,
    result.contender.acknowledges,
    ...works.map((work) => cell(result, work.name)),
  ]);
  return formatTable([head, units, ...rows]);
}

function costTable(results: readonly Result[], works: readonly Work[]): string {
  const told = works.filter((work) => work.tellsCost);
  const head = ['server CPU per operation, µs', ...told.map((work) => work.name)];
  const rows = results.map((result) => [
    result.contender.name,
    ...told.map((work) => costCell(result, work.name)),
  ]);
  return formatTable([head, ...rows]);
}

interface GoalOutcome {
  readonly ours: string;
  readonly job: string;
  readonly against: string;
  readonly ratio: number;
  readonly ratioMin: number;
  readonly isReached: boolean;
}

function goalOutcomes(results: readonly Result[], goals: readonly Goal[]): GoalOutcome[] {
  return goals.flatMap((goal) => {
    const ours = results.find((result) => result.contender.name === goal.ours);
    if (ours === undefined) return [];
    const rates = results
      .map((result) => ({ result, ...result.contender }))
      .filter((each) => each.result !== ours && goal.isPeer(each.name, each.acknowledges))
      .map((each) => rateOf(each.result, goal.job))
      .filter((rate) => !Number.isNaN(rate));
    const ratio = rates.length === 0 ? Number.NaN : rateOf(ours, goal.job) / Math.max(...rates);
    const { job, against, ratioMin } = goal;
    const outcome = { ours: goal.ours, job, against, ratio, ratioMin };
    return [{ ...outcome, isReached: ratio >= ratioMin }];
  });
}

function verdictOf(outcome: GoalOutcome): string {
  if (Number.isNaN(outcome.ratio)) return 'not measured';
  return outcome.isReached ? 'reached' : 'MISSED';
}

function goalsTable(outcomes: readonly GoalOutcome[]): string {
  const rows = outcomes.map((outcome) => [
    outcome.ours,
    outcome.job,
    outcome.against,
    outcome.ratio.toFixed(2),
    outcome.ratioMin.toFixed(1),
    verdictOf(outcome),
  ]);
  return formatTable([['server', 'work', 'against', 'ratio', 'goal', ''], ...rows]);
}

function detailsOf(results: readonly Result[]): unknown[] {
  return results.map((result) => ({
    name: result.contender.name,
    acknowledges: result.contender.acknowledges,
    failure: result.failure,
    jobs: Object.fromEntries(
      [...result.samplesByWork].map(([work, samples]) => [
        work,
        { median: rateOf(result, work), samples },
      ]),
    ),
  }));
}

/** Measures everything and tells it in tables and in out/BENCH-TIME.json; a server that failed fails the run. */
export async function compare<W extends Work>(comparison: Comparison<W>): Promise<void> {
  const results: Result[] = comparison.contenders.map((contender) => ({
    contender,
    samplesByWork: new Map(),
  }));
  for (let round = 1; round <= comparison.rounds; round += 1) {
    for (const result of results) {
      console.error(`round ${round} of ${comparison.rounds}: ${result.contender.name}`);
      await runRound(result, comparison).catch((error: unknown) => {
        result.failure = String(error);
        console.error(result.failure);
      });
    }
  }
  const { works, options } = comparison;
  console.log(`\n${ratesTable(results, works)}\n\n${costTable(results, works)}\n`);
  const outcomes = goalOutcomes(results, comparison.goals);
  if (outcomes.length > 0) console.log(`${goalsTable(outcomes)}\n`);
  console.log('medians of the rounds; ~ = other programs used more than a fifth of a processor');
  const details = { options, goals: outcomes, servers: detailsOf(results) };
  console.log(`details: ${writeResult(comparison.bench, details)}`);
  if (results.some((result) => result.failure !== undefined)) process.exitCode = 1;
}
