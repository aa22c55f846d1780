/**
 * Segment table: what is known of every segment of the log, in log order, in columns: 30 bytes a segment, 10 MB for 10 TiB.
 *
 *     segId    epoch   hlcMs   endSlot   entryCount    tag
 *     4711     12      ...     8190      8100          first 8 bytes of its digest
 *     4712     12      ...     0         not sealed    -                               the one being written
 *
 * Rows are views of it that are made when they are asked for, and say what is so when they are read.
 */
import { assert } from '../../base/assert.ts';
import { lowerBound } from '../../base/lower-bound.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import { footerCrcOffset } from '../format/footer.ts';
import { digestTagBytes, type RowGroup, type SegmentRow } from '../format/segment-rows.ts';
import type { CrcPlace } from '../io/block-reader.ts';

const notSealed = 0xffff_ffff;
const firstCapacity = 64;

/** One segment of the log. What it says follows the table. */
export interface SegmentState {
  readonly segId: number;
  readonly epoch: number;
  /** Time of its header: no record in it is older, none before it newer than the end of that millisecond. */
  readonly hlcMs: number;
  /** First address behind its last frame; 0 for the segment being written: see the log. */
  readonly endAddress: number;
  readonly isSealed: boolean;
  /** Where its checksum table lies; undefined while it is not sealed. */
  readonly crcPlace: CrcPlace | undefined;
  /** The first bytes of the digest of its frames; undefined while it is not sealed. */
  readonly digestTag: Uint8Array | undefined;
  /** The pack that it lies in; 0 = its own file. */
  readonly container: number;
  /** Data blocks that its pack keeps; undefined = all that it has. */
  readonly keptBlocks: number | undefined;
}

/** Which segments lie in packs. */
interface Packed {
  find(
    segId: number,
  ): { readonly packId: number; readonly member: { readonly keptBlocks: number } } | undefined;
}

/** Of segments with a footer. */
interface SealedSums {
  /** Where the first is that has none. */
  readonly end: number;
  /** How many have an end; how many entries their footers have, and slots they. */
  readonly written: number;
  readonly entries: number;
  readonly slots: number;
}

/** What sealing finds. */
type SealedSegment = Pick<SegmentRow, 'segId' | 'endSlot' | 'entryCount' | 'tag'>;

/** Grown as a whole; a row of it is never moved. */
interface Columns {
  segIds: Uint32Array;
  epochs: Uint32Array;
  hlcMs: Float64Array;
  endSlots: Uint16Array;
  entryCounts: Uint32Array;
  tags: Uint8Array;
}

function columnsOf(capacity: number): Columns {
  return {
    segIds: new Uint32Array(capacity),
    epochs: new Uint32Array(capacity),
    hlcMs: new Float64Array(capacity),
    endSlots: new Uint16Array(capacity),
    entryCounts: new Uint32Array(capacity),
    tags: new Uint8Array(capacity * digestTagBytes),
  };
}

class TableRow implements SegmentState {
  readonly #columns: Columns;
  readonly #index: number;
  readonly #segmentSlots: number;
  readonly #packed: Packed;

  constructor(
    columns: Columns,
    index: number,
    { segmentSlots, packed }: { readonly segmentSlots: number; readonly packed: Packed },
  ) {
    this.#columns = columns;
    this.#index = index;
    this.#segmentSlots = segmentSlots;
    this.#packed = packed;
  }

  get container(): number {
    return this.#packed.find(this.segId)?.packId ?? 0;
  }

  get keptBlocks(): number | undefined {
    return this.#packed.find(this.segId)?.member.keptBlocks;
  }

  get segId(): number {
    return this.#columns.segIds[this.#index] ?? 0;
  }

  get epoch(): number {
    return this.#columns.epochs[this.#index] ?? 0;
  }

  get hlcMs(): number {
    return this.#columns.hlcMs[this.#index] ?? 0;
  }

  get #endSlot(): number {
    return this.#columns.endSlots[this.#index] ?? 0;
  }

  get endAddress(): number {
    return this.#endSlot === 0 ? 0 : addressOf(this.segId, this.#endSlot);
  }

  get #entryCount(): number {
    return this.#columns.entryCounts[this.#index] ?? notSealed;
  }

  get isSealed(): boolean {
    return this.#entryCount !== notSealed;
  }

  get crcPlace(): CrcPlace | undefined {
    if (!this.isSealed) return undefined;
    const offset =
      this.#segmentSlots * slotSizeBytes + footerCrcOffset({ entryCount: this.#entryCount });
    return { offset, slots: this.#endSlot };
  }

  get digestTag(): Uint8Array | undefined {
    if (!this.isSealed) return undefined;
    const at = this.#index * digestTagBytes;
    return this.#columns.tags.subarray(at, at + digestTagBytes);
  }
}

export class SegmentTable {
  readonly segmentSlots: number;
  readonly packed: Packed;
  readonly #columns: Columns;
  #size = 0;
  #endSlotTotal = 0;
  /** All before this row are sealed. */
  #firstOpen = 0;

  /** `capacity`: rows that there is room for at first. */
  constructor(segmentSlots: number, packed: Packed, capacity = firstCapacity) {
    this.segmentSlots = segmentSlots;
    this.packed = packed;
    this.#columns = columnsOf(Math.max(1, capacity));
  }

  get size(): number {
    return this.#size;
  }

  /** Slots of all segments up to where each ends; the one being written counts nothing. */
  get endSlotTotal(): number {
    return this.#endSlotTotal;
  }

  has(segId: number): boolean {
    return this.#find(segId) >= 0;
  }

  get(segId: number): SegmentState | undefined {
    const index = this.#find(segId);
    return index < 0 ? undefined : this.at(index);
  }

  /** The segment at `index` of the log, from 0. */
  at(index: number): SegmentState | undefined {
    return index >= 0 && index < this.#size ? this.#row(index) : undefined;
  }

  /** The id of the segment at `index`; 0 behind the last. */
  segIdAt(index: number): number {
    return index >= 0 && index < this.#size ? (this.#columns.segIds[index] ?? 0) : 0;
  }

  /** Time of the header of the segment at `index`, and how many slots it has up to its end. */
  hlcMsAt(index: number): number {
    return index < this.#size ? (this.#columns.hlcMs[index] ?? 0) : 0;
  }

  slotsAt(index: number): number {
    return index < this.#size ? (this.#columns.endSlots[index] ?? 0) : 0;
  }

  /** Sums over the segments from `from` on up to the first that is not sealed: of three hundred thousand in 5 ms. */
  sealedSums(from: number): SealedSums {
    const { endSlots, entryCounts } = this.#columns;
    const size = this.#size;
    let [end, written, entries, slots] = [from, 0, 0, 0];
    for (; end < size; end += 1) {
      const entryCount = entryCounts[end] ?? notSealed;
      if (entryCount === notSealed) break;
      const endSlot = endSlots[end] ?? 0;
      if (endSlot === 0) continue;
      written += 1;
      entries += entryCount;
      slots += endSlot;
    }
    return { end, written, entries, slots };
  }

  /** Whether the segment at `index` has a footer. */
  isSealedAt(index: number): boolean {
    return index >= 0 && index < this.#size && this.#columns.entryCounts[index] !== notSealed;
  }

  last(): SegmentState | undefined {
    return this.at(this.#size - 1);
  }

  /** The first one without a footer; undefined when all have one. */
  firstNotSealed(): SegmentState | undefined {
    while (
      this.#firstOpen < this.#size &&
      this.#columns.entryCounts[this.#firstOpen] !== notSealed
    ) {
      this.#firstOpen += 1;
    }
    return this.at(this.#firstOpen);
  }

  /** How many segments come before `segId`, whether it is there or not. */
  indexOf(segId: number): number {
    const { segIds } = this.#columns;
    // Most logs have few gaps: opening asks for each of hundreds of thousands.
    const guess = segId - (segIds[0] ?? 0);
    if (guess >= 0 && guess < this.#size && segIds[guess] === segId) return guess;
    return lowerBound(segIds, segId, this.#size);
  }

  /** Views of the segments with ids in [first, end); undefined when one of them is not sealed. */
  sealedIn(
    first: number,
    end: number,
  ): Pick<Readonly<Columns>, 'segIds' | 'epochs' | 'tags'> | undefined {
    const from = this.indexOf(first);
    const to = this.indexOf(end);
    const { segIds, epochs, entryCounts, tags } = this.#columns;
    if (entryCounts.subarray(from, to).includes(notSealed)) return undefined;
    return {
      segIds: segIds.subarray(from, to),
      epochs: epochs.subarray(from, to),
      tags: tags.subarray(from * digestTagBytes, to * digestTagBytes),
    };
  }

  /** All that are sealed, in lists of their own: no object for each of hundreds of thousands. */
  sealedLists(): {
    readonly segIds: Float64Array;
    readonly epochs: Float64Array;
    readonly endAddresses: Float64Array;
    readonly digests: Uint8Array;
  } {
    const { segIds, epochs, endSlots, entryCounts, tags } = this.#columns;
    const size = this.#size;
    const lists = {
      segIds: new Float64Array(size),
      epochs: new Float64Array(size),
      endAddresses: new Float64Array(size),
    };
    const digests = tags.slice(0, size * digestTagBytes);
    let count = 0;
    for (let index = 0; index < size; index += 1) {
      if (entryCounts[index] === notSealed) continue;
      const segId = segIds[index] ?? 0;
      const endSlot = endSlots[index] ?? 0;
      lists.segIds[count] = segId;
      lists.epochs[count] = epochs[index] ?? 0;
      lists.endAddresses[count] = endSlot === 0 ? 0 : addressOf(segId, endSlot);
      const at = index * digestTagBytes;
      if (index > count) digests.copyWithin(count * digestTagBytes, at, at + digestTagBytes);
      count += 1;
    }
    return {
      segIds: lists.segIds.slice(0, count),
      epochs: lists.epochs.slice(0, count),
      endAddresses: lists.endAddresses.slice(0, count),
      digests: digests.slice(0, count * digestTagBytes),
    };
  }

  /** Those without a footer, in the order of the log. */
  *notSealed(): Generator<SegmentState> {
    const first = this.firstNotSealed();
    if (first === undefined) return;
    for (let index = this.#firstOpen; index < this.#size; index += 1) {
      const segment = this.#row(index);
      if (!segment.isSealed) yield segment;
    }
  }

  *keys(): Generator<number> {
    for (let index = 0; index < this.#size; index += 1) yield this.#columns.segIds[index] ?? 0;
  }

  *values(): Generator<SegmentState> {
    for (let index = 0; index < this.#size; index += 1) yield this.#row(index);
  }

  /** Adds a segment behind all others. */
  add({ segId, epoch, hlcMs }: Pick<SegmentState, 'segId' | 'epoch' | 'hlcMs'>): void {
    const index = this.#size;
    if (index === this.#columns.segIds.length) this.#grow();
    const { segIds, epochs, hlcMs: times, endSlots, entryCounts } = this.#columns;
    assert(index === 0 || segId > (segIds[index - 1] ?? 0), 'segments in the order of the log');
    segIds[index] = segId;
    epochs[index] = epoch;
    times[index] = hlcMs;
    endSlots[index] = 0;
    entryCounts[index] = notSealed;
    this.#size += 1;
  }

  /** Adds a segment that has a footer behind all others. */
  addSealed(row: SealedSegment & Pick<SegmentState, 'epoch' | 'hlcMs'>): void {
    this.add(row);
    const index = this.#size - 1;
    this.#columns.endSlots[index] = row.endSlot;
    this.#endSlotTotal += row.endSlot;
    this.#columns.entryCounts[index] = row.entryCount;
    this.#setLastTag(row.tag);
  }

  /**
   * As `addSealed`, of rows of the manifest, as far as each follows the one before; false when one does not. Three hundred thousand are
   * added when a pool is opened: nothing is made for a row.
   */
  addRows(rows: RowGroup): boolean {
    while (this.#size + rows.count > this.#columns.segIds.length) this.#grow();
    const { segIds, epochs, hlcMs, endSlots, entryCounts } = this.#columns;
    for (let row = 0; row < rows.count; row += 1) {
      const index = this.#size;
      const before = index === 0 ? 0 : (segIds[index - 1] ?? 0);
      const segId = rows.segId(row);
      if (segId <= before || rows.previousSegId(row) !== before) return false;
      if (before !== 0 && !this.#isLastTag(rows.bytes, rows.previousTagAt(row))) return false;
      segIds[index] = segId;
      epochs[index] = rows.epoch(row);
      hlcMs[index] = rows.hlcMs(row);
      endSlots[index] = rows.endSlot(row);
      entryCounts[index] = rows.entryCount(row);
      this.#endSlotTotal += rows.endSlot(row);
      this.#size += 1;
      this.#setLastTag(rows.bytes, rows.tagAt(row));
    }
    return true;
  }

  /** It lies at `from` of `bytes`. */
  #setLastTag(bytes: Uint8Array, from = 0): void {
    const { tags } = this.#columns;
    const own = (this.#size - 1) * digestTagBytes;
    for (let at = 0; at < digestTagBytes; at += 1) tags[own + at] = bytes[from + at] ?? 0;
  }

  /** Whether the first bytes of the last segment's digest are those at `from` of `bytes`. */
  #isLastTag(bytes: Uint8Array, from: number): boolean {
    const { tags } = this.#columns;
    const own = (this.#size - 1) * digestTagBytes;
    for (let at = 0; at < digestTagBytes; at += 1) {
      if (tags[own + at] !== bytes[from + at]) return false;
    }
    return true;
  }

  /** The log has left the segment. */
  ended(segId: number, endAddress: number): void {
    const index = this.#find(segId);
    if (index < 0) return;
    const { endSlots } = this.#columns;
    const endSlot = endAddress - addressOf(segId, 0);
    this.#endSlotTotal += endSlot - (endSlots[index] ?? 0);
    endSlots[index] = endSlot;
  }

  /** It has a footer. */
  sealed({ segId, entryCount, tag }: SealedSegment): void {
    const index = this.#find(segId);
    if (index < 0) return;
    this.#columns.entryCounts[index] = entryCount;
    this.#columns.tags.set(tag, index * digestTagBytes);
  }

  /** First bytes of the digests of the sealed segments from `segId` on; copies. */
  tagsFrom(segId: number): Map<number, Uint8Array> {
    const tags = new Map<number, Uint8Array>();
    for (let index = this.indexOf(segId); index < this.#size; index += 1) {
      const { segId: id, digestTag } = this.#row(index);
      if (digestTag !== undefined) tags.set(id, digestTag.slice());
    }
    return tags;
  }

  /** Forgets the segments from `segId` on. */
  cutAt(segId: number): void {
    const size = this.indexOf(segId);
    for (let index = size; index < this.#size; index += 1) {
      this.#endSlotTotal -= this.#columns.endSlots[index] ?? 0;
    }
    this.#size = size;
    this.#firstOpen = Math.min(this.#firstOpen, size);
  }

  #find(segId: number): number {
    const { segIds } = this.#columns;
    // Most questions are about the newest.
    const last = this.#size - 1;
    if (last >= 0 && segIds[last] === segId) return last;
    const index = this.indexOf(segId);
    return index < this.#size && segIds[index] === segId ? index : -1;
  }

  #row(index: number): SegmentState {
    return new TableRow(this.#columns, index, this);
  }

  #grow(): void {
    const old = { ...this.#columns };
    const made = columnsOf(old.segIds.length * 2);
    made.segIds.set(old.segIds);
    made.epochs.set(old.epochs);
    made.hlcMs.set(old.hlcMs);
    made.endSlots.set(old.endSlots);
    made.entryCounts.set(old.entryCounts);
    made.tags.set(old.tags);
    Object.assign(this.#columns, made);
  }
}
