/**
 * The parameter list of EXTENDED COPY(LID1), SPC-4 6.4 and 6.4.3 to 6.4.6: bytes to a checked list.
 *
 *     header (16) │ CSCD descriptors (32 each) │ segment descriptors (28 or 32 each) │ inline data (none taken)
 *
 * CSCD descriptors: E4h identification. Segment descriptors: 02h block to block, 0Ah block to block with offset.
 */
import { bytes, u8, u16be, u32be, u64be, viewOf } from '../base/fields.ts';
import {
  copySegmentMaxBytes,
  copySegmentsMax,
  copyTargetsMax,
  logicalBlockBytes,
} from './limits.ts';
import { parameterField, SenseCode, type SenseDetail } from './sense.ts';

const header = {
  listId: u8(0),
  flags: u8(1),
  targetsBytes: u16be(2),
  segmentsBytes: u32be(8),
  inlineBytes: u32be(12),
} as const;
export const copyHeaderBytes = 16;

/** LIST ID USAGE, SPC-4 table 84. */
const usageShift = 3;
const usageMask = 0x03;
const usageHold = 0;
const usageReserved = 1;
const usageNone = 3;

const identification = {
  type: u8(0),
  flags: u8(1),
  codeSet: u8(4),
  designatorType: u8(5),
  designatorBytes: u8(7),
  designator: bytes(8, 16),
  blockBytes: u32be(28),
} as const;
const copyTargetBytes = 32;
const typeIdentification = 0xe4;
/** Obsolete in SPC-4, as LU ID TYPE beside it, which is ignored. A null device is still none. */
const flagNul = 0x20;
const peripheralTypeMask = 0x1f;
const codeSetBinary = 0x01;
/** Association logical unit (00b), designator type NAA (3h). */
const designatorTypeNaa = 0x03;
const designatorTypeMask = 0x3f;
const naaBytes = 16;
/** The byte before the block length holds the PAD bit, which cannot matter between equal blocks. */
const blockBytesMask = 0xffffff;

const segmentHeader = {
  type: u8(0),
  length: u16be(2),
  source: u16be(4),
  target: u16be(6),
} as const;
const segmentHeaderBytes = 4;
const blockToBlock = { blockCount: u16be(10), sourceLba: u64be(12), targetLba: u64be(20) } as const;
const withOffset = {
  byteCount: u32be(8),
  sourceLba: u64be(12),
  targetLba: u64be(20),
  sourceSkip: u16be(28),
  targetSkip: u16be(30),
} as const;
const typeBlockToBlock = 0x02;
const typeWithOffset = 0x0a;
/** Bytes behind the header's length field, by type. */
const segmentLength: ReadonlyMap<number, number> = new Map([
  [typeBlockToBlock, 24],
  [typeWithOffset, 28],
]);
const segmentMaxBytes = 32;

/** What RECEIVE COPY RESULTS lists. */
export const copyDescriptorTypes = [typeBlockToBlock, typeWithOffset, typeIdentification] as const;
/** CSCD and segment descriptors together. */
export const copyListMaxBytes =
  copyTargetsMax * copyTargetBytes + copySegmentsMax * segmentMaxBytes;

/** How a CSCD descriptor names a logical unit; `naa` undefined = nothing that can be found here. */
export interface CopyTarget {
  readonly naa: Uint8Array | undefined;
  readonly isNull: boolean;
  readonly peripheralType: number;
}

/** LBAs above 2^53 are rounded, and still beyond every device. */
export interface CopySegment {
  readonly source: number;
  readonly target: number;
  readonly sourceLba: number;
  readonly targetLba: number;
  /** Bytes into the first block. */
  readonly sourceSkip: number;
  readonly targetSkip: number;
  readonly byteCount: number;
}

export interface CopyList {
  /** undefined = the initiator will not ask for results. */
  readonly listId: number | undefined;
  /** Usage 00b: results are for sure to be asked for, so that the identifier must be free. */
  readonly isListIdStrict: boolean;
  readonly targets: readonly CopyTarget[];
  readonly segments: readonly CopySegment[];
}

export interface CopyProblem {
  readonly code: SenseCode;
  readonly detail: SenseDetail | undefined;
}

export type CopyListDecoded =
  | { readonly list: CopyList; readonly problem?: undefined }
  | { readonly list?: undefined; readonly problem: CopyProblem };

/** Checks and reads the list. Designators are views of `source`. */
export function decodeCopyList(source: Uint8Array): CopyListDecoded {
  if (source.length < copyHeaderBytes) return { problem: lengthError };
  const view = viewOf(source);
  const listId = header.listId.get(view, 0);
  const usage = (header.flags.get(view, 0) >> usageShift) & usageMask;
  if (usage === usageReserved) return { problem: fieldError(1, usageShift + 1) };
  if (usage === usageNone && listId !== 0) return { problem: fieldError(0) };
  const targetsBytes = header.targetsBytes.get(view, 0);
  const segmentsBytes = header.segmentsBytes.get(view, 0);
  const descriptorsBytes = targetsBytes + segmentsBytes;
  if (descriptorsBytes > copyListMaxBytes) return { problem: lengthError };
  if (descriptorsBytes > source.length - copyHeaderBytes) return { problem: lengthError };
  if (header.inlineBytes.get(view, 0) > 0) {
    return { problem: { code: SenseCode.inlineDataLengthExceeded, detail: undefined } };
  }
  const segmentsAt = copyHeaderBytes + targetsBytes;
  const targets = decodeTargets(source, segmentsAt);
  if (targets.problem !== undefined) return { problem: targets.problem };
  const segments = decodeSegments(view, segmentsAt, segmentsAt + segmentsBytes);
  if (segments.problem !== undefined) return { problem: segments.problem };
  const list: CopyList = {
    listId: usage === usageNone ? undefined : listId,
    isListIdStrict: usage === usageHold,
    targets: targets.items,
    segments: segments.items,
  };
  return { list };
}

type Decoded<Item> =
  | { readonly items: readonly Item[]; readonly problem?: undefined }
  | { readonly items?: undefined; readonly problem: CopyProblem };

const lengthError: CopyProblem = { code: SenseCode.parameterListLengthError, detail: undefined };

function fieldError(byte: number, bit?: number): CopyProblem {
  const keySpecific = parameterField(byte, bit);
  return { code: SenseCode.invalidFieldInParameterList, detail: { keySpecific } };
}

function decodeTargets(source: Uint8Array, end: number): Decoded<CopyTarget> {
  const view = viewOf(source);
  const items: CopyTarget[] = [];
  for (let at = copyHeaderBytes; at < end; at += copyTargetBytes) {
    if (items.length === copyTargetsMax) {
      return { problem: { code: SenseCode.tooManyTargetDescriptors, detail: undefined } };
    }
    if (identification.type.get(view, at) !== typeIdentification) {
      const detail = { keySpecific: parameterField(at) };
      return { problem: { code: SenseCode.unsupportedTargetDescriptor, detail } };
    }
    if (end - at < copyTargetBytes) return { problem: lengthError };
    const flags = identification.flags.get(view, at);
    const isNull = (flags & flagNul) !== 0;
    const blockBytes = identification.blockBytes.get(view, at) & blockBytesMask;
    if (!isNull && blockBytes !== logicalBlockBytes) {
      return { problem: fieldError(at + identification.blockBytes.offset) };
    }
    const naa = decodeNaa(source, view, at);
    items.push({ naa, isNull, peripheralType: flags & peripheralTypeMask });
  }
  return { items };
}

function decodeNaa(source: Uint8Array, view: DataView, at: number): Uint8Array | undefined {
  const isNaa =
    (identification.codeSet.get(view, at) & 0x0f) === codeSetBinary &&
    (identification.designatorType.get(view, at) & designatorTypeMask) === designatorTypeNaa &&
    identification.designatorBytes.get(view, at) === naaBytes;
  return isNaa ? identification.designator.get(source, at) : undefined;
}

function decodeSegments(view: DataView, start: number, end: number): Decoded<CopySegment> {
  const items: CopySegment[] = [];
  let at = start;
  while (at < end) {
    if (items.length === copySegmentsMax) {
      return { problem: { code: SenseCode.tooManySegmentDescriptors, detail: undefined } };
    }
    const length = segmentLength.get(segmentHeader.type.get(view, at));
    if (length === undefined) {
      const detail = { keySpecific: parameterField(at) };
      return { problem: { code: SenseCode.unsupportedSegmentDescriptor, detail } };
    }
    if (end - at < segmentHeaderBytes + length) return { problem: lengthError };
    if (segmentHeader.length.get(view, at) !== length) return { problem: fieldError(at + 2) };
    const segment = decodeSegment(view, at);
    if (segment.problem !== undefined) return { problem: segment.problem };
    items.push(segment.item);
    at += segmentHeaderBytes + length;
  }
  return { items };
}

function decodeSegment(
  view: DataView,
  at: number,
):
  | { readonly item: CopySegment; readonly problem?: undefined }
  | { readonly item?: undefined; readonly problem: CopyProblem } {
  const common = {
    source: segmentHeader.source.get(view, at),
    target: segmentHeader.target.get(view, at),
  };
  if (segmentHeader.type.get(view, at) === typeBlockToBlock) {
    const byteCount = blockToBlock.blockCount.get(view, at) * logicalBlockBytes;
    if (byteCount > copySegmentMaxBytes) return { problem: fieldError(at + 10) };
    const sourceLba = blockToBlock.sourceLba.get(view, at);
    const targetLba = blockToBlock.targetLba.get(view, at);
    return {
      item: { ...common, sourceLba, targetLba, sourceSkip: 0, targetSkip: 0, byteCount },
    };
  }
  const byteCount = withOffset.byteCount.get(view, at);
  const sourceSkip = withOffset.sourceSkip.get(view, at);
  const targetSkip = withOffset.targetSkip.get(view, at);
  if (byteCount > copySegmentMaxBytes) return { problem: fieldError(at + 8) };
  if (sourceSkip >= logicalBlockBytes) return { problem: fieldError(at + 28) };
  if (targetSkip >= logicalBlockBytes) return { problem: fieldError(at + 30) };
  const sourceLba = withOffset.sourceLba.get(view, at);
  const targetLba = withOffset.targetLba.get(view, at);
  return { item: { ...common, sourceLba, targetLba, sourceSkip, targetSkip, byteCount } };
}
