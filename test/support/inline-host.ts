/** A pool's host for unit tests: real files in a folder, helpers run on the same thread at the end of the turn. */
import type { Clock, Disk, Log, Timers } from '../../src/base/ports.ts';
import { systemClock, systemRandom } from '../../src/host/clock.ts';
import { SystemDisk } from '../../src/host/disk.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { Committer, type CommitterHost } from '../../src/volume/committer.ts';
import { Keeper } from '../../src/volume/keeper.ts';
import { defaultSettings, type StoreSettings } from '../../src/volume/limits.ts';
import { openSqlite } from '../../src/volume/manifest-database.ts';
import { findPoolFiles } from '../../src/volume/pool-files.ts';
import type { PoolHost } from '../../src/volume/ports.ts';

export const quietLog: Log = {
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export function smallSettings(folder: string): StoreSettings {
  return {
    ...defaultSettings,
    segmentSlots: 64,
    readySegments: 2,
    stagingBytes: 4 * 2 ** 20,
    runFanOut: 2,
    scrubBytesPerSecond: 0,
    manifestPath: `${folder}/manifest.db`,
  };
}

export const systemTime = { clock: systemClock, timers: systemTimers };

/** `abandon` ends it as a killed process ends: nothing that was planned happens any more. */
export function inlineHost(
  folder: string,
  disk: Disk = new SystemDisk(folder),
  time: { readonly clock: Clock; readonly timers: Timers } = systemTime,
  waitForSpace: CommitterHost['waitForSpace'] = () => false,
): PoolHost & { abandon(): void } {
  let isGone = false;
  const closers: (() => void)[] = [];
  const unlessGone = (action: () => void) => () => {
    if (!isGone) action();
  };
  const timers: Timers = {
    after: (delayMs, action) => {
      const timer = time.timers.after(delayMs, unlessGone(action));
      closers.push(() => {
        timer.cancel();
      });
      return timer;
    },
    defer: (action) => {
      time.timers.defer(unlessGone(action));
    },
  };
  return {
    disk,
    clock: time.clock,
    logClock: time.clock,
    random: systemRandom,
    timers,
    log: quietLog,
    openDatabase: openSqlite,
    findFiles: (done) => {
      timers.defer(() => {
        done(findPoolFiles(disk));
      });
    },
    startCommit: (shared, onProgress) => {
      const committer = new Committer(shared, disk, {
        onAdvance: () => undefined,
        waitForSpace,
      });
      closers.push(() => {
        committer.close();
      });
      const drain = (): void => {
        committer.drain();
        timers.defer(onProgress);
      };
      return {
        wake: () => {
          timers.defer(drain);
        },
        stop: () => {
          committer.close();
        },
      };
    },
    startKeeper: (settings, onResult) => {
      const keeper = new Keeper(settings, disk, {
        pause: () => undefined,
        openDatabase: openSqlite,
      });
      closers.push(() => {
        keeper.close();
      });
      return {
        post: (job) => {
          timers.defer(() => {
            onResult(keeper.run(job));
          });
        },
        stop: () => {
          keeper.close();
        },
      };
    },
    abandon: () => {
      isGone = true;
      for (const close of closers) close();
    },
  };
}
