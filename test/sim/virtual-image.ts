/**
 * The virtual disk's folder tree with everything that outlives a process: names in the cache, names on the medium,
 * and the name changes between them. A copy is cheap (pages are shared), so a crash can be taken at every disk call.
 *
 * A name is durable after `flushFolder` of its folder. At a machine loss each name change since then survives or not,
 * by seed; a rename is one change.
 */
import type { SeededRandom } from './random.ts';
import { type LossStyle, survivingVersion, VirtualFile } from './virtual-file.ts';

type NameChange =
  | { readonly kind: 'create'; readonly path: string; readonly file: VirtualFile }
  | { readonly kind: 'rename'; readonly path: string; readonly to: string }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'makeFolder'; readonly path: string };

interface Names {
  files: Map<string, VirtualFile>;
  folders: Set<string>;
}

/** "a/b/c" of "a/b/c/d"; "" for a name at the top. */
function folderOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

/** The path without leading, trailing and doubled slashes or dots. */
export function normalPath(path: string): string {
  return path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}

function apply(names: Names, change: NameChange): void {
  if (change.kind === 'create') {
    names.files.set(change.path, change.file);
  } else if (change.kind === 'remove') {
    names.files.delete(change.path);
  } else if (change.kind === 'makeFolder') {
    names.folders.add(change.path);
  } else {
    const file = names.files.get(change.path);
    if (file === undefined) return;
    names.files.delete(change.path);
    names.files.set(change.to, file);
  }
}

function concerns(change: NameChange, folder: string): boolean {
  if (folderOf(change.path) === folder) return true;
  return change.kind === 'rename' && folderOf(change.to) === folder;
}

export class VirtualImage {
  #cache: Names = { files: new Map(), folders: new Set(['']) };
  #medium: Names = { files: new Map(), folders: new Set(['']) };
  #changes: NameChange[] = [];
  #nextFileId = 1;
  /** Bytes that all files together may take. */
  capacityBytes = Number.MAX_SAFE_INTEGER;

  copy(): VirtualImage {
    const copy = new VirtualImage();
    const fileById = new Map<number, VirtualFile>();
    const copied = (file: VirtualFile): VirtualFile => {
      const known = fileById.get(file.id) ?? file.copy();
      fileById.set(file.id, known);
      return known;
    };
    const copyNames = (names: Names): Names => ({
      files: new Map([...names.files].map(([path, file]) => [path, copied(file)])),
      folders: new Set(names.folders),
    });
    copy.#cache = copyNames(this.#cache);
    copy.#medium = copyNames(this.#medium);
    copy.#changes = this.#changes.map((change) =>
      change.kind === 'create' ? { ...change, file: copied(change.file) } : change,
    );
    copy.#nextFileId = this.#nextFileId;
    copy.capacityBytes = this.capacityBytes;
    return copy;
  }

  file(path: string): VirtualFile | undefined {
    return this.#cache.files.get(path);
  }

  /** Paths of all files, sorted. */
  paths(): string[] {
    return [...this.#cache.files.keys()].sort();
  }

  hasFolder(path: string): boolean {
    return this.#cache.folders.has(path);
  }

  list(folder: string): string[] {
    const names = [...this.#cache.files.keys(), ...this.#cache.folders];
    return names
      .filter((path) => path !== '' && folderOf(path) === folder)
      .map((path) => path.slice(folder === '' ? 0 : folder.length + 1))
      .sort();
  }

  createFile(path: string): VirtualFile {
    const file = new VirtualFile(this.#nextFileId);
    this.#nextFileId += 1;
    this.#change({ kind: 'create', path, file });
    return file;
  }

  rename(path: string, to: string): void {
    this.#change({ kind: 'rename', path, to });
  }

  remove(path: string): void {
    this.#change({ kind: 'remove', path });
  }

  makeFolder(path: string): void {
    this.#change({ kind: 'makeFolder', path });
  }

  #change(change: NameChange): void {
    apply(this.#cache, change);
    this.#changes.push(change);
  }

  flushFolder(folder: string): void {
    const kept: NameChange[] = [];
    for (const change of this.#changes) {
      if (concerns(change, folder)) apply(this.#medium, change);
      else kept.push(change);
    }
    this.#changes = kept;
  }

  usedBytes(): number {
    let pages = 0;
    for (const file of this.#cache.files.values()) pages += file.pageCount;
    return pages * 4096;
  }

  /** The machine stops: cache and unflushed names are gone, except what the seed lets survive. */
  lose(random: SeededRandom, style: LossStyle): void {
    for (const change of this.#changes) {
      if (survivingVersion(random, style, 1) === 1) apply(this.#medium, change);
    }
    this.#changes = [];
    this.#dropOrphans();
    const files = new Set(this.#medium.files.values());
    for (const file of files) file.lose(random, style);
    this.#cache = { files: new Map(this.#medium.files), folders: new Set(this.#medium.folders) };
  }

  /** A file or folder whose folder did not survive is gone with it. */
  #dropOrphans(): void {
    const { files, folders } = this.#medium;
    const isReachable = (path: string): boolean => {
      const folder = folderOf(path);
      return folder === '' || (folders.has(folder) && isReachable(folder));
    };
    for (const path of folders) if (path !== '' && !isReachable(path)) folders.delete(path);
    for (const path of files.keys()) if (!isReachable(path)) files.delete(path);
  }
}
