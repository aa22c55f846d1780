/**
 * The Disk port over a VirtualImage, as one process sees it.
 *
 *     store ──call──▶ VirtualDisk ──▶ supervisor.before(call)   numbered; may copy the image, throw SimulatedCrash or
 *                          │                                    DiskError, or ask for a lost or misdirected write
 *                          └──▶ VirtualImage
 *
 * When the process is dead (`kill`) every call throws SimulatedCrash: nothing of a dead process reaches the image.
 */
import { type Disk, DiskError, type DiskFile, type OpenOptions } from '../../src/base/ports.ts';
import type { SeededRandom } from './random.ts';
import { pageSizeBytes, type VirtualFile } from './virtual-file.ts';
import { normalPath, type VirtualImage } from './virtual-image.ts';

/** Unwinds the store at the instant its process dies. Not an error of the store: nobody may handle it. */
export class SimulatedCrash extends Error {
  override readonly name = 'SimulatedCrash';
}

export type DiskCallKind =
  | 'open'
  | 'create'
  | 'read'
  | 'readLater'
  | 'write'
  | 'flush'
  | 'truncate'
  | 'list'
  | 'makeFolder'
  | 'rename'
  | 'remove'
  | 'flushFolder';

export interface DiskCall {
  /** Counts from 1 in this process. */
  readonly number: number;
  readonly kind: DiskCallKind;
  readonly path: string;
  readonly position: number;
  readonly length: number;
}

/** What a disk that lies or fails does with one call. `error` throws after the effect that such a failure has. */
export type DiskFault =
  | { readonly kind: 'error'; readonly code: string }
  | { readonly kind: 'lost' }
  | { readonly kind: 'misdirected'; readonly pages: number }
  | { readonly kind: 'stale' }
  | { readonly kind: 'flipped'; readonly bit: number };

export interface DiskSupervisor {
  /** Called before each call has any effect. The fault it returns is applied to the call. */
  before(call: DiskCall): DiskFault | undefined;
  /** Called when a write of several pages is partly in the cache. */
  during(call: DiskCall): void;
  /** Runs `action` later, as the thread pool would. */
  later(action: () => void): void;
  /** What a failed flush leaves on the medium is chosen from here. */
  readonly random: SeededRandom;
}

const mutations: ReadonlySet<DiskCallKind> = new Set([
  'create',
  'write',
  'flush',
  'truncate',
  'makeFolder',
  'rename',
  'remove',
  'flushFolder',
]);

/** Whether the call changes what a crash leaves behind. */
export function isMutation(call: DiskCall): boolean {
  return mutations.has(call.kind);
}

export class VirtualDisk implements Disk {
  readonly image: VirtualImage;
  readonly #supervisor: DiskSupervisor;
  #isDead = false;
  #callCount = 0;

  constructor(image: VirtualImage, supervisor: DiskSupervisor) {
    this.image = image;
    this.#supervisor = supervisor;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get callCount(): number {
    return this.#callCount;
  }

  /** The process dies. */
  kill(): void {
    this.#isDead = true;
  }

  /** Numbers the call, lets the supervisor act, and throws what it decided. */
  enter(
    kind: DiskCallKind,
    path: string,
    position = 0,
    length = 0,
  ): { readonly call: DiskCall; readonly fault: DiskFault | undefined } {
    if (this.#isDead) throw new SimulatedCrash(`${kind} ${path} by a dead process`);
    this.#callCount += 1;
    const call = { number: this.#callCount, kind, path, position, length };
    const fault = this.#supervisor.before(call);
    if (fault?.kind === 'error' && kind !== 'flush' && kind !== 'write') {
      throw new DiskError(fault.code, `${path}: injected ${fault.code} on ${kind}`);
    }
    return { call, fault };
  }

  get supervisor(): DiskSupervisor {
    return this.#supervisor;
  }

  memory(bytes: number): SharedArrayBuffer {
    return new SharedArrayBuffer(bytes);
  }

  open(path: string, options: OpenOptions): DiskFile {
    const name = normalPath(path);
    let file = this.image.file(name);
    this.enter(file === undefined && options.create ? 'create' : 'open', name);
    if (file === undefined) {
      if (!options.create) throw new DiskError('ENOENT', `${name}: no such file`);
      this.#requireFolderOf(name);
      file = this.image.createFile(name);
    }
    return new VirtualDiskFile(this, name, file);
  }

  #requireFolderOf(name: string): void {
    const slash = name.lastIndexOf('/');
    const folder = slash < 0 ? '' : name.slice(0, slash);
    if (!this.image.hasFolder(folder)) throw new DiskError('ENOENT', `${folder}: no such folder`);
  }

  list(folder: string): string[] {
    const name = normalPath(folder);
    this.enter('list', name);
    return this.image.list(name);
  }

  names(folder: string): Iterable<string> {
    return this.list(folder);
  }

  makeFolder(folder: string): void {
    const name = normalPath(folder);
    if (this.image.hasFolder(name)) return;
    const slash = name.lastIndexOf('/');
    if (slash > 0) this.makeFolder(name.slice(0, slash));
    this.enter('makeFolder', name);
    this.image.makeFolder(name);
  }

  rename(from: string, to: string): void {
    const source = normalPath(from);
    const target = normalPath(to);
    this.enter('rename', source);
    if (this.image.file(source) === undefined) throw new DiskError('ENOENT', `${source}: rename`);
    this.#requireFolderOf(target);
    this.image.rename(source, target);
  }

  remove(path: string): void {
    const name = normalPath(path);
    if (this.image.file(name) === undefined) return;
    this.enter('remove', name);
    this.image.remove(name);
  }

  flushFolder(folder: string): void {
    const name = normalPath(folder);
    this.enter('flushFolder', name);
    if (!this.image.hasFolder(name)) throw new DiskError('ENOENT', `${name}: no such folder`);
    this.image.flushFolder(name);
  }

  sizeOf(path: string): number {
    return this.image.file(normalPath(path))?.sizeBytes ?? 0;
  }

  freeBytes(): number {
    return Math.max(0, this.image.capacityBytes - this.image.usedBytes());
  }
}

class VirtualDiskFile implements DiskFile {
  readonly path: string;
  readonly #disk: VirtualDisk;
  readonly #file: VirtualFile;
  #isClosed = false;

  constructor(disk: VirtualDisk, path: string, file: VirtualFile) {
    this.#disk = disk;
    this.path = path;
    this.#file = file;
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new DiskError('EBADF', `${this.path}: the file is closed`);
  }

  read(target: Uint8Array, position: number): number {
    this.#requireOpen();
    const { fault } = this.#disk.enter('read', this.path, position, target.length);
    return this.#readWith(fault, target, position);
  }

  #readWith(fault: DiskFault | undefined, target: Uint8Array, position: number): number {
    const count = this.#file.read(target, position);
    if (count === 0 || fault === undefined) return count;
    if (fault.kind === 'stale') this.#readStale(target, position, count);
    if (fault.kind === 'misdirected') {
      this.#file.read(target.subarray(0, count), position + fault.pages * pageSizeBytes);
    }
    if (fault.kind === 'flipped') {
      const at = Math.floor(fault.bit / 8) % count;
      target[at] = (target[at] ?? 0) ^ (1 << (fault.bit % 8));
    }
    return count;
  }

  #readStale(target: Uint8Array, position: number, count: number): void {
    for (let at = 0; at + pageSizeBytes <= count; at += pageSizeBytes) {
      const former = this.#file.formerPage(Math.floor((position + at) / pageSizeBytes));
      if (former !== undefined && position % pageSizeBytes === 0) target.set(former, at);
    }
  }

  readLater(
    target: Uint8Array,
    position: number,
    done: (error: DiskError | undefined, bytesRead: number) => void,
  ): void {
    this.#requireOpen();
    const { supervisor } = this.#disk;
    // The bytes are there some time before the answer: whoever reuses the target meanwhile is found out.
    supervisor.later(() => {
      let count = 0;
      let error: DiskError | undefined;
      try {
        const { fault } = this.#disk.enter('readLater', this.path, position, target.length);
        count = this.#readWith(fault, target, position);
      } catch (thrown) {
        if (!(thrown instanceof DiskError)) throw thrown;
        error = thrown;
      }
      supervisor.later(() => {
        done(error, count);
      });
    });
  }

  write(pieces: readonly Uint8Array[], position: number): void {
    this.#requireOpen();
    let length = 0;
    for (const piece of pieces) length += piece.length;
    const { call, fault } = this.#disk.enter('write', this.path, position, length);
    this.#requireSpace(position + length);
    if (fault?.kind === 'lost') return;
    const at =
      fault?.kind === 'misdirected'
        ? Math.max(0, position + fault.pages * pageSizeBytes)
        : position;
    const half = Math.floor(length / pageSizeBytes / 2) * pageSizeBytes;
    this.#writePart(pieces, at, 0, half);
    if (half > 0) this.#disk.supervisor.during(call);
    if (fault?.kind === 'error') throw new DiskError(fault.code, `${this.path}: injected`);
    this.#writePart(pieces, at, half, length);
  }

  /** Puts bytes [start, end) of the joined pieces into the cache; byte 0 belongs at `position`. */
  #writePart(pieces: readonly Uint8Array[], position: number, start: number, end: number): void {
    let first = 0;
    for (const piece of pieces) {
      const low = Math.max(start, first);
      const high = Math.min(end, first + piece.length);
      if (low < high) this.#file.write(piece.subarray(low - first, high - first), position + low);
      first += piece.length;
    }
  }

  #requireSpace(end: number): void {
    const growth = Math.ceil(end / pageSizeBytes) - this.#file.pageCount;
    if (growth <= 0) return;
    if (this.#disk.image.usedBytes() + growth * pageSizeBytes > this.#disk.image.capacityBytes) {
      throw new DiskError('ENOSPC', `${this.path}: no space left`);
    }
  }

  flush(): void {
    this.#requireOpen();
    const { fault } = this.#disk.enter('flush', this.path);
    if (fault?.kind === 'error') {
      this.#file.flushFailing(this.#disk.supervisor.random);
      throw new DiskError(fault.code, `${this.path}: injected ${fault.code} on flush`);
    }
    if (fault?.kind === 'lost') this.#file.forgetDirty();
    else this.#file.flush();
  }

  size(): number {
    this.#requireOpen();
    return this.#file.sizeBytes;
  }

  truncate(sizeBytes: number): void {
    this.#requireOpen();
    this.#disk.enter('truncate', this.path, sizeBytes);
    this.#file.truncate(sizeBytes);
  }

  close(): void {
    this.#isClosed = true;
  }
}
