/**
 * Space: how full the pool is, and whether it takes new data. Nothing reserves blocks on the file system, so both the pool's
 * capacity and the file system's free space count. Reads, trims, deletes and restarts work whatever this says.
 */
import { DiskError, type Timer } from '../../base/ports.ts';
import { formatSize } from '../../base/units.ts';
import { slotOf, slotSizeBytes } from '../format/address.ts';
import { limits } from '../limits.ts';
import type { PoolParts } from './parts.ts';

export interface SpaceReport {
  readonly capacityBytes: number;
  readonly usedBytes: number;
  readonly writeLimitBytes: number;
  readonly fileSystemFreeBytes: number;
  /** Why new writes are refused; undefined = they are not. */
  readonly fullReason: string | undefined;
  readonly segmentCount: number;
  readonly readySegmentCount: number;
}

export class Space {
  readonly #parts: PoolParts;
  #timer: Timer | undefined;
  #isFileSystemFull = false;
  #fileSystemFreeBytes = 0;
  #isStopped = false;
  /** Bytes of all segments but the one being written. */
  #finishedBytes = 0;
  #countedSegments = 0;

  constructor(parts: PoolParts) {
    this.#parts = parts;
    this.check();
    this.#schedule();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** Whether a write may be taken now. Cheap: called for each. */
  admitsWrites(): boolean {
    return !this.#isFileSystemFull && this.#usedBytes() < this.#writeLimitBytes();
  }

  report(): SpaceReport {
    this.check();
    const usedBytes = this.#usedBytes();
    const writeLimitBytes = this.#writeLimitBytes();
    return {
      capacityBytes: this.#parts.superblock.capacityBytes,
      usedBytes,
      writeLimitBytes,
      fileSystemFreeBytes: this.#fileSystemFreeBytes,
      fullReason: this.#fullReason(usedBytes, writeLimitBytes),
      segmentCount: this.#parts.segmentById.size,
      readySegmentCount: this.#parts.writer?.supply.readyCount ?? 0,
    };
  }

  /** Looks at the file system; called every second and at each new segment. */
  check(): void {
    const { host, settings, writer } = this.#parts;
    try {
      this.#fileSystemFreeBytes = host.disk.freeBytes();
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      host.log.warn('free space of the file system is unknown', { error: thrown.message });
      return;
    }
    const reserve = limits.fileSystemReserveSegments;
    const isShort = this.#fileSystemFreeBytes < reserve * settings.segmentSlots * slotSizeBytes;
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
      this.#schedule();
    });
  }

  #writeLimitBytes(): number {
    return Math.floor(this.#parts.superblock.capacityBytes * limits.writeLimitShare);
  }

  /** Bytes of log, with what waits to be logged. */
  #usedBytes(): number {
    const { segmentById, writer, staging } = this.#parts;
    if (this.#countedSegments !== segmentById.size) this.#recount();
    const nextSlot = writer === undefined ? 0 : writer.log.place.nextSlot;
    return this.#finishedBytes + nextSlot * slotSizeBytes + staging.sizeBytes - staging.freeBytes;
  }

  #recount(): void {
    const { segmentById, settings, writer } = this.#parts;
    this.#countedSegments = segmentById.size;
    this.#finishedBytes = 0;
    const current = writer?.log.place.segId;
    for (const segment of segmentById.values()) {
      if (segment.segId === current) continue;
      // The log has left it with frames in flight, so its end is not known yet: full for now, and counted again next time.
      const isFinished = segment.endAddress > 0;
      if (!isFinished) this.#countedSegments = -1;
      const slots = isFinished ? slotOf(segment.endAddress - 1) + 1 : settings.segmentSlots;
      this.#finishedBytes += slots * slotSizeBytes;
    }
  }

  #fullReason(usedBytes: number, writeLimitBytes: number): string | undefined {
    if (this.#isFileSystemFull) {
      return `the file system has only ${formatSize(this.#fileSystemFreeBytes)} left`;
    }
    if (usedBytes >= writeLimitBytes) {
      const share = Math.round(limits.writeLimitShare * 100);
      return `the log has reached ${share} % of the pool's capacity (${formatSize(this.#parts.superblock.capacityBytes)})`;
    }
    return undefined;
  }
}
