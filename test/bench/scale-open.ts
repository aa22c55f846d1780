/** Opens the pool in a folder, in a process of its own, and prints what that took as JSON. */

import { ask, closePool, openScalePool, scaleVolume } from './scale-pool.ts';
import { askView, timed } from './scale-steps.ts';

const deletes = 100;
const folder = process.argv[2] ?? '';
const round = Number(process.argv[3] ?? '0');

function residentMiB(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss / 2 ** 20;
}

const before = residentMiB();
const startedMs = performance.now();
const { pool, recovery } = await openScalePool(folder);
const openMs = performance.now() - startedMs;
const openMiB = residentMiB() - before;
const viewMs = await timed(async () => {
  await askView(pool, scaleVolume, round);
});
const deleteMs = await timed(async () => {
  for (let at = round * deletes; at < (round + 1) * deletes; at += 1) {
    await ask((done) => {
      pool.snapshotDelete({ volume: scaleVolume, name: `s${at}` }, done);
    });
  }
});
const { segmentCount } = pool.space();
const snapshotCount = pool.snapshotCount + deletes;
await closePool(pool);
console.log(
  JSON.stringify({
    isWhole: recovery.isWhole,
    segmentCount,
    snapshotCount,
    openMs,
    openMiB,
    viewMs,
    deleteMs: deleteMs / deletes,
  }),
);
process.exit(0);
