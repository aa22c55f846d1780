/** What `bench day` found, as a table, as plots, and as a page of the documentation. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { percentile } from './day-latency.ts';
import { type Plot, plotSvg, type Series } from './day-plot.ts';
import type { DayResult } from './day-run.ts';
import type { DaySample, PoolSample } from './day-samples.ts';
import { formatNumber, formatTable } from './table.ts';

const mebi = 2 ** 20;
const goalDelayMs = 10;
/** Samples in which an engine that was started comes to itself, and those that stand for its beginning or end. */
const warmUpSamples = 30;
const lifeEdge = 15;

/** Rows of a table: what, value. */
function summaryRows({
  options,
  samples,
  totals,
  counts,
  check,
  restartMs,
}: DayResult): string[][] {
  const delays = sortedOf(samples, ({ engine }) => engine.delayMs.p999);
  const cleaning = samples.filter(({ pool }) => pool !== undefined && pool.cleanerState !== 'idle');
  const cleaningDelays = sortedOf(cleaning, ({ engine }) => engine.delayMs.p999);
  const lives = lastOfEachEngine(samples);
  const kept = Math.floor(samples.length / 4);
  const quarters = (pick: (engine: DaySample['engine']) => number): string => {
    const median = (part: readonly DaySample[]): string =>
      mib(
        percentile(
          sortedOf(part, ({ engine }) => pick(engine)),
          0.5,
        ),
      );
    return `${median(samples.slice(0, kept))}, ${median(samples.slice(-kept))}`;
  };
  // While all clients connect again they wait for each other: that is told of restarts, not of the days between them.
  const [restarted, settled] = [samples.filter(isFirst), samples.filter(isNotFirst)];
  const afterRestart = (pick: (sample: DaySample) => number): string =>
    restarted.map((sample) => ms(pick(sample))).join(', ');
  const over = (pick: (sample: DaySample) => number): string => {
    const sorted = sortedOf(settled, pick);
    return spread(sorted, ms);
  };
  const last = samples.findLast(({ pool }) => pool !== undefined)?.pool;
  return [
    [
      'volumes; hours in minutes',
      `${options.volumes}; ${options.hours} h in ${options.minutes} min`,
    ],
    [
      'written; writes, reads',
      `${mib(totals.bytesWritten)}; ${totals.writeCount}, ${totals.readCount}`,
    ],
    [
      'requests that met a restart, or a full pool',
      `${totals.interruptedCount}, ${totals.refusedCount}`,
    ],
    [
      'snapshots made, deleted, left',
      `${counts.snapshotsMade}, ${counts.snapshotsDeleted}, ${last?.snapshotCount ?? 0}`,
    ],
    [
      'views, rollbacks (undone), clones, diffs, space reports',
      `${counts.views}, ${counts.rollbacks} (${counts.undone}), ${counts.clones}, ${counts.diffs}, ${counts.reports}`,
    ],
    ['automatic pins at the end', String(last?.pinCount ?? 0)],
    [
      'kills, clean stops; back after',
      `${counts.kills}, ${counts.stops}; ${restartMs.map((each) => ms(each)).join(', ')}`,
    ],
    ['fill: median, most', fillText(samples)],
    [
      'the engine may go before the load',
      samples.every(({ engine }) => engine.hasPriority) ? 'yes' : 'no',
    ],
    ['samples with the cleaner at work', share(cleaning.length, samples.length)],
    [
      'copied, given back by the cleaner',
      `${mib(last?.copiedBytes ?? 0)}, ${mib(last?.reclaimedBytes ?? 0)}`,
    ],
    [
      'event-loop delay p99.9 of each engine, goal < 10 ms',
      lives.map((each) => ms(each.wholeP999Ms)).join(', '),
    ],
    ['... the longest of each', lives.map((each) => ms(each.wholeMaxMs)).join(', ')],
    [
      '... p99.9 of its own work between two looks',
      lives.map((each) => ms(each.wholeWorkP999Ms)).join(', '),
    ],
    [
      '... waited for a processor, as a part of the time',
      spread(
        sortedOf(samples, ({ engine }) => engine.waitShare),
        percent,
      ),
    ],
    [
      '... samples whose p99.9 is below the goal',
      share(delays.filter((each) => each < goalDelayMs).length, delays.length),
    ],
    [
      '... of those with the cleaner at work',
      share(cleaningDelays.filter((each) => each < goalDelayMs).length, cleaningDelays.length),
    ],
    ['longest collection of garbage', longestGcText(samples)],
    ['memory (RSS): first quarter, last quarter', quarters(({ rssBytes }) => rssBytes)],
    [
      '... of each engine: its first samples, its last ones',
      livesOf(samples)
        .map(
          (life) => `${medianRss(life.slice(0, lifeEdge))} to ${medianRss(life.slice(-lifeEdge))}`,
        )
        .join(', '),
    ],
    ['... heap of the main thread', quarters(({ heapBytes }) => heapBytes)],
    ['... its buffers, and those that threads share', quarters(({ bufferBytes }) => bufferBytes)],
    ['write p50 of each sample but the first of each engine', over(({ writes }) => writes.p50)],
    ['write p99', over(({ writes }) => writes.p99)],
    ['write p99.9', over(({ writes }) => writes.p999)],
    ['read p50', over(({ reads }) => reads.p50)],
    ['read p99', over(({ reads }) => reads.p99)],
    ['read p99.9', over(({ reads }) => reads.p999)],
    ['write p99 of the first sample after each restart', afterRestart(({ writes }) => writes.p99)],
    ['read p99', afterRestart(({ reads }) => reads.p99)],
    ['verify', `${check.blocksVerified} blocks in ${ms(check.verifyMs)}`],
    [
      'compared: volumes, snapshots, kept moments',
      `${check.volumesCompared}, ${check.snapshotsCompared}, ${check.momentsCompared}`,
    ],
    ['faults', String(check.faults.length + totals.faults.length)],
  ];
}

/** Writes the plots, and returns their paths. */
export function writePlots(folder: string, { samples }: DayResult): string[] {
  fs.mkdirSync(folder, { recursive: true });
  return Object.entries(plotsOf(samples)).map(([name, plot]) => {
    const file = path.join(folder, `${name}.svg`);
    fs.writeFileSync(file, plotSvg(plot));
    return file;
  });
}

/** The page that says what the plots show. */
export function writePage(folder: string, result: DayResult): void {
  const { options } = result;
  const command = `npm run bench -- day --minutes ${options.minutes} --hours ${options.hours} --volumes ${options.volumes} --pool-gib ${options.poolBytes / 2 ** 30}`;
  const rows = summaryRows(result).map(([what = '', value = '']) => `| ${what} | ${value} |`);
  const images = Object.entries(plotsOf(result.samples)).map(
    ([name, { title }]) => `![${title}](${name}.svg)`,
  );
  const cpus = os.cpus();
  const page = [
    '# A day in an hour',
    '',
    `\`${command} --docs\` on ${new Date().toISOString().slice(0, 10)}: ${cpus.length} x ${cpus[0]?.model ?? ''}, ` +
      `Linux ${os.release()}. Load, engine and sampling share the machine; dashed lines are restarts, ` +
      'and peaks of latency at them are 200 clients that connect again at once.',
    '',
    '| | |',
    '| --- | --- |',
    ...rows,
    '',
    ...images.flatMap((image) => [image, '']),
  ];
  fs.writeFileSync(path.join(folder, 'README.md'), page.join('\n'));
}

export function printSummary(result: DayResult): void {
  console.log(`\n${formatTable(summaryRows(result))}\n`);
  for (const fault of [...result.totals.faults, ...result.check.faults].slice(0, 20)) {
    console.log(`FAULT ${fault}`);
  }
}

function plotsOf(samples: readonly DaySample[]): Record<string, Plot> {
  const marks = samples.filter(isFirst).map(({ atS }) => atS);
  const series = (name: string, pick: (sample: DaySample) => number): Series => ({
    name,
    points: samples.map((sample) => [sample.atS, pick(sample)]),
  });
  const ofPool = (name: string, pick: (pool: PoolSample) => number): Series => ({
    name,
    points: samples.flatMap(({ atS, pool }) => (pool === undefined ? [] : [[atS, pick(pool)]])),
  });
  const latencies = (kind: 'reads' | 'writes'): Plot => ({
    title: `Latency of ${kind}`,
    unit: 'ms',
    isLogarithmic: true,
    marks,
    series: [
      series('p50', (sample) => sample[kind].p50),
      series('p99', (sample) => sample[kind].p99),
      series('p99.9', (sample) => sample[kind].p999),
    ],
  });
  return {
    'event-loop': {
      title: 'Event-loop delay of the main thread',
      unit: 'ms',
      isLogarithmic: true,
      marks,
      goal: goalDelayMs,
      series: [
        series('p50', ({ engine }) => engine.delayMs.p50),
        series('p99', ({ engine }) => engine.delayMs.p99),
        series('p99.9', ({ engine }) => engine.delayMs.p999),
        series('longest', ({ engine }) => engine.delayMs.max),
      ],
    },
    writes: latencies('writes'),
    reads: latencies('reads'),
    memory: {
      title: 'Memory of the engine',
      unit: 'MiB',
      isLogarithmic: false,
      marks,
      series: [
        series('RSS, all threads', ({ engine }) => engine.rssBytes / mebi),
        series('heap, main thread', ({ engine }) => engine.heapBytes / mebi),
        series('buffers', ({ engine }) => engine.bufferBytes / mebi),
        ofPool('maps', ({ mapBytes }) => mapBytes / mebi),
      ],
    },
    fill: {
      title: 'Fill of the pool',
      unit: '%',
      isLogarithmic: false,
      marks,
      series: [ofPool('used', ({ fillShare }) => fillShare * 100)],
      goal: 85,
    },
    history: {
      title: 'Kept moments',
      unit: 'count',
      isLogarithmic: false,
      marks,
      series: [
        ofPool('pins', ({ pinCount }) => pinCount),
        ofPool('snapshots', ({ snapshotCount }) => snapshotCount),
      ],
    },
    cleaner: {
      title: 'Cleaner and index',
      unit: 'MiB',
      isLogarithmic: false,
      marks,
      series: [
        ofPool('copied', ({ copiedBytes }) => copiedBytes / mebi),
        ofPool('given back', ({ reclaimedBytes }) => reclaimedBytes / mebi),
        ofPool('index runs', ({ runBytes }) => runBytes / mebi),
      ],
    },
  };
}

/** Whether the sample is the first of an engine that was started again. */
function isFirst({ engine }: DaySample, index: number, samples: readonly DaySample[]): boolean {
  const before = samples[index - 1];
  return before !== undefined && before.engine.pid !== engine.pid;
}

function isNotFirst(sample: DaySample, index: number, samples: readonly DaySample[]): boolean {
  return !isFirst(sample, index, samples);
}

function lastOfEachEngine(samples: readonly DaySample[]): DaySample['engine'][] {
  return [...new Map(samples.map(({ engine }) => [engine.pid, engine])).values()];
}

/** Samples of one engine after the other, without those in which it warms up. */
function livesOf(samples: readonly DaySample[]): DaySample[][] {
  const byPid = Map.groupBy(samples, ({ engine }) => engine.pid);
  return [...byPid.values()].map((life) => life.slice(Math.min(warmUpSamples, life.length / 2)));
}

function medianRss(samples: readonly DaySample[]): string {
  return mib(
    percentile(
      sortedOf(samples, ({ engine }) => engine.rssBytes),
      0.5,
    ),
  );
}

function longestGcText(samples: readonly DaySample[]): string {
  const [{ longestGcMs, longestGcKind } = { longestGcMs: 0, longestGcKind: '' }] = samples
    .map(({ engine }) => engine)
    .sort((one, other) => other.longestGcMs - one.longestGcMs);
  return `${ms(longestGcMs)} (${longestGcKind})`;
}

function spread(sorted: readonly number[], text: (value: number) => string): string {
  return `${text(percentile(sorted, 0.5))} (median), ${text(percentile(sorted, 0.99))} (p99), ${text(sorted.at(-1) ?? 0)} (most)`;
}

function sortedOf(samples: readonly DaySample[], pick: (sample: DaySample) => number): number[] {
  return samples.map(pick).sort((one, other) => one - other);
}

function fillText(samples: readonly DaySample[]): string {
  const fills = samples
    .flatMap(({ pool }) => (pool === undefined ? [] : [pool.fillShare]))
    .sort((one, other) => one - other);
  return `${percent(percentile(fills, 0.5))}, ${percent(fills.at(-1) ?? 0)}`;
}

function percent(value: number): string {
  return `${(value * 100).toFixed(1)} %`;
}

function share(part: number, whole: number): string {
  return `${part} of ${whole}`;
}

function ms(value: number): string {
  return `${formatNumber(value)} ms`;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / mebi)} MiB`;
}
