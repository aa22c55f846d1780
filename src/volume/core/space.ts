/**
 * Space: how full the pool is, what it does about it, and whether it takes new data. Nothing reserves blocks on the file
 * system, so all limits are parts of the effective capacity: what the operator gave the pool, or less where the file system has
 * less. Reads, flushes, deletes and restarts work whatever this says, trims and zeros until their reserve is used up.
 *
 *     every second, and at each new segment:
 *       capacity, FileSystemSpace ─▶ effective capacity ─▶ SpaceLimits
 *       StoredCount ─▶ used ─▶ SpaceLimits ─▶ Relief: steps that are taken     Throttle: how fast volumes may write
 *     each write:
 *       admits ─▶ used + staged against the limit of its kind of volume        holds ─▶ its turn in the throttle
 *     each trim or zero:
 *       admitsRecord ─▶ TrimReserve
 *
 * Invariant: once thin volumes are refused they stay so until a margin is free, so a pool at its limit does not flap.
 */
import type { Timer } from '../../base/ports.ts';
import { formatSize } from '../../base/units.ts';
import type { IoRequest } from '../../device/block-device.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import type { Pressure as CleanerPressure } from '../cleaner/garbage-share.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { WriteGate } from '../io/devices.ts';
import type { Line } from '../io/line.ts';
import { limits } from '../limits.ts';
import type { Growth, ReliefEvent, StoredBytes } from '../reports.ts';
import { FileSystemSpace } from './file-system-space.ts';
import { GrowthRecord } from './growth.ts';
import { type HistoryKeeper, HistoryRelief } from './history-relief.ts';
import type { Done } from './operator.ts';
import type { PoolParts } from './parts.ts';
import { Relief } from './relief.ts';
import { moreReserved, Reserves } from './reserves.ts';
import { pressureAt, type SpaceLimits, sharesOf, spaceLimits } from './space-limits.ts';
import { type MeasuredRuns, type PackList, StoredCount } from './stored-bytes.ts';
import { type LaneReport, Throttle } from './throttle.ts';
import { TrimReserve } from './trim-reserve.ts';

export interface SpaceReport {
  /** As the operator has set it. */
  readonly capacityBytes: number;
  /** Less than that when the file system has not so much: all limits are parts of it. */
  readonly effectiveCapacityBytes: number;
  /** On disk, with what waits to be logged. */
  readonly usedBytes: number;
  readonly stored: StoredBytes;
  /** Hosts are told from here on. */
  readonly softLimitBytes: number;
  /** Thin volumes take no new data from here on. */
  readonly writeLimitBytes: number;
  /** What has to be given back so that thin volumes are taken again, and not refused soon after; 0 = they are taken. */
  readonly shortBytes: number;
  /** Cleaning may take space up to here. */
  readonly cleanerLimitBytes: number;
  /** Kept for thick volumes. */
  readonly reservedBytes: number;
  /** What of that is not there, because the file system has less than the capacity. */
  readonly uncoveredBytes: number;
  readonly fileSystemFreeBytes: number;
  /** Why new writes are refused; undefined = they are not. */
  readonly fullReason: string | undefined;
  readonly segmentCount: number;
  readonly readySegmentCount: number;
  readonly relief: readonly ReliefEvent[];
  readonly throttled: readonly LaneReport[];
}

/** So much is used before it is looked whether it may be. */
const toleratedSegments = 2;

/** Who makes room. */
export interface ReliefDoors {
  readonly cleaner: { setPressure(level: CleanerPressure, isStalled: boolean): void };
  readonly history: HistoryKeeper;
}

export class Space implements WriteGate {
  readonly #parts: PoolParts;
  readonly #segmentBytes: number;
  readonly #stored: StoredCount;
  readonly #reserves: Reserves;
  readonly #relief: Relief;
  readonly #throttle: Throttle;
  readonly #growth: GrowthRecord;
  readonly #trims = new TrimReserve();
  readonly #fileSystem: FileSystemSpace;
  /** The file system has less than the capacity, and is not a margin beyond it again. */
  #isCapacityShort = false;
  /** What of the reserves of thick volumes the file system does not have. */
  #uncoveredBytes = 0;
  #limits: SpaceLimits;
  #doors: ReliefDoors | undefined;
  #history: HistoryRelief | undefined;
  #timer: Timer | undefined;
  /** Thin volumes are refused. */
  #isFull = false;
  /** Use has passed the soft limit, and is not a margin below it again. */
  #isShort = false;
  #cleanerPressure: CleanerPressure = 'none';
  #isStopped = false;

  /** `release` takes a write back that was held. */
  constructor(
    parts: PoolParts,
    files: { readonly runs: MeasuredRuns; readonly packs: PackList },
    release: (request: IoRequest, line: Line) => void,
  ) {
    this.#parts = parts;
    this.#segmentBytes = parts.settings.segmentSlots * slotSizeBytes;
    this.#stored = new StoredCount(parts, files);
    this.#reserves = new Reserves(parts);
    this.#relief = new Relief(parts.host);
    this.#throttle = new Throttle(parts, release);
    this.#fileSystem = new FileSystemSpace(parts);
    this.#limits = this.limitsOf(this.#capacityBytes);
    this.check();
    this.#growth = new GrowthRecord(parts, this.#stored.total);
    this.#schedule();
  }

  /** Who makes room when space is short: from now on they are asked to. */
  relieveBy(doors: ReliefDoors): void {
    const { host, catalogue, writer } = this.#parts;
    if (writer === undefined) return;
    const { clock, log } = host;
    this.#doors = doors;
    const volumes = (): readonly VolumeState[] => catalogue.volumes();
    this.#history = new HistoryRelief({ clock, log, volumes }, doors.history);
  }

  /** Nothing is held back any more. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#throttle.stop();
  }

  /** Whether the pool takes new data of the line now. Cheap: called for each write. */
  admits(line: Line): boolean {
    if (this.#fileSystem.isFull) return false;
    const usedBytes = this.#usedBytes;
    if (this.#reserves.isAny) {
      const claim = this.#reserves.claimOf(line);
      // What others would keep of space that is not there is of use to nobody.
      const others = this.#uncoveredBytes > 0 ? 0 : this.#reserves.claimBytes - claim;
      if (claim > 0) return usedBytes + others < this.#limits.thickBytes;
    }
    if (!this.#isFull && this.#excessBytes(usedBytes) < 0) return true;
    if (!this.#isFull) this.#look();
    return !this.#isFull;
  }

  /** Whether the pool takes a trim or a zero now. Cheap: called for each of them. */
  admitsRecord(): boolean {
    const wasUsedUp = this.#trims.isUsedUp;
    if (this.#admitsTrim()) return true;
    // What was given back since the last look, here or below, may be enough.
    this.check();
    const isTaken = this.#admitsTrim();
    if (this.#trims.isUsedUp && !wasUsedUp) {
      this.#parts.host.log.warn('space is short: what is kept for trims is used up', {
        usedBytes: this.#stored.total,
      });
    }
    return isTaken;
  }

  #admitsTrim(): boolean {
    const { isFull, roomBytes } = this.#fileSystem;
    if (isFull && roomBytes < limits.fileSystemLastSegments * this.#segmentBytes) return false;
    const loggedBytes = this.#parts.writer?.log.bytesLogged ?? 0;
    return this.#trims.admits({ storedBytes: this.#stored.total, loggedBytes }, this.#limits);
  }

  /** Whether the write waits its turn: then it comes back through `release`. */
  holds(request: IoRequest, line: Line): boolean {
    return this.#throttle.holds(request, line);
  }

  /** The log opened another segment. */
  segmentOpened(): void {
    this.#stored.segmentOpened();
    this.check();
  }

  /** The capacity or its limits are others than before. */
  limitsChanged(): void {
    this.check();
  }

  /** Whether so much more can be reserved for thick volumes. */
  canReserve(bytes: number): boolean {
    this.#look();
    return this.#usedBytes + this.#reserves.claimBytes + bytes <= this.#limits.hardBytes;
  }

  /** What making the volume thick, or giving it this size as a thick one, would reserve beyond what it has. */
  moreReserved(volume: VolumeState, sizeBytes: number): number {
    const line = this.#parts.lineById.get(volume.line);
    return line === undefined ? 0 : moreReserved(volume, line, sizeBytes);
  }

  /** How a capacity is divided. */
  limitsOf(capacityBytes: number): SpaceLimits {
    return spaceLimits(capacityBytes, this.#segmentBytes, sharesOf(this.#parts.superblock));
  }

  /** `done`, after an operation that changes what is reserved. */
  after<T>(done: Done<T>): Done<T> {
    return (outcome) => {
      this.#look();
      done(outcome);
    };
  }

  report(): SpaceReport {
    this.check();
    const { capacityBytes, softBytes, hardBytes, marginBytes, cleanerBytes } = this.#limits;
    return {
      capacityBytes: this.#capacityBytes,
      effectiveCapacityBytes: capacityBytes,
      cleanerLimitBytes: cleanerBytes,
      usedBytes: this.#usedBytes,
      stored: this.#stored.parts,
      softLimitBytes: softBytes,
      writeLimitBytes: hardBytes,
      shortBytes: this.#isFull ? this.#excessBytes(this.#usedBytes) + 2 * marginBytes : 0,
      reservedBytes: this.#reserves.claimBytes,
      uncoveredBytes: this.#uncoveredBytes,
      fileSystemFreeBytes: this.#fileSystem.freeBytes,
      fullReason: this.#fullReason(),
      segmentCount: this.#parts.segmentById.size,
      readySegmentCount: this.#parts.writer?.supply.readyCount ?? 0,
      relief: this.#relief.events(),
      throttled: this.#throttle.lanes(),
    };
  }

  /** How fast the pool fills, and when it is full at that rate. */
  forecast(): Growth[] {
    return this.#growth.forecast(this.#stored.total, this.#limits);
  }

  /** Looks at everything; called every second and at each new segment. */
  check(): void {
    this.#stored.count();
    this.#fileSystem.look(this.#stored.total);
    this.#limits = this.limitsOf(Math.min(this.#capacityBytes, this.#fileSystem.availableBytes));
    this.#look();
  }

  get #capacityBytes(): number {
    return this.#parts.superblock.capacityBytes;
  }

  get #usedBytes(): number {
    const { staging } = this.#parts;
    return this.#stored.total + staging.sizeBytes - staging.freeBytes;
  }

  /** How far thin volumes are beyond what they may take; below 0 = they are not. */
  #excessBytes(usedBytes: number, of = this.#limits): number {
    const { hardBytes, thickBytes } = of;
    const claimed = usedBytes + this.#reserves.claimBytes - thickBytes;
    return Math.max(usedBytes - hardBytes, claimed);
  }

  #look(): void {
    const { thickBytes, marginBytes } = this.#limits;
    const usedBytes = this.#usedBytes;
    this.#reserves.look({ usedBytes, freeBytes: thickBytes - usedBytes });
    this.#lookAtCover(usedBytes);
    const excessBytes = this.#excessBytes(usedBytes);
    this.#isFull = excessBytes >= (this.#isFull ? -marginBytes : 0);
    if (this.#parts.writer === undefined) return;
    this.#relieve({ usedBytes, capacityBytes: this.#limits.capacityBytes });
  }

  /** Whether the file system has what the operator gave the pool, and what was promised to thick volumes. */
  #lookAtCover(usedBytes: number): void {
    const { availableBytes, freeBytes } = this.#fileSystem;
    const margin = this.#isCapacityShort ? limits.fileSystemMarginShare : 0;
    this.#isCapacityShort = availableBytes < this.#capacityBytes * (1 + margin);
    const { thickBytes, marginBytes } = this.#limits;
    const { claimBytes } = this.#reserves;
    const missingBytes = claimBytes === 0 ? 0 : usedBytes + claimBytes - thickBytes;
    // Thin volumes go a little too far before they are refused: that is nothing to tell anybody.
    const tolerated = Math.max(marginBytes, toleratedSegments * this.#segmentBytes);
    const isMissing = missingBytes > (this.#uncoveredBytes > 0 ? 0 : tolerated);
    this.#uncoveredBytes = this.#isCapacityShort && isMissing ? missingBytes : 0;
    if (this.#parts.writer === undefined) return;
    const fields = { availableBytes, capacityBytes: this.#capacityBytes, freeBytes };
    this.#relief.set('file-system', this.#isCapacityShort, fields);
    this.#relief.set('reserves', this.#uncoveredBytes > 0, { ...fields, claimBytes });
  }

  #relieve(fields: Readonly<Record<string, unknown>>): void {
    const { softBytes, marginBytes } = this.#limits;
    const { total } = this.#stored;
    const isFull = this.#isFull || this.#fileSystem.isFull;
    const pressure = isFull ? 1 : pressureAt(total, this.#limits);
    // What began at the soft limit goes on until there is a margin: a pool that hovers there does not flap.
    this.#isShort = total >= softBytes - (this.#isShort ? marginBytes : 0) || isFull;
    this.#throttle.look(pressureAt(total, this.#limits), (line) => this.#isThick(line));
    const wasSlow = this.#relief.isOn('throttle');
    this.#cleanerPressure = cleanerPressure(pressure, this.#isShort, this.#cleanerPressure);
    const isStalled = pressure >= limits.reliefStalledFrom;
    this.#doors?.cleaner.setPressure(this.#cleanerPressure, isStalled);
    const cleans = this.#doors !== undefined && this.#parts.settings.cleaner === 'auto';
    this.#relief.set('cleaner', cleans && this.#isShort, fields);
    this.#relief.set('windows', this.#history?.areWindowsShort === true, fields);
    this.#relief.set('pins', this.#history?.arePinsExpired === true, fields);
    this.#relief.set('throttle', this.#throttle.isOn || (wasSlow && this.#isShort), fields);
    this.#relief.set('refuse', isFull, fields);
  }

  /** A thick volume whose reserve lasts. */
  #isThick(line: Line): boolean {
    return this.#reserves.claimOf(line) > 0;
  }

  #schedule(): void {
    this.#timer = this.#parts.host.timers.after(limits.freeSpaceCheckMs, () => {
      if (this.#isStopped) return;
      this.check();
      const { total } = this.#stored;
      this.#history?.look(this.#steadyPressure, total);
      this.#growth.note(total);
      this.#schedule();
    });
  }

  /** As though the file system had what it had at any time of the last minute: nothing is given up for what is short for a moment. */
  get #steadyPressure(): number {
    const { total } = this.#stored;
    const steady = this.limitsOf(Math.min(this.#capacityBytes, this.#fileSystem.steadyBytes));
    const isFull =
      this.#isFull && this.#excessBytes(this.#usedBytes, steady) >= -steady.marginBytes;
    return isFull ? 1 : pressureAt(total, steady);
  }

  #fullReason(): string | undefined {
    const freeText = formatSize(this.#fileSystem.freeBytes);
    if (this.#fileSystem.isFull) return `the file system has only ${freeText} left`;
    if (!this.#isFull) return undefined;
    const { capacityBytes, hardBytes } = this.#limits;
    if (capacityBytes < this.#capacityBytes) {
      return `the file system has only ${freeText} left, so the pool can take ${formatSize(capacityBytes)} of its ${formatSize(this.#capacityBytes)}, which are used but for what is kept`;
    }
    const claimBytes = this.#reserves.claimBytes;
    const kept = claimBytes === 0 ? '' : `; ${formatSize(claimBytes)} are kept for thick volumes`;
    const share = Math.round((hardBytes / capacityBytes) * 100);
    if (this.#trims.isUsedUp) {
      return `all of the pool's capacity (${formatSize(capacityBytes)}) that clients may use is used, also what is kept for trims`;
    }
    return this.#usedBytes >= hardBytes - this.#limits.marginBytes
      ? `${share} % of the pool's capacity (${formatSize(capacityBytes)}) are used${kept}`
      : `what is left of the pool's capacity (${formatSize(capacityBytes)}) is not enough${kept}`;
  }
}

function cleanerPressure(
  pressure: number,
  isShort: boolean,
  before: CleanerPressure,
): CleanerPressure {
  const { reliefHardFrom } = limits;
  if (pressure >= (before === 'hard' ? reliefHardFrom * 0.8 : reliefHardFrom)) return 'hard';
  return isShort ? 'soft' : 'none';
}
