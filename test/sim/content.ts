/**
 * Block contents and their identities. Every written sector is stamped with volume, place and sequence, so that a
 * content that turns up in the wrong place can be named.
 */
import { crc32 } from 'node:zlib';
import { crc32c } from '../../src/base/crc32c.ts';
import { viewOf } from '../../src/base/fields.ts';
import { blockSizeBytes } from '../../src/device/block-device.ts';

const sectorSizeBytes = 512;
const stampMagic = 0x4b534d54;

/** Two checksums in one number: equal for equal contents, and different for different ones for all we will see. */
export type ContentId = number;

function idOf(bytes: Uint8Array): ContentId {
  return crc32c(bytes, 0) * 2 ** 20 + (crc32(bytes) & 0xfffff);
}

const zeroBlock = new Uint8Array(blockSizeBytes);
export const zeroContent: ContentId = idOf(zeroBlock);

function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x45d9f3b);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  return (mixed ^ (mixed >>> 13)) >>> 0;
}

/** Bytes [offset, offset + length) of a device as write `sequence` to volume `volume` makes them. */
export function stampedBytes(
  volume: number,
  sequence: number,
  offset: number,
  length: number,
): Uint8Array {
  const firstSector = Math.floor(offset / sectorSizeBytes);
  const endSector = Math.ceil((offset + length) / sectorSizeBytes);
  const bytes = new Uint8Array((endSector - firstSector) * sectorSizeBytes);
  const words = new Uint32Array(bytes.buffer);
  const perSector = sectorSizeBytes / 4;
  for (let at = 0; at < words.length; at += perSector) {
    const sector = firstSector + at / perSector;
    const seed = mix(sequence * 8191 + sector * 131 + volume);
    for (let word = 4; word < perSector; word += 1) words[at + word] = seed + word * 0x9e3779b9;
    words[at] = stampMagic;
    words[at + 1] = volume;
    words[at + 2] = sequence;
    words[at + 3] = sector;
  }
  const start = offset - firstSector * sectorSizeBytes;
  return bytes.subarray(start, start + length);
}

/** The contents seen in one run, by identity. */
export class ContentTable {
  readonly #bytesById = new Map<ContentId, Uint8Array>([[zeroContent, zeroBlock]]);

  /** Copies `block` (4,096 bytes) if it is new and returns its identity. */
  intern(block: Uint8Array): ContentId {
    const id = idOf(block);
    if (!this.#bytesById.has(id)) this.#bytesById.set(id, block.slice());
    return id;
  }

  /** The block's bytes, never to be changed. */
  bytes(id: ContentId): Uint8Array {
    const bytes = this.#bytesById.get(id);
    if (bytes === undefined) throw new Error('content was never interned');
    return bytes;
  }

  /** For people: the stamps of the block's sectors, run by run. */
  describe(id: ContentId): string {
    if (id === zeroContent) return 'zeros';
    const bytes = this.bytes(id);
    const view = viewOf(bytes);
    const stamps: string[] = [];
    for (let at = 0; at < blockSizeBytes; at += sectorSizeBytes) {
      const isStamped = view.getUint32(at, true) === stampMagic;
      const volume = view.getUint32(at + 4, true);
      const sequence = view.getUint32(at + 8, true);
      const lba = Math.floor(view.getUint32(at + 12, true) / 8);
      const isZero = bytes.subarray(at, at + sectorSizeBytes).every((byte) => byte === 0);
      const other = isZero ? 'zero' : 'unstamped';
      const stamp = isStamped ? `write ${sequence} of volume ${volume} block ${lba}` : other;
      if (stamps.at(-1) !== stamp) stamps.push(stamp);
    }
    return stamps.join(', ');
  }
}
