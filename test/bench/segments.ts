/**
 * `bench segments`: durable 4 KiB writes while zero-written segments are ready, and while none is left. 1 MiB writes use the
 * prepared ones up; then fio logs its rate every 100 ms, and each such window is put down to the number of segments that
 * were ready at that moment.
 */
import fs from 'node:fs';
import path from 'node:path';
import { Appliance } from '../support/appliance.ts';
import { Background, sleep } from '../support/run.ts';
import { jobs, runJob } from './jobs.ts';
import { preTouch } from './measure.ts';
import { writeResult } from './result-file.ts';
import { formatNumber, formatTable, median } from './table.ts';
import { segmentsReady } from './tidemark-server.ts';

export interface SegmentBenchOptions {
  readonly rounds: number;
  readonly seconds: number;
}

interface Window {
  readonly rate: number;
  readonly readySegments: number;
}

const volume = 'bench';
const sizeBytes = 1 << 30;
const windowMs = 100;

/** Polls how many segments are ready until `fio` has ended. Entries: [time in ms since 1970, count]. */
async function watch(appliance: Appliance, fio: Background): Promise<[number, number][]> {
  const seen: [number, number][] = [];
  while (fio.isRunning) {
    const { readySegmentCount } = await appliance.pool();
    seen.push([Date.now(), readySegmentCount]);
    await sleep(windowMs / 4);
  }
  return seen;
}

async function writeAndWatch(appliance: Appliance, seconds: number): Promise<Window[]> {
  const prefix = path.join(appliance.folder, 'rate');
  const fio = new Background('fio', [
    ...[
      '--name=job',
      '--ioengine=nbd',
      `--uri=${appliance.uri(volume)}`,
      '--rw=randwrite',
      '--bs=4k',
    ],
    ...['--iodepth=32', `--size=${sizeBytes}`, '--time_based', `--runtime=${seconds}s`],
    ...['--norandommap', `--write_iops_log=${prefix}`, `--log_avg_msec=${windowMs}`],
    ...['--log_unix_epoch=1'],
  ]);
  const seen = await watch(appliance, fio);
  await fio.ended();
  const log = `${prefix}_iops.1.log`;
  if (!fs.existsSync(log)) throw new Error(`fio wrote no log: ${fio.output}`);
  const windows = fs
    .readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(',').map(Number))
    .map(([endMs = 0, rate = 0]) => {
      const during = seen.filter(([timeMs]) => timeMs > endMs - windowMs && timeMs <= endMs);
      const readySegments =
        during.length === 0 ? Number.NaN : median(during.map(([, count]) => count));
      return { rate, readySegments };
    });
  fs.rmSync(log);
  return windows.filter((window) => !Number.isNaN(window.readySegments));
}

export async function benchSegments(options: SegmentBenchOptions): Promise<void> {
  const appliance = await Appliance.start();
  try {
    await appliance.volumeCreate(volume, sizeBytes);
    await preTouch();
    const drain = jobs.find((each) => each.name === '1m write QD4');
    if (drain === undefined) throw new Error('no such job');
    const windows: Window[] = [];
    for (let round = 0; round < options.rounds; round += 1) {
      await segmentsReady(appliance);
      windows.push(...(await writeAndWatch(appliance, 1)));
      await runJob(drain, { uri: appliance.uri(volume), source: '', seconds: 2 });
      windows.push(...(await writeAndWatch(appliance, options.seconds)));
    }
    printResult(options, windows);
  } finally {
    await appliance.remove();
  }
}

function row(name: string, rates: readonly number[]): string[] {
  const rate = rates.length === 0 ? '-' : formatNumber(median(rates));
  return [name, rate, String(rates.length)];
}

function printResult(options: SegmentBenchOptions, windows: readonly Window[]): void {
  const rates = (pick: (window: Window) => boolean): readonly number[] =>
    windows.filter(pick).map((window) => window.rate);
  const ready = rates((window) => window.readySegments >= 1);
  const none = rates((window) => window.readySegments < 1);
  const head = ['4k durable writes QD32', 'IO/s (median)', `windows of ${windowMs} ms`];
  const rows = [head, row('segments ready', ready), row('no segment ready', none)];
  console.log(`\n${formatTable(rows)}\n`);
  console.log(`details: ${writeResult('segments', { options, windows })}`);
}
