/**
 * Index run: what the data records of an aligned range of segments did, sorted by line, level, node and position. Never
 * changed once it has its name; everything in it follows from the segments, and, once it was thinned, from what was kept then.
 *
 *     runs/L-SSSSSSSS.run         level L from 1 on, first segment id in hex; covers fanOut^L segment ids
 *     runs/L-SSSSSSSS.G.run       the same, thinned for the G-th time: without entries that no kept state can see
 *     [header, 4 KiB][blocks, 4 KiB each: entries · fences · segments][top][trailer, 64 B]
 *     top:            [first fence of each block of fences][lines][numbers of bitmap pages][their bits][last segment]
 *     before paging:  [header][blocks of entries][fences][lines][bitmap pages][segments][trailer]
 *
 * A block is verified and decoded by itself. A fence is the node of an entry block's first entry. A bitmap page has one bit for
 * each of 512 leaves (1 GiB of a volume) that level 0 entries of a line touch. A lookup keeps the top in memory, and reads the few
 * blocks that it needs: fences of a log of many TiB are too many to be loaded, its segments too many to be compared.
 */
import { crc32c } from '../../base/crc32c.ts';
import { bytes, u8, u16, u32, u48, u64, viewOf } from '../../base/fields.ts';
import type { Seeds } from '../format/checksum.ts';
import { isSealed, preamble, refuseNewer, seal } from '../format/preamble.ts';

const runVersion = 1;
export const runBlockBytes = 4096;
const headerUsedBytes = 108;
/** With the fields that only thinned runs have. */
const thinnedUsedBytes = 120;
/** Bit of `incompatible`: the run was thinned. A version that does not know that would take it for all there was. */
const thinnedBit = 1;
/** Fences and segments lie in blocks. A run without the bit was made before that. */
const pagedBit = 2;
export const runTrailerBytes = 64;
const magic = 0x4e52_4d54; // "TMRN"
const trailerMagic = 0x4552_4d54; // "TMRE"
/** Numbers of parts in checksum seeds, beside those of blocks. */
const tablesPart = 0xffff_fffe;
const trailerPart = 0xffff_ffff;
/** Leaves that one bitmap page stands for. */
export const pageLeavesOfBitmap = 512;
export const bitmapPageBytes = 64;

const headerLayout = {
  ...preamble,
  compatible: u32(16),
  level: u16(20),
  fanOut: u16(22),
  firstSegId: u64(24),
  endSegId: u64(32),
  positionLow: u64(40),
  positionHigh: u64(48),
  entryCount: u64(56),
  blockCount: u32(64),
  lineCount: u32(68),
  pageCount: u32(72),
  segmentCount: u32(76),
  baseTicks: u64(80),
  tablesCrc: u32(88),
  poolUuid: bytes(92, 16),
  generation: u32(108),
  keptThrough: u64(112),
} as const;

export const fenceLayout = { line: u32(0), node: u32(4), level: u8(8) } as const;
export const fenceBytes = 12;
export const lineLayout = {
  line: u32(0),
  levels: u32(4),
  pageCount: u32(8),
  /** How many pages the lines before have; 0 in a run that is not paged. */
  firstPage: u32(12),
  entryCount: u64(16),
} as const;
export const lineBytes = 24;
export const pageNumberBytes = 4;
/** Of a bitmap page with its number, which lie together in a run that is not paged. */
export const pageBytes = pageNumberBytes + bitmapPageBytes;
export const segmentLayout = {
  segId: u64(0),
  epoch: u64(8),
  endSlot: u32(16),
  entryCount: u32(20),
  digest: bytes(24, 32),
  minHlcMs: u48(56),
  maxHlcMs: u48(62),
} as const;
export const segmentBytes = 72;
/** Where records begin in a block of fences or segments, behind its checksum; and how many fit. */
export const blockRecordsAt = 4;
export const fencesPerBlock = Math.floor((runBlockBytes - blockRecordsAt) / fenceBytes);
export const segmentsPerBlock = Math.floor((runBlockBytes - blockRecordsAt) / segmentBytes);

const trailerLayout = {
  crc: u32(0),
  magic: u32(4),
  firstSegId: u64(8),
  level: u16(16),
  totalBytes: u64(24),
  sha256: bytes(32, 32),
} as const;

/** A segment whose records are in a run: what its footer says of it. */
export interface RunSegment {
  readonly segId: number;
  readonly epoch: number;
  readonly endSlot: number;
  readonly entryCount: number;
  readonly digest: Uint8Array;
  readonly minHlcMs: number;
  readonly maxHlcMs: number;
}

/** Which run: its level and the first segment id of its range; of several in one place, how often it was thinned. */
export interface RunPlace {
  readonly level: number;
  readonly firstSegId: number;
  /** Left out or 0: never, it has all entries. */
  readonly generation?: number;
}

export interface RunHeader extends RunPlace {
  readonly generation: number;
  readonly isPaged: boolean;
  /** What was kept when the log ended at this position can be seen in it; 0 = it was not thinned. */
  readonly keptThrough: number;
  readonly fanOut: number;
  /** First segment id behind the range. */
  readonly endSegId: number;
  /** Positions of the entries lie in [positionLow, positionHigh). */
  readonly positionLow: number;
  readonly positionHigh: number;
  readonly entryCount: number;
  readonly blockCount: number;
  readonly lineCount: number;
  readonly pageCount: number;
  readonly segmentCount: number;
  /** No entry is older. */
  readonly baseTicks: number;
  readonly tablesCrc: number;
}

type RunCounts = Pick<
  RunHeader,
  'isPaged' | 'blockCount' | 'lineCount' | 'pageCount' | 'segmentCount'
>;

/** Blocks of fences behind those of entries. */
export function fenceBlocksOf({ isPaged, blockCount }: RunCounts): number {
  return isPaged ? Math.ceil(blockCount / fencesPerBlock) : 0;
}

/** Blocks of segments behind those of fences. */
export function segmentBlocksOf({ isPaged, segmentCount }: RunCounts): number {
  return isPaged ? Math.ceil(segmentCount / segmentsPerBlock) : 0;
}

/** Blocks of all kinds. */
export function runBlocksOf(counts: RunCounts): number {
  return counts.blockCount + fenceBlocksOf(counts) + segmentBlocksOf(counts);
}

/** Bytes between the blocks and the trailer: the top, or all tables. */
export function tableBytesOf(counts: RunCounts): number {
  const { isPaged, blockCount, lineCount, pageCount, segmentCount } = counts;
  const fenceCount = isPaged ? fenceBlocksOf(counts) : blockCount;
  const rowCount = isPaged ? 1 : segmentCount;
  return (
    fenceCount * fenceBytes +
    lineCount * lineBytes +
    pageCount * pageBytes +
    rowCount * segmentBytes
  );
}

/** Bytes of the whole file. */
export function runBytesOf(header: RunHeader): number {
  return runBlockBytes * (1 + runBlocksOf(header)) + tableBytesOf(header) + runTrailerBytes;
}

export function encodeRunHeader(
  out: Uint8Array,
  header: RunHeader,
  poolUuid: Uint8Array,
  seeds: Seeds,
): void {
  const view = viewOf(out);
  out.fill(0, 0, runBlockBytes);
  headerLayout.magic.set(view, 0, magic);
  headerLayout.version.set(view, 0, runVersion);
  const isThin = isThinned(header);
  headerLayout.length.set(view, 0, isThin ? thinnedUsedBytes : headerUsedBytes);
  headerLayout.incompatible.set(
    view,
    0,
    (isThin ? thinnedBit : 0) | (header.isPaged ? pagedBit : 0),
  );
  headerLayout.generation.set(view, 0, header.generation);
  headerLayout.keptThrough.set(view, 0, header.keptThrough);
  headerLayout.level.set(view, 0, header.level);
  headerLayout.fanOut.set(view, 0, header.fanOut);
  headerLayout.firstSegId.set(view, 0, header.firstSegId);
  headerLayout.endSegId.set(view, 0, header.endSegId);
  headerLayout.positionLow.set(view, 0, header.positionLow);
  headerLayout.positionHigh.set(view, 0, header.positionHigh);
  headerLayout.entryCount.set(view, 0, header.entryCount);
  headerLayout.blockCount.set(view, 0, header.blockCount);
  headerLayout.lineCount.set(view, 0, header.lineCount);
  headerLayout.pageCount.set(view, 0, header.pageCount);
  headerLayout.segmentCount.set(view, 0, header.segmentCount);
  headerLayout.baseTicks.set(view, 0, header.baseTicks);
  headerLayout.tablesCrc.set(view, 0, header.tablesCrc);
  headerLayout.poolUuid.set(out, 0, poolUuid);
  seal(out.subarray(0, runBlockBytes), runSeed(header, 0, seeds));
}

/**
 * Header of the run at `place`; undefined when `head` (the first 4 KiB) is none. Throws FormatError only for a valid one of
 * a newer version.
 */
export function decodeRunHeader(
  head: Uint8Array,
  place: RunPlace,
  seeds: Seeds,
): RunHeader | undefined {
  if (head.length < runBlockBytes) return undefined;
  const seed = runSeed(place, 0, seeds);
  if (!isSealed(head.subarray(0, runBlockBytes), magic, seed)) return undefined;
  const view = viewOf(head);
  refuseNewer(view, runVersion, `run ${describeRun(place)}`, thinnedBit | pagedBit);
  const bits = headerLayout.incompatible.get(view, 0);
  const isThin = (bits & thinnedBit) !== 0;
  const header: RunHeader = {
    generation: isThin ? headerLayout.generation.get(view, 0) : 0,
    isPaged: (bits & pagedBit) !== 0,
    keptThrough: isThin ? headerLayout.keptThrough.get(view, 0) : 0,
    level: headerLayout.level.get(view, 0),
    fanOut: headerLayout.fanOut.get(view, 0),
    firstSegId: headerLayout.firstSegId.get(view, 0),
    endSegId: headerLayout.endSegId.get(view, 0),
    positionLow: headerLayout.positionLow.get(view, 0),
    positionHigh: headerLayout.positionHigh.get(view, 0),
    entryCount: headerLayout.entryCount.get(view, 0),
    blockCount: headerLayout.blockCount.get(view, 0),
    lineCount: headerLayout.lineCount.get(view, 0),
    pageCount: headerLayout.pageCount.get(view, 0),
    segmentCount: headerLayout.segmentCount.get(view, 0),
    baseTicks: headerLayout.baseTicks.get(view, 0),
    tablesCrc: headerLayout.tablesCrc.get(view, 0),
  };
  const isPlausible =
    header.level === place.level &&
    header.firstSegId === place.firstSegId &&
    header.generation === (place.generation ?? 0) &&
    isThin === isThinned(header) &&
    header.endSegId > header.firstSegId &&
    header.positionHigh > header.positionLow;
  return isPlausible ? header : undefined;
}

/** Seals tables into `tables`' checksum. */
export function runTablesCrc(tables: Uint8Array, place: RunPlace, seeds: Seeds): number {
  return crc32c(tables, runSeed(place, tablesPart, seeds));
}

/** `sha256` of everything before the trailer but the header, then the header. */
export function encodeRunTrailer(
  place: RunPlace,
  totalBytes: number,
  sha256: Uint8Array,
  seeds: Seeds,
): Uint8Array {
  const out = new Uint8Array(runTrailerBytes);
  const view = viewOf(out);
  trailerLayout.magic.set(view, 0, trailerMagic);
  trailerLayout.firstSegId.set(view, 0, place.firstSegId);
  trailerLayout.level.set(view, 0, place.level);
  trailerLayout.totalBytes.set(view, 0, totalBytes);
  trailerLayout.sha256.set(out, 0, sha256);
  seal(out, runSeed(place, trailerPart, seeds));
  return out;
}

/** The digest in the trailer of a file of `totalBytes`; undefined when it is not the trailer of that run. */
export function decodeRunTrailer(
  trailer: Uint8Array,
  place: RunPlace,
  totalBytes: number,
  seeds: Seeds,
): Uint8Array | undefined {
  if (trailer.length < runTrailerBytes) return undefined;
  const view = viewOf(trailer);
  const seed = runSeed(place, trailerPart, seeds);
  const isOurs =
    isSealed(trailer.subarray(0, runTrailerBytes), trailerMagic, seed) &&
    trailerLayout.totalBytes.get(view, 0) === totalBytes;
  return isOurs ? trailerLayout.sha256.get(trailer, 0).slice() : undefined;
}

/** Seed of the checksum of part `part` of a run: a block's number, or one of the special ones. */
export function runSeed(
  { level, firstSegId, generation }: RunPlace,
  part: number,
  seeds: Seeds,
): number {
  return seeds.run(level, firstSegId, part, generation ?? 0);
}

/** Whether entries that no kept state can see were left out of the run. */
export function isThinned({ generation = 0 }: RunPlace): boolean {
  return generation > 0;
}

export function describeRun(place: RunPlace): string {
  const name = `level ${place.level} from segment ${place.firstSegId} on`;
  return isThinned(place) ? `${name} (thinned, ${place.generation})` : name;
}
