/**
 * One life of the store's process in the simulator: the pool on the main thread, the committer and the keeper as lanes of
 * one scheduler, all on one virtual disk. It ends with `close` or `kill`, and never touches the machine afterwards.
 */
import type { OperationError, Outcome } from '../../src/base/errors.ts';
import type { Log } from '../../src/base/ports.ts';
import type { BlockDevice } from '../../src/device/block-device.ts';
import type { Payload } from '../../src/device/staging.ts';
import { CommitRing } from '../../src/volume/commit-ring.ts';
import { Committer } from '../../src/volume/committer.ts';
import { Keeper } from '../../src/volume/keeper.ts';
import { defaultSettings, type StoreSettings } from '../../src/volume/limits.ts';
import { livenessLimits } from '../../src/volume/liveness/limits.ts';
import type { PackReport } from '../../src/volume/pack/packing.ts';
import type { OpenSnapshot, Pool } from '../../src/volume/pool.ts';
import { findPoolFiles } from '../../src/volume/pool-files.ts';
import { openPool } from '../../src/volume/pool-open.ts';
import type { PoolHost } from '../../src/volume/ports.ts';
import type { PoolSpace } from '../../src/volume/reports.ts';
import { brokenDisk, type StoreVariant } from './broken-stores.ts';
import type { ContentId, ContentTable } from './content.ts';
import { makeCleanerEager } from './eager-cleaner.ts';
import { packOrders } from './kept-blocks.ts';
import type { Machine } from './machine.ts';
import { DeviceReader } from './observe.ts';
import {
  type ObservedDevice,
  type ObservedPool,
  type ObservedVolume,
  Violation,
} from './oracle.ts';
import type { SeededRandom } from './random.ts';
import { Scheduler } from './scheduler.ts';
import { FaultSupervisor, PointSupervisor } from './supervisors.ts';
import { type DiskCall, type DiskFault, VirtualDisk } from './virtual-disk.ts';

export interface StoreProcessOptions {
  readonly machine: Machine;
  readonly random: SeededRandom;
  /** The store is right unless a test breaks it on purpose. */
  readonly variant?: StoreVariant | undefined;
  /** Called before every disk call that changes what a crash leaves. */
  readonly onPoint?: (what: string) => void;
  /** Called before the committer writes anything. */
  readonly onCommit?: () => void;
  /** Faults of the disk, by call. Without it the disk works. */
  readonly fault?: (call: DiskCall) => DiskFault | undefined;
  readonly segmentSlots?: number;
  /** Of a pool that is made; 1 GiB without it. */
  readonly capacityBytes?: number;
  /** Whether the cleaner works by itself; undefined = as the seed says. */
  readonly cleaner?: StoreSettings['cleaner'];
  /** The keeper never gets to run: as if its thread were stuck. */
  readonly isKeeperStuck?: boolean;
  readonly trace?: (line: string) => void;
}

makeCleanerEager();

const eventsMax = 50_000;
const manifestLagMs = 1000;
/** A write that finds no space is tried again so often. */
const spaceTriesMax = 2;
/** States of each window that are compared with the liveness mark. */
const auditStates = 40;
const smallSettings: StoreSettings = {
  ...defaultSettings,
  segmentSlots: 64,
  readySegments: 2,
  checkpointBytesMin: 2 ** 18,
  checkpointBytesMax: 2 ** 18,
  // Several turns, and several records, of catalogues of a few volumes.
  checkpointPartBytes: 700,
  checkpointSlicePieces: 1,
  stagingBytes: 2 ** 21,
  crcTableBytes: 2 ** 16,
  runFanOut: 2,
  scrubBytesPerSecond: 0,
  manifestPath: ':memory:',
};

/** A snapshot that a damaged pool refuses to show. */
const unreadableDevice: ObservedDevice = { sizeBytes: 0, contents: [], states: [] };

export class StoreProcess {
  readonly machine: Machine;
  readonly #options: StoreProcessOptions;
  readonly #scheduler: Scheduler;
  readonly #disk: VirtualDisk;
  #pool: Pool | undefined;
  /** Whether the pool was opened by what its manifest knew, without reading all of the log. */
  wasKnown = false;
  /** Why the store stopped itself; undefined while it works. */
  failure: string | undefined;

  constructor(options: StoreProcessOptions) {
    this.#options = options;
    this.machine = options.machine;
    this.machine.manifest.beginLife();
    const { random, machine } = options;
    this.#scheduler = new Scheduler(random, machine.nowMs);
    this.#scheduler.stepWall(machine.wallOffsetMs);
    const supervisor =
      options.fault === undefined
        ? new PointSupervisor(random.fork(11), this.#scheduler, options.onPoint ?? (() => {}))
        : new FaultSupervisor(random.fork(11), this.#scheduler, options.fault);
    this.#disk = new VirtualDisk(machine.image, supervisor);
  }

  get pool(): Pool {
    if (this.#pool === undefined) throw new Error('the pool is not open');
    return this.#pool;
  }

  /** The disk has less room than one segment takes. */
  get isSpaceShort(): boolean {
    return this.#disk.freeBytes() < 2 * smallSettings.segmentSlots * 4096;
  }

  get isReadOnly(): boolean {
    return this.pool.readOnlyReason !== undefined;
  }

  /** Opens the pool. Throws Violation when the store refuses or hangs. */
  open(): void {
    const refusal = this.tryOpen();
    if (refusal !== undefined) throw new Violation(`the pool does not open: ${refusal.message}`);
    if (this.isReadOnly) {
      throw new Violation(`the pool is read-only: ${this.pool.readOnlyReason ?? ''}`);
    }
  }

  /** Opens the pool; what the store says when it refuses. */
  tryOpen(): OperationError | undefined {
    let refusal: OperationError | undefined;
    let isDone = false;
    const choice = this.#options.random.fork(13);
    const settings: StoreSettings = {
      ...smallSettings,
      segmentSlots: this.#options.segmentSlots ?? smallSettings.segmentSlots,
      // Half of them without memory for maps: nothing is filled before it is touched, and no moment is kept.
      mapBytes: choice.chance(0.5) ? 0 : smallSettings.mapBytes,
      cleaner: this.#options.cleaner ?? (choice.chance(0.5) ? 'auto' : 'off'),
      // In half of them it follows the size of the catalogue: 256 KiB are one of a KiB.
      checkpointBytesMin: choice.chance(0.5) ? smallSettings.checkpointBytesMin : 2 ** 16,
      checkpointBytesMax: choice.chance(0.5) ? smallSettings.checkpointBytesMax : 2 ** 20,
    };
    openPool(
      this.#host(),
      {
        name: 'main',
        settings,
        capacityBytes: this.#options.capacityBytes ?? 2 ** 30,
        pageCacheBytes: 2 ** 20,
        onFailed: (message) => {
          this.failure ??= message;
        },
      },
      (outcome) => {
        isDone = true;
        if (outcome.ok) {
          this.#pool = outcome.value.pool;
          this.wasKnown = !outcome.value.recovery.isWhole;
        } else refusal = outcome.error;
      },
    );
    this.runUntil(() => isDone || this.failure !== undefined, eventsMax, 'the pool to open');
    return refusal;
  }

  /** Closes the pool in order. */
  close(): void {
    let isDone = false;
    this.pool.close(() => {
      isDone = true;
    });
    this.runUntil(() => isDone, eventsMax, 'the pool to close');
    this.kill();
  }

  /** The process is gone: nothing of it runs any more. */
  kill(): void {
    this.machine.nowMs = this.#scheduler.monotonicMs();
    this.#disk.kill();
    this.#scheduler.clear();
  }

  stepWall(byMs: number): void {
    this.machine.wallOffsetMs += byMs;
    this.#scheduler.stepWall(byMs);
  }

  get wallMs(): number {
    return this.#scheduler.wallMs();
  }

  get monotonicMs(): number {
    return this.#scheduler.monotonicMs();
  }

  runUntil(isDone: () => boolean, limit: number, what: string): void {
    this.#scheduler.runUntil(isDone, limit, what);
  }

  /** Runs up to `count` events. */
  runSome(count: number): void {
    for (let left = count; left > 0; left -= 1) this.#scheduler.runOne();
  }

  /** Lets time go by. */
  passTime(durationMs: number): void {
    this.#scheduler.runFor(durationMs);
  }

  /** While it is held, the keeper does not get to run: nothing is sealed, prepared or merged. */
  holdKeeper(isHeld: boolean): void {
    this.#scheduler.hold(isHeld ? 'keeper' : undefined);
  }

  /** Starts to count what the blocks of the log are there for, which looks at all maps, a slice now and then. */
  lookAtSpace(onRefused: (message: string) => void): void {
    this.pool.spaceAccount(
      { volume: undefined, deleted: [] },
      () => {},
      (outcome) => {
        if (!outcome.ok) onRefused(outcome.error.message);
      },
    );
  }

  openVolume(name: string): BlockDevice {
    return this.pool.volumeOpen(name);
  }

  /** Staging for a write; undefined when there is none now. */
  allocate(offset: number, length: number): Payload | undefined {
    return this.pool.staging.allocate(offset, length);
  }

  whenFree(action: () => void): void {
    this.pool.staging.whenFree(action);
  }

  /**
   * Begins to pack those of the sealed segments that `isChosen`, together; keeps every block with `wanted` contents, and those
   * that were given up already are not there. `done` runs when it has ended, whether the pool could do it or not.
   */
  pack(
    contents: ContentTable,
    wanted: ReadonlySet<ContentId>,
    choice: {
      readonly isChosen: (segId: number) => boolean;
      readonly done: (outcome: Outcome<PackReport>) => void;
    },
  ): void {
    const segmentSlots = this.#options.segmentSlots ?? smallSettings.segmentSlots;
    const { uuid, packing } = this.pool;
    const orders = packOrders(this.machine.image, { uuid, segmentSlots }, contents, wanted)
      // The newest of them may not be followed by anything durable yet.
      .slice(0, -1)
      .filter(({ segId }) => choice.isChosen(segId));
    packing.pack(orders, choice.done);
  }

  /** The same, at once; undefined when there was nothing to pack. */
  packNow(
    contents: ContentTable,
    wanted: ReadonlySet<ContentId>,
    choice: {
      readonly isChosen: (segId: number) => boolean;
      readonly isOver?: () => boolean;
    },
  ): Outcome<PackReport> | undefined {
    let outcome: Outcome<PackReport> | undefined;
    const chosen: number[] = [];
    const isChosen = (segId: number): boolean => {
      const isOne = choice.isChosen(segId);
      if (isOne) chosen.push(segId);
      return isOne;
    };
    const done = (answer: Outcome<PackReport>): void => {
      outcome = answer;
    };
    this.pack(contents, wanted, { isChosen, done });
    if (chosen.length === 0) return undefined;
    const isOver = choice.isOver ?? (() => false);
    this.runUntil(() => outcome !== undefined || isOver(), eventsMax, 'a pack');
    return outcome;
  }

  /** Reads everything that the pool shows: volumes, their heads and all snapshots. */
  observe(contents: ContentTable): ObservedPool {
    const reader = new DeviceReader(this.#scheduler, contents);
    const observed = new Map<string, ObservedVolume>();
    for (const volume of this.pool.volumes()) {
      const head = reader.observe(this.pool.volumeOpen(volume.name));
      const snapshotByName = new Map<string, ObservedDevice>();
      for (const name of volume.snapshotByName.keys()) {
        snapshotByName.set(name, this.#observeSnapshot(reader, volume.name, name));
      }
      const { luState } = this.pool.volumeOpen(volume.name);
      observed.set(volume.name, { ...head, luState, snapshotByName });
    }
    return observed;
  }

  #observeSnapshot(reader: DeviceReader, volume: string, name: string): ObservedDevice {
    let opened: OpenSnapshot | undefined;
    let refusal: OperationError | undefined;
    this.pool.snapshotOpen(volume, name, (outcome) => {
      if (outcome.ok) opened = outcome.value;
      else refusal = outcome.error;
    });
    const isAnswered = (): boolean => opened !== undefined || refusal !== undefined;
    this.runUntil(isAnswered, eventsMax, `snapshot ${volume}@${name}`);
    if (opened === undefined && this.isReadOnly) return unreadableDevice;
    if (opened === undefined) {
      throw new Violation(`snapshot ${volume}@${name}: ${refusal?.message ?? ''}`);
    }
    const observed = reader.observe(opened.device);
    opened.close();
    return observed;
  }

  /** Reads the whole log; what is wrong with it, in words. */
  verify(): readonly string[] {
    let faults: readonly string[] | undefined;
    this.pool.verify(
      () => {},
      (report) => {
        faults = report.faults;
      },
    );
    this.runUntil(() => faults !== undefined, eventsMax, 'the verification');
    return faults ?? [];
  }

  /**
   * Reads the whole log and asks for every block of many states that are kept whether the liveness mark has it. Throws
   * Violation when it has not.
   */
  requireSoundMark(): void {
    const { auditStatesPerWindow } = livenessLimits;
    Object.assign(livenessLimits, { auditStatesPerWindow: auditStates });
    const faults = this.verify();
    Object.assign(livenessLimits, { auditStatesPerWindow });
    if (faults.length > 0) throw new Violation(faults.join('\n'));
  }

  /** Rebuild, scrubber and account of space. Throws Violation when one of them contradicts what is there. */
  requireSoundUpkeep(): void {
    this.requireEqualRebuild();
    this.#requireCleanScrub();
    this.#requireEqualSpace();
  }

  /** A pass of the scrubber. Throws Violation when it finds anything. */
  #requireCleanScrub(): void {
    const { scrubber } = this.pool;
    scrubber.start(2 ** 40);
    this.runUntil(() => scrubber.status().state === 'waiting', eventsMax, 'the scrubber');
    scrubber.pause();
    const { findings } = scrubber.status();
    if (findings.length === 0) return;
    throw new Violation(`scrub: ${findings.map(({ text }) => text).join('; ')}`);
  }

  /**
   * Takes the account of space twice: neighbouring moments compared whole, and only where the log says that they can differ.
   * Throws Violation when the two differ.
   */
  #requireEqualSpace(): void {
    const whole = this.#space(1e9);
    const touched = this.#space(0);
    if (whole !== touched) throw new Violation(`space: ${whole} compared whole, else ${touched}`);
  }

  #space(leavesPerSegment: number): string {
    const before = { ...livenessLimits };
    Object.assign(livenessLimits, { leavesPerSegment });
    let outcome: Outcome<PoolSpace> | undefined;
    const question = { volume: undefined, deleted: [] };
    this.pool.spaceAccount(
      question,
      () => {},
      (answer) => {
        outcome = answer;
      },
    );
    this.runUntil(() => outcome !== undefined, eventsMax, 'the account of space');
    Object.assign(livenessLimits, before);
    if (outcome?.ok !== true) throw new Violation(`space: ${outcome?.error.message}`);
    const { computedMs: _computedMs, ...space } = outcome.value;
    return JSON.stringify(space);
  }

  /** Makes footers and manifest again from the log. Throws Violation when what was there differs. */
  requireEqualRebuild(): void {
    // Seals and the manifest follow the log a moment later.
    this.#scheduler.runFor(manifestLagMs);
    let report: { readonly wasEqual: boolean } | undefined;
    let refusal: OperationError | undefined;
    this.pool.rebuild(
      () => {},
      (outcome) => {
        if (outcome.ok) report = outcome.value;
        else refusal = outcome.error;
      },
    );
    const isAnswered = (): boolean => report !== undefined || refusal !== undefined;
    this.runUntil(isAnswered, eventsMax, 'the rebuild');
    if (report === undefined) throw new Violation(`rebuild failed: ${refusal?.message ?? ''}`);
    if (!report.wasEqual) throw new Violation('the manifest or a footer differed from its rebuild');
  }

  #host(): PoolHost {
    const { random, variant } = this.#options;
    const scheduler = this.#scheduler;
    return {
      disk: brokenDisk(this.#disk, variant, 'main'),
      clock: scheduler,
      logClock: scheduler,
      random: random.fork(12),
      timers: scheduler,
      log: this.#log(),
      openDatabase: (_path, options) => this.machine.manifest.open(options?.isReadOnly === true),
      findFiles: (done) => {
        scheduler.post('commit', () => {
          const found = findPoolFiles(this.#disk);
          scheduler.post('main', () => {
            done(found);
          });
        });
      },
      startCommit: (shared, onProgress) => {
        const disk = brokenDisk(this.#disk, variant, 'commit');
        const committer = new Committer(shared, disk, {
          onAdvance: () => {
            scheduler.post('main', onProgress);
          },
          waitForSpace: (tries) => tries < spaceTriesMax,
        });
        return {
          wake: () => {
            scheduler.post('commit', () => {
              const ring = new CommitRing(shared);
              if (ring.durable < ring.submitted) this.#options.onCommit?.();
              committer.drain();
            });
          },
          stop: () => {
            committer.close();
          },
        };
      },
      startKeeper: (settings, onResult) => {
        const { manifest } = this.machine;
        const keeper = new Keeper(settings, this.#disk, {
          pause: () => undefined,
          openDatabase: () => manifest.open(false),
        });
        return {
          post: (job) => {
            // A read waits for a footer that is made again: what nobody flushed before a loss is.
            const isMending = job.kind === 'rebuild-footer';
            if (this.#options.isKeeperStuck === true && !isMending) return;
            scheduler.post('keeper', () => {
              const result = keeper.run(job);
              manifest.commit();
              scheduler.post('main', () => {
                onResult(result);
              });
            });
          },
          stop: () => {
            scheduler.post('keeper', () => {
              keeper.close();
            });
          },
        };
      },
    };
  }

  #log(): Log {
    const line = (message: string, fields?: Readonly<Record<string, unknown>>): void => {
      this.#options.trace?.(`    log: ${message} ${JSON.stringify(fields ?? {})}`);
    };
    return { info: line, warn: line, error: line };
  }
}
