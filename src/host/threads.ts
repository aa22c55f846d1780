/** Worker threads, and waiting for a shared word without blocking the event loop. */
import { readdirSync } from 'node:fs';
import os from 'node:os';
import { Worker } from 'node:worker_threads';

export interface Thread {
  post(message: unknown): void;
  /** Ends it now. */
  terminate(): void;
}

/** Starts a thread whose entry is the module at `entry`; `data` is cloned (shared memory is shared). */
export function startThread(
  entry: URL,
  data: unknown,
  on: { readonly message: (message: unknown) => void; readonly error: (error: Error) => void },
): Thread {
  const worker = new Worker(entry, { workerData: data });
  worker.on('message', on.message);
  worker.on('error', on.error);
  return {
    post: (message) => {
      worker.postMessage(message);
    },
    terminate: () => {
      void worker.terminate();
    },
  };
}

/**
 * Has all threads of this process, and those that they start, go before others of the machine; `nice` as in setpriority. False: it
 * may not; only root and who has CAP_SYS_NICE may.
 */
export function raisePriority(nice: number): boolean {
  try {
    // Those that V8 has begun with, too: a collection of garbage waits for them.
    for (const thread of readdirSync('/proc/self/task')) os.setPriority(Number(thread), nice);
    return true;
  } catch {
    return false;
  }
}

/** Has this thread, of all of the process, wait for a processor longer than others do: `nice` as in setpriority, 0 is usual, 19 the most. */
export function lowerThreadPriority(nice: number): void {
  // On Linux process 0 is the calling thread.
  os.setPriority(0, nice);
}

/**
 * Calls `onRung` on the event loop whenever `words[index]` has changed and was notified (14 us from notify to call,
 * measured; a message between threads takes 27 us). Returns a function that ends it.
 */
export function watchBell(words: Int32Array, index: number, onRung: () => void): () => void {
  let isOver = false;
  const wait = async (): Promise<void> => {
    let seen = Atomics.load(words, index);
    for (;;) {
      const waited = Atomics.waitAsync(words, index, seen);
      if (waited.async) await waited.value;
      if (isOver) return;
      seen = Atomics.load(words, index);
      onRung();
    }
  };
  void wait();
  return () => {
    isOver = true;
    Atomics.add(words, index, 1);
    Atomics.notify(words, index);
  };
}
