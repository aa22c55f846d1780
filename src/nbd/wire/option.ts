/** Options and their replies, NBD protocol "Option types" and "Option reply types". */
import { u32be, viewOf } from '../../base/fields.ts';
import { optionMagicHigh, optionMagicLow } from './greeting.ts';
import { encodeText } from './text.ts';

/** Client to server, followed by `length` bytes of data. */
const optionHeader = {
  magicHigh: u32be(0),
  magicLow: u32be(4),
  option: u32be(8),
  length: u32be(12),
} as const;
export const optionHeaderBytes = 16;

/** Server to client, followed by `length` bytes of data. */
const optionReply = {
  magicHigh: u32be(0),
  magicLow: u32be(4),
  option: u32be(8),
  type: u32be(12),
  length: u32be(16),
} as const;
const optionReplyBytes = 20;

/** NBD_REP_SERVER data: the name's length, the name, then text for people. */
const serverReply = { nameLength: u32be(0) } as const;
const serverReplyBytes = 4;

const optionReplyMagicHigh = 0x0003e889;
const optionReplyMagicLow = 0x045565a9;

export const Option = {
  exportName: 1,
  abort: 2,
  list: 3,
  starttls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

export const Reply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  errorUnsupported: 0x80000001,
  errorInvalid: 0x80000003,
  errorTlsRequired: 0x80000005,
  errorUnknown: 0x80000006,
  errorShutdown: 0x80000007,
  errorTooBig: 0x80000009,
} as const;

export interface OptionHeader {
  readonly option: number;
  readonly length: number;
}

/** Undefined when the magic is wrong: the stream is out of step and must be dropped. */
export function decodeOptionHeader(bytes: Uint8Array): OptionHeader | undefined {
  const view = viewOf(bytes);
  if (optionHeader.magicHigh.get(view, 0) !== optionMagicHigh) return undefined;
  if (optionHeader.magicLow.get(view, 0) !== optionMagicLow) return undefined;
  return { option: optionHeader.option.get(view, 0), length: optionHeader.length.get(view, 0) };
}

/** One reply with its data; the caller owns the bytes. */
export function encodeOptionReply(option: number, type: number, data?: Uint8Array): Uint8Array {
  const length = data?.length ?? 0;
  const bytes = new Uint8Array(optionReplyBytes + length);
  const view = viewOf(bytes);
  optionReply.magicHigh.set(view, 0, optionReplyMagicHigh);
  optionReply.magicLow.set(view, 0, optionReplyMagicLow);
  optionReply.option.set(view, 0, option);
  optionReply.type.set(view, 0, type);
  optionReply.length.set(view, 0, length);
  if (data !== undefined) bytes.set(data, optionReplyBytes);
  return bytes;
}

/** An error reply with its message. */
export function encodeOptionError(option: number, type: number, message: string): Uint8Array {
  return encodeOptionReply(option, type, encodeText(message));
}

/** One line of the answer to LIST. */
export function encodeServerReply(name: string, description: string): Uint8Array {
  const nameBytes = encodeText(name);
  const text = encodeText(description);
  const data = new Uint8Array(serverReplyBytes + nameBytes.length + text.length);
  serverReply.nameLength.set(viewOf(data), 0, nameBytes.length);
  data.set(nameBytes, serverReplyBytes);
  data.set(text, serverReplyBytes + nameBytes.length);
  return encodeOptionReply(Option.list, Reply.server, data);
}
