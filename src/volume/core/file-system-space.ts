/**
 * File system space: how much the file system below lets the pool have. Nothing reserves blocks there, and others may use it, too:
 * what the operator gave the pool as its capacity may not be there.
 *
 *     files of the pool ──────────────────────────────────────────┐
 *     stored │ rest of the segment being written │ files made ahead │ free │        what others have
 *     ───────────────────────── available ──────────────── reserve ───────▶
 *
 *     effective capacity = the lesser of the capacity and what is available: all limits are parts of it
 *
 * A file that is being made or removed is in neither count for a moment, and others come and go: what counts is the most that was
 * available in the last few seconds. History is given up for good, so what asks for that is the most of the last minute.
 *
 * Invariants
 * 1. Limits that are parts of the effective capacity are reached before the file system is full: then `isFull` refuses, at once,
 *    whatever was available before.
 * 2. Once the file system is full it stays so until there is a segment more than what made it full.
 */
import { DiskError } from '../../base/ports.ts';
import { slotSizeBytes } from '../format/address.ts';
import { limits } from '../limits.ts';
import { unfinishedPackPath } from '../pack/pack-path.ts';
import type { PoolParts } from './parts.ts';

interface Sample {
  readonly timeMs: number;
  readonly bytes: number;
}

/** What it needs of the pool. */
type LowerParts = Pick<PoolParts, 'host' | 'settings' | 'writer' | 'containers'>;

export class FileSystemSpace {
  readonly #parts: LowerParts;
  readonly #segmentBytes: number;
  readonly #reserveBytes: number;
  /** Undefined = the file system does not say. */
  #freeBytes: number | undefined;
  #isFull = false;
  /** What was available, oldest first; of those kept, each is more than all that came behind it. */
  #samples: Sample[] = [];
  /** When it was looked for the first time. */
  #firstMs = Number.POSITIVE_INFINITY;

  constructor(parts: LowerParts) {
    const { segmentSlots, readySegments } = parts.settings;
    const reserve = limits.fileSystemReserveSegments;
    this.#parts = parts;
    this.#segmentBytes = segmentSlots * slotSizeBytes;
    // Writes are refused, too, while so many files are made ahead still.
    this.#reserveBytes = (reserve + Math.min(reserve, readySegments)) * this.#segmentBytes;
  }

  /** As of the last look; 0 when the file system does not say. */
  get freeBytes(): number {
    return this.#freeBytes ?? 0;
  }

  /** What the log can still go on in, as of the last look. */
  get roomBytes(): number {
    const readyCount = this.#parts.writer?.supply.readyCount ?? 0;
    return this.freeBytes + readyCount * this.#segmentBytes;
  }

  /** The next segment may find no place: new data is refused. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** What the pool could take in all, without a few segments; Infinity when that is not known. */
  get availableBytes(): number {
    const fromMs = (this.#samples.at(-1)?.timeMs ?? 0) - limits.fileSystemSettleMs;
    return this.#samples.find(({ timeMs }) => timeMs >= fromMs)?.bytes ?? Number.POSITIVE_INFINITY;
  }

  /** The most that it could take at any time of the last minute; Infinity while that is not known. */
  get steadyBytes(): number {
    const lookedMs = (this.#samples.at(-1)?.timeMs ?? 0) - this.#firstMs;
    const most = this.#samples[0]?.bytes ?? Number.POSITIVE_INFINITY;
    return lookedMs < limits.fileSystemSteadyMs ? Number.POSITIVE_INFINITY : most;
  }

  /** Asks the file system. `storedBytes`: what the pool takes, as of now. */
  look(storedBytes: number): void {
    const { host } = this.#parts;
    let aheadBytes = 0;
    try {
      this.#freeBytes = host.disk.freeBytes();
      aheadBytes = this.#aheadBytes();
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      host.log.warn('free space of the file system is unknown', { error: thrown.message });
      return;
    }
    const bytes = storedBytes + aheadBytes + this.#freeBytes - this.#reserveBytes;
    this.#note({ timeMs: host.clock.monotonicMs(), bytes: Math.max(bytes, this.#segmentBytes) });
    this.#judge(this.#freeBytes);
  }

  #judge(freeBytes: number): void {
    const { host, writer } = this.#parts;
    const reserve = limits.fileSystemReserveSegments;
    // One segment of margin: what is short stays so until there is more than what made it short.
    const wanted = this.#isFull ? reserve + 1 : reserve;
    const isShort = freeBytes < wanted * this.#segmentBytes;
    if (isShort) writer?.supply.pause();
    else writer?.supply.resume();
    // Segments that are ready take data whatever the file system says; the last ones are for deletes and trims.
    const isUsedUp = isShort && (writer?.supply.readyCount ?? 0) <= reserve;
    // Others took the rest at once: the log says so before the next look would have.
    const isFull = isUsedUp || writer?.log.waitsForSpace === true;
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    if (isFull) host.log.warn('the file system is full: new writes are refused', { freeBytes });
    else host.log.info('the file system has space again: writes are taken');
  }

  /** Files of the pool, and parts of them, that are not stored bytes yet. */
  #aheadBytes(): number {
    const { host, writer, containers } = this.#parts;
    if (writer === undefined) return 0;
    const { supply, log } = writer;
    const restSlots = supply.isTakenPrepared
      ? this.#parts.settings.segmentSlots - log.place.nextSlot
      : 0;
    // What the cleaner is copying just now.
    const packBytes = host.disk.sizeOf(unfinishedPackPath(containers.packIdMax + 1));
    return supply.fileCount * this.#segmentBytes + restSlots * slotSizeBytes + packBytes;
  }

  #note(sample: Sample): void {
    while ((this.#samples.at(-1)?.bytes ?? Number.POSITIVE_INFINITY) <= sample.bytes) {
      this.#samples.pop();
    }
    this.#samples.push(sample);
    this.#firstMs = Math.min(this.#firstMs, sample.timeMs);
    const fromMs = sample.timeMs - limits.fileSystemSteadyMs;
    // The newest one stays, however old it is.
    while (this.#samples.length > 1 && (this.#samples[0]?.timeMs ?? fromMs) < fromMs) {
      this.#samples.shift();
    }
  }
}
