/**
 * BlockReader: reads blocks of the log by address and verifies each against its checksum.
 *
 *     readRun ─▶ checksum table there?  no ─▶ read it from the footer, then
 *            ─▶ probably cached?  yes ─▶ read now, verify
 *                                 no  ─▶ read through the thread pool, verify when back
 *
 * Invariant: bytes whose checksum does not match are never handed on as good.
 */
import { assert } from '../../base/assert.ts';
import { crc32c } from '../../base/crc32c.ts';
import { viewOf } from '../../base/fields.ts';
import { type Clock, DiskError, type Log } from '../../base/ports.ts';
import { addressOf, describeAddress, segIdOf, slotOf, slotSizeBytes } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import type { CrcTables } from '../log/crc-tables.ts';
import type { Residency } from './residency.ts';
import type { SegmentFiles } from './segment-files.ts';

/** Where the checksum table of a sealed segment lies in its own file (see SegmentFiles): byte offset and number of slots. */
export interface CrcPlace {
  readonly offset: number;
  readonly slots: number;
}

export interface ReaderOptions {
  readonly files: SegmentFiles;
  readonly crcTables: CrcTables;
  readonly residency: Residency;
  readonly seeds: Seeds;
  readonly clock: Clock;
  readonly log: Log;
  /** Place of the checksum table of a sealed segment; undefined when the segment is unknown. */
  readonly crcPlace: (segId: number) => CrcPlace | undefined;
  /**
   * Compares the footer of a segment with its frames, which have the checksums, too, and makes it again when it differs;
   * `done` gets whether it did. Opening does not read old footers: their damage shows here first.
   */
  readonly mendFooter: (segId: number, done: (isMended: boolean) => void) => void;
}

/** `badBlock`: -1 = all good, else index of the first block of the run that could not be read. */
export type RunDone = (badBlock: number) => void;

export class BlockReader {
  readonly #options: ReaderOptions;
  /** Footers that were looked at because a block or the table did not fit: once each. */
  readonly #looked = new Set<number>();
  /** Those that are looked at now, and what waits for it. */
  readonly #mending = new Map<number, (() => void)[]>();

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /**
   * Reads `count` blocks from `address` on into `target` (count * 4096 bytes, the caller's, untouched until `done`).
   * A run never crosses a segment. Returns -1 or the bad block's index when it finished at once (then `done` is not
   * called), -2 when `done` will be called later.
   */
  readRun(address: number, count: number, target: Uint8Array, done: RunDone): number {
    const { crcTables, residency, files, clock } = this.#options;
    const segId = segIdOf(address);
    const table = crcTables.find(segId);
    if (table === undefined || !residency.predicts(address, count)) {
      this.#readLater(address, count, target, done);
      return -2;
    }
    const offset = files.offsetOf(segId, slotOf(address) * slotSizeBytes, target.length);
    if (offset < 0) return this.#givenUp(address, count);
    const started = clock.monotonicMs();
    try {
      const bytesRead = files.file(segId).read(target, offset);
      residency.report(clock.monotonicMs() - started);
      const bad = this.#verify(address, target, bytesRead, table);
      if (bad < 0 || !this.#mayMend(segId)) return bad;
      this.#mend(segId, () => {
        this.#readLater(address, count, target, done);
      });
      return -2;
    } catch (thrown) {
      return this.#failed(address, thrown);
    }
  }

  /** The whole segment was read just now: sealing does that, and what was written past the page cache is in it from then on. */
  wasRead(segId: number, slots: number): void {
    this.#options.residency.touch(addressOf(segId, 0), slots);
  }

  #readLater(address: number, count: number, target: Uint8Array, done: RunDone): void {
    const { files, residency, crcTables } = this.#options;
    const segId = segIdOf(address);
    const table = crcTables.find(segId);
    if (table === undefined) {
      this.#loadTable(segId, (isLoaded) => {
        if (isLoaded) this.#readLater(address, count, target, done);
        else
          this.#mendOr(
            segId,
            () => done(0),
            () => this.#readLater(address, count, target, done),
          );
      });
      return;
    }
    const offset = files.offsetOf(segId, slotOf(address) * slotSizeBytes, target.length);
    if (offset < 0) {
      done(this.#givenUp(address, count));
      return;
    }
    try {
      const entry = files.acquire(segId);
      entry.file.readLater(target, offset, (error, bytesRead) => {
        files.release(entry);
        if (error !== undefined) {
          done(this.#failed(address, error));
          return;
        }
        residency.touch(address, count);
        const bad = this.#verify(address, target, bytesRead, table);
        if (bad < 0) done(bad);
        else
          this.#mendOr(
            segId,
            () => done(bad),
            () => this.#readLater(address, count, target, done),
          );
      });
    } catch (thrown) {
      done(this.#failed(address, thrown));
    }
  }

  #mendOr(segId: number, giveUp: () => void, again: () => void): void {
    if (this.#mayMend(segId)) this.#mend(segId, again);
    else giveUp();
  }

  #mayMend(segId: number): boolean {
    return this.#mending.has(segId) || !this.#looked.has(segId);
  }

  /** Has the footer looked at, and reads again: with its table as it is then, or to fail for good. */
  #mend(segId: number, again: () => void): void {
    const waiting = this.#mending.get(segId);
    if (waiting !== undefined) {
      waiting.push(again);
      return;
    }
    const actions = [again];
    this.#mending.set(segId, actions);
    this.#options.mendFooter(segId, (isMended) => {
      this.#mending.delete(segId);
      this.#looked.add(segId);
      if (isMended) {
        this.#options.crcTables.forget(segId);
        this.#options.log.warn('a damaged footer was made again', { segId });
      }
      for (const action of actions) action();
    });
  }

  /** Reads the checksum table of a sealed segment from its footer, or that of the pack where that has none. */
  #loadTable(segId: number, done: (isLoaded: boolean) => void): void {
    const place = this.#options.crcPlace(segId);
    if (place === undefined) {
      this.#options.log.error('no checksums for a segment', { segId });
      done(false);
      return;
    }
    const { files } = this.#options;
    const packed = files.thinned(segId);
    const bytes = new Uint8Array((packed?.member.keptSlots ?? place.slots) * 4);
    const offset = packed?.crcsOffset ?? files.offsetOf(segId, place.offset, bytes.length);
    assert(offset >= 0, 'a container has the checksums of its segments');
    try {
      const entry = files.acquire(segId);
      entry.file.readLater(bytes, offset, (error, bytesRead) => {
        files.release(entry);
        if (error !== undefined || bytesRead < bytes.length) {
          this.#options.log.error('checksum table unreadable', { segId, error: error?.message });
          // A pack has another one, which is asked for each block that does not fit this one.
          const isPacked = files.isPacked(segId);
          if (isPacked) this.#options.crcTables.add(segId, new Uint32Array(place.slots), false);
          done(isPacked);
          return;
        }
        const table = packed?.crcsBySlot(bytes) ?? crcsBySlot(bytes, place.slots);
        this.#options.crcTables.add(segId, table, false);
        done(true);
      });
    } catch (thrown) {
      this.#failed(segId, thrown);
      done(false);
    }
  }

  #verify(address: number, target: Uint8Array, bytesRead: number, table: Uint32Array): number {
    const slot = slotOf(address);
    const { seeds } = this.#options;
    for (let at = 0; at < target.length; at += slotSizeBytes) {
      const index = at / slotSizeBytes;
      const crc = crc32c(target.subarray(at, at + slotSizeBytes), seeds.block(address + index));
      const isGood =
        at + slotSizeBytes <= bytesRead &&
        (crc === table[slot + index] || crc === this.#packCrc(address + index));
      if (!isGood) {
        this.#options.log.error('block does not match its checksum', {
          address: address + index,
          place: describeAddress(address + index),
        });
        return index;
      }
    }
    return -1;
  }

  /** The checksum that a pack has of a block beside the footer's: one of the two may be damaged. */
  #packCrc(address: number): number | undefined {
    const { files } = this.#options;
    const segId = segIdOf(address);
    const offset = files.crcOffsetOf(segId, slotOf(address));
    if (offset < 0) return undefined;
    const bytes = new Uint8Array(4);
    try {
      if (files.file(segId).read(bytes, offset) < bytes.length) return undefined;
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      return undefined;
    }
    return viewOf(bytes).getUint32(0, true);
  }

  /** Somebody refers to a block that was judged to be out of reach. The bad block's index. */
  #givenUp(address: number, count: number): number {
    const { files, log } = this.#options;
    let index = 0;
    const isThere = (at: number): boolean =>
      files.offsetOf(segIdOf(at), slotOf(at) * slotSizeBytes, slotSizeBytes) >= 0;
    while (index < count - 1 && isThere(address + index)) index += 1;
    log.error('block was given up', { place: describeAddress(address + index) });
    return index;
  }

  #failed(address: number, thrown: unknown): number {
    if (!(thrown instanceof DiskError)) throw thrown;
    this.#options.log.error('segment cannot be read', {
      place: describeAddress(address),
      error: thrown.message,
    });
    return 0;
  }
}

function crcsBySlot(bytes: Uint8Array, slots: number): Uint32Array {
  const table = new Uint32Array(slots);
  const view = viewOf(bytes);
  for (let slot = 0; slot < slots; slot += 1) table[slot] = view.getUint32(slot * 4, true);
  return table;
}
