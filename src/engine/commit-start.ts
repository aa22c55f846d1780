/** Starts the commit thread before there is work for it, so that its code is loaded beside the engine's and not after it. */
import { startThread } from '../host/threads.ts';
import type { CommitThreadData } from './thread-data.ts';

const commitEntry = new URL('./commit-thread.ts', import.meta.url);

/** A commit thread that waits for its ring. */
export interface CommitThread {
  /** Gives it what it works on, once; `onDied` runs when it ends by its own mistake. */
  begin(data: CommitThreadData, onDied: (error: Error) => void): void;
}

/** Nobody is there yet to be told: the process ends. */
function notBegun(error: Error): void {
  throw error;
}

/** Starts the thread. It touches nothing of the pool before `begin`, so the pool's lock need not be held yet. */
export function startCommitThread(): CommitThread {
  let died = notBegun;
  const thread = startThread(commitEntry, undefined, {
    message: () => undefined,
    error: (error) => {
      died(error);
    },
  });
  return {
    begin: (data, onDied) => {
      died = onDied;
      thread.post(data);
    },
  };
}
