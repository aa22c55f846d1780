/** Opens the pool in a folder, in a process of its own, and prints what that and some work with it took as JSON. */
import { ask, closePool, openScalePool } from './scale-pool.ts';
import { type Touched, timed, workOf } from './scale-steps.ts';

const folder = process.argv[2] ?? '';
const round = Number(process.argv[3] ?? '0');
const mappedBytes = Number(process.argv[4] ?? '0');

function residentMiB(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss / 2 ** 20;
}

const before = residentMiB();
const usage = process.cpuUsage();
const startedMs = performance.now();
const { pool, recovery } = await openScalePool(folder);
const openMs = performance.now() - startedMs;
const { user, system } = process.cpuUsage(usage);
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
  viewMs,
  oldViewMs,
  timeViewMs,
  deleteMs,
  markMs,
};
const found = { isWhole: recovery.isWhole, segmentCount, snapshotCount, openMiB, workMiB, markMiB };
console.log(JSON.stringify({ ...found, ...times, ...touches, diff }));
process.exit(0);
