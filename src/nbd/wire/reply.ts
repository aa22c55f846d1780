/**
 * Transmission replies, NBD protocol "Simple reply message" and "Structured reply chunk message".
 * Encoders write into a buffer of the caller at `at` and return the byte after what they wrote.
 */
import { u16be, u32be, u64be } from '../../base/fields.ts';
import { stringMaxBytes } from '../limits.ts';

const simpleReply = {
  magic: u32be(0),
  error: u32be(4),
  cookieHigh: u32be(8),
  cookieLow: u32be(12),
} as const;
export const simpleReplyBytes = 16;
const simpleReplyMagic = 0x67446698;

const chunk = {
  magic: u32be(0),
  flags: u16be(4),
  type: u16be(6),
  cookieHigh: u32be(8),
  cookieLow: u32be(12),
  length: u32be(16),
} as const;
const chunkBytes = 20;
const chunkMagic = 0x668e33ef;

export const ChunkFlag = { none: 0, done: 1 } as const;
const ChunkType = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  error: 0x8001,
  errorOffset: 0x8002,
} as const;

/** OFFSET_DATA payload: offset, then the data. */
const offsetData = { offset: u64be(0) } as const;
export const offsetDataBytes = chunkBytes + 8;
/** OFFSET_HOLE payload. */
const offsetHole = { offset: u64be(0), length: u32be(8) } as const;
export const offsetHoleBytes = chunkBytes + 12;
/** BLOCK_STATUS payload: context id, then descriptors. */
const blockStatus = { contextId: u32be(0) } as const;
export const blockStatusBytes = chunkBytes + 4;
export const blockStatusExtent = { length: u32be(0), status: u32be(4) } as const;
export const blockStatusExtentBytes = 8;
/** ERROR payload: error, message length, message; ERROR_OFFSET adds the offset. */
const errorChunk = { error: u32be(0), messageLength: u16be(4) } as const;
const errorChunkBytes = 6;
const errorChunkOffset = { offset: u64be(0) } as const;
const errorChunkOffsetBytes = 8;
/** Room that any error chunk fits in. */
export const errorReplyMaxBytes =
  chunkBytes + errorChunkBytes + stringMaxBytes + errorChunkOffsetBytes;

/** Request identity, echoed as it came. */
export interface Cookie {
  readonly cookieHigh: number;
  readonly cookieLow: number;
}

const encoder = new TextEncoder();

/** 16 bytes; `error` 0 means success. */
export function encodeSimpleReply(view: DataView, at: number, to: Cookie, error: number): number {
  simpleReply.magic.set(view, at, simpleReplyMagic);
  simpleReply.error.set(view, at, error);
  simpleReply.cookieHigh.set(view, at, to.cookieHigh);
  simpleReply.cookieLow.set(view, at, to.cookieLow);
  return at + simpleReplyBytes;
}

/** The 20 bytes before a chunk's payload of `shape.length` bytes. */
function encodeChunkHeader(
  view: DataView,
  at: number,
  to: Cookie,
  shape: { readonly type: number; readonly flags: number; readonly length: number },
): number {
  chunk.magic.set(view, at, chunkMagic);
  chunk.flags.set(view, at, shape.flags);
  chunk.type.set(view, at, shape.type);
  chunk.cookieHigh.set(view, at, to.cookieHigh);
  chunk.cookieLow.set(view, at, to.cookieLow);
  chunk.length.set(view, at, shape.length);
  return at + chunkBytes;
}

/** Everything of an OFFSET_DATA chunk but the data, which follows at the returned place. */
export function encodeOffsetDataHeader(
  view: DataView,
  at: number,
  to: Cookie,
  shape: { readonly flags: number; readonly offset: number; readonly dataBytes: number },
): number {
  const length = shape.dataBytes + offsetDataBytes - chunkBytes;
  const type = ChunkType.offsetData;
  const payloadAt = encodeChunkHeader(view, at, to, { type, flags: shape.flags, length });
  offsetData.offset.set(view, payloadAt, shape.offset);
  return at + offsetDataBytes;
}

/** A whole OFFSET_HOLE chunk: `holeBytes` zeros from `offset` on. */
export function encodeOffsetHole(
  view: DataView,
  at: number,
  to: Cookie,
  shape: { readonly flags: number; readonly offset: number; readonly holeBytes: number },
): number {
  const length = offsetHoleBytes - chunkBytes;
  const type = ChunkType.offsetHole;
  const payloadAt = encodeChunkHeader(view, at, to, { type, flags: shape.flags, length });
  offsetHole.offset.set(view, payloadAt, shape.offset);
  offsetHole.length.set(view, payloadAt, shape.holeBytes);
  return at + offsetHoleBytes;
}

/** The only chunk of a reply without content. */
export function encodeNone(view: DataView, at: number, to: Cookie): number {
  const shape = { type: ChunkType.none, flags: ChunkFlag.done, length: 0 };
  return encodeChunkHeader(view, at, to, shape);
}

/** Everything of a BLOCK_STATUS chunk but its `extentCount` descriptors; the last context's is the final chunk. */
export function encodeBlockStatusHeader(
  view: DataView,
  at: number,
  to: Cookie,
  shape: { readonly contextId: number; readonly extentCount: number; readonly isLast: boolean },
): number {
  const length = blockStatusBytes - chunkBytes + shape.extentCount * blockStatusExtentBytes;
  const type = ChunkType.blockStatus;
  const flags = shape.isLast ? ChunkFlag.done : ChunkFlag.none;
  const payloadAt = encodeChunkHeader(view, at, to, { type, flags, length });
  blockStatus.contextId.set(view, payloadAt, shape.contextId);
  return at + blockStatusBytes;
}

/** A final ERROR chunk, or ERROR_OFFSET when the failure has a place. Needs up to `errorReplyMaxBytes`. */
export function encodeErrorChunk(
  view: DataView,
  at: number,
  to: Cookie,
  failure: { readonly error: number; readonly message: string; readonly offset?: number },
): number {
  const messageAt = at + chunkBytes + errorChunkBytes;
  const room = new Uint8Array(view.buffer, view.byteOffset + messageAt, stringMaxBytes);
  const messageLength = encoder.encodeInto(failure.message, room).written;
  const hasOffset = failure.offset !== undefined;
  const type = hasOffset ? ChunkType.errorOffset : ChunkType.error;
  const length = errorChunkBytes + messageLength + (hasOffset ? errorChunkOffsetBytes : 0);
  const shape = { type, flags: ChunkFlag.done, length };
  const payloadAt = encodeChunkHeader(view, at, to, shape);
  errorChunk.error.set(view, payloadAt, failure.error);
  errorChunk.messageLength.set(view, payloadAt, messageLength);
  if (failure.offset !== undefined) {
    errorChunkOffset.offset.set(view, messageAt + messageLength, failure.offset);
  }
  return at + chunkBytes + length;
}
