/** Opens the pool in a folder, in a process of its own, and prints what that and some work with it took as JSON. */
import type { Timers } from '../../src/base/ports.ts';
import { type CommitThread, startCommitThread } from '../../src/engine/commit-start.ts';
import { productionHost } from '../../src/engine/pool-host.ts';
import { systemClock } from '../../src/host/clock.ts';
import type { PoolHost } from '../../src/volume/ports.ts';
import { quietLog } from '../support/inline-host.ts';
import { sleep } from '../support/run.ts';
import { ask, closePool, openScalePool, RoomyDisk } from './scale-pool.ts';
import { type Touched, timed, workOf } from './scale-steps.ts';

/** Its code is loaded then. */
const commitStartMs = 500;

const folder = process.argv[2] ?? '';
const round = Number(process.argv[3] ?? '0');
const mappedBytes = Number(process.argv[4] ?? '0');

/** Longest turn of the main thread, milliseconds of processor: other work on the machine does not count. */
let longestTurnMs = 0;

function inTurn(action: () => void): void {
  const usage = process.threadCpuUsage();
  action();
  const { user, system } = process.threadCpuUsage(usage);
  longestTurnMs = Math.max(longestTurnMs, (user + system) / 1000);
}

function turnOf(action: () => void): () => void {
  return () => {
    inTurn(action);
  };
}

function measured(timers: Timers): Timers {
  return {
    after: (delayMs, action) => timers.after(delayMs, turnOf(action)),
    defer: (action) => {
      timers.defer(turnOf(action));
    },
  };
}

/** Commit and keeper have threads of their own, as in production, where the first has started when the pool is locked. */
function hostOf(place: string, commit: CommitThread): PoolHost {
  const clocks = { clock: systemClock, logClock: systemClock };
  commit.findFiles(place);
  const host = productionHost({ folder: place, log: quietLog, clocks, commit }, (error) => {
    throw error;
  });
  return { ...host, disk: new RoomyDisk(place), timers: measured(host.timers) };
}

function residentMiB(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss / 2 ** 20;
}

const commit = startCommitThread();
await sleep(commitStartMs);
const before = residentMiB();
const usage = process.threadCpuUsage();
const startedMs = performance.now();
const { pool, recovery } = await openScalePool(folder, { host: hostOf(folder, commit) });
const openMs = performance.now() - startedMs;
const { user, system } = process.threadCpuUsage(usage);
const openTurnMs = longestTurnMs;
const openMiB = residentMiB() - before;
const work = workOf(pool, round, mappedBytes);
const viewMs = await timed(async () => await work.view('now'));
const firstTouch = await work.touch('now');
const oldViewMs = await timed(async () => await work.view('old'));
const oldTouch = await work.touch('old');
const timeViewMs = await timed(async () => await work.view('time'));
const deleteMs = await work.deleteSnapshots();
const diff = await work.diff();
const beforeMark = residentMiB();
const markMs = await timed(async () => {
  await ask((done: Parameters<typeof pool.mark.run>[0]) => {
    pool.mark.run(done);
  });
});
const workMiB = beforeMark - before;
const markMiB = residentMiB() - beforeMark;
const { segmentCount } = pool.space();
const { snapshotCount } = pool;
await closePool(pool);
const touches: Readonly<Record<string, Touched>> = { firstTouch, oldTouch };
const times = {
  openMs,
  openCpuMs: (user + system) / 1000,
  openTurnMs,
  viewMs,
  oldViewMs,
  timeViewMs,
  deleteMs,
  markMs,
};
const found = { isWhole: recovery.isWhole, segmentCount, snapshotCount, openMiB, workMiB, markMiB };
console.log(JSON.stringify({ ...found, ...times, ...touches, diff }));
process.exit(0);
