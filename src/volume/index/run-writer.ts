/**
 * Run writer: entries in order become the file of a run. Holds one piece of blocks, and the tables (about 1/300 of the
 * file), in memory.
 */
import { createHash } from 'node:crypto';
import { present } from '../../base/assert.ts';
import { viewOf } from '../../base/fields.ts';
import type { DiskFile } from '../../base/ports.ts';
import { addressOf, positionOf } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import type { IndexEntry } from './entry.ts';
import { EntryBlockWriter, sealBlock } from './entry-block.ts';
import {
  bitmapPageBytes,
  blockRecordsAt,
  encodeRunHeader,
  encodeRunTrailer,
  fenceBytes,
  fenceLayout,
  fencesPerBlock,
  lineBytes,
  lineLayout,
  pageLeavesOfBitmap,
  pageNumberBytes,
  type RunHeader,
  type RunPlace,
  runBlockBytes,
  runBytesOf,
  runTablesCrc,
  segmentBytes,
  segmentsPerBlock,
  tableBytesOf,
} from './run-format.ts';
import type { RunSegments } from './run-segments.ts';

/** Blocks that are written at once. */
const pieceBlocks = 64;

export interface RunShape extends RunPlace {
  readonly fanOut: number;
  readonly endSegId: number;
  readonly segments: RunSegments;
  readonly baseTicks: number;
  /** As in RunHeader; left out of a run that was not thinned. */
  readonly keptThrough?: number;
}

/** What a finished run is known by. */
export interface RunSummary extends RunPlace {
  readonly positionLow: number;
  readonly positionHigh: number;
  readonly bytes: number;
  readonly entryCount: number;
  readonly digest: Uint8Array;
}

interface LineTable {
  readonly line: number;
  levels: number;
  entryCount: number;
  /** In order of pages. */
  readonly pages: { readonly page: number; readonly bits: Uint8Array }[];
}

export class RunWriter {
  readonly #file: DiskFile;
  readonly #shape: RunShape;
  readonly #seeds: Seeds;
  readonly #positionLow: number;
  readonly #block: EntryBlockWriter;
  readonly #piece = new Uint8Array(pieceBlocks * runBlockBytes);
  #pieceCount = 0;
  #blockCount = 0;
  #entryCount = 0;
  /** Blocks of fences, without their checksums. */
  readonly #fenceBlocks: Uint8Array[] = [];
  readonly #lines: LineTable[] = [];
  readonly #digest = createHash('sha256');
  #entriesDigest: Uint8Array = new Uint8Array(0);

  /** `file` is empty and stays the caller's. */
  constructor(file: DiskFile, shape: RunShape, seeds: Seeds) {
    this.#file = file;
    this.#shape = shape;
    this.#seeds = seeds;
    this.#positionLow = positionOf(addressOf(shape.firstSegId, 0), 0);
    const { level, firstSegId, generation = 0, baseTicks } = shape;
    const origin = { level, firstSegId, generation, baseTicks, positionLow: this.#positionLow };
    this.#block = new EntryBlockWriter(origin, seeds);
  }

  /** Of the blocks of entries of a finished run. */
  get entriesDigest(): Uint8Array {
    return this.#entriesDigest;
  }

  /** Entries come in order. Throws DiskError. */
  add(entry: IndexEntry): void {
    if (this.#block.isFull) this.#endBlock();
    if (this.#block.isEmpty) this.#addFence(entry);
    this.#block.add(entry);
    this.#entryCount += 1;
    this.#note(entry);
  }

  #addFence({ line, level, node }: IndexEntry): void {
    // One for each block, and so far there are only blocks of entries.
    const index = this.#blockCount % fencesPerBlock;
    if (index === 0) this.#fenceBlocks.push(new Uint8Array(runBlockBytes));
    const view = viewOf(present(this.#fenceBlocks.at(-1), 'block of fences'));
    const at = blockRecordsAt + index * fenceBytes;
    fenceLayout.line.set(view, at, line);
    fenceLayout.node.set(view, at, node);
    fenceLayout.level.set(view, at, level);
  }

  #note({ line: id, level, node }: IndexEntry): void {
    let line = this.#lines.at(-1);
    if (line?.line !== id) {
      line = { line: id, levels: 0, entryCount: 0, pages: [] };
      this.#lines.push(line);
    }
    line.levels |= 1 << level;
    line.entryCount += 1;
    if (level > 0) return;
    const page = Math.floor(node / pageLeavesOfBitmap);
    let last = line.pages.at(-1);
    if (last?.page !== page) {
      last = { page, bits: new Uint8Array(bitmapPageBytes) };
      line.pages.push(last);
    }
    const bit = node % pageLeavesOfBitmap;
    last.bits[bit >>> 3] = (last.bits[bit >>> 3] ?? 0) | (1 << (bit & 7));
  }

  #endBlock(): void {
    this.#block.finish(this.#blockCount + 1);
    this.#put(this.#block.bytes);
    this.#block.clear();
  }

  /** The next block, with its checksum. */
  #put(bytes: Uint8Array): void {
    this.#blockCount += 1;
    this.#piece.set(bytes, this.#pieceCount * runBlockBytes);
    this.#pieceCount += 1;
    if (this.#pieceCount === pieceBlocks) this.#writePiece();
  }

  #writePiece(): void {
    if (this.#pieceCount === 0) return;
    const bytes = this.#piece.subarray(0, this.#pieceCount * runBlockBytes);
    this.#digest.update(bytes);
    this.#file.write([bytes], (1 + this.#blockCount - this.#pieceCount) * runBlockBytes);
    this.#pieceCount = 0;
  }

  /** Blocks of fences and segments, behind those of entries. */
  #putRecords(): void {
    for (const block of this.#fenceBlocks) this.#sealAndPut(block);
    const { bytes } = this.#shape.segments;
    const partBytes = segmentsPerBlock * segmentBytes;
    const block = new Uint8Array(runBlockBytes);
    for (let at = 0; at < bytes.length; at += partBytes) {
      block.fill(0).set(bytes.subarray(at, at + partBytes), blockRecordsAt);
      this.#sealAndPut(block);
    }
  }

  #sealAndPut(block: Uint8Array): void {
    const { level, firstSegId, generation = 0 } = this.#shape;
    sealBlock(block, { level, firstSegId, generation }, this.#blockCount + 1, this.#seeds);
    this.#put(block);
  }

  /** Writes what is left, tables, trailer and header, and flushes. Throws DiskError. */
  finish(poolUuid: Uint8Array): RunSummary {
    const { level, firstSegId, generation = 0, endSegId, fanOut } = this.#shape;
    const { baseTicks, segments, keptThrough = 0 } = this.#shape;
    if (!this.#block.isEmpty) this.#endBlock();
    this.#writePiece();
    this.#entriesDigest = this.#digest.copy().digest();
    const blockCount = this.#blockCount;
    this.#putRecords();
    this.#writePiece();
    const counts = {
      isPaged: true,
      blockCount,
      lineCount: this.#lines.length,
      pageCount: this.#lines.reduce((total, line) => total + line.pages.length, 0),
      segmentCount: segments.count,
    };
    const tables = this.#top(tableBytesOf(counts));
    const header: RunHeader = {
      level,
      firstSegId,
      generation,
      keptThrough,
      fanOut,
      endSegId,
      positionLow: this.#positionLow,
      positionHigh: positionOf(addressOf(endSegId, 0), 0),
      entryCount: this.#entryCount,
      ...counts,
      baseTicks,
      tablesCrc: runTablesCrc(tables, this.#shape, this.#seeds),
    };
    const head = new Uint8Array(runBlockBytes);
    encodeRunHeader(head, header, poolUuid, this.#seeds);
    const digest = new Uint8Array(this.#digest.update(tables).update(head).digest());
    const bytes = runBytesOf(header);
    const trailer = encodeRunTrailer(this.#shape, bytes, digest, this.#seeds);
    this.#file.write([tables, trailer], (1 + this.#blockCount) * runBlockBytes);
    this.#file.write([head], 0);
    this.#file.flush();
    const { positionLow, positionHigh, entryCount } = header;
    const place = generation === 0 ? { level, firstSegId } : { level, firstSegId, generation };
    return { ...place, positionLow, positionHigh, bytes, entryCount, digest };
  }

  #top(totalBytes: number): Uint8Array {
    const out = new Uint8Array(totalBytes);
    const view = viewOf(out);
    let at = 0;
    for (const block of this.#fenceBlocks) {
      out.set(block.subarray(blockRecordsAt, blockRecordsAt + fenceBytes), at);
      at += fenceBytes;
    }
    let firstPage = 0;
    for (const line of this.#lines) {
      lineLayout.line.set(view, at, line.line);
      lineLayout.levels.set(view, at, line.levels);
      lineLayout.pageCount.set(view, at, line.pages.length);
      lineLayout.firstPage.set(view, at, firstPage);
      lineLayout.entryCount.set(view, at, line.entryCount);
      firstPage += line.pages.length;
      at += lineBytes;
    }
    let bitsAt = at + firstPage * pageNumberBytes;
    for (const { pages } of this.#lines) {
      for (const { page, bits } of pages) {
        view.setUint32(at, page, true);
        out.set(bits, bitsAt);
        at += pageNumberBytes;
        bitsAt += bitmapPageBytes;
      }
    }
    out.set(this.#shape.segments.bytes.subarray(-segmentBytes), bitsAt);
    return out;
  }
}
