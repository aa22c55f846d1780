/** INFO, GO and EXPORT_NAME: what is asked and what an export is, NBD protocol "NBD_OPT_INFO", "NBD_REP_INFO". */
import { u16be, u32be, u64be, viewOf } from '../../base/fields.ts';
import { decodeText, encodeText } from './text.ts';

export const Info = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

/** INFO_EXPORT. */
const exportInfo = { type: u16be(0), sizeBytes: u64be(2), flags: u16be(10) } as const;
const exportInfoBytes = 12;

/** INFO_BLOCK_SIZE. */
const blockSizeInfo = {
  type: u16be(0),
  minimum: u32be(2),
  preferred: u32be(6),
  maximum: u32be(10),
} as const;
const blockSizeInfoBytes = 14;

/** INFO_NAME and INFO_DESCRIPTION: the type, then the text. */
const textInfo = { type: u16be(0) } as const;
const textInfoBytes = 2;

/** Answer to EXPORT_NAME, followed by 124 zero bytes unless the client declined them. */
const exportNameReply = { sizeBytes: u64be(0), flags: u16be(8) } as const;
const exportNameReplyBytes = 10;
const exportNameZeroBytes = 124;

/** Request of INFO and GO: name length, name, count, then that many 16-bit info types. */
const infoRequest = { nameLength: u32be(0) } as const;
const infoRequestBytes = 4;
const infoRequestCount = { count: u16be(0) } as const;
const infoRequestCountBytes = 2;
const infoTypeBytes = 2;
const infoRequestType = { type: u16be(0) } as const;

export const TransmissionFlag = {
  hasFlags: 1,
  readOnly: 1 << 1,
  sendFlush: 1 << 2,
  sendFua: 1 << 3,
  sendTrim: 1 << 5,
  sendWriteZeroes: 1 << 6,
  sendDf: 1 << 7,
  canMultiConn: 1 << 8,
  sendCache: 1 << 10,
  sendFastZero: 1 << 11,
} as const;

export interface InfoRequest {
  readonly name: string;
  readonly wantsName: boolean;
}

/** Undefined when the data does not have exactly the lengths it states. Unknown info types are ignored. */
export function decodeInfoRequest(data: Uint8Array): InfoRequest | undefined {
  if (data.length < infoRequestBytes + infoRequestCountBytes) return undefined;
  const view = viewOf(data);
  const nameLength = infoRequest.nameLength.get(view, 0);
  const countAt = infoRequestBytes + nameLength;
  if (countAt + infoRequestCountBytes > data.length) return undefined;
  const count = infoRequestCount.count.get(view, countAt);
  const typesAt = countAt + infoRequestCountBytes;
  if (typesAt + count * infoTypeBytes !== data.length) return undefined;
  const name = decodeText(data.subarray(infoRequestBytes, countAt));
  if (name === undefined) return undefined;
  let wantsName = false;
  for (let at = typesAt; at < data.length; at += infoTypeBytes) {
    if (infoRequestType.type.get(view, at) === Info.name) wantsName = true;
  }
  return { name, wantsName };
}

/** Size in bytes and transmission flags of an export. */
export function encodeExportInfo(sizeBytes: number, flags: number): Uint8Array {
  const data = new Uint8Array(exportInfoBytes);
  const view = viewOf(data);
  exportInfo.type.set(view, 0, Info.export);
  exportInfo.sizeBytes.set(view, 0, sizeBytes);
  exportInfo.flags.set(view, 0, flags);
  return data;
}

export function encodeBlockSizeInfo(sizes: {
  readonly minimum: number;
  readonly preferred: number;
  readonly maximum: number;
}): Uint8Array {
  const data = new Uint8Array(blockSizeInfoBytes);
  const view = viewOf(data);
  blockSizeInfo.type.set(view, 0, Info.blockSize);
  blockSizeInfo.minimum.set(view, 0, sizes.minimum);
  blockSizeInfo.preferred.set(view, 0, sizes.preferred);
  blockSizeInfo.maximum.set(view, 0, sizes.maximum);
  return data;
}

/** INFO_NAME or INFO_DESCRIPTION. */
export function encodeTextInfo(type: number, text: string): Uint8Array {
  const textBytes = encodeText(text);
  const data = new Uint8Array(textInfoBytes + textBytes.length);
  textInfo.type.set(viewOf(data), 0, type);
  data.set(textBytes, textInfoBytes);
  return data;
}

/** Answer to EXPORT_NAME; `hasZeroes` adds the 124 bytes that old clients expect. */
export function encodeExportNameReply(
  sizeBytes: number,
  flags: number,
  hasZeroes: boolean,
): Uint8Array {
  const data = new Uint8Array(exportNameReplyBytes + (hasZeroes ? exportNameZeroBytes : 0));
  const view = viewOf(data);
  exportNameReply.sizeBytes.set(view, 0, sizeBytes);
  exportNameReply.flags.set(view, 0, flags);
  return data;
}
