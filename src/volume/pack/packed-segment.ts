/**
 * Packed segment: a member of a pack as what it was, a segment file with holes. Places are those of the segment's own file:
 *
 *     [slot 0][slots that are kept, where they were; all others cannot be read][footer, from segmentSlots * 4096 on]
 *
 * The footer may be thinned: then it is shorter than the segment's own was, and what it says lies elsewhere in it.
 */
import { viewOf } from '../../base/fields.ts';
import type { DiskFile } from '../../base/ports.ts';
import { slotSizeBytes } from '../format/address.ts';
import { isSlotIn, type Pack, type PackMember, packMetaBytes } from '../format/pack.ts';

/** A segment to read from, wherever it lies. Slots that are not there read as the end of the file. */
export interface SegmentMedium extends Pick<DiskFile, 'read' | 'close'> {}

/** Of all members that keep nothing. */
const noRanks = new Uint16Array(1);

export class PackedSegment {
  readonly pack: Omit<Pack, 'members'>;
  readonly member: PackMember;
  readonly #segmentBytes: number;
  /** Kept slots before each byte of the bitmap, once somebody asks where one lies. */
  #ranks: Uint16Array | undefined;

  constructor(pack: Omit<Pack, 'members'>, member: PackMember, segmentSlots: number) {
    this.pack = pack;
    this.member = member;
    this.#segmentBytes = segmentSlots * slotSizeBytes;
  }

  get packId(): number {
    return this.pack.packId;
  }

  has(slot: number): boolean {
    return isSlotIn(this.member.bitmap, slot);
  }

  /** Slot 0 of the segment; the caller's. */
  segmentHeader(): Uint8Array {
    const slot = new Uint8Array(slotSizeBytes);
    slot.set(this.member.segmentHeader);
    return slot;
  }

  /** Byte offset in the pack of the checksum that it has of a kept slot; -1 = the slot is not kept. */
  crcOffsetOf(slot: number): number {
    return this.has(slot) ? this.crcsOffset + this.#rank(slot) * 4 : -1;
  }

  /** Byte offset in the pack of its checksums of the kept slots, in order of slots. */
  get crcsOffset(): number {
    const { offset, keptSlots, footerBytes } = this.member;
    return offset + keptSlots * slotSizeBytes + footerBytes;
  }

  /** The checksums that lie there, by slot; 0 = not kept. */
  crcsBySlot(crcs: Uint8Array): Uint32Array {
    const { endSlot, bitmap } = this.member;
    const table = new Uint32Array(endSlot);
    const view = viewOf(crcs);
    let at = 0;
    for (let slot = 0; slot < endSlot && at + 4 <= crcs.length; slot += 1) {
      if (!isSlotIn(bitmap, slot)) continue;
      table[slot] = view.getUint32(at, true);
      at += 4;
    }
    return table;
  }

  /** Kept slots before `slot`. */
  #rank(slot: number): number {
    const at = slot >> 3;
    const before = (this.member.bitmap[at] ?? 0) & ((1 << (slot & 7)) - 1);
    this.#ranks ??= ranksOf(this.member.bitmap);
    return (this.#ranks[Math.min(at, this.#ranks.length - 1)] ?? 0) + bitCount(before);
  }

  /**
   * Byte offset in the pack of `length` bytes at `position` of the segment's file: of whole slots, or of a part of the footer.
   * -1 = not all of them are there.
   */
  offsetOf(position: number, length: number): number {
    const { offset, keptSlots } = this.member;
    if (position >= this.#segmentBytes) {
      const within = position - this.#segmentBytes;
      const isInside = within + length <= packMetaBytes(this.member);
      return isInside ? offset + keptSlots * slotSizeBytes + within : -1;
    }
    const slot = position / slotSizeBytes;
    const count = length / slotSizeBytes;
    const rank = this.#rank(slot);
    return this.#rank(slot + count) - rank === count ? offset + rank * slotSizeBytes : -1;
  }
}

/** Reads a packed segment from the file of its pack, which it closes. */
export class PackedSegmentFile implements SegmentMedium {
  readonly #packed: PackedSegment;
  readonly #file: SegmentMedium;

  constructor(packed: PackedSegment, file: SegmentMedium) {
    this.#packed = packed;
    this.#file = file;
  }

  read(target: Uint8Array, position: number): number {
    if (position === 0 && target.length === slotSizeBytes) {
      target.set(this.#packed.segmentHeader());
      return target.length;
    }
    const offset = this.#packed.offsetOf(position, target.length);
    return offset < 0 ? 0 : this.#file.read(target, offset);
  }

  close(): void {
    this.#file.close();
  }
}

function ranksOf(bitmap: Uint8Array): Uint16Array {
  if (bitmap.length === 0) return noRanks;
  const ranks = new Uint16Array(bitmap.length + 1);
  for (let at = 0; at < bitmap.length; at += 1) {
    ranks[at + 1] = (ranks[at] ?? 0) + bitCount(bitmap[at] ?? 0);
  }
  return ranks;
}

function bitCount(byte: number): number {
  let bits = byte - ((byte >> 1) & 0x55);
  bits = (bits & 0x33) + ((bits >> 2) & 0x33);
  return (bits + (bits >> 4)) & 0x0f;
}
