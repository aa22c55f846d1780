/**
 * One file of the virtual disk: what a process sees (page cache) and what a lost machine leaves (medium).
 *
 *     write ──▶ cache page ──▶ versions since the last flush ──flush──▶ medium page
 *                                      │
 *                                 machine loss: each 512-byte sector is any one of its versions
 *
 * Pages are immutable: a write replaces them. So a copy of a file shares its pages and costs only the lists.
 *
 * Invariants
 * 1. A page that is not dirty is the same in cache and medium, unless a failed flush or a lost write dropped it.
 * 2. Bytes at or beyond `sizeBytes` are zero in the cache.
 */
import type { SeededRandom } from './random.ts';

export const pageSizeBytes = 4096;
const sectorSizeBytes = 512;
const zeroPage = new Uint8Array(pageSizeBytes);
const wordsPerPage = pageSizeBytes / 4;

/** How a lost machine chooses what survives of what was not flushed. */
export const LossStyle = { none: 0, all: 1, pages: 2, sectors: 3, mostly: 4 } as const;
export type LossStyle = (typeof LossStyle)[keyof typeof LossStyle];

function isZero(page: Uint8Array): boolean {
  if (page === zeroPage) return true;
  if (page[0] !== 0 || page[pageSizeBytes - 1] !== 0) return false;
  if (page.byteOffset % 4 !== 0) return page.every((byte) => byte === 0);
  const words = new Uint32Array(page.buffer, page.byteOffset, wordsPerPage);
  for (let index = 0; index < wordsPerPage; index += 1) {
    if (words[index] !== 0) return false;
  }
  return true;
}

/** The index of the version that survives: 0 is the medium's, `count` the newest. */
export function survivingVersion(random: SeededRandom, style: LossStyle, count: number): number {
  if (style === LossStyle.none) return 0;
  if (style === LossStyle.all) return count;
  if (style === LossStyle.mostly) return random.chance(0.85) ? count : random.below(count + 1);
  return random.below(count + 1);
}

export class VirtualFile {
  readonly id: number;
  sizeBytes = 0;
  #cache: Uint8Array[] = [];
  #medium: Uint8Array[] = [];
  #mediumSizeBytes = 0;
  /** Versions of pages written since the last flush, oldest first. */
  #dirtyByPage = new Map<number, Uint8Array[]>();
  /** Sizes since the last flush, oldest first. */
  #dirtySizes: number[] = [];
  /** The content before the newest write of a page, for stale reads. */
  #formerByPage = new Map<number, Uint8Array>();

  constructor(id: number) {
    this.id = id;
  }

  copy(): VirtualFile {
    const copy = new VirtualFile(this.id);
    copy.sizeBytes = this.sizeBytes;
    copy.#cache = this.#cache.slice();
    copy.#medium = this.#medium.slice();
    copy.#mediumSizeBytes = this.#mediumSizeBytes;
    for (const [page, versions] of this.#dirtyByPage) copy.#dirtyByPage.set(page, versions.slice());
    copy.#dirtySizes = this.#dirtySizes.slice();
    copy.#formerByPage = new Map(this.#formerByPage);
    return copy;
  }

  /** Pages that take space. */
  get pageCount(): number {
    return this.#cache.length;
  }

  page(index: number): Uint8Array {
    return this.#cache[index] ?? zeroPage;
  }

  /** What the page held before it was last written; undefined when it was written at most once. */
  formerPage(index: number): Uint8Array | undefined {
    return this.#formerByPage.get(index);
  }

  read(target: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(target.length, this.sizeBytes - position));
    let done = 0;
    while (done < count) {
      const at = position + done;
      const within = at % pageSizeBytes;
      const length = Math.min(count - done, pageSizeBytes - within);
      const page = this.page(Math.floor(at / pageSizeBytes));
      target.set(page.subarray(within, within + length), done);
      done += length;
    }
    return count;
  }

  /** Writes into the cache; `bytes` may be reused by the caller at once. */
  write(bytes: Uint8Array, position: number): void {
    let done = 0;
    while (done < bytes.length) {
      const at = position + done;
      const within = at % pageSizeBytes;
      const length = Math.min(bytes.length - done, pageSizeBytes - within);
      const part = bytes.subarray(done, done + length);
      this.#writePage(Math.floor(at / pageSizeBytes), within, part);
      done += length;
    }
    this.#resize(Math.max(this.sizeBytes, position + bytes.length));
  }

  #writePage(index: number, within: number, part: Uint8Array): void {
    if (part.length === pageSizeBytes) {
      this.putPage(index, isZero(part) ? zeroPage : part.slice());
      return;
    }
    const merged = this.page(index).slice();
    merged.set(part, within);
    this.putPage(index, merged);
  }

  /** Replaces a whole page in the cache; `page` must never change afterwards. */
  putPage(index: number, page: Uint8Array): void {
    const former = this.#cache[index];
    if (former !== undefined) this.#formerByPage.set(index, former);
    while (this.#cache.length < index) this.#cache.push(zeroPage);
    this.#cache[index] = page;
    const versions = this.#dirtyByPage.get(index);
    if (versions === undefined) this.#dirtyByPage.set(index, [page]);
    else versions.push(page);
  }

  #resize(sizeBytes: number): void {
    if (sizeBytes === this.sizeBytes) return;
    this.sizeBytes = sizeBytes;
    this.#dirtySizes.push(sizeBytes);
  }

  truncate(sizeBytes: number): void {
    const keptPages = Math.ceil(sizeBytes / pageSizeBytes);
    for (let index = keptPages; index < this.#cache.length; index += 1) {
      this.putPage(index, zeroPage);
    }
    const within = sizeBytes % pageSizeBytes;
    if (within !== 0 && keptPages <= this.#cache.length) {
      const last = this.page(keptPages - 1).slice();
      last.fill(0, within);
      this.putPage(keptPages - 1, last);
    }
    this.#cache.length = Math.min(this.#cache.length, keptPages);
    this.#resize(sizeBytes);
  }

  /** fdatasync that works. */
  flush(): void {
    for (const index of this.#dirtyByPage.keys()) this.#medium[index] = this.page(index);
    this.#mediumSizeBytes = this.sizeBytes;
    this.#settle();
  }

  /** A device that lies: it says the flush is done, and what was dirty never reaches the medium. */
  forgetDirty(): void {
    this.#settle();
  }

  /**
   * fdatasync that fails as on Linux: the pages count as clean, some of them never reached the medium, and some of
   * those are already evicted, so that a read sees the old content.
   */
  flushFailing(random: SeededRandom): void {
    for (const [index, versions] of this.#dirtyByPage) {
      this.#medium[index] = this.#survivor(index, versions, random, LossStyle.sectors);
      if (random.chance(0.5) && index < this.#cache.length) {
        this.#cache[index] = this.#medium[index] ?? zeroPage;
      }
    }
    this.#mediumSizeBytes = this.sizeBytes;
    this.#settle();
  }

  #settle(): void {
    this.#dirtyByPage.clear();
    this.#dirtySizes = [];
  }

  /** The machine stops: only the medium and a seeded choice of what was on its way remain. */
  lose(random: SeededRandom, style: LossStyle): void {
    for (const [index, versions] of this.#dirtyByPage) {
      this.#medium[index] = this.#survivor(index, versions, random, style);
    }
    const sizes = [this.#mediumSizeBytes, ...this.#dirtySizes];
    const chosen = sizes[survivingVersion(random, style, this.#dirtySizes.length)] ?? 0;
    this.#settle();
    this.#formerByPage.clear();
    this.#mediumSizeBytes = chosen;
    this.sizeBytes = chosen;
    this.#medium.length = Math.min(this.#medium.length, Math.ceil(chosen / pageSizeBytes));
    for (let index = 0; index < this.#medium.length; index += 1) this.#medium[index] ??= zeroPage;
    this.#clearBeyond(chosen);
    this.#cache = this.#medium.slice();
  }

  #clearBeyond(sizeBytes: number): void {
    const within = sizeBytes % pageSizeBytes;
    const index = Math.floor(sizeBytes / pageSizeBytes);
    if (within === 0 || this.#medium[index] === undefined) return;
    const last = this.#medium[index].slice();
    last.fill(0, within);
    this.#medium[index] = last;
  }

  #survivor(
    index: number,
    versions: readonly Uint8Array[],
    random: SeededRandom,
    style: LossStyle,
  ): Uint8Array {
    const old = this.#medium[index] ?? zeroPage;
    const version = (): Uint8Array => {
      const chosen = survivingVersion(random, style, versions.length);
      return chosen === 0 ? old : (versions[chosen - 1] ?? old);
    };
    if (style !== LossStyle.sectors) return version();
    const torn = new Uint8Array(pageSizeBytes);
    for (let at = 0; at < pageSizeBytes; at += sectorSizeBytes) {
      torn.set(version().subarray(at, at + sectorSizeBytes), at);
    }
    return torn;
  }

  /** Rot: replaces a page in cache and medium alike, as if it had always been so. */
  rot(index: number, page: Uint8Array): void {
    if (index >= this.#cache.length) return;
    this.#cache[index] = page;
    this.#medium[index] = page;
    this.#dirtyByPage.delete(index);
  }
}
