/**
 * The simulator by hand.
 *
 *     node test/sim/main.ts --seed 17 --verbose              one long random run, with its trace
 *     node test/sim/main.ts --seed 1 --runs 1000             a thousand of them
 *     node test/sim/main.ts --kind rot --seed 1 --runs 100   damage under a pool's feet
 *     node test/sim/main.ts --kind fault --seed 1 --runs 100 a disk that refuses calls
 *     node test/sim/main.ts --kind full --seed 1 --runs 100  pools that run full, crashes, space that returns
 *     node test/sim/main.ts --kind views --seed 1 --runs 100 views, clones, rollbacks and deletes in any order
 *     node test/sim/main.ts --kind history --seed 1 --runs 100 past moments: views, diffs, snapshots named afterwards
 *     node test/sim/main.ts --kind openings --seed 1 --runs 100 manifests that are old, foreign or rotten
 *     node test/sim/main.ts --kind windows --seed 1 --runs 100 windows and automatic pins: what is kept, and what is refused
 *     node test/sim/main.ts --kind clean --seed 1 --runs 100 the cleaner beside everything else, and crashes in it
 *     node test/sim/main.ts --program snapshots --seed 1     a small program, a crash at every disk call
 *     node test/sim/main.ts --program snapshots --seed 1 --point 12 --verbose
 */
import { parseArgs } from 'node:util';
import { toError } from '../../src/base/errors.ts';
import { cleanRun } from './clean-run.ts';
import { explore } from './explore.ts';
import { faultRun } from './fault-run.ts';
import { fullRun } from './full-run.ts';
import { historyRun } from './history-run.ts';
import { longRun } from './long-run.ts';
import { openingRun } from './opening-run.ts';
import { programs } from './programs.ts';
import { rotRun } from './rot-run.ts';
import { viewRun } from './view-run.ts';
import { windowRun } from './window-run.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    runs: { type: 'string', default: '1' },
    kind: { type: 'string', default: 'long' },
    program: { type: 'string' },
    point: { type: 'string' },
    stride: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
  },
});

function trace(line: string): void {
  console.log(line);
}

function explorePrograms(name: string, seed: number): string {
  const program = programs.find((candidate) => candidate.name === name);
  if (program === undefined) {
    throw new Error(`no program ${name}; there are ${programs.map((one) => one.name).join(', ')}`);
  }
  const result = explore({
    program,
    seed,
    recoveryStride: Number(values.stride),
    ...(values.point === undefined ? {} : { onlyPoint: Number(values.point) }),
    ...(values.verbose ? { trace } : {}),
  });
  return `program ${name}, seed ${seed}: ${result.points} points, ${result.recoveries} recoveries`;
}

interface RunOptions {
  readonly seed: number;
  readonly trace?: (line: string) => void;
}

/** What a run of each kind says of itself. */
const kinds: Readonly<Record<string, (options: RunOptions) => string>> = {
  long: (options) => {
    const { lives, operations } = longRun(options);
    return `${lives} lives, ${operations} operations`;
  },
  rot: (options) => rotRun(options),
  fault: (options) => {
    const { lives, stops } = faultRun(options);
    return `${lives} lives, ${stops} stops`;
  },
  full: (options) => {
    const { lives, full, relieved } = fullRun(options);
    return `${lives} lives, ${full} full, ${relieved} relieved`;
  },
  views: (options) => {
    const { lives, operations, crashes } = viewRun(options);
    return `${lives} lives, ${operations} operations, ${crashes} crashes`;
  },
  history: (options) => {
    const { lives, steps, comparisons } = historyRun(options);
    return `${lives} lives, ${steps} steps, ${comparisons} comparisons`;
  },
  openings: (options) => {
    const { lives, known } = openingRun(options);
    return `${lives} lives, ${known} by the manifest`;
  },
  windows: (options) => {
    const { lives, opened, refused } = windowRun(options);
    return `${lives} lives, ${opened} opened, ${refused} refused`;
  },
  clean: (options) => {
    const { lives, passes, packs, crashes } = cleanRun(options);
    return `${lives} lives, ${passes} passes, ${packs} packs, ${crashes} crashes in them`;
  },
};

function randomRun(seed: number): string {
  const run = kinds[values.kind];
  if (run === undefined) {
    throw new Error(`no kind ${values.kind}; there are ${Object.keys(kinds).join(', ')}`);
  }
  return `${values.kind}, seed ${seed}: ${run({ seed, ...(values.verbose ? { trace } : {}) })}`;
}

const first = Number(values.seed);
const runs = Number(values.runs);
let failures = 0;
for (let seed = first; seed < first + runs; seed += 1) {
  try {
    const line =
      values.program === undefined ? randomRun(seed) : explorePrograms(values.program, seed);
    if (runs <= 20 || values.verbose) console.log(line);
  } catch (thrown) {
    failures += 1;
    console.error(toError(thrown).message);
  }
}
console.log(`${runs} runs, ${failures} failed`);
process.exitCode = failures === 0 ? 0 : 1;
