/**
 * `bench cleaner`: write amplification of a real pool's cleaner by the share of the log that lives, beside the reference. After the
 * volume was written once, it is overwritten `warmUp` times, then counted. Twice for each cell:
 *
 *     room used   the cleaner copies only when the space of the data is used up, as in the reference: what choice, order and
 *                 packing are worth
 *     as shipped  the cleaner's own limits, which begin to copy earlier, and earlier still under pressure
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { cleanerLimits } from '../../src/volume/cleaner/limits.ts';
import { SeededRandom } from '../sim/random.ts';
import { CleanerPool, type CleanerSpace, PoolFull } from './cleaner-pool.ts';
import { type Workload, workloads } from './cleaner-workloads.ts';
import { writeResult } from './result-file.ts';
import { formatTable } from './table.ts';

export interface CleanerBenchOptions {
  /** Blocks of the volume; 512 in a segment. */
  readonly blockCount: number;
  /** Only workloads whose name contains one of these; empty = all. */
  readonly only: readonly string[];
  /** Which parts of the log's space live. */
  readonly fills: readonly number[];
}

type Trigger = 'room used' | 'as shipped';

interface Cell {
  readonly workload: string;
  readonly utilisation: number;
  readonly trigger: Trigger;
  /** Data blocks that clients and cleaner wrote, for each that clients wrote. */
  readonly writeAmplification: number;
  /** The same of everything that was written: headers, footers, runs, too. */
  readonly pageAmplification: number;
  /** What lived, as a part of the data that was there, on average: what the reference calls utilisation. */
  readonly reached: number;
  readonly space: CleanerSpace;
  readonly seconds: number;
}

const warmUp = 3;
const counted = 1;
/** Looks at the space, and changes of the capacity, while the volume is written once. */
const stepsPerPass = 16;
const mebi = 2 ** 20;

/** What the design was decided by, at 0.60, 0.70, 0.80, 0.85, 0.90 and 0.95. */
const referenceFills = [0.6, 0.7, 0.8, 0.85, 0.9, 0.95] as const;
const twoStreams: Readonly<Record<string, readonly number[]>> = {
  uniform: [1.5, 1.9, 2.7, 3.5, 5.1, 9.7],
  '80/20': [1.5, 1.8, 2.5, 3.2, 4.6, 8.8],
  '90/10': [1.3, 1.4, 1.9, 2.4, 3.2, 6.1],
  'Zipf(1)': [1.5, 1.8, 2.2, 2.6, 3.4, 5.8],
};
const sixClasses: typeof twoStreams = {
  uniform: [1.5, 1.9, 2.7, 3.5, 5.1, 9.7],
  '80/20': [1.5, 1.8, 2.4, 3.0, 4.3, 8.2],
  '90/10': [1.2, 1.6, 1.8, 2.2, 3.0, 5.3],
  'Zipf(1)': [1.3, 1.5, 1.9, 2.3, 3.0, 5.2],
};

/** By line between the fills of the reference. */
function referenceAt(numbers: readonly number[] | undefined, fill: number): string {
  if (numbers === undefined) return '-';
  const at = referenceFills.findIndex((each) => each >= fill - 1e-9);
  const [high, below] = [referenceFills[at], referenceFills[at - 1]];
  const [above, least] = [numbers[at], numbers[at - 1]];
  if (high === undefined || above === undefined) return '-';
  if (below === undefined || least === undefined) return fill === high ? above.toFixed(1) : '-';
  return (above - ((above - least) * (high - fill)) / (high - below)).toFixed(1);
}

/** Copying begins when garbage takes all the space that data has beside what lives, and ends a little below. */
function useAllRoom(utilisation: number): void {
  const share = 1 / utilisation - 1;
  const { hard } = cleanerLimits.markAfter;
  Object.assign(cleanerLimits, {
    garbageShares: [
      { fill: 0, share },
      { fill: 1, share },
    ],
    garbageShareAfter: 0.98,
    markAfter: { none: hard, soft: hard, hard },
    idleDoublingsMax: 0,
  });
}

function measure(
  workload: Workload,
  utilisation: number,
  trigger: Trigger,
  blockCount: number,
): Cell | undefined {
  const shipped = { ...cleanerLimits };
  if (trigger === 'room used') useAllRoom(utilisation);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-cleaner-'));
  const startedMs = performance.now();
  const pool = new CleanerPool({ blockCount, utilisation, folder });
  try {
    const next = workload.make(blockCount, new SeededRandom(1));
    const step = blockCount / stepsPerPass;
    let block = 0;
    for (let at = 0; at < stepsPerPass; at += 1) pool.write(step, () => block++);
    for (let at = 0; at < warmUp * stepsPerPass; at += 1) pool.write(step, next);
    const before = pool.counts;
    let dataBytes = 0;
    for (let at = 0; at < counted * stepsPerPass; at += 1) {
      pool.write(step, next);
      dataBytes += pool.space().dataBytes;
    }
    const { written, copied, pages } = pool.counts;
    const user = written - before.written;
    return {
      workload: workload.name,
      utilisation,
      trigger,
      writeAmplification: 1 + (copied - before.copied) / user,
      pageAmplification: (pages - before.pages) / user,
      reached: (blockCount * 4096 * counted * stepsPerPass) / dataBytes,
      space: pool.space(),
      seconds: (performance.now() - startedMs) / 1000,
    };
  } catch (thrown) {
    if (!(thrown instanceof PoolFull)) throw thrown;
    return undefined;
  } finally {
    pool.close();
    Object.assign(cleanerLimits, shipped);
    fs.rmSync(folder, { recursive: true });
  }
}

function cellsOf(cell: Cell | undefined): string[] {
  if (cell === undefined) return ['full', '-', '-', '-', '-'];
  const { writeAmplification, reached, pageAmplification, space } = cell;
  return [
    writeAmplification.toFixed(1),
    reached.toFixed(2),
    pageAmplification.toFixed(1),
    (space.dataBytes / mebi).toFixed(0),
    (space.otherBytes / mebi).toFixed(0),
  ];
}

export function benchCleaner({ blockCount, only, fills }: CleanerBenchOptions): void {
  const head = ['reached', 'all pages', 'data MiB', 'other MiB'];
  const rows = [
    ['lives', 'two streams', 'six classes', 'room used', ...head, 'as shipped', ...head],
  ];
  const details: Cell[] = [];
  const chosen = workloads.filter(
    ({ name }) => only.length === 0 || only.some((part) => name.includes(part)),
  );
  for (const workload of chosen) {
    for (const fill of fills) {
      const room = measure(workload, fill, 'room used', blockCount);
      const shipped = measure(workload, fill, 'as shipped', blockCount);
      details.push(...[room, shipped].filter((cell) => cell !== undefined));
      rows.push([
        `${workload.name} ${fill.toFixed(2)}`,
        referenceAt(twoStreams[workload.name], fill),
        referenceAt(sixClasses[workload.name], fill),
        ...cellsOf(room),
        ...cellsOf(shipped),
      ]);
      console.log(rows.at(-1)?.join('  '));
    }
  }
  console.log(`\n${formatTable(rows)}\n`);
  console.log(
    `blocks written by clients and cleaner for each that clients wrote; volume of ${blockCount} blocks, segments of 512,`,
  );
  console.log(
    'no history; lives = of the space that data has below the hard limit; reached = of the data that was there on average;',
  );
  console.log(
    'all pages = headers, footers and runs counted, too; other = of the files at the end. "full": writes were refused for 5 min',
  );
  console.log(`details: ${writeResult('cleaner', { blockCount, warmUp, counted, details })}`);
}
