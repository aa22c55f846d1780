/** Strings of the handshake: UTF-8 without NUL, at most 4096 bytes (NBD protocol "Values", string). */
import { stringMaxBytes } from '../limits.ts';

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Undefined when the bytes are no string of the protocol. */
export function decodeText(bytes: Uint8Array): string | undefined {
  if (bytes.length > stringMaxBytes || bytes.includes(0)) return undefined;
  try {
    return decoder.decode(bytes);
  } catch {
    // The decoder's only way to report malformed UTF-8.
    return undefined;
  }
}

/** UTF-8 of `text`, cut at the limit without splitting a character; the caller owns the bytes. */
export function encodeText(text: string): Uint8Array {
  const room = new Uint8Array(Math.min(text.length * 3, stringMaxBytes));
  return room.subarray(0, encoder.encodeInto(text, room).written);
}
