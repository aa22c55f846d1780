/**
 * The tables of a run in memory: which leaves of which lines it touches, and which blocks hold them.
 */
import { viewOf } from '../../base/fields.ts';
import type { DiskFile } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import type { LookupSteps } from './lookup-steps.ts';
import {
  bitmapPageBytes,
  decodeRunHeader,
  decodeRunTrailer,
  describeRun,
  fenceBytes,
  fenceLayout,
  lineBytes,
  lineLayout,
  pageBytes,
  pageLayout,
  pageLeavesOfBitmap,
  type RunHeader,
  type RunPlace,
  runBlockBytes,
  runBytesOf,
  runTablesCrc,
  runTrailerBytes,
  tableBytesOf,
} from './run-format.ts';
import { RunSegments } from './run-segments.ts';

interface LineTable {
  readonly levels: number;
  /** Numbers of its bitmap pages, ascending. */
  readonly pages: Uint32Array;
  readonly bits: Uint8Array;
}

/** A range of block numbers (from 1 on), the last one included. */
export interface BlockRange {
  readonly first: number;
  readonly last: number;
}

export class RunTables {
  readonly header: RunHeader;
  readonly digest: Uint8Array;
  #segments: RunSegments;
  readonly #fenceLines: Uint32Array;
  readonly #fenceLevels: Uint8Array;
  readonly #fenceNodes: Uint32Array;
  readonly #lines = new Map<number, LineTable>();

  /** `tables` were verified, and are kept until its segments are forgotten. Throws FormatError when they contradict the header. */
  constructor(header: RunHeader, digest: Uint8Array, tables: Uint8Array) {
    this.header = header;
    this.digest = digest;
    const { blockCount, lineCount, pageCount } = header;
    const view = viewOf(tables);
    this.#fenceLines = new Uint32Array(blockCount);
    this.#fenceLevels = new Uint8Array(blockCount);
    this.#fenceNodes = new Uint32Array(blockCount);
    for (let block = 0; block < blockCount; block += 1) {
      const at = block * fenceBytes;
      this.#fenceLines[block] = fenceLayout.line.get(view, at);
      this.#fenceLevels[block] = fenceLayout.level.get(view, at);
      this.#fenceNodes[block] = fenceLayout.node.get(view, at);
    }
    const linesAt = blockCount * fenceBytes;
    const pagesAt = linesAt + lineCount * lineBytes;
    let pagesUsed = 0;
    for (let index = 0; index < lineCount; index += 1) {
      const at = linesAt + index * lineBytes;
      const count = lineLayout.pageCount.get(view, at);
      if (pagesUsed + count > pageCount) {
        throw new FormatError(`run ${describeRun(header)}: pages out of range`);
      }
      const pages = new Uint32Array(count);
      const bits = new Uint8Array(count * bitmapPageBytes);
      for (let page = 0; page < count; page += 1) {
        const pageAt = pagesAt + (pagesUsed + page) * pageBytes;
        pages[page] = pageLayout.page.get(view, pageAt);
        bits.set(pageLayout.bits.get(tables, pageAt), page * bitmapPageBytes);
      }
      pagesUsed += count;
      this.#lines.set(lineLayout.line.get(view, at), {
        levels: lineLayout.levels.get(view, at),
        pages,
        bits,
      });
    }
    this.#segments = new RunSegments(tables.subarray(pagesAt + pageCount * pageBytes));
  }

  /** The segments whose records it has. */
  get segments(): RunSegments {
    return this.#segments;
  }

  /** Lookups do without them once they were compared: of a run of 262,144 segments they take 19 MB. */
  forgetSegments(): void {
    this.#segments = RunSegments.of([]);
  }

  /** RAM, about. */
  get bytes(): number {
    return tableBytesOf({ ...this.header, segmentCount: this.#segments.count }) + 512;
  }

  /** Bit k: the line has entries of level k. */
  levels(line: number): number {
    return this.#lines.get(line)?.levels ?? 0;
  }

  /** Whether level 0 entries of the line touch the leaf. */
  hasLeaf(lineId: number, leaf: number): boolean {
    const line = this.#lines.get(lineId);
    if (line === undefined) return false;
    const index = lowerBound(line.pages, Math.floor(leaf / pageLeavesOfBitmap));
    if (line.pages[index] !== Math.floor(leaf / pageLeavesOfBitmap)) return false;
    const bit = leaf % pageLeavesOfBitmap;
    const byte = line.bits[index * bitmapPageBytes + (bit >>> 3)] ?? 0;
    return (byte & (1 << (bit & 7))) !== 0;
  }

  /** Whether any entry of the line may touch leaves [first, first + count); true may be wrong. */
  hasLeaves(lineId: number, first: number, count: number): boolean {
    const line = this.#lines.get(lineId);
    if (line === undefined) return false;
    if (line.levels > 1) return true;
    const index = lowerBound(line.pages, Math.floor(first / pageLeavesOfBitmap));
    const page = line.pages[index];
    return page !== undefined && page * pageLeavesOfBitmap < first + count;
  }

  /** Adds the leaves of a bitmap page that level 0 entries of the line touch to `bits`. */
  addLeaves(lineId: number, page: number, bits: Uint8Array): void {
    const line = this.#lines.get(lineId);
    const index = line === undefined ? -1 : lowerBound(line.pages, page);
    if (line?.pages[index] !== page) return;
    for (let byte = 0; byte < bitmapPageBytes; byte += 1) {
      bits[byte] = (bits[byte] ?? 0) | (line.bits[index * bitmapPageBytes + byte] ?? 0);
    }
  }

  /** Blocks that hold the entries of nodes from `node` to `lastNode`, if any does. */
  blocksOf(line: number, level: number, node: number, lastNode = node): BlockRange | undefined {
    const { blockCount } = this.header;
    // The first fence that is not before the nodes, and the first that is behind them.
    const from = this.#firstFence(line, level, node);
    const behind = this.#firstFence(line, level, lastNode + 1);
    const first = Math.max(1, from);
    const last = Math.min(blockCount, behind);
    return first > last ? undefined : { first, last };
  }

  /** Index of the first fence that is not before (line, level, node). */
  #firstFence(line: number, level: number, node: number): number {
    let low = 0;
    let high = this.header.blockCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order =
        (this.#fenceLines[middle] ?? 0) - line ||
        (this.#fenceLevels[middle] ?? 0) - level ||
        (this.#fenceNodes[middle] ?? 0) - node;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function lowerBound(numbers: Uint32Array, wanted: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((numbers[middle] ?? 0) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A file that only has to be read. */
type Readable = Pick<DiskFile, 'read' | 'size'>;

/** Reads and verifies header, tables and trailer of a run. Throws DiskError, and FormatError when it is not whole. */
export function readRunTables(file: Readable, place: RunPlace, seeds: Seeds): RunTables {
  const head = new Uint8Array(runBlockBytes);
  const header = headerOf(head, file.read(head, 0), place, seeds);
  const { bytes, position } = tableRead(file, header);
  return tablesOf({ header, bytes, bytesRead: file.read(bytes, position) }, place, seeds);
}

/** As `readRunTables`; `file` stays open meanwhile. */
export function* runTableSteps(
  file: DiskFile,
  place: RunPlace,
  seeds: Seeds,
): LookupSteps<RunTables> {
  const head = new Uint8Array(runBlockBytes);
  const header = headerOf(head, yield { file, target: head, position: 0 }, place, seeds);
  const { bytes, position } = tableRead(file, header);
  const bytesRead = yield { file, target: bytes, position };
  return tablesOf({ header, bytes, bytesRead }, place, seeds);
}

function headerOf(head: Uint8Array, bytesRead: number, place: RunPlace, seeds: Seeds): RunHeader {
  const header = bytesRead === runBlockBytes ? decodeRunHeader(head, place, seeds) : undefined;
  if (header === undefined) throw new FormatError(`run ${describeRun(place)}: no valid header`);
  return header;
}

/** Where tables and trailer lie, and memory for them. Throws FormatError before memory is asked for that the file cannot fill. */
function tableRead(
  file: Readable,
  header: RunHeader,
): { readonly bytes: Uint8Array; readonly position: number } {
  const totalBytes = runBytesOf(header);
  if (file.size() !== totalBytes) {
    throw new FormatError(
      `run ${describeRun(header)}: ${file.size()} bytes instead of ${totalBytes}`,
    );
  }
  const bytes = new Uint8Array(tableBytesOf(header) + runTrailerBytes);
  return { bytes, position: (1 + header.blockCount) * runBlockBytes };
}

function tablesOf(
  read: { readonly header: RunHeader; readonly bytes: Uint8Array; readonly bytesRead: number },
  place: RunPlace,
  seeds: Seeds,
): RunTables {
  const { header, bytes, bytesRead } = read;
  if (bytesRead !== bytes.length) throw new FormatError(`run ${describeRun(place)}: cut short`);
  const tables = bytes.subarray(0, bytes.length - runTrailerBytes);
  const trailer = bytes.subarray(tables.length);
  const digest = decodeRunTrailer(trailer, place, runBytesOf(header), seeds);
  if (digest === undefined || runTablesCrc(tables, place, seeds) !== header.tablesCrc) {
    throw new FormatError(`run ${describeRun(place)}: damaged tables`);
  }
  return new RunTables(header, digest, tables);
}
