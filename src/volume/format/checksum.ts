/**
 * Seeds of the checksums on disk. Every structure's CRC32C starts from a value made of the pool's id, the structure's own
 * address and (but for data blocks) its epoch, so bytes that belong elsewhere or to another time never verify:
 * misdirected writes, stale frames in recycled files, segments of another pool.
 *
 * The seed is a 32-bit mix, not a CRC of its own: it is computed per block in the commit and read paths.
 */
import { crc32c } from '../../base/crc32c.ts';

/** One per pool; make it once and keep it. */
export class Seeds {
  readonly #pool: number;

  constructor(poolUuid: Uint8Array) {
    this.#pool = crc32c(poolUuid, 0);
  }

  /** Seed of the data block at `address`. */
  block(address: number): number {
    return mix(this.#pool, address, 0);
  }

  /** Seed of a structure (segment header, frame, footer) at `address`, written in `epoch`. */
  structure(address: number, epoch: number): number {
    return mix(this.#pool ^ 0x5444_4d4b, address, epoch);
  }

  /**
   * Seed of part `part` (a block's number, or one of the special ones) of the index run of `level` from `segId` on; one that
   * was thinned `generation` times has parts of its own, which never verify as those of the file before.
   */
  run(level: number, segId: number, part: number, generation: number): number {
    const pool = this.#pool ^ 0x5255_4e53 ^ Math.imul(generation, 0x27d4_eb2f);
    return mix(pool, segId * 64 + level, part);
  }

  /** Seed of part `part` (a member's segment id, or one of the special ones) of a pack. */
  pack(packId: number, part: number): number {
    return mix(this.#pool ^ 0x5041_434b, packId, part);
  }

  /** Seed of a group of segment rows in the manifest. */
  rows(group: number): number {
    return mix(this.#pool ^ 0x524f_5753, group, 0);
  }
}

function mix(pool: number, address: number, epoch: number): number {
  const low = (address % 0x1_0000_0000) | 0;
  const high = (address / 0x1_0000_0000) | 0;
  let hash = pool ^ Math.imul(low, 0x9e37_79b1) ^ Math.imul(high, 0x85eb_ca6b);
  hash ^= Math.imul(epoch | 0, 0xc2b2_ae35);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
