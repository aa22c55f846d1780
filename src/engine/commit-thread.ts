/**
 * Entry of the commit thread: before a pool is open it looks for the pool's files, beside the main thread. Then it waits for its ring,
 * drains it, rings the main thread's bell, looks a moment for more, sleeps on its own bell. Blocks on the disk by design.
 */
import { flushCompileCache } from 'node:module';
import { parentPort } from 'node:worker_threads';
import { SystemDisk } from '../host/disk.ts';
import { control } from '../volume/commit-ring.ts';
import { Committer } from '../volume/committer.ts';
import { findPoolFiles } from '../volume/pool-files.ts';
import type { CommitOrder, CommitThreadData } from './thread-data.ts';

/**
 * How long it looks before it sleeps: being woken takes about 40 us of the 250 us that a single durable write takes.
 * Measured, 4 KiB durable writes: QD1 3,340/s without, 3,580/s with 60 us, 3,380/s with 150 us; QD32 35.7k, 39.5k, 40.9k.
 */
const lookMs = 0.06;
const looksPerTime = 50;
/**
 * A file system that is full this moment may have space the next. Not for long: an engine that ends goes on, once it is started
 * again, in a file that was made ahead, and refuses writes in order.
 */
const spaceWaitMs = 50;
const spaceWaitsMax = 40;

/** Returns when the bell was rung, or after `lookMs`. */
function lookForMore(words: Int32Array, bell: number): void {
  const end = performance.now() + lookMs;
  while (performance.now() < end) {
    for (let look = 0; look < looksPerTime; look += 1) {
      if (Atomics.load(words, control.commitBell) !== bell) return;
    }
  }
}

/** A function of its own, so that profiles tell waiting from working. */
function sleepUntilRung(words: Int32Array, bell: number): void {
  Atomics.wait(words, control.commitBell, bell);
}

function work({ folder, shared }: CommitThreadData): void {
  const words = new Int32Array(shared.control);
  const committer = new Committer(shared, new SystemDisk(folder), {
    onAdvance: () => {
      Atomics.add(words, control.mainBell, 1);
      Atomics.notify(words, control.mainBell);
    },
    waitForSpace: (tries) => {
      // Nobody rings it for that: a look at it every time is soon enough.
      Atomics.wait(words, control.stop, 0, spaceWaitMs);
      return tries < spaceWaitsMax && Atomics.load(words, control.stop) === 0;
    },
  });
  while (Atomics.load(words, control.stop) === 0) {
    const bell = Atomics.load(words, control.commitBell);
    committer.drain();
    lookForMore(words, bell);
    sleepUntilRung(words, bell);
  }
  committer.close();
}

// The engine posts nothing else.
parentPort?.on('message', (order: CommitOrder) => {
  if (order.kind === 'find-files') {
    parentPort?.postMessage(findPoolFiles(new SystemDisk(order.folder)));
    return;
  }
  work(order);
  parentPort?.close();
});
// A thread that is killed cannot keep its compiled code: it does while it waits.
flushCompileCache();
