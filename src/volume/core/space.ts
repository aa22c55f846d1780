/**
 * Space: how full the pool is, what it does about it, and whether it takes new data. Nothing reserves blocks on the file
 * system, so both the pool's capacity and the file system's free space count. Reads, flushes, deletes and restarts work
 * whatever this says, trims and zeros until their reserve is used up.
 *
 *     every second, and at each new segment:
 *       StoredCount ─▶ used ─▶ SpaceLimits ─▶ Relief: steps that are taken     Throttle: how fast volumes may write
 *     each write:
 *       admits ─▶ used + staged against the limit of its kind of volume        holds ─▶ its turn in the throttle
 *     each trim or zero:
 *       admitsRecord ─▶ TrimReserve
 *
 * Invariant: once thin volumes are refused they stay so until a margin is free, so a pool at its limit does not flap.
 */
import { DiskError, type Timer } from '../../base/ports.ts';
import { formatSize } from '../../base/units.ts';
import type { IoRequest } from '../../device/block-device.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import type { Pressure as CleanerPressure } from '../cleaner/garbage-share.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { WriteGate } from '../io/devices.ts';
import type { Line } from '../io/line.ts';
import { limits } from '../limits.ts';
import type { Growth, ReliefEvent, StoredBytes } from '../reports.ts';
import { GrowthRecord } from './growth.ts';
import { type HistoryKeeper, HistoryRelief } from './history-relief.ts';
import type { Done } from './operator.ts';
import type { PoolParts } from './parts.ts';
import { Relief } from './relief.ts';
import { moreReserved, Reserves } from './reserves.ts';
import { pressureAt, type SpaceLimits, sharesOf, spaceLimits } from './space-limits.ts';
import { type PackList, type RunList, StoredCount } from './stored-bytes.ts';
import { type LaneReport, Throttle } from './throttle.ts';
import { TrimReserve } from './trim-reserve.ts';

export interface SpaceReport {
  readonly capacityBytes: number;
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
  readonly fileSystemFreeBytes: number;
  /** Why new writes are refused; undefined = they are not. */
  readonly fullReason: string | undefined;
  readonly segmentCount: number;
  readonly readySegmentCount: number;
  readonly relief: readonly ReliefEvent[];
  readonly throttled: readonly LaneReport[];
}

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
  #limits: SpaceLimits;
  #doors: ReliefDoors | undefined;
  #history: HistoryRelief | undefined;
  #timer: Timer | undefined;
  #isFileSystemFull = false;
  #fileSystemFreeBytes = 0;
  /** Thin volumes are refused. */
  #isFull = false;
  /** Use has passed the soft limit, and is not a margin below it again. */
  #isShort = false;
  #cleanerPressure: CleanerPressure = 'none';
  #isStopped = false;

  /** `release` takes a write back that was held. */
  constructor(
    parts: PoolParts,
    files: { readonly runs: RunList; readonly packs: PackList },
    release: (request: IoRequest, line: Line) => void,
  ) {
    this.#parts = parts;
    this.#segmentBytes = parts.settings.segmentSlots * slotSizeBytes;
    this.#stored = new StoredCount(parts, files);
    this.#reserves = new Reserves(parts);
    this.#relief = new Relief(parts.host);
    this.#throttle = new Throttle(parts, release);
    this.#limits = this.#limitsNow();
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
    if (this.#isFileSystemFull) return false;
    const usedBytes = this.#usedBytes;
    if (this.#reserves.isAny) {
      const claim = this.#reserves.claimOf(line);
      const others = this.#reserves.claimBytes - claim;
      if (claim > 0) return usedBytes + others < this.#limits.thickBytes;
    }
    if (!this.#isFull && this.#excessBytes(usedBytes) < 0) return true;
    if (!this.#isFull) this.#look();
    return !this.#isFull;
  }

  /** Whether the pool takes a trim or a zero now. Cheap: called for each of them. */
  admitsRecord(): boolean {
    if (
      this.#isFileSystemFull &&
      this.#roomBytes < limits.fileSystemLastSegments * this.#segmentBytes
    )
      return false;
    const wasUsedUp = this.#trims.isUsedUp;
    if (this.#admitsTrim()) return true;
    // What was given back since the last look may be enough.
    this.#stored.count();
    const isTaken = this.#admitsTrim();
    if (!isTaken && !wasUsedUp) {
      this.#parts.host.log.warn('space is short: what is kept for trims is used up', {
        usedBytes: this.#stored.total,
      });
    }
    return isTaken;
  }

  #admitsTrim(): boolean {
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
    this.#limits = this.#limitsNow();
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
      capacityBytes,
      cleanerLimitBytes: cleanerBytes,
      usedBytes: this.#usedBytes,
      stored: this.#stored.parts,
      softLimitBytes: softBytes,
      writeLimitBytes: hardBytes,
      shortBytes: this.#isFull ? this.#excessBytes(this.#usedBytes) + 2 * marginBytes : 0,
      reservedBytes: this.#reserves.claimBytes,
      fileSystemFreeBytes: this.#fileSystemFreeBytes,
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
    this.#checkFileSystem();
    this.#stored.count();
    this.#look();
  }

  /** What the log can still go on in, as of the last look at the file system. */
  get #roomBytes(): number {
    const readyCount = this.#parts.writer?.supply.readyCount ?? 0;
    return this.#fileSystemFreeBytes + readyCount * this.#segmentBytes;
  }

  get #usedBytes(): number {
    const { staging } = this.#parts;
    return this.#stored.total + staging.sizeBytes - staging.freeBytes;
  }

  /** How far thin volumes are beyond what they may take; below 0 = they are not. */
  #excessBytes(usedBytes: number): number {
    const { hardBytes, thickBytes } = this.#limits;
    const claimed = usedBytes + this.#reserves.claimBytes - thickBytes;
    return Math.max(usedBytes - hardBytes, claimed);
  }

  #look(): void {
    const { thickBytes, marginBytes } = this.#limits;
    const usedBytes = this.#usedBytes;
    this.#reserves.look(thickBytes - usedBytes);
    const excessBytes = this.#excessBytes(usedBytes);
    this.#isFull = excessBytes >= (this.#isFull ? -marginBytes : 0);
    if (this.#parts.writer === undefined) return;
    this.#relieve({ usedBytes, capacityBytes: this.#limits.capacityBytes });
  }

  #relieve(fields: Readonly<Record<string, unknown>>): void {
    const { softBytes, marginBytes } = this.#limits;
    const { total } = this.#stored;
    const pressure = this.#isFull ? 1 : pressureAt(total, this.#limits);
    // What began at the soft limit goes on until there is a margin: a pool that hovers there does not flap.
    this.#isShort = total >= softBytes - (this.#isShort ? marginBytes : 0) || this.#isFull;
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
    this.#relief.set('refuse', this.#isFull, fields);
  }

  /** A thick volume whose reserve lasts. */
  #isThick(line: Line): boolean {
    return this.#reserves.claimOf(line) > 0;
  }

  #limitsNow(): SpaceLimits {
    return this.limitsOf(this.#parts.superblock.capacityBytes);
  }

  #checkFileSystem(): void {
    const { host, writer } = this.#parts;
    try {
      this.#fileSystemFreeBytes = host.disk.freeBytes();
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      host.log.warn('free space of the file system is unknown', { error: thrown.message });
      return;
    }
    const reserve = limits.fileSystemReserveSegments;
    // One segment of margin: what is short stays so until there is more than what made it short.
    const wanted = this.#isFileSystemFull ? reserve + 1 : reserve;
    const isShort = this.#fileSystemFreeBytes < wanted * this.#segmentBytes;
    if (isShort) writer?.supply.pause();
    else writer?.supply.resume();
    // Segments that are ready take data whatever the file system says; the last ones are for deletes and trims.
    const isFull = isShort && (writer?.supply.readyCount ?? 0) <= reserve;
    if (isFull === this.#isFileSystemFull) return;
    this.#isFileSystemFull = isFull;
    if (isFull) {
      host.log.warn('the file system is full: new writes are refused', {
        freeBytes: this.#fileSystemFreeBytes,
      });
    } else {
      host.log.info('the file system has space again: writes are taken');
    }
  }

  #schedule(): void {
    this.#timer = this.#parts.host.timers.after(limits.freeSpaceCheckMs, () => {
      if (this.#isStopped) return;
      this.check();
      const { total } = this.#stored;
      this.#history?.look(this.#isFull ? 1 : pressureAt(total, this.#limits), total);
      this.#growth.note(total);
      this.#schedule();
    });
  }

  #fullReason(): string | undefined {
    if (this.#isFileSystemFull) {
      return `the file system has only ${formatSize(this.#fileSystemFreeBytes)} left`;
    }
    if (!this.#isFull) return undefined;
    const { capacityBytes, hardBytes } = this.#limits;
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
