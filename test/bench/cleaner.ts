/**
 * `bench cleaner`: write amplification of the cleaner at several utilisations, beside the reference.
 * Utilisation = what lives / space of the log. After the device was written once, it is overwritten `warmUp` times, then counted.
 */
import { SeededRandom } from '../sim/random.ts';
import { LogModel, type ModelOptions } from './cleaner-model.ts';
import { type Workload, workloads } from './cleaner-workloads.ts';
import { writeResult } from './result-file.ts';
import { formatTable } from './table.ts';

export interface CleanerBenchOptions {
  /** Blocks of the device; 512 in a segment. */
  readonly blockCount: number;
}

const utilisations = [0.6, 0.7, 0.8, 0.85, 0.9, 0.95] as const;
const segmentBlocks = 512;
/** Overwrites of the whole device before counting begins, and while it is counted. */
const warmUp = 3;
const counted = 2;

/** Cost-benefit with user's and cleaner's streams apart, and with six classes: what the design was decided by. */
const references: Readonly<Record<string, readonly (readonly [string, readonly number[]])[]>> = {
  uniform: [['reference, any policy', [1.5, 1.9, 2.7, 3.5, 5.1, 9.7]]],
  '80/20': [
    ['reference, greedy, one stream', [1.8, 2.2, 3.0, 3.8, 5.4, 10.0]],
    ['reference, cost-benefit, two streams', [1.5, 1.8, 2.5, 3.2, 4.6, 8.8]],
    ['reference, six classes', [1.5, 1.8, 2.4, 3.0, 4.3, 8.2]],
  ],
  '90/10': [
    ['reference, greedy, one stream', [1.8, 2.5, 3.5, 4.4, 6.1, 10.7]],
    ['reference, cost-benefit, two streams', [1.3, 1.4, 1.9, 2.4, 3.2, 6.1]],
    ['reference, six classes', [1.2, 1.6, 1.8, 2.2, 3.0, 5.3]],
  ],
  'Zipf(1)': [
    ['reference, greedy, one stream', [2.1, 2.8, 4.0, 5.3, 7.7, 14.4]],
    ['reference, cost-benefit, two streams', [1.5, 1.8, 2.2, 2.6, 3.4, 5.8]],
    ['reference, six classes', [1.3, 1.5, 1.9, 2.3, 3.0, 5.2]],
  ],
};

interface Cell {
  readonly writeAmplification: number;
  readonly fill: number;
}

function measure(
  workload: Workload,
  utilisation: number,
  trigger: ModelOptions['trigger'],
  { blockCount }: CleanerBenchOptions,
): Cell {
  const random = new SeededRandom(1);
  const next = workload.make(blockCount, random);
  const capacitySegments = Math.round(blockCount / segmentBlocks / utilisation);
  // For copies only, as in the store.
  const reserveSegments = Math.max(8, Math.ceil(capacitySegments * 0.02));
  const options = { blockCount, segmentBlocks, capacitySegments, reserveSegments, trigger };
  const model = new LogModel(options);
  for (let block = 0; block < blockCount; block += 1) model.write(block);
  for (let count = warmUp * blockCount; count > 0; count -= 1) model.write(next());
  model.reset();
  for (let count = counted * blockCount; count > 0; count -= 1) model.write(next());
  return { writeAmplification: model.writeAmplification, fill: model.fill };
}

export function benchCleaner(options: CleanerBenchOptions): void {
  const rows = [['write amplification at', ...utilisations.map((share) => share.toFixed(2))]];
  const details: Record<string, readonly Cell[]> = {};
  for (const workload of workloads) {
    const full = utilisations.map((share) => measure(workload, share, 'full', options));
    const fill = utilisations.map((share) => measure(workload, share, 'fill', options));
    details[`${workload.name}, full`] = full;
    details[`${workload.name}, fill`] = fill;
    rows.push(
      ['', ...utilisations.map(() => '')],
      [
        `${workload.name}: policy, all of the capacity used`,
        ...full.map((cell) => cell.writeAmplification.toFixed(1)),
      ],
      ...(references[workload.name] ?? []).map(([name, numbers]) => [
        `  ${name}`,
        ...numbers.map((number) => number.toFixed(1)),
      ]),
      ['  policy, by the fill', ...fill.map((cell) => cell.writeAmplification.toFixed(1))],
      ['  fill at which it keeps the log', ...fill.map((cell) => cell.fill.toFixed(2))],
    );
  }
  console.log(`\n${formatTable(rows)}\n`);
  console.log(
    'written by clients and cleaner, for each block that clients wrote; no history, no snapshots.',
  );
  console.log(
    'by the fill: as a pool does it, which begins to copy long before it is full; here writes are',
  );
  console.log('not refused at 95 %.');
  console.log(`details: ${writeResult('cleaner', { options, details })}`);
}
