/**
 * The tables of a run in memory: which leaves of which lines it touches, and where the fences lie that tell which blocks hold
 * them. As the bytes of the run's top: nothing is decoded before it is asked for.
 *
 *     top:   [first fence of each block of fences][lines][numbers of bitmap pages][their bits][last segment]
 *
 * Of a run that is not paged the top is made of its tables, and all its fences stay in memory.
 */
import { viewOf } from '../../base/fields.ts';
import type { DiskFile } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { isRunBlock } from './entry-block.ts';
import { type LookupSteps, runNow } from './lookup-steps.ts';
import {
  bitmapPageBytes,
  blockRecordsAt,
  decodeRunHeader,
  decodeRunTrailer,
  describeRun,
  fenceBlocksOf,
  fenceBytes,
  fenceLayout,
  fencesPerBlock,
  lineBytes,
  lineLayout,
  pageBytes,
  pageLeavesOfBitmap,
  pageNumberBytes,
  type RunHeader,
  type RunPlace,
  runBlockBytes,
  runBlocksOf,
  runBytesOf,
  runTablesCrc,
  runTrailerBytes,
  segmentBlocksOf,
  segmentBytes,
  segmentsPerBlock,
  tableBytesOf,
} from './run-format.ts';
import { RunSegments, type SegmentColumns } from './run-segments.ts';

/** A range of block numbers (from 1 on), the last one included. */
interface BlockRange {
  readonly first: number;
  readonly last: number;
}

/** Nodes of one level, from `node` to `lastNode`, or only that one. */
export interface Nodes {
  readonly line: number;
  readonly level: number;
  readonly node: number;
  readonly lastNode?: number;
}

/** Reads and verifies a block of the run, by its number. */
type ReadBlock = (block: number) => LookupSteps<Uint8Array>;

/** Where the record of a line lies in the top, and its bitmap pages. */
interface LineAt {
  readonly levels: number;
  readonly firstPage: number;
  readonly pageCount: number;
}

export class RunTables {
  readonly header: RunHeader;
  readonly digest: Uint8Array;
  readonly #top: Uint8Array;
  readonly #view: DataView;
  readonly #linesAt: number;
  readonly #pagesAt: number;
  readonly #bitsAt: number;
  /** All fences, of a run that is not paged. */
  readonly #fences: Uint8Array | undefined;

  /** `top` was verified, and is kept, as `fences` are. Throws FormatError when it contradicts the header. */
  constructor(
    header: RunHeader,
    digest: Uint8Array,
    { top, fences }: { readonly top: Uint8Array; readonly fences?: Uint8Array | undefined },
  ) {
    this.header = header;
    this.digest = digest;
    this.#top = top;
    this.#view = viewOf(top);
    this.#fences = fences;
    this.#linesAt = fenceBlocksOf(header) * fenceBytes;
    this.#pagesAt = this.#linesAt + header.lineCount * lineBytes;
    this.#bitsAt = this.#pagesAt + header.pageCount * pageNumberBytes;
    for (let index = 0, pages = 0; index < header.lineCount; index += 1) {
      const { firstPage, pageCount } = this.#lineAt(index);
      pages += pageCount;
      if (firstPage === pages - pageCount && pages <= header.pageCount) continue;
      throw new FormatError(`run ${describeRun(header)}: pages out of range`);
    }
  }

  /** RAM, about. */
  get bytes(): number {
    return this.#top.length + (this.#fences?.length ?? 0) + 512;
  }

  /**
   * Whether the run is of exactly the segments in `columns`, all sealed ones in its range. The digest of a segment is of its header,
   * too, which has the digest of the one before: when the last one is the same and there are as many, all are.
   */
  isOf({ segIds, epochs, tags }: SegmentColumns): boolean {
    const { segmentCount } = this.header;
    if (segIds.length !== segmentCount) return false;
    const last = segmentCount - 1;
    if (last < 0) return true;
    const tagBytes = tags.length / segmentCount;
    return new RunSegments(this.#top.subarray(this.#top.length - segmentBytes)).areThese({
      segIds: [segIds[last] ?? 0],
      epochs: [epochs[last] ?? 0],
      tags: tags.subarray(last * tagBytes),
    });
  }

  /** Bit k: the line has entries of level k. */
  levels(line: number): number {
    return this.#line(line)?.levels ?? 0;
  }

  /** Whether level 0 entries of the line touch the leaf. */
  hasLeaf(lineId: number, leaf: number): boolean {
    const at = this.#bitsOf(lineId, Math.floor(leaf / pageLeavesOfBitmap));
    if (at < 0) return false;
    const bit = leaf % pageLeavesOfBitmap;
    return ((this.#top[at + (bit >>> 3)] ?? 0) & (1 << (bit & 7))) !== 0;
  }

  /** Whether any entry of the line may touch leaves [first, first + count); true may be wrong. */
  hasLeaves(lineId: number, first: number, count: number): boolean {
    const line = this.#line(lineId);
    if (line === undefined) return false;
    if (line.levels > 1) return true;
    const index = this.#firstPage(line, Math.floor(first / pageLeavesOfBitmap));
    const isThere = index < line.firstPage + line.pageCount;
    return isThere && this.#pageAt(index) * pageLeavesOfBitmap < first + count;
  }

  /** Adds the leaves of a bitmap page that level 0 entries of the line touch to `bits`. */
  addLeaves(lineId: number, page: number, bits: Uint8Array): void {
    const at = this.#bitsOf(lineId, page);
    if (at < 0) return;
    for (let byte = 0; byte < bitmapPageBytes; byte += 1) {
      bits[byte] = (bits[byte] ?? 0) | (this.#top[at + byte] ?? 0);
    }
  }

  /** Blocks that hold the entries of the nodes, if any does. Throws what `read` throws. */
  *blocksOf(nodes: Nodes, read: ReadBlock): LookupSteps<BlockRange | undefined> {
    const { blockCount } = this.header;
    const { line, level, node, lastNode = node } = nodes;
    // The first fence that is not before the nodes, and the first that is behind them.
    const from = yield* this.#firstFence({ line, level, node }, read);
    const behind = yield* this.#firstFence({ line, level, node: lastNode + 1 }, read);
    const first = Math.max(1, from);
    const last = Math.min(blockCount, behind);
    return first > last ? undefined : { first, last };
  }

  /** Index of the first fence that is not before a node. */
  *#firstFence(node: Nodes, read: ReadBlock): LookupSteps<number> {
    const { blockCount } = this.header;
    if (this.#fences !== undefined) return lowerFence(viewOf(this.#fences), 0, blockCount, node);
    // Blocks of fences that begin before it: it is in the last of them, or the first of the next.
    const begun = lowerFence(this.#view, 0, fenceBlocksOf(this.header), node);
    if (begun === 0) return 0;
    const first = (begun - 1) * fencesPerBlock;
    const count = Math.min(fencesPerBlock, blockCount - first);
    // The only one of its block is in the top.
    if (count === 1) return first + 1;
    const bytes = yield* read(blockCount + begun);
    return first + lowerFence(viewOf(bytes), blockRecordsAt, count, node);
  }

  #lineAt(index: number): LineAt {
    const at = this.#linesAt + index * lineBytes;
    return {
      levels: lineLayout.levels.get(this.#view, at),
      firstPage: lineLayout.firstPage.get(this.#view, at),
      pageCount: lineLayout.pageCount.get(this.#view, at),
    };
  }

  #line(lineId: number): LineAt | undefined {
    let low = 0;
    let high = this.header.lineCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const line = lineLayout.line.get(this.#view, this.#linesAt + middle * lineBytes);
      if (line === lineId) return this.#lineAt(middle);
      if (line < lineId) low = middle + 1;
      else high = middle;
    }
    return undefined;
  }

  #pageAt(index: number): number {
    return this.#view.getUint32(this.#pagesAt + index * pageNumberBytes, true);
  }

  /** Index of the line's first bitmap page that is not before `page`. */
  #firstPage({ firstPage, pageCount }: LineAt, page: number): number {
    let low = firstPage;
    let high = firstPage + pageCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#pageAt(middle) < page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Where the bits of a line's bitmap page lie in the top; -1 = nowhere. */
  #bitsOf(lineId: number, page: number): number {
    const line = this.#line(lineId);
    if (line === undefined) return -1;
    const index = this.#firstPage(line, page);
    const isThere = index < line.firstPage + line.pageCount && this.#pageAt(index) === page;
    return isThere ? this.#bitsAt + index * bitmapPageBytes : -1;
  }
}

/** Index of the first of `count` fences from byte `from` on that is not before a node. */
function lowerFence(
  fences: DataView,
  from: number,
  count: number,
  { line, level, node }: Nodes,
): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = from + middle * fenceBytes;
    const order =
      fenceLayout.line.get(fences, at) - line ||
      fenceLayout.level.get(fences, at) - level ||
      fenceLayout.node.get(fences, at) - node;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A file that only has to be read. */
type Readable = Pick<DiskFile, 'read' | 'size'>;

/** Reads and verifies header, tables and trailer of a run. Throws DiskError, and FormatError when it is not whole. */
export function readRunTables(file: Readable, place: RunPlace, seeds: Seeds): RunTables {
  return runNow(runTableSteps(file, place, seeds));
}

/** As `readRunTables`; `file` stays open meanwhile. */
export function* runTableSteps<F extends Readable>(
  file: F,
  place: RunPlace,
  seeds: Seeds,
): LookupSteps<RunTables, F> {
  const head = new Uint8Array(runBlockBytes);
  const header = headerOf(head, yield { file, target: head, position: 0 }, place, seeds);
  const { bytes, position } = tableRead(file, header);
  const bytesRead = yield { file, target: bytes, position };
  const { tables, digest } = tablesOf({ header, bytes, bytesRead }, place, seeds);
  if (header.isPaged) return new RunTables(header, digest, { top: tables });
  const fences = tables.slice(0, header.blockCount * fenceBytes);
  return new RunTables(header, digest, { top: topOf(header, tables), fences });
}

/** Reads and verifies block number `block` of a run. Throws FormatError when it is damaged, and DiskError. */
export function* runBlockSteps<F>(
  file: F,
  header: RunHeader,
  block: number,
  seeds: Seeds,
): LookupSteps<Uint8Array, F> {
  const target = new Uint8Array(runBlockBytes);
  const bytesRead = yield { file, target, position: block * runBlockBytes };
  if (bytesRead < runBlockBytes || !isRunBlock(target, header, block, seeds)) {
    throw new FormatError(`run ${describeRun(header)}: damaged block ${block}`);
  }
  return target;
}

/** Reads and verifies the segments whose records a run has. Throws as `readRunTables`. */
export function readRunSegments(file: Readable, { header }: RunTables, seeds: Seeds): RunSegments {
  if (!header.isPaged) {
    const { bytes, position } = tableRead(file, header);
    const bytesRead = file.read(bytes, position);
    const { tables } = tablesOf({ header, bytes, bytesRead }, header, seeds);
    const from = tables.length - header.segmentCount * segmentBytes;
    return new RunSegments(tables.subarray(from));
  }
  const found = new Uint8Array(header.segmentCount * segmentBytes);
  const first = 1 + header.blockCount + fenceBlocksOf(header);
  const partBytes = segmentsPerBlock * segmentBytes;
  for (let index = 0; index < segmentBlocksOf(header); index += 1) {
    const block = runNow(runBlockSteps(file, header, first + index, seeds));
    const length = Math.min(partBytes, found.length - index * partBytes);
    found.set(block.subarray(blockRecordsAt, blockRecordsAt + length), index * partBytes);
  }
  return new RunSegments(found);
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
  return { bytes, position: (1 + runBlocksOf(header)) * runBlockBytes };
}

function tablesOf(
  read: { readonly header: RunHeader; readonly bytes: Uint8Array; readonly bytesRead: number },
  place: RunPlace,
  seeds: Seeds,
): { readonly tables: Uint8Array; readonly digest: Uint8Array } {
  const { header, bytes, bytesRead } = read;
  if (bytesRead !== bytes.length) throw new FormatError(`run ${describeRun(place)}: cut short`);
  const tables = bytes.subarray(0, bytes.length - runTrailerBytes);
  const trailer = bytes.subarray(tables.length);
  const digest = decodeRunTrailer(trailer, place, runBytesOf(header), seeds);
  if (digest === undefined || runTablesCrc(tables, place, seeds) !== header.tablesCrc) {
    throw new FormatError(`run ${describeRun(place)}: damaged tables`);
  }
  return { tables, digest };
}

/** The top of a run that is not paged: of its tables, but for the fences. */
function topOf(header: RunHeader, tables: Uint8Array): Uint8Array {
  const { blockCount, lineCount, pageCount } = header;
  const from = viewOf(tables);
  const linesFrom = blockCount * fenceBytes;
  const pagesFrom = linesFrom + lineCount * lineBytes;
  const pagesAt = lineCount * lineBytes;
  const bitsAt = pagesAt + pageCount * pageNumberBytes;
  const top = new Uint8Array(pagesAt + pageCount * pageBytes + segmentBytes);
  const view = viewOf(top);
  top.set(tables.subarray(linesFrom, pagesFrom));
  let firstPage = 0;
  for (let at = 0; at < pagesAt; at += lineBytes) {
    lineLayout.firstPage.set(view, at, firstPage);
    firstPage += lineLayout.pageCount.get(view, at);
  }
  for (let page = 0; page < pageCount; page += 1) {
    const at = pagesFrom + page * pageBytes;
    view.setUint32(pagesAt + page * pageNumberBytes, from.getUint32(at, true), true);
    const bits = tables.subarray(at + pageNumberBytes, at + pageBytes);
    top.set(bits, bitsAt + page * bitmapPageBytes);
  }
  if (header.segmentCount > 0) {
    top.set(tables.subarray(tables.length - segmentBytes), top.length - segmentBytes);
  }
  return top;
}
