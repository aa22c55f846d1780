/**
 * Containers: in which file each segment lies, its own or a pack. Everybody who reads a segment asks here.
 *
 *     address ─▶ segment ─▶ in a pack?  no:  segments/…, slot * 4096
 *                                       yes: packs/…, where the block of that rank lies
 *
 * One for each thread that reads segments: the keeper's knows a new pack as soon as it has its name, the main thread's when
 * it is told; the files before are there until the main thread gives them up.
 */
import { type Disk, DiskError, type DiskFile } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import type { Pack } from '../format/pack.ts';
import { segmentPath } from '../log/segment-path.ts';
import type { Steps } from '../steps.ts';
import { readPack } from './pack-file.ts';
import { packFolder, packIdOfName, packPath } from './pack-path.ts';
import { PackedSegment, PackedSegmentFile, type SegmentMedium } from './packed-segment.ts';

/** A pack that cannot be used. */
export interface DamagedPack {
  readonly packId: number;
  readonly text: string;
  /** The disk did not give it: what is in it may be whole. */
  readonly isUnread: boolean;
}

/** Packed segments that are remembered as they were asked for, with 2 KiB each of where their slots lie. */
const recentMax = 1024;
/** So often the disk is asked for a pack: one bad moment says nothing of a medium. */
const readTries = 3;
/** What the system says when it is short of something: that says nothing of the pack. */
const shortages: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR']);

export class Containers {
  readonly #disk: Disk;
  readonly #segmentSlots: number;
  readonly #seeds: Seeds;
  readonly #packById = new Map<number, Pack>();
  /** By segment: the pack that it lies in. Hundreds of thousands, so what the pack says of it is looked up when it is asked for. */
  readonly #packIdBySegId = new Map<number, number>();
  /** Those that were asked for lately, and their ids as they came, over and over. */
  readonly #recent = new Map<number, PackedSegment>();
  readonly #recentIds = new Uint32Array(recentMax);
  #recentAt = 0;
  #damaged: readonly DamagedPack[] = [];
  #packIdMax = 0;
  #packedBytes = 0;
  #keptThrough = 0;

  constructor(disk: Disk, segmentSlots: number, seeds: Seeds) {
    this.#disk = disk;
    this.#segmentSlots = segmentSlots;
    this.#seeds = seeds;
  }

  /**
   * Reads the tables of all packs of the folder. Throws FormatError for a newer version, and DiskError when the system is too
   * short of something to do it now: nobody may go on as if what lies in the others were not there.
   */
  *load(): Steps<void> {
    this.#packById.clear();
    this.#packIdBySegId.clear();
    this.#recent.clear();
    this.#packedBytes = 0;
    const damaged: DamagedPack[] = [];
    for (const name of this.#disk.list(packFolder)) {
      const packId = packIdOfName(name);
      if (packId === undefined) continue;
      yield;
      this.#packIdMax = Math.max(this.#packIdMax, packId);
      const pack = this.#read(packId, damaged);
      if (pack !== undefined) this.add(pack);
    }
    this.#damaged = damaged;
  }

  /** Asks again for the packs that the disk did not give; answers whether it has given all. Throws as `load`. */
  readAgain(): boolean {
    const damaged: DamagedPack[] = [];
    for (const known of this.#damaged) {
      if (!known.isUnread) {
        damaged.push(known);
        continue;
      }
      const pack = this.#read(known.packId, damaged);
      if (pack !== undefined) this.add(pack);
    }
    this.#damaged = damaged;
    return damaged.every(({ isUnread }) => !isUnread);
  }

  /** The file of a damaged pack is gone. */
  forgetDamaged(packId: number): void {
    this.#damaged = this.#damaged.filter((damaged) => damaged.packId !== packId);
  }

  /** Packs of the folder that could not be used when it was read. */
  get damaged(): readonly DamagedPack[] {
    return this.#damaged;
  }

  /** Greatest id of any pack, damaged or not. */
  get packIdMax(): number {
    return this.#packIdMax;
  }

  /** The log reached to this position when what is not kept in packs was judged: one that ends before it has lost something. */
  get keptThrough(): number {
    return this.#keptThrough;
  }

  /** Bytes of all packs. */
  get packedBytes(): number {
    return this.#packedBytes;
  }

  packs(): Iterable<Pack> {
    return this.#packById.values();
  }

  /** Where a packed segment lies; undefined = in its own file. Asked for each read. */
  find(segId: number): PackedSegment | undefined {
    const recent = this.#recent.get(segId);
    if (recent !== undefined) return recent;
    const packId = this.packIdOf(segId);
    const pack = packId === 0 ? undefined : this.#packById.get(packId);
    const member = pack?.members.find(segId);
    if (pack === undefined || member === undefined) return undefined;
    const packed = new PackedSegment(pack, member, this.#segmentSlots);
    this.#recent.delete(this.#recentIds[this.#recentAt] ?? 0);
    this.#recentIds[this.#recentAt] = segId;
    this.#recentAt = (this.#recentAt + 1) % recentMax;
    this.#recent.set(segId, packed);
    return packed;
  }

  /** The pack that a segment lies in; 0 = its own file. */
  packIdOf(segId: number): number {
    return this.#packIdBySegId.get(segId) ?? 0;
  }

  segIds(): Iterable<number> {
    return this.#packIdBySegId.keys();
  }

  /** From now on the members of `pack` lie there, but those that are in a later one. */
  add(pack: Pack): void {
    if (this.#packById.has(pack.packId)) return;
    this.#packIdMax = Math.max(this.#packIdMax, pack.packId);
    this.#packById.set(pack.packId, pack);
    this.#packedBytes += pack.totalBytes;
    this.#keptThrough = Math.max(this.#keptThrough, pack.keptThrough);
    for (const segId of pack.members.segIds()) {
      if (this.packIdOf(segId) > pack.packId) continue;
      this.#packIdBySegId.set(segId, pack.packId);
      this.#recent.delete(segId);
    }
  }

  /** The pack's file is gone: no segment lay there any more. */
  remove(packId: number): void {
    this.#packedBytes -= this.#packById.get(packId)?.totalBytes ?? 0;
    this.#packById.delete(packId);
  }

  has(packId: number): boolean {
    return this.#packById.has(packId);
  }

  /** Ids of packs in which no segment lies any more: all their members are in later ones. */
  superseded(): number[] {
    return [...this.#packById.keys()].filter((packId) => this.isSuperseded(packId));
  }

  /** Whether no segment lies in the pack any more. */
  isSuperseded(packId: number): boolean {
    for (const segId of this.#packById.get(packId)?.members.segIds() ?? []) {
      if (this.packIdOf(segId) === packId) return false;
    }
    return true;
  }

  /** The segment to read from; the caller closes it. Throws DiskError when there is no such file. */
  open(segId: number): SegmentMedium {
    return this.openWith(segId, (path) => this.#disk.open(path, { create: false }));
  }

  /** The same, with files that `openFile` opens. */
  openWith(segId: number, openFile: (path: string) => SegmentMedium): SegmentMedium {
    const packed = this.find(segId);
    if (packed === undefined) return openFile(segmentPath(segId));
    return new PackedSegmentFile(packed, openFile(packPath(packed.packId)));
  }

  #read(packId: number, damaged: DamagedPack[]): Pack | undefined {
    let text = `pack ${packId} is damaged`;
    let isUnread = false;
    for (let left = readTries; left > 0; left -= 1) {
      try {
        const pack = this.#readOnce(packId);
        if (pack !== undefined) return pack;
        break;
      } catch (thrown) {
        if (!(thrown instanceof DiskError)) throw thrown;
        text = `pack ${packId} cannot be read (${thrown.message})`;
        if (shortages.has(thrown.code)) throw new DiskError(thrown.code, text);
        isUnread = true;
      }
    }
    damaged.push({ packId, text, isUnread });
    return undefined;
  }

  #readOnce(packId: number): Pack | undefined {
    let file: DiskFile | undefined;
    try {
      file = this.#disk.open(packPath(packId), { create: false });
      return readPack(file, packId, this.#seeds);
    } finally {
      file?.close();
    }
  }
}
