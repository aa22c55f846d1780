/** Entry of the keeper thread: runs jobs in the order they arrive and answers each. */
import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { SystemDisk } from '../host/disk.ts';
import { lowerThreadPriority } from '../host/threads.ts';
import { Keeper } from '../volume/keeper.ts';
import type { KeeperJob } from '../volume/keeper-jobs.ts';
import { openSqlite } from '../volume/manifest-database.ts';
import { KEEPER_NICE } from './limits.ts';
import { type KeeperThreadData, keeperStop } from './thread-data.ts';

// The engine starts this thread with exactly this.
const { folder, settings } = workerData as KeeperThreadData;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

function pause(ms: number): void {
  Atomics.wait(sleeper, 0, 0, ms);
}

lowerThreadPriority(KEEPER_NICE);

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
