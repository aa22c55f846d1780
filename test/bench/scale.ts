/**
 * `bench scale`: what a pool takes that has as many segments, and the index, of 1 and 10 TiB of log, beside a small one, each with
 * 10,000 snapshots and a window of thirty days. The segments are there by name and in the manifest only: what needs their bytes is not measured.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { writeResult } from './result-file.ts';
import { mappedBytes } from './scale-index.ts';
import { makeScalePool } from './scale-pool.ts';
import type { Touched } from './scale-steps.ts';
import { formatTable, median } from './table.ts';

interface Opened {
  readonly isWhole: boolean;
  readonly segmentCount: number;
  readonly snapshotCount: number;
  readonly openMs: number;
  /** Processor time of the main thread for it, and of its longest turn. */
  readonly openCpuMs: number;
  readonly openTurnMs: number;
  /** Above the process before opening; when views were looked at and snapshots deleted; and what the mark added to that. */
  readonly openMiB: number;
  readonly workMiB: number;
  readonly markMiB: number;
  readonly viewMs: number;
  readonly oldViewMs: number;
  readonly timeViewMs: number;
  readonly firstTouch: Touched;
  readonly oldTouch: Touched;
  readonly deleteMs: number;
  readonly diff: { readonly ms: number; readonly extents: number };
  readonly markMs: number;
}

const segmentsPerTiB = 2 ** 40 / (32 * 2 ** 20);
const entry = new URL('./scale-open.ts', import.meta.url).pathname;

function openOnce(folder: string, round: number, mapped: number): Opened {
  const parameters = ['--expose-gc', entry, folder, String(round), String(mapped)];
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
    const segments = Math.max(0, tib * segmentsPerTiB - 1);
    await makeScalePool(pool, { segments, snapshots });
    const mapped = segments === 0 ? 0 : mappedBytes(segments);
    return Array.from({ length: rounds }, (_, round) => openOnce(pool, round, mapped));
  } finally {
    fs.rmSync(pool, { recursive: true });
  }
}

export async function benchScale(options: {
  readonly rounds: number;
  readonly count: number;
  readonly folder: string;
}): Promise<void> {
  const columns: readonly (readonly [string, (found: Opened) => number])[] = [
    ['segments', ({ segmentCount }) => segmentCount],
    ['snapshots', ({ snapshotCount }) => snapshotCount],
    ['open ms', ({ openMs }) => openMs],
    ['of processor', ({ openCpuMs }) => openCpuMs],
    ['longest turn', ({ openTurnMs }) => openTurnMs],
    ['RSS MiB', ({ openMiB }) => openMiB],
    ['later', ({ workMiB }) => workMiB],
    ['view ms', ({ viewMs }) => viewMs],
    ['touch ms', ({ firstTouch }) => firstTouch.firstMs],
    ['others', ({ firstTouch }) => firstTouch.othersMs],
    ['old view ms', ({ oldViewMs }) => oldViewMs],
    ['touch ms', ({ oldTouch }) => oldTouch.firstMs],
    ['others', ({ oldTouch }) => oldTouch.othersMs],
    ['by time ms', ({ timeViewMs }) => timeViewMs],
    ['delete ms', ({ deleteMs }) => deleteMs],
    ['diff ms', ({ diff }) => diff.ms],
    ['mark s', ({ markMs }) => markMs / 1000],
    ['its MiB', ({ markMiB }) => markMiB],
  ];
  const rows = [['log', ...columns.map(([name]) => name)]];
  const details: Record<string, readonly Opened[]> = {};
  for (const tib of [0, 1, 10]) {
    const found = await measure(options.folder, tib, options.rounds, options.count);
    details[`${tib} TiB`] = found;
    if (found.some(({ isWhole }) => isWhole)) throw new Error('a pool was read whole');
    const numbers = columns.map(([, pick]) => median(found.map(pick)).toFixed(1));
    rows.push([tib === 0 ? 'small' : `${tib} TiB`, ...numbers]);
  }
  console.log(`\n${formatTable(rows)}\n`);
  console.log(
    'medians; processor time of the main thread; RSS with commit and keeper in threads of their own, above the process before opening, later = after views, deletions and diff;',
  );
  console.log(
    'touch = the first region of a new view (opens runs), others = 50 regions at random; old = the snapshot in the middle of the log, by time = the time of it;',
  );
  console.log(
    'diff = the first 10,000 extents between two snapshots a thirtieth of the log apart; extents of 1 MiB, each written once',
  );
  console.log(`details: ${writeResult('scale', { options, details })}`);
}
