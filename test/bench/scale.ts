/**
 * `bench scale`: what opening a pool takes that has as many segments as 1 and 10 TiB of log have, beside a small one, each with
 * 10,000 snapshots. The segments are there by name and in the manifest only: what needs their bytes is not measured.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { writeResult } from './result-file.ts';
import { makeScalePool } from './scale-pool.ts';
import { formatTable, median } from './table.ts';

interface Opened {
  readonly isWhole: boolean;
  readonly segmentCount: number;
  readonly snapshotCount: number;
  readonly openMs: number;
  readonly openMiB: number;
  readonly viewMs: number;
  readonly deleteMs: number;
}

const segmentsPerTiB = 2 ** 40 / (32 * 2 ** 20);
const entry = new URL('./scale-open.ts', import.meta.url).pathname;

function openOnce(folder: string, round: number): Opened {
  const parameters = ['--expose-gc', entry, folder, String(round)];
  return JSON.parse(execFileSync(process.execPath, parameters, { encoding: 'utf8' })) as Opened;
}

async function measure(
  folder: string,
  tib: number,
  rounds: number,
  snapshots: number,
): Promise<Opened[]> {
  const pool = path.join(folder, `tidemark-scale-${process.pid}-${tib}`);
  fs.mkdirSync(pool);
  try {
    await makeScalePool(pool, { segments: tib * segmentsPerTiB, snapshots });
    return Array.from({ length: rounds }, (_, round) => openOnce(pool, round));
  } finally {
    fs.rmSync(pool, { recursive: true });
  }
}

export async function benchScale(options: {
  readonly rounds: number;
  readonly count: number;
  readonly folder: string;
}): Promise<void> {
  const rows = [
    [
      'log',
      'segments',
      'snapshots',
      'read whole',
      'open ms',
      'RSS MiB',
      'view ms',
      'snapshot delete ms',
    ],
  ];
  const details: Record<string, readonly Opened[]> = {};
  for (const tib of [0, 1, 10]) {
    const found = await measure(options.folder, tib, options.rounds, options.count);
    const of = (pick: (each: Opened) => number): string => median(found.map(pick)).toFixed(1);
    details[`${tib} TiB`] = found;
    rows.push([
      tib === 0 ? 'small' : `${tib} TiB`,
      of(({ segmentCount }) => segmentCount).replace(/\.0$/, ''),
      of(({ snapshotCount }) => snapshotCount).replace(/\.0$/, ''),
      found.some(({ isWhole }) => isWhole) ? 'yes' : 'no',
      of(({ openMs }) => openMs),
      of(({ openMiB }) => openMiB),
      of(({ viewMs }) => viewMs),
      of(({ deleteMs }) => deleteMs),
    ]);
  }
  console.log(`\n${formatTable(rows)}\n`);
  console.log(
    'medians; RSS = above the process before opening; a view of a snapshot in the newest part of the log',
  );
  console.log(`details: ${writeResult('scale', { options, details })}`);
}
