/** Text in SCSI data: ASCII, left-aligned, padded with spaces (SPC-4 4.3.1), or UTF-8 ended with zeros. */

/** T10 VENDOR IDENTIFICATION: exactly eight characters. */
export const vendorText = 'TIDEMARK';

const encoder = new TextEncoder();
const space = 0x20;

/** Exactly `size` bytes; what is too long is cut, what is not printable becomes "?". */
export function asciiBytes(text: string, size: number): Uint8Array {
  const result = new Uint8Array(size).fill(space);
  result.set(encoder.encode(text.replaceAll(/[^\x20-\x7e]/g, '?')).subarray(0, size));
  return result;
}

/** A SCSI name string: UTF-8, at least one zero behind it, padded to a multiple of four. */
export function nameString(text: string): Uint8Array {
  const encoded = encoder.encode(text);
  const result = new Uint8Array((Math.floor(encoded.length / 4) + 1) * 4);
  result.set(encoded);
  return result;
}
