/**
 * A disk in memory for stores that hold one block many times: pages equal to `block`, and pages of zeros, take no memory, so that
 * gigabytes of log fit. Counts what is written where. Nothing is ever lost: it is for measurements, not for crashes.
 */
import { type Disk, DiskError, type DiskFile, type OpenOptions } from '../../src/base/ports.ts';

const pageBytes = 4096;
const zeros = new Uint8Array(pageBytes);
const freeBytes = 2 ** 44;

/** Pages written to the files of one folder. */
interface WrittenPages {
  /** Those equal to the block. */
  data: number;
  zero: number;
  /** Parts of a page count as one. */
  other: number;
}

interface SparseFile {
  /** A page that is not there is zero. */
  pages: (Uint8Array | undefined)[];
  sizeBytes: number;
}

export class SparseDisk implements Disk {
  readonly #block: Uint8Array;
  readonly #later: (action: () => void) => void;
  readonly #files = new Map<string, SparseFile>();
  readonly #writtenByFolder = new Map<string, WrittenPages>();

  /** `later` runs an action after this turn. */
  constructor(block: Uint8Array, later: (action: () => void) => void) {
    this.#block = block;
    this.#later = later;
  }

  /** Live counters of what was written to the folder. */
  writtenTo(folder: string): WrittenPages {
    let written = this.#writtenByFolder.get(folder);
    if (written === undefined) {
      written = { data: 0, zero: 0, other: 0 };
      this.#writtenByFolder.set(folder, written);
    }
    return written;
  }

  /** Pages of the folder's files that equal the block. */
  dataPagesOf(folder: string): number {
    let count = 0;
    for (const [path, { pages }] of this.#files) {
      if (!path.startsWith(`${folder}/`)) continue;
      for (const page of pages) if (page === this.#block) count += 1;
    }
    return count;
  }

  open(path: string, { create }: OpenOptions): DiskFile {
    let file = this.#files.get(path);
    if (file === undefined) {
      if (!create) throw new DiskError('ENOENT', `${path}: no such file`);
      file = { pages: [], sizeBytes: 0 };
      this.#files.set(path, file);
    }
    const written = this.writtenTo(path.slice(0, Math.max(0, path.indexOf('/'))));
    return this.#handle(path, file, written);
  }

  #handle(path: string, file: SparseFile, written: WrittenPages): DiskFile {
    const read = (target: Uint8Array, position: number): number => readFrom(file, target, position);
    return {
      path,
      read,
      readLater: (target, position, done) => {
        this.#later(() => {
          done(undefined, read(target, position));
        });
      },
      write: (pieces, position) => {
        let at = position;
        for (const piece of pieces) {
          this.#write(file, piece, at, written);
          at += piece.length;
        }
      },
      flush: () => undefined,
      size: () => file.sizeBytes,
      truncate: (sizeBytes) => {
        file.pages.length = Math.min(file.pages.length, Math.ceil(sizeBytes / pageBytes));
        file.sizeBytes = sizeBytes;
      },
      close: () => undefined,
    };
  }

  #write(file: SparseFile, bytes: Uint8Array, position: number, written: WrittenPages): void {
    for (let done = 0; done < bytes.length; ) {
      const at = position + done;
      const within = at % pageBytes;
      const length = Math.min(bytes.length - done, pageBytes - within);
      const part = bytes.subarray(done, done + length);
      const index = Math.floor(at / pageBytes);
      if (length === pageBytes) file.pages[index] = this.#page(part, written);
      else {
        const page = (file.pages[index] ?? zeros).slice();
        page.set(part, within);
        file.pages[index] = page;
        written.other += 1;
      }
      done += length;
    }
    file.sizeBytes = Math.max(file.sizeBytes, position + bytes.length);
  }

  #page(part: Uint8Array, written: WrittenPages): Uint8Array | undefined {
    if (Buffer.compare(part, this.#block) === 0) {
      written.data += 1;
      return this.#block;
    }
    if (Buffer.compare(part, zeros) === 0) {
      written.zero += 1;
      return undefined;
    }
    written.other += 1;
    return part.slice();
  }

  memory(bytes: number): SharedArrayBuffer {
    return new SharedArrayBuffer(bytes);
  }

  list(folder: string): string[] {
    const prefix = `${folder}/`;
    const names = [...this.#files.keys()].filter((path) => path.startsWith(prefix));
    return names.map((path) => path.slice(prefix.length)).sort();
  }

  names(folder: string): Iterable<string> {
    return this.list(folder);
  }

  sizeOf(path: string): number {
    return this.#files.get(path)?.sizeBytes ?? 0;
  }

  makeFolder(): void {
    // A folder is the beginning of a path here.
  }

  rename(from: string, to: string): void {
    const file = this.#files.get(from);
    if (file === undefined) throw new DiskError('ENOENT', `${from}: no such file`);
    this.#files.delete(from);
    this.#files.set(to, file);
  }

  remove(path: string): void {
    this.#files.delete(path);
  }

  flushFolder(): void {
    // Nothing is ever lost.
  }

  freeBytes(): number {
    return freeBytes;
  }
}

function readFrom(file: SparseFile, target: Uint8Array, position: number): number {
  const count = Math.max(0, Math.min(target.length, file.sizeBytes - position));
  for (let done = 0; done < count; ) {
    const at = position + done;
    const within = at % pageBytes;
    const length = Math.min(count - done, pageBytes - within);
    const page = file.pages[Math.floor(at / pageBytes)] ?? zeros;
    target.set(page.subarray(within, within + length), done);
    done += length;
  }
  return count;
}
