/**
 * Big-endian numbers in CDBs. A CDB is a view that the transport lends for the time of the command: a DataView over it would
 * be an object per command, so these read the bytes directly.
 */

export function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

export function u16At(bytes: Uint8Array, at: number): number {
  return (byteAt(bytes, at) << 8) | byteAt(bytes, at + 1);
}

export function u24At(bytes: Uint8Array, at: number): number {
  return (byteAt(bytes, at) << 16) | u16At(bytes, at + 1);
}

export function u32At(bytes: Uint8Array, at: number): number {
  return u16At(bytes, at) * 65_536 + u16At(bytes, at + 2);
}

/** Exact up to 2^53; larger values are rounded, and still larger than any capacity: range checks hold. */
export function u64At(bytes: Uint8Array, at: number): number {
  return u32At(bytes, at) * 2 ** 32 + u32At(bytes, at + 4);
}
