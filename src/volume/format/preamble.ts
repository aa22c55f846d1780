/**
 * What a structure of a pool begins with, so that each is told from garbage, and from what a newer version wrote, in one way.
 *
 *     [u32 CRC32C of all behind it][u32 magic][u16 version][u16 bytes in use][u32 incompatible features] ...
 *
 * Trailers have the first two only.
 */
import { crc32c } from '../../base/crc32c.ts';
import { u16, u32, viewOf } from '../../base/fields.ts';
import { FormatError } from './format-error.ts';

export const preamble = {
  crc: u32(0),
  magic: u32(4),
  version: u16(8),
  length: u16(10),
  incompatible: u32(12),
} as const;

/** Puts the checksum of `structure`, whole and with its magic, in its place, and returns it. */
export function seal(structure: Uint8Array, seed: number): number {
  const crc = crc32c(structure.subarray(4), seed);
  preamble.crc.set(viewOf(structure), 0, crc);
  return crc;
}

/** Whether all of `structure` is what was sealed. */
export function isSealed(structure: Uint8Array, magic: number, seed: number): boolean {
  const view = viewOf(structure);
  return (
    preamble.magic.get(view, 0) === magic &&
    preamble.crc.get(view, 0) === crc32c(structure.subarray(4), seed)
  );
}

/**
 * Throws FormatError ("too new") when a sealed structure is of another version than ours, or has features that we do not know;
 * `known`: the bits of those that we do.
 */
export function refuseNewer(view: DataView, version: number, name: string, known = 0): void {
  const found = preamble.version.get(view, 0);
  if (found === version && (preamble.incompatible.get(view, 0) & ~known) === 0) return;
  const message = `${name}: written by a newer tidemark (version ${found})`;
  throw new FormatError(message, { isTooNew: true });
}
