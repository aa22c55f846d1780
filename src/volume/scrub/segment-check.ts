/**
 * Segment check: one segment read whole from the medium, in steps, and compared with everything that vouches for it.
 *
 *     header ─ names the segment before, its end and its digest           compared with that one, when it was checked just before
 *       └─ frame ─ frame ─ frame      each names the checksum of the one before; each block has its own
 *                             └─ footer                                 compared with what the frames say
 */
import type { Disk } from '../../base/ports.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import { encodeFooter, type FooterEntry } from '../format/footer.ts';
import { FormatError } from '../format/format-error.ts';
import { RecordType } from '../format/frame.ts';
import { decodeSegmentHeader, type SegmentHeader } from '../format/segment-header.ts';
import { type SegmentRow, segmentRowOf } from '../format/segment-rows.ts';
import type { SegmentEnd } from '../keeper-jobs.ts';
import { segmentPath } from '../log/segment-path.ts';
import type { ManifestRecord } from '../recovery/manifest.ts';
import { recordOf } from '../recovery/replay.ts';
import {
  badBlockText,
  RecordPayloads,
  SegmentReader,
  type SegmentScan,
  SegmentScanner,
} from '../recovery/scan.ts';
import type { ScrubFault } from '../reports.ts';
import { MediumFile } from './medium-file.ts';

export interface CheckOptions {
  readonly disk: Disk;
  readonly seeds: Seeds;
  readonly poolUuid: Uint8Array;
  readonly segmentSlots: number;
  /** From `Disk.memory`; one check at a time reads into it. */
  readonly window: Uint8Array;
}

/** What the next segment must say of one that was checked. */
export interface CheckedSegment {
  readonly segId: number;
  readonly endAddress: number;
  readonly digest: Uint8Array;
}

export class SegmentCheck {
  readonly segId: number;
  /** Of the file that is read. */
  readonly path: string;
  readonly faults: ScrubFault[] = [];
  /** The same in words, one for each bad block. */
  readonly texts: string[] = [];
  readonly #options: CheckOptions;
  readonly #segment: SegmentEnd & { readonly isSealed: boolean };
  readonly #file: MediumFile;
  readonly #reader: SegmentReader;
  readonly #scanner: SegmentScanner;
  readonly #header: SegmentHeader;
  #scan: SegmentScan | undefined;

  /** Throws DiskError, and FormatError when the segment's header is not readable. */
  constructor(
    options: CheckOptions,
    segment: SegmentEnd & { readonly isSealed: boolean },
    before: CheckedSegment | undefined,
  ) {
    const { disk, seeds, segmentSlots, window } = options;
    const { segId, endAddress } = segment;
    this.#options = options;
    this.#segment = segment;
    this.segId = segId;
    this.path = segmentPath(segId);
    this.#file = new MediumFile(disk, this.path, window);
    this.#reader = new SegmentReader(this.#file, segmentSlots, seeds);
    const segmentHeader = this.#reader.slots(addressOf(segId, 0), 1);
    const header = segmentHeader && decodeSegmentHeader(segmentHeader, segId, seeds);
    if (segmentHeader === undefined || header === undefined) {
      this.#file.close();
      throw new FormatError(`segment ${segId}: header unreadable`);
    }
    this.#header = header;
    const text = contradiction(header, before);
    if (text !== undefined) this.#fault(`segment ${segId}: ${text}`);
    this.#scanner = new SegmentScanner(this.#file, {
      segId,
      epoch: header.epoch,
      segmentHeader,
      segmentSlots,
      seeds,
      verifiesData: true,
      endLimit: endAddress,
      durableLimit: endAddress,
      chainFrom: header.crc,
    });
  }

  /** Slots read so far. */
  get slots(): number {
    return this.#scanner.address - addressOf(this.segId, 0);
  }

  /** What the next segment must say of this one; when the check has ended. */
  get checked(): CheckedSegment | undefined {
    if (this.#scan === undefined) return undefined;
    return { segId: this.segId, endAddress: this.#scan.endAddress, digest: this.#scan.digest };
  }

  /** What the manifest must say of the segment, when it is sealed; when the check has ended. */
  get row(): CheckedRow | undefined {
    const scan = this.#scan;
    return scan && checkedRowOf(this.#header, { ...scan, entryCount: scan.entries.length });
  }

  close(): void {
    this.#file.close();
  }

  /** Reads at least `bytes` more, unless that is all; answers whether it is. Throws FormatError for frames of a newer version. */
  step(bytes: number): boolean {
    if (!this.#scanner.step(Math.ceil(bytes / slotSizeBytes))) return false;
    const scan = this.#scanner.result();
    this.#scan = scan;
    const bad = new Set(scan.badBlocks);
    // Bad blocks are told with what is in them; all else in words.
    const badTexts = new Set(scan.badBlocks.map(badBlockText));
    for (const text of scan.faults) {
      if (badTexts.has(text)) this.texts.push(text);
      else this.#fault(text);
    }
    this.faults.push(...badBlockFaults(this.segId, scan.entries, bad));
    if (scan.endAddress < this.#segment.endAddress && scan.faults.length === 0) {
      this.#fault(`segment ${this.segId}: ends before the log does`);
    }
    if (this.#segment.isSealed) this.#compareFooter(scan);
    return true;
  }

  /** Catalogue records of the segment, in order. Throws FormatError. */
  records(): ManifestRecord[] {
    const payloads = new RecordPayloads(this.#reader);
    const records: ManifestRecord[] = [];
    for (const entry of this.#scan?.entries ?? []) {
      const record = recordOf(entry, (position) => payloads.at(position));
      if (record !== undefined) records.push({ record, position: entry.position });
    }
    return records;
  }

  #fault(text: string): void {
    this.texts.push(text);
    this.faults.push({ text, segId: this.segId, bad: undefined });
  }

  #compareFooter(scan: SegmentScan): void {
    const { poolUuid, seeds, segmentSlots } = this.#options;
    const expected = encodeFooter(scan, poolUuid, seeds);
    const found = new Uint8Array(expected.length);
    const bytesRead = this.#file.read(found, segmentSlots * slotSizeBytes);
    if (bytesRead === found.length && Buffer.compare(found, expected) === 0) return;
    this.#fault(
      `segment ${this.segId}: footer differs from the frames ('pool rebuild' makes it again)`,
    );
  }
}

/** What the manifest must say of a segment. */
export type CheckedRow = SegmentRow;

export const checkedRowOf = segmentRowOf;

/** How a segment's header contradicts what was found in the segment before; undefined = it does not. */
export function contradiction(
  header: SegmentHeader,
  before: CheckedSegment | undefined,
): string | undefined {
  if (before === undefined || header.previousSegId !== before.segId) return undefined;
  if (header.previousEnd !== before.endAddress) {
    return `says that segment ${before.segId} ends elsewhere`;
  }
  if (Buffer.compare(header.previousDigest, before.digest) === 0) return undefined;
  return `digest of segment ${before.segId} differs from its frames`;
}

/** What was recorded in bad blocks: one fault for neighbours of one record. */
export function badBlockFaults(
  segId: number,
  entries: Iterable<FooterEntry>,
  bad: ReadonlySet<number>,
): ScrubFault[] {
  const faults: ScrubFault[] = [];
  if (bad.size === 0) return faults;
  for (const { type, address, blockCount, line, lba } of entries) {
    if (type !== RecordType.write) continue;
    for (let index = 0; index < blockCount; index += 1) {
      if (!bad.has(address + index)) continue;
      const first = index;
      while (index + 1 < blockCount && bad.has(address + index + 1)) index += 1;
      const count = index - first + 1;
      faults.push({
        text: `segment ${segId}: ${count} bad of ${blockCount} blocks`,
        segId,
        bad: { address: address + first, blockCount: count, line, lba: lba + first },
      });
    }
  }
  return faults;
}
