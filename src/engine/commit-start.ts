/** Starts the commit thread before there is work for it, so that its code is loaded beside the engine's and not after it. */
import { startThread } from '../host/threads.ts';
import type { FilesRefused, PoolFiles } from '../volume/pool-files.ts';
import type { CommitOrder, CommitThreadData } from './thread-data.ts';

const commitEntry = new URL('./commit-thread.ts', import.meta.url);

/** A commit thread that waits for its ring. */
export interface CommitThread {
  /** Gives it what it works on, once; `onDied` runs when it ends by its own mistake. */
  begin(data: CommitThreadData, onDied: (error: Error) => void): void;
  /** Begins to look for the files of the pool in `folder`, whose lock this process has; once, before `begin`. */
  findFiles(folder: string): void;
  /** Calls `done` with them, not within the call. */
  whenFound(done: (found: PoolFiles | FilesRefused) => void): void;
}

/** Nobody is there yet to be told: the process ends. */
function notBegun(error: Error): void {
  throw error;
}

/** Starts the thread. It touches nothing of the pool before it is told to, so the pool's lock need not be held yet. */
export function startCommitThread(): CommitThread {
  let died = notBegun;
  const found = Promise.withResolvers<PoolFiles | FilesRefused>();
  const order = (each: CommitOrder): void => {
    thread.post(each);
  };
  const thread = startThread(commitEntry, undefined, {
    // The thread answers with nothing else.
    message: (message) => {
      found.resolve(message as PoolFiles | FilesRefused);
    },
    error: (error) => {
      died(error);
    },
  });
  return {
    begin: (data, onDied) => {
      died = onDied;
      order({ kind: 'begin', ...data });
    },
    findFiles: (folder) => {
      order({ kind: 'find-files', folder });
    },
    whenFound: (done) => {
      void found.promise.then(done);
    },
  };
}
