/**
 * Header and data digests, RFC 7143 section 13.1: CRC32C over the header with its AHS, or over the data with its padding.
 * On the wire the least significant byte comes first: 32 zero bytes have the digest aa 36 91 8a (appendix A.4).
 */
import { crc32c } from '../base/crc32c.ts';
import { u32 } from '../base/fields.ts';

export const digestBytes = 4;
const digest = u32(0);

/** Digest of `bytes` continued from `soFar` (0 = fresh), for data that arrives in pieces. */
export function addToDigest(soFar: number, bytes: Uint8Array): number {
  return crc32c(bytes, soFar);
}

export function readDigest(view: DataView, at: number): number {
  return digest.get(view, at);
}

export function writeDigest(view: DataView, at: number, value: number): void {
  digest.set(view, at, value);
}
