/**
 * Member copy: what is kept of one segment, from where it lies now into a pack, in pieces. Each block is compared with its
 * checksum on the way: what is damaged is never copied under a new name, the segment stays where it is then.
 *
 * The footer is thinned: a record of a WRITE of which no block is kept is left out. Nobody misses it: no kept state shows any of
 * its blocks, so for each of them there is a newer record before the next kept state, and that one is kept, or gone for the same
 * reason with a newer one behind it (see MarkPass: a thinned run needs no more than that). All other records stay: whether a TRIM, a
 * ZERO or a CLONE is needed blocks do not tell. So what is dead costs no footer for ever, and what is made from footers can
 * still be made.
 */
import { crc32c } from '../../base/crc32c.ts';
import { viewOf } from '../../base/fields.ts';
import type { DiskFile } from '../../base/ports.ts';
import { addressOf, describeAddress, slotOf, slotSizeBytes } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import {
  type FooterEntry,
  footerEntryType,
  footerFrame,
  footerSlotCrcs,
  thinFooter,
} from '../format/footer.ts';
import { FormatError } from '../format/format-error.ts';
import { isDataType, RecordType } from '../format/frame.ts';
import {
  addSlot,
  isSlotIn,
  type PackMember,
  packMapBytes,
  packMemberEnd,
  packMetaBytes,
  packMetaCrc,
} from '../format/pack.ts';
import { type Footer, SegmentSource } from '../recovery/segment-source.ts';
import type { Containers } from './containers.ts';
import type { PackOrder } from './pack-plan.ts';

/** Slots that are copied at once. */
const pieceSlots = 256;

export interface CopyTarget {
  readonly file: DiskFile;
  readonly packId: number;
  /** Where the member begins. */
  readonly offset: number;
}

export interface CopyOptions {
  readonly containers: Containers;
  readonly seeds: Seeds;
  readonly segmentSlots: number;
}

export class MemberCopy {
  readonly #options: CopyOptions;
  readonly #target: CopyTarget;
  readonly #segId: number;
  readonly #source: SegmentSource;
  readonly #footer: Footer;
  readonly #epoch: number;
  readonly #segmentHeader: Uint8Array;
  /** By slot: what blocks must be. */
  readonly #slotCrcs: Uint32Array;
  readonly #bitmap: Uint8Array;
  /** Headers of frames among the kept slots. */
  readonly #headers = new Set<number>();
  readonly #crcs: number[] = [];
  #keptBlocks = 0;
  /** The next slot to look at. */
  #slot = 1;

  /** Throws DiskError, and FormatError when the segment cannot be packed as ordered. */
  constructor(options: CopyOptions, { segId, keep }: PackOrder, target: CopyTarget) {
    const { containers, segmentSlots, seeds } = options;
    this.#options = options;
    this.#target = target;
    this.#segId = segId;
    this.#source = new SegmentSource(containers, segId, segmentSlots, seeds);
    try {
      const header = this.#source.header();
      if (header === undefined) throw new FormatError(`segment ${segId}: header unreadable`);
      const footer = this.#source.footer(header.header.epoch);
      if (footer === undefined) throw new FormatError(`segment ${segId}: footer unreadable`);
      this.#epoch = header.header.epoch;
      this.#segmentHeader = withoutZeros(header.bytes);
      this.#footer = footer;
      this.#slotCrcs = this.#loadSlotCrcs(footer);
      this.#bitmap = new Uint8Array(packMapBytes(footer.header.endSlot));
      this.#choose(keep);
    } catch (thrown) {
      this.#source.close();
      throw thrown;
    }
  }

  close(): void {
    this.#source.close();
  }

  /** Copies up to `slotsMax` slots; the member when that was all. Throws DiskError, and FormatError when the segment must stay where it is. */
  step(slotsMax: number): PackMember | undefined {
    const until = this.#crcs.length + slotsMax;
    const { endSlot } = this.#footer.header;
    while (this.#slot < endSlot) {
      if (this.#crcs.length >= until) return undefined;
      if (isSlotIn(this.#bitmap, this.#slot)) this.#copyPiece();
      else this.#slot += 1;
    }
    return this.#finish();
  }

  /** Data blocks as ordered, and headers of frames with catalogue records, whose payloads are in them. */
  #choose(keep: Uint8Array): void {
    const { header, bytes } = this.#footer;
    const packed = this.#options.containers.find(this.#segId);
    let entry = 0;
    for (let at = 0; at < header.frameCount; at += 1) {
      const frame = footerFrame(bytes, header, at);
      const end = entry + frame.descriptors;
      let hasRecords = false;
      for (; entry < end; entry += 1) hasRecords ||= !isDataType(footerEntryType(bytes, entry));
      const data = frame.slot + frame.headerBlocks;
      for (let slot = frame.slot; slot < data + frame.dataBlocks; slot += 1) {
        const isHeader = slot < data;
        if (isHeader ? !hasRecords : !isSlotIn(keep, slot)) continue;
        if (packed?.has(slot) === false) {
          throw new FormatError(`${describeAddress(addressOf(this.#segId, slot))} was given up`);
        }
        addSlot(this.#bitmap, slot);
        if (isHeader) this.#headers.add(slot);
        else this.#keptBlocks += 1;
      }
      if (hasRecords) this.#checkHeader(frame.slot);
    }
  }

  #checkHeader(slot: number): void {
    const address = addressOf(this.#segId, slot);
    const loaded = this.#source.reader().frame(address);
    if (loaded?.frame.epoch === this.#epoch) return;
    throw new FormatError(`${describeAddress(address)}: the frame is damaged`);
  }

  #copyPiece(): void {
    const first = this.#slot;
    const { endSlot } = this.#footer.header;
    while (
      this.#slot < endSlot &&
      this.#slot - first < pieceSlots &&
      isSlotIn(this.#bitmap, this.#slot)
    ) {
      this.#slot += 1;
    }
    const address = addressOf(this.#segId, first);
    const reader = this.#source.reader();
    const piece = reader.slots(address, this.#slot - first);
    if (piece === undefined) {
      const error = reader.takeReadError() ?? 'too short';
      throw new FormatError(`${describeAddress(address)} cannot be read: ${error}`);
    }
    const offset = this.#target.offset + this.#crcs.length * slotSizeBytes;
    for (let slot = first; slot < this.#slot; slot += 1) {
      const at = (slot - first) * slotSizeBytes;
      this.#checkBlock(slot, piece.subarray(at, at + slotSizeBytes));
    }
    this.#target.file.write([piece], offset);
  }

  #checkBlock(slot: number, block: Uint8Array): void {
    const address = addressOf(this.#segId, slot);
    const crc = crc32c(block, this.#options.seeds.block(address));
    // Headers were compared as frames.
    if (!this.#headers.has(slot) && crc !== this.#slotCrcs[slot]) {
      throw new FormatError(`${describeAddress(address)}: data does not match its checksum`);
    }
    this.#crcs.push(crc);
  }

  /** As who wrote the blocks says; of a pack whose footers are thinned, as that one does. */
  #loadSlotCrcs({ bytes, header }: Footer): Uint32Array {
    const packed = this.#options.containers.find(this.#segId);
    if (packed?.pack.isThinned !== true) return footerSlotCrcs(bytes, header);
    const meta = this.#source.packMeta();
    if (meta === undefined) throw new FormatError(`segment ${this.#segId}: checksums unreadable`);
    return packed.crcsBySlot(meta.subarray(packed.member.footerBytes));
  }

  #isRecordKept({ type, address, blockCount }: FooterEntry): boolean {
    if (type !== RecordType.write) return true;
    const first = slotOf(address);
    for (let slot = first; slot < first + blockCount; slot += 1) {
      if (isSlotIn(this.#bitmap, slot)) return true;
    }
    return false;
  }

  /** Footer and checksums go behind the blocks. */
  #finish(): PackMember {
    const { packId, offset, file } = this.#target;
    const { header } = this.#footer;
    const isKept = (entry: FooterEntry): boolean => this.#isRecordKept(entry);
    const bytes = thinFooter(this.#footer.bytes, header, isKept, this.#options.seeds);
    const shape = { offset, footerBytes: bytes.length, keptSlots: this.#crcs.length };
    const metaOffset = offset + this.#crcs.length * slotSizeBytes;
    const meta = new Uint8Array(packMetaBytes(shape));
    meta.set(bytes);
    const view = viewOf(meta);
    this.#crcs.forEach((crc, rank) => {
      view.setUint32(bytes.length + rank * 4, crc, true);
    });
    const padding = new Uint8Array(packMemberEnd(shape) - metaOffset - meta.length);
    file.write([meta, padding], metaOffset);
    return {
      ...shape,
      segId: this.#segId,
      epoch: this.#epoch,
      endSlot: header.endSlot,
      entryCount: header.entryCount,
      digest: header.digest,
      segmentHeader: this.#segmentHeader,
      bitmap: this.#crcs.length === 0 ? new Uint8Array(0) : this.#bitmap,
      keptBlocks: this.#keptBlocks,
      metaCrc: packMetaCrc(meta, packId, this.#segId, this.#options.seeds),
    };
  }
}

function withoutZeros(slot: Uint8Array): Uint8Array {
  let length = slot.length;
  while (length > 0 && slot[length - 1] === 0) length -= 1;
  return slot.slice(0, length);
}
