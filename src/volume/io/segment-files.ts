/**
 * Open files of the main thread that segments lie in, their own or packs: a bounded cache of descriptors, the one used longest
 * ago closed first. Knows when the last read of a file that is to be given up is back.
 */
import type { Disk, DiskFile } from '../../base/ports.ts';
import { segmentPath } from '../log/segment-path.ts';
import type { Containers } from '../pack/containers.ts';
import { packPath } from '../pack/pack-path.ts';
import type { PackedSegment } from '../pack/packed-segment.ts';

/** A segment's own file is named by its id, a pack by the negative of its id. */
export type FileKey = number;

interface OpenFile {
  readonly key: FileKey;
  readonly file: DiskFile;
  /** Reads in flight: not closed before they are back. */
  users: number;
  isDropped: boolean;
}

export class SegmentFiles {
  readonly #disk: Disk;
  readonly #containers: Containers;
  readonly #countMax: number;
  /** In order of opening; moved to the end only when the cache is half full (moving costs more than a cached read). */
  readonly #open = new Map<FileKey, OpenFile>();
  /** Reads in flight, by file: also of those that the cache has dropped. */
  readonly #readsByKey = new Map<FileKey, number>();
  readonly #retiring = new Map<FileKey, () => void>();

  constructor(disk: Disk, containers: Containers, countMax: number) {
    this.#disk = disk;
    this.#containers = containers;
    this.#countMax = countMax;
  }

  /**
   * Byte offset, in the file that `file` and `acquire` give, of `length` bytes at `position` of the segment: whole slots, or
   * a part of the footer. -1 = they were given up. Valid until the next call.
   */
  offsetOf(segId: number, position: number, length: number): number {
    const packed = this.#containers.find(segId);
    return packed === undefined ? position : packed.offsetOf(position, length);
  }

  /** The pack that a segment lies in when its footer there has no checksums. Valid until the next call. */
  thinned(segId: number): PackedSegment | undefined {
    const packed = this.#containers.find(segId);
    return packed?.pack.isThinned === true ? packed : undefined;
  }

  isPacked(segId: number): boolean {
    return this.#containers.packIdOf(segId) !== 0;
  }

  /** Byte offset of the checksum that a pack has of a slot beside the footer's; -1 = there is none. Valid until the next call. */
  crcOffsetOf(segId: number, slot: number): number {
    return this.#containers.find(segId)?.crcOffsetOf(slot) ?? -1;
  }

  /** For a synchronous read; valid until the next call. Throws DiskError. */
  file(segId: number): DiskFile {
    return this.#entry(segId).file;
  }

  /** For an asynchronous read; give it back with `release`. Throws DiskError. */
  acquire(segId: number): OpenFile {
    const entry = this.#entry(segId);
    entry.users += 1;
    this.#readsByKey.set(entry.key, (this.#readsByKey.get(entry.key) ?? 0) + 1);
    return entry;
  }

  release(entry: OpenFile): void {
    entry.users -= 1;
    if (entry.users === 0 && entry.isDropped) entry.file.close();
    const reads = (this.#readsByKey.get(entry.key) ?? 0) - 1;
    if (reads > 0) {
      this.#readsByKey.set(entry.key, reads);
      return;
    }
    this.#readsByKey.delete(entry.key);
    const action = this.#retiring.get(entry.key);
    this.#retiring.delete(entry.key);
    action?.();
  }

  /** No segment lies in the file any more: calls `action` when nobody reads from it, perhaps at once. */
  retire(key: FileKey, action: () => void): void {
    const entry = this.#open.get(key);
    if (entry !== undefined) {
      this.#open.delete(key);
      this.#drop(entry);
    }
    if (this.#readsByKey.has(key)) this.#retiring.set(key, action);
    else action();
  }

  closeAll(): void {
    for (const entry of this.#open.values()) this.#drop(entry);
    this.#open.clear();
  }

  #entry(segId: number): OpenFile {
    const packed = this.#containers.find(segId);
    const key = packed === undefined ? segId : -packed.packId;
    const known = this.#open.get(key);
    if (known !== undefined) {
      if (this.#open.size > this.#countMax / 2) {
        this.#open.delete(key);
        this.#open.set(key, known);
      }
      return known;
    }
    const path = packed === undefined ? segmentPath(segId) : packPath(packed.packId);
    const file = this.#disk.open(path, { create: false });
    const entry = { key, file, users: 0, isDropped: false };
    this.#open.set(key, entry);
    if (this.#open.size > this.#countMax) {
      const oldest = this.#open.entries().next();
      if (oldest.done !== true) {
        this.#open.delete(oldest.value[0]);
        this.#drop(oldest.value[1]);
      }
    }
    return entry;
  }

  #drop(entry: OpenFile): void {
    entry.isDropped = true;
    if (entry.users === 0) entry.file.close();
  }
}
