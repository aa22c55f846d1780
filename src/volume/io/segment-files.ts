/** Open segment files of the main thread: a bounded cache of descriptors, the one used longest ago closed first. */
import type { Disk, DiskFile } from '../../base/ports.ts';
import { segmentPath } from '../log/segment-path.ts';

interface OpenFile {
  readonly file: DiskFile;
  /** Reads in flight: not closed before they are back. */
  users: number;
  isDropped: boolean;
}

export class SegmentFiles {
  readonly #disk: Disk;
  readonly #countMax: number;
  /** In order of opening; moved to the end only when the cache is half full (moving costs more than a cached read). */
  readonly #open = new Map<number, OpenFile>();

  constructor(disk: Disk, countMax: number) {
    this.#disk = disk;
    this.#countMax = countMax;
  }

  /** For a synchronous read; valid until the next call. Throws DiskError. */
  file(segId: number): DiskFile {
    return this.#entry(segId).file;
  }

  /** For an asynchronous read; give it back with `release`. Throws DiskError. */
  acquire(segId: number): OpenFile {
    const entry = this.#entry(segId);
    entry.users += 1;
    return entry;
  }

  release(entry: OpenFile): void {
    entry.users -= 1;
    if (entry.users === 0 && entry.isDropped) entry.file.close();
  }

  closeAll(): void {
    for (const entry of this.#open.values()) this.#drop(entry);
    this.#open.clear();
  }

  #entry(segId: number): OpenFile {
    const known = this.#open.get(segId);
    if (known !== undefined) {
      if (this.#open.size > this.#countMax / 2) {
        this.#open.delete(segId);
        this.#open.set(segId, known);
      }
      return known;
    }
    const file = this.#disk.open(segmentPath(segId), { create: false });
    const entry = { file, users: 0, isDropped: false };
    this.#open.set(segId, entry);
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
