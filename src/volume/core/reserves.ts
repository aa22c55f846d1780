/**
 * Reserves: the space that the pool keeps for thick volumes.
 *
 *     reserve = size + 1/8 for headers, index and what waits to be cleaned
 *     claim   = reserve - what the volume has stored - what it took beyond that while space was short
 *
 *     thin volumes:  used + all claims        must stay below what thick volumes may take
 *     a thick one:   used + claims of others  must stay below it
 *
 * A block that a thick volume writes for the first time moves from its claim to what is used: others notice nothing. A block
 * that it writes again takes new space until the old one is cleaned, and snapshots and windows keep the old one for long; small
 * writes take headers besides. While the pool has space for all claims that comes out of the rest of the pool, else out of the
 * volume's own claim, until cleaning has given it back.
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
  claimBytes: number;
  /** Taken out of the claim while space was short. */
  overdraftBytes: number;
}

/** Counts of a line as they were at the last look. */
interface LineCount {
  writtenBlocks: number;
  replacedBlocks: number;
}

export class Reserves {
  readonly #parts: PoolParts;
  readonly #reserveByLine = new Map<number, Reserve>();
  readonly #countByLine = new Map<number, LineCount>();
  #claimBytes = 0;
  #usedBefore: number | undefined;

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

  /**
   * Finds claims again. `usedBytes`: what is used; `freeBytes`: what thick volumes may still take. That may become less without
   * anybody having taken it, and nobody pays for that.
   */
  look({ usedBytes, freeBytes }: { readonly usedBytes: number; readonly freeBytes: number }): void {
    const wantedBytes = this.#findReserves();
    if (this.isAny) {
      this.#charge(Math.max(0, usedBytes - (this.#usedBefore ?? usedBytes)));
      this.#forgive(Math.max(0, wantedBytes - freeBytes));
    }
    this.#usedBefore = usedBytes;
    this.#claimBytes = 0;
    for (const reserve of this.#reserveByLine.values()) {
      reserve.claimBytes = Math.floor(Math.max(0, reserve.claimBytes - reserve.overdraftBytes));
      this.#claimBytes += reserve.claimBytes;
    }
  }

  /** All that thick volumes have not stored yet of their reserves. */
  #findReserves(): number {
    const { catalogue, lineById } = this.#parts;
    const thick = new Set<number>();
    let wantedBytes = 0;
    for (const volume of catalogue.volumes()) {
      const line = lineById.get(volume.line);
      if (volume.provisioning !== Provisioning.thick || line === undefined) continue;
      thick.add(line.id);
      const claimBytes = unfilledBytes(reserveBytesOf(volume.sizeBytes), line);
      const { overdraftBytes = 0 } = this.#reserveByLine.get(line.id) ?? {};
      this.#reserveByLine.set(line.id, { claimBytes, overdraftBytes });
      wantedBytes += claimBytes;
    }
    for (const id of this.#reserveByLine.keys()) {
      if (!thick.has(id)) this.#reserveByLine.delete(id);
    }
    return wantedBytes;
  }

  /** Whoever wrote since the last look pays for what was taken, by what he wrote; blocks that were new are paid for already. */
  #charge(takenBytes: number): void {
    const { lineById } = this.#parts;
    const since: { readonly id: number; readonly written: number; readonly fresh: number }[] = [];
    let writtenTotal = 0;
    for (const [id, { writtenBlocks, map }] of lineById) {
      const { replacedBlocks } = map;
      const before = this.#countByLine.get(id) ?? { writtenBlocks, replacedBlocks };
      const written = writtenBlocks - before.writtenBlocks;
      const fresh = Math.max(0, written - (replacedBlocks - before.replacedBlocks));
      since.push({ id, written, fresh });
      writtenTotal += written;
      this.#countByLine.set(id, { writtenBlocks, replacedBlocks });
    }
    for (const id of this.#countByLine.keys()) if (!lineById.has(id)) this.#countByLine.delete(id);
    if (writtenTotal === 0) return;
    for (const { id, written, fresh } of since) {
      const reserve = this.#reserveByLine.get(id);
      if (reserve === undefined) continue;
      const dueBytes = (takenBytes * written) / writtenTotal - fresh * slotSizeBytes;
      reserve.overdraftBytes += Math.max(0, dueBytes);
    }
  }

  /** Nobody owes more than what is missing. */
  #forgive(missingBytes: number): void {
    let owedBytes = 0;
    for (const { overdraftBytes } of this.#reserveByLine.values()) owedBytes += overdraftBytes;
    if (owedBytes <= missingBytes) return;
    for (const reserve of this.#reserveByLine.values()) {
      reserve.overdraftBytes *= missingBytes / owedBytes;
    }
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
