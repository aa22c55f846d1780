/** Entry of the keeper thread: runs jobs in the order they arrive and answers each. */
import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { lowerThreadPriority } from '../host/threads.ts';
import type { KeeperJob } from '../volume/keeper-jobs.ts';
import { KEEPER_NICE } from './limits.ts';
import { type KeeperThreadData, keeperStop } from './thread-data.ts';

// The engine starts this thread with exactly this.
const { folder, settings } = workerData as KeeperThreadData;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

function pause(ms: number): void {
  Atomics.wait(sleeper, 0, 0, ms);
}

lowerThreadPriority(KEEPER_NICE);
// Its code is loaded behind what clients wait for: the jobs that come meanwhile wait, and nobody for them.
const [{ SystemDisk }, { Keeper }, { openSqlite }] = await Promise.all([
  import('../host/disk.ts'),
  import('../volume/keeper.ts'),
  import('../volume/manifest-database.ts'),
]);

let isCodeKept = false;

/** A thread that is killed cannot keep its compiled code: it does after its first job. */
function keepCode(): void {
  if (isCodeKept) return;
  isCodeKept = true;
  flushCompileCache();
}

const keeper = new Keeper(settings, new SystemDisk(folder), { pause, openDatabase: openSqlite });

parentPort?.on('message', (message: KeeperJob | typeof keeperStop) => {
  if (message === keeperStop) {
    keeper.close();
    parentPort?.close();
    return;
  }
  parentPort?.postMessage(keeper.run(message));
  keepCode();
});
