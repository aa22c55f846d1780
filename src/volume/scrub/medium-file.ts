/**
 * Medium file: a segment read from the device itself, past the page cache, which would go on handing out what has rotted
 * below it. Reads ahead in one window; where the device refuses that, block by block, so that one bad block costs no others.
 */
import { type Disk, DiskError, type DiskFile } from '../../base/ports.ts';
import { slotSizeBytes } from '../format/address.ts';

export const mediumWindowBytes = 2 ** 20;

export class MediumFile implements Pick<DiskFile, 'read'> {
  readonly #disk: Disk;
  readonly #path: string;
  /** From `Disk.memory`, `mediumWindowBytes` long: the reader's while the file is open. */
  readonly #window: Uint8Array;
  #file: DiskFile;
  #isDirect = true;
  #from = 0;
  #length = 0;

  /** Throws DiskError. */
  constructor(disk: Disk, path: string, window: Uint8Array) {
    this.#disk = disk;
    this.#path = path;
    this.#window = window;
    this.#file = disk.open(path, { create: false, isDirect: true });
  }

  close(): void {
    this.#file.close();
  }

  read(target: Uint8Array, position: number): number {
    let done = 0;
    while (done < target.length) {
      const at = position + done;
      const isInside = at >= this.#from && at < this.#from + this.#length;
      if (!isInside && !this.#fill(at)) break;
      const from = at - this.#from;
      const count = Math.min(target.length - done, this.#length - from);
      target.set(this.#window.subarray(from, from + count), done);
      done += count;
    }
    return done;
  }

  /** Brings the bytes at `position` into the window; false = the file has none there. Throws DiskError. */
  #fill(position: number): boolean {
    const from = position - (position % slotSizeBytes);
    this.#length = 0;
    this.#from = from;
    try {
      this.#length = this.#readInto(this.#window, from);
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      this.#length = this.#readInto(this.#window.subarray(0, slotSizeBytes), from);
    }
    return position < this.#from + this.#length;
  }

  #readInto(target: Uint8Array, position: number): number {
    try {
      return this.#file.read(target, position);
    } catch (thrown) {
      const isRefusal = thrown instanceof DiskError && thrown.code === 'EINVAL' && this.#isDirect;
      if (!isRefusal) throw thrown;
    }
    // Direct I/O needs another alignment here: through the page cache then.
    this.#isDirect = false;
    this.#file.close();
    this.#file = this.#disk.open(this.#path, { create: false });
    return this.#file.read(target, position);
  }
}
