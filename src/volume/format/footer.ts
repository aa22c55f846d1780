/**
 * Footer: written behind the last slot when a segment is sealed. A pure function of the segment's frames, so it can always
 * be made again; with it, opening a pool and building maps never touch the frames.
 *
 *     file offset segmentSlots * 4096
 *     [header 128 B][entries, 40 B each, in log order][u32 CRC32C per slot][frame table, 24 B each][trailer 64 B]
 *
 * The CRC table has one entry per slot below the end of the log in this segment: data blocks have theirs, slots of header
 * blocks have 0 (frame headers carry their own).
 *
 * In a pack a footer is thinned: records of data that nobody can reach any more are left out, frames of which no record is
 * left, and the CRC table, because the pack has its own. What it says of the whole segment (counts, digest, times) stays.
 */
import { createHash } from 'node:crypto';
import { crc32c } from '../../base/crc32c.ts';
import { bytes, u8, u16, u32, u48, u64, viewOf } from '../../base/fields.ts';
import { addressOf, slotsPerSegmentMax } from './address.ts';
import type { Seeds } from './checksum.ts';
import { isSealed, preamble, refuseNewer, seal } from './preamble.ts';

const footerVersion = 1;
/** Feature flag: thinned. */
const thinned = 1;
export const footerHeaderBytes = 128;
const magic = 0x5446_4d54; // "TMFT"
const trailerMagic = 0x4554_4d54; // "TMTE"

const headerLayout = {
  ...preamble,
  segId: u64(16),
  epoch: u64(24),
  totalBytes: u64(32),
  endSlot: u32(40),
  entryCount: u32(44),
  frameCount: u32(48),
  bodyCrc: u32(52),
  poolUuid: bytes(56, 16),
  digest: bytes(72, 32),
  minHlcMs: u48(104),
  maxHlcMs: u48(110),
  /** Thinned: records that are left. */
  recordCount: u32(116),
} as const;

const entryLayout = {
  position: u64(0),
  address: u64(8),
  lba: u48(16),
  blockCount: u48(22),
  line: u32(28),
  timeDelta: u16(32),
  type: u8(34),
  flags: u8(35),
  writer: u32(36),
} as const;
const footerEntryBytes = 40;

const frameLayout = {
  slot: u32(0),
  headerBlocks: u16(4),
  descriptors: u16(6),
  dataBlocks: u32(8),
  hlcCounter: u16(12),
  hlcMs: u48(14),
  reserved: u32(20),
} as const;
const frameEntryBytes = 24;

const trailerLayout = {
  crc: u32(0),
  magic: u32(4),
  segId: u64(8),
  totalBytes: u64(16),
  sha256: bytes(24, 32),
} as const;
const trailerBytes = 64;

/** What a footer is made of, in log order. */
export interface FooterEntry {
  readonly position: number;
  /** Address of the first data block; 0 when the record has none. */
  readonly address: number;
  readonly lba: number;
  readonly blockCount: number;
  readonly line: number;
  readonly timeDelta: number;
  readonly type: number;
  readonly flags: number;
  readonly writer: number;
}

export interface FooterFrame {
  readonly slot: number;
  readonly headerBlocks: number;
  readonly descriptors: number;
  readonly dataBlocks: number;
  readonly hlcMs: number;
  readonly hlcCounter: number;
}

export interface FooterContents {
  readonly segId: number;
  readonly epoch: number;
  /** First slot after the last frame. */
  readonly endSlot: number;
  readonly entries: readonly FooterEntry[];
  readonly frames: readonly FooterFrame[];
  /** One per slot below endSlot. */
  readonly slotCrcs: Uint32Array;
  /** Running SHA-256 of the segment (see SegmentHeader.previousDigest). */
  readonly digest: Uint8Array;
}

export interface FooterHeader {
  readonly segId: number;
  readonly epoch: number;
  readonly totalBytes: number;
  readonly endSlot: number;
  /** Records of the segment. */
  readonly entryCount: number;
  /** Those of them that the footer has: all, unless it is thinned. */
  readonly recordCount: number;
  readonly isThinned: boolean;
  /** Frames that the footer has. */
  readonly frameCount: number;
  readonly bodyCrc: number;
  readonly digest: Uint8Array;
  readonly minHlcMs: number;
  readonly maxHlcMs: number;
}

function bodyBytes(entryCount: number, endSlot: number, frameCount: number): number {
  return entryCount * footerEntryBytes + endSlot * 4 + frameCount * frameEntryBytes;
}

/** Bytes of a whole footer. */
export function footerSizeBytes(entryCount: number, endSlot: number, frameCount: number): number {
  return footerHeaderBytes + bodyBytes(entryCount, endSlot, frameCount) + trailerBytes;
}

/** Byte offset, from the start of the footer, of the CRC of slot 0. */
export function footerCrcOffset(header: Pick<FooterHeader, 'entryCount'>): number {
  return footerHeaderBytes + header.entryCount * footerEntryBytes;
}

export function encodeFooter(
  contents: FooterContents,
  poolUuid: Uint8Array,
  seeds: Seeds,
): Uint8Array {
  const { entries, frames, endSlot } = contents;
  const totalBytes = footerSizeBytes(entries.length, endSlot, frames.length);
  const out = new Uint8Array(totalBytes);
  const view = viewOf(out);
  let at = footerHeaderBytes;
  for (const entry of entries) {
    encodeEntry(view, at, entry);
    at += footerEntryBytes;
  }
  for (let slot = 0; slot < endSlot; slot += 1) {
    view.setUint32(at, contents.slotCrcs[slot] ?? 0, true);
    at += 4;
  }
  at = encodeFrames(view, at, frames);
  const seed = seeds.structure(addressOf(contents.segId, slotsPerSegmentMax - 1), contents.epoch);
  headerLayout.magic.set(view, 0, magic);
  headerLayout.version.set(view, 0, footerVersion);
  headerLayout.length.set(view, 0, footerHeaderBytes);
  headerLayout.segId.set(view, 0, contents.segId);
  headerLayout.epoch.set(view, 0, contents.epoch);
  headerLayout.totalBytes.set(view, 0, totalBytes);
  headerLayout.endSlot.set(view, 0, endSlot);
  headerLayout.entryCount.set(view, 0, entries.length);
  headerLayout.frameCount.set(view, 0, frames.length);
  headerLayout.bodyCrc.set(view, 0, crc32c(out.subarray(footerHeaderBytes, at), seed));
  headerLayout.poolUuid.set(out, 0, poolUuid);
  headerLayout.digest.set(out, 0, contents.digest);
  headerLayout.minHlcMs.set(view, 0, frames[0]?.hlcMs ?? 0);
  headerLayout.maxHlcMs.set(view, 0, frames.at(-1)?.hlcMs ?? 0);
  seal(out.subarray(0, footerHeaderBytes), seed);
  encodeTrailer(out, at, contents.segId, seed);
  return out;
}

function encodeFrames(view: DataView, from: number, frames: readonly FooterFrame[]): number {
  let at = from;
  for (const frame of frames) {
    frameLayout.slot.set(view, at, frame.slot);
    frameLayout.headerBlocks.set(view, at, frame.headerBlocks);
    frameLayout.descriptors.set(view, at, frame.descriptors);
    frameLayout.dataBlocks.set(view, at, frame.dataBlocks);
    frameLayout.hlcCounter.set(view, at, frame.hlcCounter);
    frameLayout.hlcMs.set(view, at, frame.hlcMs);
    at += frameEntryBytes;
  }
  return at;
}

/**
 * The thinned footer of the same segment, with those records (bytes of a verified footer, thinned or not, copied from) for
 * which `isKept` is true. A frame's `descriptors` are those that are left of it.
 */
export function thinFooter(
  footer: Uint8Array,
  header: FooterHeader,
  isKept: (entry: FooterEntry) => boolean,
  seeds: Seeds,
): Uint8Array {
  const frames: FooterFrame[] = [];
  const out = new Uint8Array(footer.length);
  let recordCount = 0;
  let index = 0;
  for (let at = 0; at < header.frameCount; at += 1) {
    const frame = footerFrame(footer, header, at);
    const before = recordCount;
    for (const end = index + frame.descriptors; index < end; index += 1) {
      if (!isKept(footerEntry(footer, index))) continue;
      const from = footerHeaderBytes + index * footerEntryBytes;
      const entry = footer.subarray(from, from + footerEntryBytes);
      out.set(entry, footerHeaderBytes + recordCount * footerEntryBytes);
      recordCount += 1;
    }
    if (recordCount > before) frames.push({ ...frame, descriptors: recordCount - before });
  }
  const totalBytes = footerSizeBytes(recordCount, 0, frames.length);
  const thin = out.slice(0, totalBytes);
  const view = viewOf(thin);
  const end = encodeFrames(view, footerCrcOffset({ entryCount: recordCount }), frames);
  const seed = seeds.structure(addressOf(header.segId, slotsPerSegmentMax - 1), header.epoch);
  thin.set(footer.subarray(0, footerHeaderBytes));
  headerLayout.incompatible.set(view, 0, thinned);
  headerLayout.totalBytes.set(view, 0, totalBytes);
  headerLayout.frameCount.set(view, 0, frames.length);
  headerLayout.recordCount.set(view, 0, recordCount);
  headerLayout.bodyCrc.set(view, 0, crc32c(thin.subarray(footerHeaderBytes, end), seed));
  seal(thin.subarray(0, footerHeaderBytes), seed);
  thin.fill(0, end);
  encodeTrailer(thin, end, header.segId, seed);
  return thin;
}

function encodeEntry(view: DataView, at: number, entry: FooterEntry): void {
  entryLayout.position.set(view, at, entry.position);
  entryLayout.address.set(view, at, entry.address);
  entryLayout.lba.set(view, at, entry.lba);
  entryLayout.blockCount.set(view, at, entry.blockCount);
  entryLayout.line.set(view, at, entry.line);
  entryLayout.timeDelta.set(view, at, entry.timeDelta);
  entryLayout.type.set(view, at, entry.type);
  entryLayout.flags.set(view, at, entry.flags);
  entryLayout.writer.set(view, at, entry.writer);
}

function encodeTrailer(out: Uint8Array, at: number, segId: number, seed: number): void {
  const view = viewOf(out);
  const sha256 = createHash('sha256').update(out.subarray(0, at)).digest();
  trailerLayout.magic.set(view, at, trailerMagic);
  trailerLayout.segId.set(view, at, segId);
  trailerLayout.totalBytes.set(view, at, out.length);
  trailerLayout.sha256.set(out, at, sha256);
  seal(out.subarray(at), seed);
}

/**
 * Header of the footer of `segId`; undefined when there is none (not sealed, torn or damaged). `segmentEpoch` is the
 * epoch of the segment's header. Throws FormatError only for a valid footer of a newer version.
 */
export function decodeFooterHeader(
  head: Uint8Array,
  segId: number,
  segmentEpoch: number,
  seeds: Seeds,
): FooterHeader | undefined {
  if (head.length < footerHeaderBytes) return undefined;
  const seed = seeds.structure(addressOf(segId, slotsPerSegmentMax - 1), segmentEpoch);
  if (!isSealed(head.subarray(0, footerHeaderBytes), magic, seed)) return undefined;
  const view = viewOf(head);
  refuseNewer(view, footerVersion, `footer of segment ${segId}`, thinned);
  const isThinned = (headerLayout.incompatible.get(view, 0) & thinned) !== 0;
  const entryCount = headerLayout.entryCount.get(view, 0);
  const header: FooterHeader = {
    segId: headerLayout.segId.get(view, 0),
    epoch: headerLayout.epoch.get(view, 0),
    totalBytes: headerLayout.totalBytes.get(view, 0),
    endSlot: headerLayout.endSlot.get(view, 0),
    entryCount,
    recordCount: isThinned ? headerLayout.recordCount.get(view, 0) : entryCount,
    isThinned,
    frameCount: headerLayout.frameCount.get(view, 0),
    bodyCrc: headerLayout.bodyCrc.get(view, 0),
    digest: headerLayout.digest.get(head, 0).slice(),
    minHlcMs: headerLayout.minHlcMs.get(view, 0),
    maxHlcMs: headerLayout.maxHlcMs.get(view, 0),
  };
  const { recordCount, endSlot, frameCount } = header;
  const isPlausible =
    header.segId === segId &&
    header.epoch === segmentEpoch &&
    endSlot <= slotsPerSegmentMax &&
    recordCount <= entryCount &&
    header.totalBytes === footerSizeBytes(recordCount, isThinned ? 0 : endSlot, frameCount);
  return isPlausible ? header : undefined;
}

/** Whether all of `footer` (totalBytes long) is what was sealed. */
export function verifyFooter(footer: Uint8Array, header: FooterHeader, seeds: Seeds): boolean {
  if (footer.length !== header.totalBytes) return false;
  const seed = seeds.structure(addressOf(header.segId, slotsPerSegmentMax - 1), header.epoch);
  const bodyEnd = header.totalBytes - trailerBytes;
  if (crc32c(footer.subarray(footerHeaderBytes, bodyEnd), seed) !== header.bodyCrc) return false;
  return isSealed(footer.subarray(bodyEnd), trailerMagic, seed);
}

/** Entry `index` of a verified footer. */
export function footerEntry(footer: Uint8Array, index: number): FooterEntry {
  const view = viewOf(footer);
  const at = footerHeaderBytes + index * footerEntryBytes;
  return {
    position: entryLayout.position.get(view, at),
    address: entryLayout.address.get(view, at),
    lba: entryLayout.lba.get(view, at),
    blockCount: entryLayout.blockCount.get(view, at),
    line: entryLayout.line.get(view, at),
    timeDelta: entryLayout.timeDelta.get(view, at),
    type: entryLayout.type.get(view, at),
    flags: entryLayout.flags.get(view, at),
    writer: entryLayout.writer.get(view, at),
  };
}

/** Frame `index` of a verified footer. */
export function footerFrame(footer: Uint8Array, header: FooterHeader, index: number): FooterFrame {
  const view = viewOf(footer);
  const { recordCount, isThinned, endSlot } = header;
  const crcSlots = isThinned ? 0 : endSlot;
  const at = footerCrcOffset({ entryCount: recordCount }) + crcSlots * 4 + index * frameEntryBytes;
  return {
    slot: frameLayout.slot.get(view, at),
    headerBlocks: frameLayout.headerBlocks.get(view, at),
    descriptors: frameLayout.descriptors.get(view, at),
    dataBlocks: frameLayout.dataBlocks.get(view, at),
    hlcMs: frameLayout.hlcMs.get(view, at),
    hlcCounter: frameLayout.hlcCounter.get(view, at),
  };
}

/** Record type of entry `index` of a verified footer. */
export function footerEntryType(footer: Uint8Array, index: number): number {
  return footer[footerHeaderBytes + index * footerEntryBytes + entryLayout.type.offset] ?? 0;
}

/** CRCs by slot of a verified footer, copied out; zeros when it is thinned: the pack has them. */
export function footerSlotCrcs(footer: Uint8Array, header: FooterHeader): Uint32Array {
  const crcs = new Uint32Array(header.endSlot);
  if (header.isThinned) return crcs;
  const start = footerCrcOffset(header);
  const bytesOfCrcs = new Uint8Array(crcs.buffer);
  if (isLittleEndian) {
    bytesOfCrcs.set(footer.subarray(start, start + bytesOfCrcs.length));
    return crcs;
  }
  const view = viewOf(footer);
  for (let slot = 0; slot < header.endSlot; slot += 1) {
    crcs[slot] = view.getUint32(start + slot * 4, true);
  }
  return crcs;
}

/** Opening a pool copies these tables for every segment: as a whole where the machine's order is that of the disk. */
const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
