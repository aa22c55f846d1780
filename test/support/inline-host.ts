/** A pool's host for unit tests: real files in a folder, helpers run on the same thread at the end of the turn. */
import { systemClock, systemRandom } from '../../src/host/clock.ts';
import { SystemDisk } from '../../src/host/disk.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { Committer } from '../../src/volume/committer.ts';
import { Keeper } from '../../src/volume/keeper.ts';
import { defaultSettings, type StoreSettings } from '../../src/volume/limits.ts';
import type { PoolHost } from '../../src/volume/ports.ts';

export const quietLog = { info: () => undefined, warn: () => undefined, error: () => undefined };

export function smallSettings(folder: string): StoreSettings {
  return {
    ...defaultSettings,
    segmentSlots: 64,
    readySegments: 2,
    stagingBytes: 4 * 2 ** 20,
    manifestPath: `${folder}/manifest.db`,
  };
}

export function inlineHost(folder: string): PoolHost {
  const disk = new SystemDisk(folder);
  return {
    disk,
    clock: systemClock,
    random: systemRandom,
    timers: systemTimers,
    log: quietLog,
    startCommit: (shared, onProgress) => {
      const committer = new Committer(shared, disk, () => undefined);
      return {
        wake: () => {
          setImmediate(() => {
            committer.drain();
            setImmediate(onProgress);
          });
        },
        stop: () => {
          committer.close();
        },
      };
    },
    startKeeper: (settings, onResult) => {
      const keeper = new Keeper(settings, disk);
      return {
        post: (job) => {
          setImmediate(() => {
            onResult(keeper.run(job));
          });
        },
        stop: () => {
          keeper.close();
        },
      };
    },
  };
}
