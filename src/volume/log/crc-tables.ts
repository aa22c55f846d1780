/**
 * Checksums of data blocks by address: one table of u32 per segment (32 KiB), the newest in use kept, the rest read again
 * from the segment's footer when a read needs them.
 */
import { segIdOf, slotOf } from '../format/address.ts';

export class CrcTables {
  /** In order of use, oldest first. */
  readonly #tables = new Map<number, Uint32Array>();
  /** Segments without a footer yet: their tables exist only here. */
  readonly #pinned = new Map<number, Uint32Array>();
  readonly #countMax: number;
  readonly #segmentSlots: number;

  constructor(bytesMax: number, segmentSlots: number) {
    this.#countMax = Math.max(4, Math.floor(bytesMax / (segmentSlots * 4)));
    this.#segmentSlots = segmentSlots;
  }

  /** Starts the table of a segment that is being written. */
  begin(segId: number): void {
    this.#pinned.set(segId, new Uint32Array(this.#segmentSlots));
  }

  /** Records checksums of `count` blocks from `address` on, little-endian in `source` at byte `at`. */
  record(address: number, source: DataView, at: number, count: number): void {
    const table = this.#pinned.get(segIdOf(address));
    if (table === undefined) return;
    const slot = slotOf(address);
    for (let index = 0; index < count; index += 1) {
      table[slot + index] = source.getUint32(at + index * 4, true);
    }
  }

  /** The segment has a footer now: its table may be dropped and read again. */
  sealed(segId: number): void {
    const table = this.#pinned.get(segId);
    if (table === undefined) return;
    this.#pinned.delete(segId);
    this.#remember(segId, table);
  }

  /** Adds a table that was read or made in recovery; `isPinned` = the segment has no footer. */
  add(segId: number, table: Uint32Array, isPinned: boolean): void {
    if (isPinned) this.#pinned.set(segId, table);
    else this.#remember(segId, table);
  }

  /** The table of a segment; undefined when it must be read from the footer first. */
  find(segId: number): Uint32Array | undefined {
    const pinned = this.#pinned.get(segId);
    if (pinned !== undefined) return pinned;
    const table = this.#tables.get(segId);
    if (table === undefined) return undefined;
    if (this.#tables.size > this.#countMax / 2) {
      this.#tables.delete(segId);
      this.#tables.set(segId, table);
    }
    return table;
  }

  /** The footer that it came from is another now. */
  forget(segId: number): void {
    this.#tables.delete(segId);
  }

  #remember(segId: number, table: Uint32Array): void {
    this.#tables.set(segId, table);
    while (this.#tables.size > this.#countMax) {
      const oldest = this.#tables.keys().next();
      if (oldest.done === true) return;
      this.#tables.delete(oldest.value);
    }
  }
}
