/**
 * What the store needs from the place it runs in: a disk, time, and two helpers that run beside the main thread.
 *
 *     Pool (main thread) ──frames in shared memory──▶ Committer   writes and flushes frames
 *                        ──KeeperJob──▶ Keeper                    prepares and seals segments, keeps the manifest, verifies
 *
 * In production both helpers are worker threads (`engine/commit-thread.ts`, `engine/keeper-thread.ts`); in the simulator
 * their cores run inside one scheduler, so a crash can fall between any two disk calls of any of them.
 */
import type { Clock, Disk, Log, Random, Timers } from '../base/ports.ts';
import type { CommitShared } from './commit-ring.ts';
import type { KeeperSettings } from './keeper.ts';
import type { KeeperJob, KeeperResult } from './keeper-jobs.ts';
import type { OpenDatabase } from './manifest-database.ts';
import type { FilesRefused, PoolFiles } from './pool-files.ts';

export interface CommitDoor {
  /** Frames were submitted to the shared ring: `committer.drain()` must run soon. */
  wake(): void;
  stop(): void;
}

export interface KeeperDoor {
  /** Runs the job after those posted before it and answers with one result. */
  post(job: KeeperJob): void;
  stop(): void;
}

export interface PoolHost {
  /** Rooted at the pool's folder DIR/pools/NAME. */
  readonly disk: Disk;
  /** The wall clock, and how long things take: slices, waits, rates. */
  readonly clock: Clock;
  /** Time of the log, by which moments are named and grow old. The same clock, but where days must pass in minutes. */
  readonly logClock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly log: Log;
  /** For the manifest, which is not on `disk`. */
  readonly openDatabase: OpenDatabase;
  /**
   * What files the pool has, found beside the main thread; the caller holds the pool's lock, and nobody makes or removes any until
   * `done` was called, not within this call.
   */
  findFiles(done: (found: PoolFiles | FilesRefused) => void): void;
  /** `onProgress` runs on the main thread after every drain that finished something. */
  startCommit(shared: CommitShared, onProgress: () => void): CommitDoor;
  startKeeper(settings: KeeperSettings, onResult: (result: KeeperResult) => void): KeeperDoor;
}
