/**
 * Entry block: 4 KiB of coded index entries.
 *
 *     [u32 crc][u16 entries][u16 bytes in use][entries]
 *
 *     entry:  u8    bits 0-2 kind · bit 3 same node as the entry before · bit 4 one block
 *             unless bit 3:  varint line - line before
 *                            when that is not 0, or in the first entry: varint level, varint node
 *                            else: varint level - level before; then varint node, or node - node before when it is 0
 *             level 0:       varint within, and unless bit 4 varint blockCount - 1
 *             varint position - positionLow of the run (bit 3: - position before)
 *             WRITE: varint address - the frame's · CLONE: varint address
 *             varint ticks - baseTicks of the run (zigzag of the difference to the entry before with bit 3)
 *
 * varint: seven bits a byte, least significant first, bit 7 = more follow; at most 2^53 - 1.
 */
import { crc32c } from '../../base/crc32c.ts';
import { u16, u32, viewOf } from '../../base/fields.ts';
import { frameAddressOf } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { leafBlocks } from '../map/leaf-store.ts';
import { EntryKind, type IndexEntry } from './entry.ts';
import {
  describeRun,
  type RunHeader,
  type RunPlace,
  runBlockBytes,
  runSeed,
} from './run-format.ts';

const layout = { crc: u32(0), count: u16(4), used: u16(6) } as const;
const headBytes = 8;
/** No entry is coded in more: six numbers of at most eight bytes. */
const entryBytesMax = 64;
const sameNodeBit = 8;
const oneBlockBit = 16;
const kindMask = 7;
const kindMax = EntryKind.clone;

type Origin = RunPlace & Pick<RunHeader, 'positionLow' | 'baseTicks'>;

/** Codes entries into blocks. */
export class EntryBlockWriter {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #origin: Origin;
  readonly #seeds: Seeds;
  #at = headBytes;
  #count = 0;
  #line = 0;
  #level = 0;
  #node = 0;
  #position = 0;
  #ticks = 0;

  constructor(origin: Origin, seeds: Seeds) {
    this.bytes = new Uint8Array(runBlockBytes);
    this.#view = viewOf(this.bytes);
    this.#origin = origin;
    this.#seeds = seeds;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  get isFull(): boolean {
    return this.#at + entryBytesMax > runBlockBytes;
  }

  /** Adds an entry; the block is not full. Entries come in order. */
  add(entry: IndexEntry): void {
    const isFirst = this.#count === 0;
    const isSame =
      !isFirst &&
      entry.line === this.#line &&
      entry.level === this.#level &&
      entry.node === this.#node;
    const isOne = entry.level === 0 && entry.blockCount === 1;
    this.bytes[this.#at] = entry.kind | (isSame ? sameNodeBit : 0) | (isOne ? oneBlockBit : 0);
    this.#at += 1;
    if (!isSame) this.#addPlace(entry, isFirst);
    if (entry.level === 0) {
      this.#varint(entry.within);
      if (!isOne) this.#varint(entry.blockCount - 1);
    }
    this.#varint(entry.position - (isSame ? this.#position : this.#origin.positionLow));
    if (entry.kind === EntryKind.write) {
      this.#varint(entry.address - frameAddressOf(entry.position));
    } else if (entry.kind === EntryKind.clone) this.#varint(entry.address);
    const ticks = entry.ticks - (isSame ? this.#ticks : this.#origin.baseTicks);
    this.#varint(isSame ? zigzag(ticks) : ticks);
    this.#position = entry.position;
    this.#ticks = entry.ticks;
    this.#count += 1;
  }

  #addPlace(entry: IndexEntry, isFirst: boolean): void {
    const lineStep = entry.line - (isFirst ? 0 : this.#line);
    this.#varint(lineStep);
    if (isFirst || lineStep > 0) {
      this.#varint(entry.level);
      this.#varint(entry.node);
    } else {
      const levelStep = entry.level - this.#level;
      this.#varint(levelStep);
      this.#varint(levelStep > 0 ? entry.node : entry.node - this.#node);
    }
    this.#line = entry.line;
    this.#level = entry.level;
    this.#node = entry.node;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.bytes[this.#at] = (rest % 128) | 128;
      this.#at += 1;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.#at] = rest;
    this.#at += 1;
  }

  /** Completes block number `block` of the run (from 1 on): `bytes` is what to write, until `clear`. */
  finish(block: number): void {
    layout.count.set(this.#view, 0, this.#count);
    layout.used.set(this.#view, 0, this.#at);
    this.bytes.fill(0, this.#at);
    sealBlock(this.bytes, this.#origin, block, this.#seeds);
  }

  clear(): void {
    this.#at = headBytes;
    this.#count = 0;
  }
}

function zigzag(value: number): number {
  return value < 0 ? -value * 2 - 1 : value * 2;
}

function unzigzag(value: number): number {
  return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
}

/** Puts the checksum of block number `block` of the run, of whatever kind, before what it is of. */
export function sealBlock(bytes: Uint8Array, place: RunPlace, block: number, seeds: Seeds): void {
  layout.crc.set(viewOf(bytes), 0, crc32c(bytes.subarray(4), runSeed(place, block, seeds)));
}

/** Whether `bytes` are block number `block` of the run. */
export function isRunBlock(
  bytes: Uint8Array,
  place: RunPlace,
  block: number,
  seeds: Seeds,
): boolean {
  if (bytes.length < runBlockBytes) return false;
  const seed = runSeed(place, block, seeds);
  const crc = crc32c(bytes.subarray(4, runBlockBytes), seed);
  return crc === layout.crc.get(viewOf(bytes), 0);
}

/** Reads the entries of a verified block, in order. Throws FormatError for what no writer makes. */
export class EntryBlockReader {
  readonly #origin: Origin;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #left = 0;
  #isFirst = true;

  constructor(origin: Origin) {
    this.#origin = origin;
  }

  /** Begins with another block; `bytes` stay as they are while it is read. */
  open(bytes: Uint8Array): void {
    const view = viewOf(bytes);
    this.#bytes = bytes.subarray(0, layout.used.get(view, 0));
    this.#at = headBytes;
    this.#left = layout.count.get(view, 0);
    this.#isFirst = true;
  }

  /**
   * The next entry, into `entry`, which is as the call before left it; false at the end of the block.
   */
  next(entry: IndexEntry): boolean {
    if (this.#left === 0) return false;
    this.#left -= 1;
    const head = this.#byte();
    const isSame = (head & sameNodeBit) !== 0;
    if (isSame && this.#isFirst) throw this.#damaged();
    if (!isSame) this.#place(entry);
    this.#isFirst = false;
    entry.kind = this.#kind(head);
    entry.within = entry.level === 0 ? this.#varint() : 0;
    entry.blockCount = leafBlocks;
    if (entry.level === 0) entry.blockCount = (head & oneBlockBit) !== 0 ? 1 : this.#varint() + 1;
    entry.position = this.#varint() + (isSame ? entry.position : this.#origin.positionLow);
    entry.address = 0;
    if (entry.kind === EntryKind.write) {
      entry.address = this.#varint() + frameAddressOf(entry.position);
    } else if (entry.kind === EntryKind.clone) entry.address = this.#varint();
    const ticks = this.#varint();
    entry.ticks = isSame ? entry.ticks + unzigzag(ticks) : ticks + this.#origin.baseTicks;
    if (entry.within + entry.blockCount > leafBlocks) throw this.#damaged();
    return true;
  }

  #kind(head: number): EntryKind {
    const kind = head & kindMask;
    if (kind > kindMax) throw this.#damaged();
    // Every number up to the greatest kind is one.
    return kind as EntryKind;
  }

  #place(entry: IndexEntry): void {
    const lineStep = this.#varint();
    if (this.#isFirst || lineStep > 0) {
      entry.line = lineStep + (this.#isFirst ? 0 : entry.line);
      entry.level = this.#varint();
      entry.node = this.#varint();
      return;
    }
    const levelStep = this.#varint();
    const node = this.#varint();
    entry.level += levelStep;
    entry.node = levelStep > 0 ? node : entry.node + node;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw this.#damaged();
    this.#at += 1;
    return byte;
  }

  #varint(): number {
    let byte = this.#byte();
    if (byte < 128) return byte;
    let value = byte - 128;
    let scale = 128;
    do {
      byte = this.#byte();
      value += (byte % 128) * scale;
      scale *= 128;
      if (scale > 2 ** 56) throw this.#damaged();
    } while (byte >= 128);
    return value;
  }

  #damaged(): FormatError {
    return new FormatError(`run ${describeRun(this.#origin)}: impossible entries`);
  }
}
