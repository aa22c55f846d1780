/**
 * Segment source: the entries of a segment in log order, from its footer when it is sealed, else from a scan of its frames;
 * and the payloads of its catalogue records. What recovery, snapshot maps, rebuild and verify replay from. A packed segment
 * has header, footer, the blocks that are kept and the payloads of catalogue records, but no frames to scan.
 */
import { DiskError } from '../../base/ports.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import {
  decodeFooterHeader,
  type FooterEntry,
  type FooterHeader,
  footerCrcOffset,
  footerEntry,
  footerEntryType,
  footerHeaderBytes,
  footerSlotCrcs,
  verifyFooter,
} from '../format/footer.ts';
import { type PackMember, packMetaBytes, packMetaCrc } from '../format/pack.ts';
import { decodeSegmentHeader, type SegmentHeader } from '../format/segment-header.ts';
import type { CrcPlace } from '../io/block-reader.ts';
import type { Containers } from '../pack/containers.ts';
import type { SegmentMedium } from '../pack/packed-segment.ts';
import {
  RecordPayloads,
  type ScanOptions,
  SegmentReader,
  type SegmentScan,
  scanSegment,
} from './scan.ts';

export interface Footer {
  readonly header: FooterHeader;
  readonly bytes: Uint8Array;
}

export class SegmentSource {
  readonly segId: number;
  /** What its pack says of it; undefined when it lies in its own file. */
  readonly packed: PackMember | undefined;
  readonly #packId: number;
  readonly #file: SegmentMedium;
  readonly #segmentSlots: number;
  readonly #seeds: Seeds;
  #headerError: string | undefined;
  #payloads: RecordPayloads | undefined;

  /** Throws DiskError when the file cannot be opened. */
  constructor(containers: Containers, segId: number, segmentSlots: number, seeds: Seeds) {
    this.segId = segId;
    const packed = containers.find(segId);
    this.packed = packed?.member;
    this.#packId = packed?.packId ?? 0;
    this.#file = containers.open(segId);
    this.#segmentSlots = segmentSlots;
    this.#seeds = seeds;
  }

  close(): void {
    this.#file.close();
  }

  /** Slot 0 and what it says; undefined when there is no valid header. */
  header(): { readonly header: SegmentHeader; readonly bytes: Uint8Array } | undefined {
    const reader = this.reader();
    const bytes = reader.slots(addressOf(this.segId, 0), 1);
    this.#headerError = reader.takeReadError();
    if (bytes === undefined) return undefined;
    const header = decodeSegmentHeader(bytes, this.segId, this.#seeds);
    return header === undefined ? undefined : { header, bytes };
  }

  /** Why the disk refused to read slot 0 when `header` was asked for; undefined = it did not. */
  get headerError(): string | undefined {
    return this.#headerError;
  }

  reader(): SegmentReader {
    return new SegmentReader(this.#file, this.#segmentSlots, this.#seeds);
  }

  /** The verified footer, of a pack a thinned one; undefined when the segment is not sealed or the footer is damaged. */
  footer(segmentEpoch: number): Footer | undefined {
    const offset = this.#segmentSlots * slotSizeBytes;
    const head = this.#bytes(offset, footerHeaderBytes);
    if (head === undefined) return undefined;
    const header = decodeFooterHeader(head, this.segId, segmentEpoch, this.#seeds);
    if (header === undefined || (header.isThinned && this.packed === undefined)) return undefined;
    const bytes = this.#bytes(offset, header.totalBytes);
    if (bytes === undefined || !verifyFooter(bytes, header, this.#seeds)) return undefined;
    return { header, bytes };
  }

  /** Footer and checksums that its pack has of the segment, verified together; undefined when they are damaged, or there is none. */
  packMeta(): Uint8Array | undefined {
    if (this.packed === undefined) return undefined;
    const meta = this.#bytes(this.#segmentSlots * slotSizeBytes, packMetaBytes(this.packed));
    if (meta === undefined) return undefined;
    const crc = packMetaCrc(meta, this.#packId, this.segId, this.#seeds);
    return crc === this.packed.metaCrc ? meta : undefined;
  }

  /** Walks the frames; `overrides` as ScanOptions. Undefined when the segment is packed or its header is damaged. */
  scan(
    overrides: Pick<ScanOptions, 'verifiesData' | 'endLimit' | 'durableLimit'>,
  ): SegmentScan | undefined {
    const found = this.packed === undefined ? this.header() : undefined;
    if (found === undefined) return undefined;
    return scanSegment(this.#file, {
      segId: this.segId,
      epoch: found.header.epoch,
      segmentHeader: found.bytes,
      segmentSlots: this.#segmentSlots,
      seeds: this.#seeds,
      ...overrides,
    });
  }

  /** Payload of the catalogue record at `position`. Throws FormatError. */
  payload(position: number): Uint8Array {
    this.#payloads ??= new RecordPayloads(this.reader());
    return this.#payloads.at(position);
  }

  #bytes(offset: number, length: number): Uint8Array | undefined {
    const bytes = new Uint8Array(length);
    try {
      return this.#file.read(bytes, offset) === length ? bytes : undefined;
    } catch (thrown) {
      if (thrown instanceof DiskError) return undefined;
      throw thrown;
    }
  }
}

/** Where the checksum table of a sealed segment lies in its file. */
export function crcPlaceOf(footer: FooterHeader, segmentSlots: number): CrcPlace {
  return {
    offset: segmentSlots * slotSizeBytes + footerCrcOffset(footer),
    slots: footer.endSlot,
  };
}

/** The records of a footer whose type is not known to be data, in log order; the others cost a byte's look each. */
export function* catalogueEntries(
  footer: Footer,
  isData: (type: number) => boolean,
): Generator<FooterEntry> {
  for (let index = 0; index < footer.header.recordCount; index += 1) {
    const type = footerEntryType(footer.bytes, index);
    if (!isData(type)) yield footerEntry(footer.bytes, index);
  }
}

/** Calls `visit` for each entry of a footer, in log order. */
export function eachFooterEntry(footer: Footer, visit: (entry: FooterEntry) => void): void {
  for (let index = 0; index < footer.header.recordCount; index += 1) {
    visit(footerEntry(footer.bytes, index));
  }
}

/** The newest entry of a footer; undefined when it has none. */
export function lastEntryOf({ header, bytes }: Footer): FooterEntry | undefined {
  return header.recordCount === 0 ? undefined : footerEntry(bytes, header.recordCount - 1);
}

/** The checksum table of a footer that is not thinned. */
export function crcTableOf(footer: Footer): Uint32Array {
  return footerSlotCrcs(footer.bytes, footer.header);
}
