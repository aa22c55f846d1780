/**
 * Member check: one member of a pack read whole from the medium, in steps, and compared with everything that vouches for it.
 *
 *     segment header ─ names the segment before, its end and its digest    compared with that one, when it was checked just before
 *     footer         ─ its own checksums; entries, digest                  compared with what the pack says of the member
 *     kept slots     ─ a checksum each in the pack                         and the footer's
 *     catalogue records ─ their frames are there and verify
 */
import { crc32c } from '../../base/crc32c.ts';
import { viewOf } from '../../base/fields.ts';
import { DiskError } from '../../base/ports.ts';
import { addressOf, describeAddress, slotSizeBytes } from '../format/address.ts';
import {
  decodeFooterHeader,
  type FooterEntry,
  footerEntry,
  footerSlotCrcs,
  verifyFooter,
} from '../format/footer.ts';
import { FormatError } from '../format/format-error.ts';
import { packMetaBytes, packMetaCrc } from '../format/pack.ts';
import { decodeSegmentHeader, type SegmentHeader } from '../format/segment-header.ts';
import { type PackedSegment, PackedSegmentFile } from '../pack/packed-segment.ts';
import type { ManifestRecord } from '../recovery/manifest.ts';
import { recordOf } from '../recovery/replay.ts';
import { badBlockText, RecordPayloads, SegmentReader } from '../recovery/scan.ts';
import type { Footer } from '../recovery/segment-source.ts';
import type { ScrubFault } from '../reports.ts';
import { MediumFile } from './medium-file.ts';
import {
  badBlockFaults,
  type CheckedRow,
  type CheckedSegment,
  type CheckOptions,
  checkedRowOf,
  contradiction,
} from './segment-check.ts';

/** Blocks that are read at once. */
const pieceSlots = 256;

export class MemberCheck {
  readonly segId: number;
  /** Of the file that is read. */
  readonly path: string;
  readonly faults: ScrubFault[] = [];
  /** The same in words, one for each bad block. */
  readonly texts: string[] = [];
  readonly #options: CheckOptions;
  readonly #packed: PackedSegment;
  readonly #file: PackedSegmentFile;
  readonly #before: CheckedSegment | undefined;
  readonly #bad = new Set<number>();
  readonly #header: SegmentHeader | undefined;
  #footer: Footer | undefined;
  #slotCrcs: Uint32Array = new Uint32Array(0);
  #crcs: DataView = new DataView(new ArrayBuffer(0));
  /** The next slot to look at. */
  #slot = 0;
  #slotsRead = 0;

  /** `path`: of the pack. Throws DiskError. */
  constructor(
    options: CheckOptions,
    packed: PackedSegment,
    path: string,
    before: CheckedSegment | undefined,
  ) {
    this.segId = packed.member.segId;
    this.path = path;
    this.#options = options;
    this.#packed = packed;
    this.#before = before;
    this.#header = decodeSegmentHeader(packed.segmentHeader(), this.segId, options.seeds);
    this.#file = new PackedSegmentFile(packed, new MediumFile(options.disk, path, options.window));
  }

  /** Slots read so far. */
  get slots(): number {
    return this.#slotsRead;
  }

  /** What the next segment must say of this one. */
  get checked(): CheckedSegment {
    const { segId, endSlot, digest } = this.#packed.member;
    return { segId, endAddress: addressOf(segId, endSlot), digest };
  }

  /** What the manifest must say of the segment. */
  get row(): CheckedRow | undefined {
    return this.#header && checkedRowOf(this.#header, this.#packed.member);
  }

  close(): void {
    this.#file.close();
  }

  /** Reads at least `bytes` more, unless that is all; answers whether it is. Throws DiskError, FormatError. */
  step(bytes: number): boolean {
    if (this.#slot === 0) {
      this.#begin();
      this.#slot = 1;
    }
    const until = this.#slotsRead + Math.ceil(bytes / slotSizeBytes);
    const { endSlot } = this.#packed.member;
    while (this.#slot < endSlot) {
      if (this.#slotsRead >= until) return false;
      this.#checkPiece();
    }
    this.#finish();
    return true;
  }

  /** Catalogue records of the segment, in order. Throws FormatError. */
  records(): ManifestRecord[] {
    const { segmentSlots, seeds } = this.#options;
    const payloads = new RecordPayloads(new SegmentReader(this.#file, segmentSlots, seeds));
    const records: ManifestRecord[] = [];
    for (const entry of this.#entries()) {
      const record = recordOf(entry, (position) => payloads.at(position));
      if (record !== undefined) records.push({ record, position: entry.position });
    }
    return records;
  }

  *#entries(): Generator<FooterEntry> {
    if (this.#footer === undefined) return;
    for (let index = 0; index < this.#footer.header.recordCount; index += 1) {
      yield footerEntry(this.#footer.bytes, index);
    }
  }

  #fault(text: string): void {
    const told = `segment ${this.segId} in pack ${this.#packed.packId}: ${text}`;
    this.texts.push(told);
    this.faults.push({ text: told, segId: this.segId, bad: undefined });
  }

  #begin(): void {
    const { member, packId } = this.#packed;
    const { segmentSlots, seeds } = this.#options;
    const header = this.#header;
    const text = header === undefined ? 'header unreadable' : contradiction(header, this.#before);
    if (text !== undefined) this.#fault(text);
    const meta = new Uint8Array(packMetaBytes(member));
    const bytesRead = this.#file.read(meta, segmentSlots * slotSizeBytes);
    const isWhole =
      bytesRead === meta.length && packMetaCrc(meta, packId, this.segId, seeds) === member.metaCrc;
    if (!isWhole) this.#fault('footer or checksums are damaged');
    this.#crcs = viewOf(meta.subarray(member.footerBytes));
    const bytes = meta.subarray(0, member.footerBytes);
    const footer = decodeFooterHeader(bytes, this.segId, member.epoch, seeds);
    if (footer === undefined || !verifyFooter(bytes, footer, seeds)) {
      this.#fault('footer damaged');
      return;
    }
    const isSame =
      footer.endSlot === member.endSlot &&
      footer.entryCount === member.entryCount &&
      Buffer.compare(footer.digest, member.digest) === 0;
    if (!isSame) this.#fault('footer and pack contradict each other');
    this.#footer = { header: footer, bytes };
    this.#slotCrcs = footerSlotCrcs(bytes, footer);
  }

  /** The next kept slots that lie side by side, or a stretch of slots that are not kept. */
  #checkPiece(): void {
    const { endSlot } = this.#packed.member;
    const first = this.#slot;
    if (!this.#packed.has(first)) {
      this.#slot += 1;
      return;
    }
    while (
      this.#slot < endSlot &&
      this.#slot - first < pieceSlots &&
      this.#packed.has(this.#slot)
    ) {
      this.#slot += 1;
    }
    const count = this.#slot - first;
    const piece = new Uint8Array(count * slotSizeBytes);
    const isRead = this.#read(piece, first) === piece.length;
    for (let index = 0; index < count; index += 1) {
      const at = index * slotSizeBytes;
      const block = piece.subarray(at, at + slotSizeBytes);
      const isThere = isRead || this.#read(block, first + index) === block.length;
      if (!isThere || !this.#isGood(first + index, block)) {
        this.#bad.add(addressOf(this.segId, first + index));
      }
      this.#slotsRead += 1;
    }
  }

  /** What a device refuses to read is as good as damaged. */
  #read(target: Uint8Array, slot: number): number {
    try {
      return this.#file.read(target, slot * slotSizeBytes);
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      return 0;
    }
  }

  #isGood(slot: number, block: Uint8Array): boolean {
    const crc = crc32c(block, this.#options.seeds.block(addressOf(this.segId, slot)));
    // Frame headers have no checksum in the footer: they carry their own. A thinned footer has none at all.
    const expected = this.#slotCrcs[slot] ?? 0;
    return (
      crc === this.#crcs.getUint32(this.#slotsRead * 4, true) &&
      (expected === 0 || expected === crc)
    );
  }

  #finish(): void {
    this.faults.push(...badBlockFaults(this.segId, this.#entries(), this.#bad));
    for (const address of this.#bad) this.texts.push(badBlockText(address));
    this.#tellBadHeaders();
    try {
      this.records();
    } catch (thrown) {
      if (!(thrown instanceof FormatError)) throw thrown;
      this.#fault(thrown.message);
    }
  }

  /** Bad slots that no record names hold headers. */
  #tellBadHeaders(): void {
    const told = new Set<number>();
    for (const { bad } of this.faults) {
      for (let index = 0; index < (bad?.blockCount ?? 0); index += 1) {
        told.add((bad?.address ?? 0) + index);
      }
    }
    for (const address of this.#bad) {
      if (told.has(address)) continue;
      this.faults.push({
        text: `${describeAddress(address)}: damaged`,
        segId: this.segId,
        bad: undefined,
      });
    }
  }
}
