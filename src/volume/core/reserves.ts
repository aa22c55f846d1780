/**
 * Reserves: the space that the pool keeps for thick volumes.
 *
 *     reserve = size + 1/8 for headers, index and what waits to be cleaned
 *     claim   = reserve - what the volume has stored - what it took beyond its due
 *
 *     thin volumes:  used + all claims        must stay below what thick volumes may take
 *     a thick one:   used + claims of others  must stay below it
 *
 * A block that a thick volume writes for the first time moves from its claim to what is used: others notice nothing. A block
 * that it writes again takes new space until the old one is cleaned, and snapshots and windows keep the old one for long: while
 * the pool has space for all claims that comes out of the rest of the pool, else out of the volume's own claim.
 *
 * Invariant: as long as a thick volume has a claim there is space for its writes, whatever others do.
 */
import type { VolumeState } from '../catalogue/catalogue.ts';
import { Provisioning } from '../catalogue/records.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { Line } from '../io/line.ts';
import type { PoolParts } from './parts.ts';

/** Part of the size that is reserved besides it. */
const overheadShare = 1 / 8;

interface Reserve {
  reserveBytes: number;
  claimBytes: number;
  /** Taken out of the claim by blocks that were written again. */
  overdraftBytes: number;
  replacedBefore: number;
}

export class Reserves {
  readonly #parts: PoolParts;
  readonly #reserveByLine = new Map<number, Reserve>();
  #claimBytes = 0;

  constructor(parts: PoolParts) {
    this.#parts = parts;
  }

  /** Whether there is a thick volume. */
  get isAny(): boolean {
    return this.#reserveByLine.size > 0;
  }

  /** All claims together. */
  get claimBytes(): number {
    return this.#claimBytes;
  }

  /** Of one line; 0 for those of thin volumes and for reserves that are used up. */
  claimOf(line: Line): number {
    return this.#reserveByLine.get(line.id)?.claimBytes ?? 0;
  }

  /** Finds claims again. `freeBytes`: what thick volumes may still take. */
  look(freeBytes: number): void {
    const { catalogue, lineById } = this.#parts;
    const thick = new Set<number>();
    let wantedBytes = 0;
    for (const volume of catalogue.volumes()) {
      const line = lineById.get(volume.line);
      if (volume.provisioning !== Provisioning.thick || line === undefined) continue;
      thick.add(line.id);
      const reserve = this.#reserveOf(line);
      reserve.reserveBytes = reserveBytesOf(volume.sizeBytes);
      reserve.claimBytes = unfilledBytes(reserve.reserveBytes, line);
      wantedBytes += reserve.claimBytes;
    }
    for (const id of this.#reserveByLine.keys()) {
      if (!thick.has(id)) this.#reserveByLine.delete(id);
    }
    this.#charge(freeBytes < wantedBytes);
  }

  /** Whether that much more fits beside what is used and claimed. */
  fits(bytes: number, freeBytes: number): boolean {
    this.look(freeBytes);
    return this.#claimBytes + bytes <= freeBytes;
  }

  /** Who replaces blocks while there is less than all may claim pays with his own claim. */
  #charge(isShort: boolean): void {
    this.#claimBytes = 0;
    for (const [id, reserve] of this.#reserveByLine) {
      const replaced = this.#parts.lineById.get(id)?.map.replacedBlocks ?? 0;
      const takenBytes = (replaced - reserve.replacedBefore) * slotSizeBytes;
      reserve.overdraftBytes = isShort ? reserve.overdraftBytes + takenBytes : 0;
      reserve.replacedBefore = replaced;
      reserve.claimBytes = Math.max(0, reserve.claimBytes - reserve.overdraftBytes);
      this.#claimBytes += reserve.claimBytes;
    }
  }

  #reserveOf(line: Line): Reserve {
    const known = this.#reserveByLine.get(line.id);
    if (known !== undefined) return known;
    const { replacedBlocks } = line.map;
    const made = {
      reserveBytes: 0,
      claimBytes: 0,
      overdraftBytes: 0,
      replacedBefore: replacedBlocks,
    };
    this.#reserveByLine.set(line.id, made);
    return made;
  }
}

/** What a thick volume of this size reserves. */
export function reserveBytesOf(sizeBytes: number): number {
  return Math.ceil((sizeBytes * (1 + overheadShare)) / slotSizeBytes) * slotSizeBytes;
}

/** What making the volume thick, or giving it this size, would reserve beyond what it has stored and reserved already. */
export function moreReserved(volume: VolumeState, line: Line, sizeBytes: number): number {
  const before =
    volume.provisioning === Provisioning.thick
      ? unfilledBytes(reserveBytesOf(volume.sizeBytes), line)
      : 0;
  return Math.max(0, unfilledBytes(reserveBytesOf(sizeBytes), line) - before);
}

/** Blocks of leaves that were not looked at yet since opening count as not stored: rather too much is kept than too little. */
function unfilledBytes(reserveBytes: number, line: Line): number {
  return Math.max(0, reserveBytes - line.map.mappedBlocks * slotSizeBytes);
}
