/**
 * Stores that are broken on purpose, each by a disk that withholds one step. The simulator must find them out: that is
 * the test of the simulator.
 */
import type { Disk, DiskFile } from '../../src/base/ports.ts';

export const storeVariants = [
  /** Flushes of the log return at once: acknowledged data is in the page cache only. */
  'flush-does-nothing',
  /** The commit side answers before its flush, which comes with its next call. */
  'answers-before-flush',
  /** Recovery neither rewrites nor flushes the tail. */
  'recovery-leaves-the-tail',
  /** New names are never made durable. */
  'folders-never-flushed',
] as const;
export type StoreVariant = (typeof storeVariants)[number];

type Side = 'main' | 'commit';

/** Passes everything on. */
class PassingFile implements DiskFile {
  protected readonly file: DiskFile;

  constructor(file: DiskFile) {
    this.file = file;
  }

  get path(): string {
    return this.file.path;
  }

  read(target: Uint8Array, position: number): number {
    return this.file.read(target, position);
  }

  readLater(...parameters: Parameters<DiskFile['readLater']>): void {
    this.file.readLater(...parameters);
  }

  write(pieces: readonly Uint8Array[], position: number): void {
    this.file.write(pieces, position);
  }

  flush(): void {
    this.file.flush();
  }

  size(): number {
    return this.file.size();
  }

  truncate(sizeBytes: number): void {
    this.file.truncate(sizeBytes);
  }

  close(): void {
    this.file.close();
  }
}

class UnflushedFile extends PassingFile {
  override flush(): void {}
}

class LateFlushFile extends PassingFile {
  #owesFlush = false;

  override write(pieces: readonly Uint8Array[], position: number): void {
    if (this.#owesFlush) this.file.flush();
    this.#owesFlush = false;
    super.write(pieces, position);
  }

  override flush(): void {
    this.#owesFlush = true;
  }
}

class UnwrittenFile extends PassingFile {
  override write(): void {}
  override flush(): void {}
}

function brokenFile(file: DiskFile, variant: StoreVariant, side: Side): DiskFile {
  if (!file.path.startsWith('segments/')) return file;
  if (variant === 'flush-does-nothing') return new UnflushedFile(file);
  if (variant === 'answers-before-flush' && side === 'commit') return new LateFlushFile(file);
  if (variant === 'recovery-leaves-the-tail' && side === 'main') return new UnwrittenFile(file);
  return file;
}

/** The disk as the broken store uses it; `disk` itself when nothing is broken. */
export function brokenDisk(disk: Disk, variant: StoreVariant | undefined, side: Side): Disk {
  if (variant === undefined) return disk;
  return {
    open: (path, options) => brokenFile(disk.open(path, options), variant, side),
    memory: (bytes) => disk.memory(bytes),
    list: (folder) => disk.list(folder),
    names: (folder) => disk.names(folder),
    sizeOf: (path) => disk.sizeOf(path),
    makeFolder: (folder) => {
      disk.makeFolder(folder);
    },
    rename: (from, to) => {
      disk.rename(from, to);
    },
    remove: (path) => {
      disk.remove(path);
    },
    flushFolder: (folder) => {
      if (variant !== 'folders-never-flushed' || folder === '') disk.flushFolder(folder);
    },
    freeBytes: () => disk.freeBytes(),
  };
}
