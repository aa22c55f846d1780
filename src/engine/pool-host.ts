/** The store's host in production: real files, the commit and keeper cores in threads of their own. */
import type { Log } from '../base/ports.ts';
import { systemRandom } from '../host/clock.ts';
import { SystemDisk } from '../host/disk.ts';
import { startThread, watchBell } from '../host/threads.ts';
import { systemTimers } from '../host/timers.ts';
import { control } from '../volume/commit-ring.ts';
import type { KeeperResult } from '../volume/keeper-jobs.ts';
import { openSqlite } from '../volume/manifest-database.ts';
import type { PoolHost } from '../volume/ports.ts';
import type { CommitThread } from './commit-start.ts';
import { type KeeperThreadData, keeperStop } from './thread-data.ts';

const keeperEntry = new URL('./keeper-thread.ts', import.meta.url);

export type HostClocks = Pick<PoolHost, 'clock' | 'logClock'>;

interface HostPlace {
  /** The pool's. */
  readonly folder: string;
  readonly log: Log;
  readonly clocks: HostClocks;
  /** It looks for the pool's files already; it begins when the store starts it, and serves one pool. */
  readonly commit: CommitThread;
}

/** `onThreadDied` runs when a helper thread ends by its own mistake: the process must stop. */
export function productionHost(
  { folder, log, clocks, commit }: HostPlace,
  onThreadDied: (error: Error) => void,
): PoolHost {
  return {
    disk: new SystemDisk(folder),
    ...clocks,
    random: systemRandom,
    timers: systemTimers,
    log,
    openDatabase: openSqlite,
    findFiles: (done) => {
      commit.whenFound(done);
    },
    startCommit: (shared, onProgress) => {
      const words = new Int32Array(shared.control);
      commit.begin({ folder, shared }, onThreadDied);
      const stopWatching = watchBell(words, control.mainBell, onProgress);
      const ring = (): void => {
        Atomics.add(words, control.commitBell, 1);
        Atomics.notify(words, control.commitBell);
      };
      return {
        wake: ring,
        stop: () => {
          stopWatching();
          Atomics.store(words, control.stop, 1);
          ring();
        },
      };
    },
    startKeeper: (settings, onResult) => {
      const data: KeeperThreadData = { folder, settings };
      const thread = startThread(keeperEntry, data, {
        // The thread answers with results only.
        message: (message) => {
          onResult(message as KeeperResult);
        },
        error: onThreadDied,
      });
      return {
        post: (job) => {
          thread.post(job);
        },
        stop: () => {
          thread.post(keeperStop);
        },
      };
    },
  };
}
