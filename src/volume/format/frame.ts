/**
 * Frame: what one commit writes, in one gathered write. Header blocks, then data blocks, all 4 KiB aligned.
 *
 *     slot n          n + headerBlocks                       n + headerBlocks + dataBlocks
 *     ┌─────────────────┬──────────┬──────────┬─────────────┐
 *     │ header block(s) │ data 0   │ data 1   │ ...         │
 *     └─────────────────┴──────────┴──────────┴─────────────┘
 *     header blocks = fixed part (64 B) · descriptors (32 B each) · u32 CRC32C per data block · inline bytes · zeros
 *
 * Invariants
 * 1. At most 2,048 descriptors and 4 MiB in all; descriptors are in position order.
 * 2. The header's checksum covers the header blocks whole, so it covers every data block's checksum too: a frame whose
 *    header and data blocks verify is exactly what was committed there in that epoch.
 * 3. Catalogue payloads are inline; only WRITE has data blocks. CLONE names blocks that lie before its frame.
 */
import { crc32c } from '../../base/crc32c.ts';
import { u8, u16, u32, u48, u64, viewOf } from '../../base/fields.ts';
import { descriptorsPerFrameMax, slotOf, slotSizeBytes, slotsPerSegmentMax } from './address.ts';
import type { Seeds } from './checksum.ts';
import { FormatError } from './format-error.ts';

const frameVersion = 1;
export const frameSlotsMax = 1024;
const magic = 0x5246_4d54; // "TMFR"

const layout = {
  crc: u32(0),
  magic: u32(4),
  address: u64(8),
  epoch: u64(16),
  hlcCounter: u16(24),
  hlcMs: u48(26),
  durableThrough: u64(32),
  previousCrc: u32(40),
  headerBlocks: u16(44),
  descriptors: u16(46),
  dataBlocks: u32(48),
  inlineBytes: u32(52),
  flags: u16(56),
  version: u8(58),
  streamClass: u8(59),
  length: u32(60),
} as const;
export const frameFixedBytes = 64;

/** 32 bytes each, from byte 64 on. */
export const descriptorLayout = {
  line: u32(0),
  type: u8(4),
  flags: u8(5),
  nBlocks: u16(6),
  lba: u48(8),
  aux: u48(14),
  dataSlot: u16(20),
  timeDelta: u16(22),
  writer: u32(24),
  payloadCrc: u32(28),
} as const;
export const descriptorBytes = 32;

/** Kinds of log record. 128 to 255 may be skipped by a reader that does not know them; any other unknown one refuses the pool. */
export const RecordType = {
  write: 1,
  zero: 2,
  trim: 3,
  clone: 4,
  volCreate: 16,
  volSet: 17,
  volResize: 18,
  volDelete: 19,
  view: 20,
  promote: 21,
  revert: 22,
  snap: 23,
  snapSet: 24,
  snapDelete: 25,
  pin: 26,
  unpin: 27,
  horizon: 28,
  luState: 29,
  sourceMark: 30,
  checkpoint: 31,
  epoch: 32,
  pad: 33,
} as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

/** First record type that belongs to the catalogue (its payload is inline TLV). */
const catalogueTypeMin = RecordType.volCreate;
/** Record types from here on may be skipped when unknown. */
export const skippableTypeMin = 128;

/** Descriptor flag of ZERO: the range stays allocated (reads as zero, is not reported as a hole). */
export const flagNoHole = 1;

export function isDataType(type: number): boolean {
  return type < catalogueTypeMin;
}

/** Header blocks that a frame with these contents takes. */
export function headerBlocksFor(
  descriptors: number,
  dataBlocks: number,
  inlineBytes: number,
): number {
  const used = frameFixedBytes + descriptors * descriptorBytes + dataBlocks * 4 + inlineBytes;
  return Math.ceil(used / slotSizeBytes);
}

export interface FrameShape {
  readonly address: number;
  readonly epoch: number;
  readonly hlcMs: number;
  readonly hlcCounter: number;
  readonly headerBlocks: number;
  readonly descriptors: number;
  readonly dataBlocks: number;
  readonly inlineBytes: number;
}

/** Writes the fixed part at `at`; durableThrough, the chain and checksums are the commit side's (`finishFrame`). */
export function encodeFrameShape(view: DataView, at: number, shape: FrameShape): void {
  layout.crc.set(view, at, 0);
  layout.magic.set(view, at, magic);
  layout.address.set(view, at, shape.address);
  layout.epoch.set(view, at, shape.epoch);
  layout.hlcCounter.set(view, at, shape.hlcCounter);
  layout.hlcMs.set(view, at, shape.hlcMs);
  layout.durableThrough.set(view, at, 0);
  layout.previousCrc.set(view, at, 0);
  layout.headerBlocks.set(view, at, shape.headerBlocks);
  layout.descriptors.set(view, at, shape.descriptors);
  layout.dataBlocks.set(view, at, shape.dataBlocks);
  layout.inlineBytes.set(view, at, shape.inlineBytes);
  layout.flags.set(view, at, 0);
  layout.version.set(view, at, frameVersion);
  layout.streamClass.set(view, at, 0);
  layout.length.set(view, at, (shape.headerBlocks + shape.dataBlocks) * slotSizeBytes);
}

/** Byte offset, from the start of the frame, of the CRC of data block 0. */
export function blockCrcOffset(descriptors: number): number {
  return frameFixedBytes + descriptors * descriptorBytes;
}

/** Byte offset, from the start of the frame, of the inline bytes. */
export function inlineOffset(descriptors: number, dataBlocks: number): number {
  return blockCrcOffset(descriptors) + dataBlocks * 4;
}

/** The fields that only the commit side knows. Block CRCs must be in place. Returns the frame's checksum. */
export function finishFrame(
  header: Uint8Array,
  durableThrough: number,
  previousCrc: number,
  seeds: Seeds,
): number {
  const view = viewOf(header);
  layout.durableThrough.set(view, 0, durableThrough);
  layout.previousCrc.set(view, 0, previousCrc);
  const seed = seeds.structure(layout.address.get(view, 0), layout.epoch.get(view, 0));
  const crc = crc32c(header.subarray(4), seed);
  layout.crc.set(view, 0, crc);
  return crc;
}

export interface FrameHeader extends FrameShape {
  readonly crc: number;
  readonly previousCrc: number;
  readonly durableThrough: number;
}

/**
 * Fixed part of the frame that should start at `address`, checked for plausibility only (the checksum needs all header
 * blocks: `verifyFrameHeader`). Undefined when there is no frame. `first` holds at least 64 bytes.
 */
export function peekFrame(
  first: Uint8Array,
  address: number,
  segmentSlots: number,
): FrameHeader | undefined {
  const view = viewOf(first);
  if (layout.magic.get(view, 0) !== magic || layout.address.get(view, 0) !== address) {
    return undefined;
  }
  const headerBlocks = layout.headerBlocks.get(view, 0);
  const descriptors = layout.descriptors.get(view, 0);
  const dataBlocks = layout.dataBlocks.get(view, 0);
  const inlineBytes = layout.inlineBytes.get(view, 0);
  const slots = headerBlocks + dataBlocks;
  const isPlausible =
    descriptors >= 1 &&
    descriptors <= descriptorsPerFrameMax &&
    slots <= frameSlotsMax &&
    slotOf(address) + slots <= Math.min(segmentSlots, slotsPerSegmentMax) &&
    headerBlocks === headerBlocksFor(descriptors, dataBlocks, inlineBytes) &&
    layout.length.get(view, 0) === slots * slotSizeBytes;
  if (!isPlausible) return undefined;
  return {
    address,
    epoch: layout.epoch.get(view, 0),
    hlcMs: layout.hlcMs.get(view, 0),
    hlcCounter: layout.hlcCounter.get(view, 0),
    durableThrough: layout.durableThrough.get(view, 0),
    previousCrc: layout.previousCrc.get(view, 0),
    crc: layout.crc.get(view, 0),
    headerBlocks,
    descriptors,
    dataBlocks,
    inlineBytes,
  };
}

/**
 * Whether `header` (all header blocks) is the frame that `frame` was peeked from. Throws FormatError when it verifies but
 * is of a newer version.
 */
export function verifyFrameHeader(header: Uint8Array, frame: FrameHeader, seeds: Seeds): boolean {
  const end = frame.headerBlocks * slotSizeBytes;
  if (header.length < end) return false;
  const seed = seeds.structure(frame.address, frame.epoch);
  if (crc32c(header.subarray(4, end), seed) !== frame.crc) return false;
  const version = layout.version.get(viewOf(header), 0);
  if (version !== frameVersion) {
    throw new FormatError(`frame: written by a newer tidemark (version ${version})`, {
      isTooNew: true,
    });
  }
  return true;
}

/** One descriptor, decoded: for recovery and footers. Ranges are checked against the frame. */
export interface Descriptor {
  readonly line: number;
  readonly type: number;
  readonly flags: number;
  readonly lba: number;
  /** Blocks that the record covers, from nBlocks or (ZERO, TRIM) aux. */
  readonly blockCount: number;
  /** Address of the first data block (CLONE: of the first block that it shares); 0 when the record has none. */
  readonly address: number;
  readonly timeDelta: number;
  readonly writer: number;
  /** Catalogue records: where the payload lies in the header blocks. */
  readonly payloadOffset: number;
  readonly payloadLength: number;
}

const payloadLengthUnit = 2 ** 24;

/** aux of a catalogue descriptor: offset in the inline bytes and length. */
export function inlineAux(offsetInInline: number, length: number): number {
  return offsetInInline * payloadLengthUnit + length;
}

/** Descriptor `index` of a verified frame. Throws FormatError when its ranges do not fit the frame. */
export function decodeDescriptor(
  header: Uint8Array,
  frame: FrameHeader,
  index: number,
): Descriptor {
  const view = viewOf(header);
  const at = frameFixedBytes + index * descriptorBytes;
  const type = descriptorLayout.type.get(view, at);
  const nBlocks = descriptorLayout.nBlocks.get(view, at);
  const aux = descriptorLayout.aux.get(view, at);
  const hasPayload = !isDataType(type) && aux > 0;
  const payloadLength = hasPayload ? aux % payloadLengthUnit : 0;
  const offsetInInline = hasPayload ? Math.floor(aux / payloadLengthUnit) : 0;
  if (offsetInInline + payloadLength > frame.inlineBytes) {
    throw new FormatError(`frame at ${frame.address}: payload of record ${index} out of range`);
  }
  const payloadOffset = inlineOffset(frame.descriptors, frame.dataBlocks) + offsetInInline;
  if (hasPayload) {
    const payload = header.subarray(payloadOffset, payloadOffset + payloadLength);
    if (crc32c(payload, 0) !== descriptorLayout.payloadCrc.get(view, at)) {
      throw new FormatError(`frame at ${frame.address}: payload checksum of record ${index}`);
    }
  }
  return {
    line: descriptorLayout.line.get(view, at),
    type,
    flags: descriptorLayout.flags.get(view, at),
    lba: descriptorLayout.lba.get(view, at),
    blockCount: type === RecordType.zero || type === RecordType.trim ? aux : nBlocks,
    address: dataAddress(view, frame, index),
    timeDelta: descriptorLayout.timeDelta.get(view, at),
    writer: descriptorLayout.writer.get(view, at),
    payloadOffset,
    payloadLength,
  };
}

/** Address of the first block of a WRITE or CLONE; 0 for anything else. Throws FormatError when it cannot be right. */
function dataAddress(view: DataView, frame: FrameHeader, index: number): number {
  const at = frameFixedBytes + index * descriptorBytes;
  const type = descriptorLayout.type.get(view, at);
  const nBlocks = descriptorLayout.nBlocks.get(view, at);
  if (type === RecordType.write) {
    const dataSlot = descriptorLayout.dataSlot.get(view, at);
    if (dataSlot + nBlocks > frame.dataBlocks) {
      throw new FormatError(`frame at ${frame.address}: data of record ${index} out of range`);
    }
    return frame.address + frame.headerBlocks + dataSlot;
  }
  if (type !== RecordType.clone) return 0;
  const shared = descriptorLayout.aux.get(view, at);
  if (shared === 0 || shared + nBlocks > frame.address) {
    throw new FormatError(
      `frame at ${frame.address}: record ${index} shares what is not before it`,
    );
  }
  return shared;
}

/** Stored CRC of data block `index`. */
export function blockCrc(header: Uint8Array, frame: FrameHeader, index: number): number {
  return viewOf(header).getUint32(blockCrcOffset(frame.descriptors) + index * 4, true);
}

/** First slot after the frame. */
export function frameEnd(frame: FrameHeader): number {
  return frame.address + frame.headerBlocks + frame.dataBlocks;
}
