/**
 * Scan: walks the frames of one segment file and derives everything that a footer holds. Used by recovery (with data
 * verified), by sealing (headers only: the data was checksummed when it was written) and by verify and rebuild.
 *
 * A scan may be made in steps (the scrubber does) or at once.
 *
 *     slot 1 ─▶ frame ok ─▶ frame ok ─▶ frame bad at slot s
 *                                       s below the durable limit?  no: the log ends here (a torn tail)
 *                                                                   yes: rot: note it, look for the next frame behind
 */
import { createHash } from 'node:crypto';
import { crc32c } from '../../base/crc32c.ts';
import { DiskError, type DiskFile } from '../../base/ports.ts';
import {
  addressOf,
  describeAddress,
  frameAddressOf,
  positionOf,
  slotOf,
  slotSizeBytes,
} from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import type { FooterContents, FooterEntry, FooterFrame } from '../format/footer.ts';
import { FormatError } from '../format/format-error.ts';
import {
  blockCrc,
  decodeDescriptor,
  type FrameHeader,
  frameEnd,
  peekFrame,
  verifyFrameHeader,
} from '../format/frame.ts';
import { finish, type Steps } from '../steps.ts';

export interface ScanOptions {
  readonly segId: number;
  readonly epoch: number;
  /** Slot 0 as read, for the digest. */
  readonly segmentHeader: Uint8Array;
  readonly segmentSlots: number;
  readonly seeds: Seeds;
  readonly verifiesData: boolean;
  /** Stop at this address whatever lies there (end of the log in this segment, when it is known). */
  readonly endLimit: number;
  /** What does not verify below this address has rotted; above, it is a torn tail. */
  readonly durableLimit: number;
  /** Checksum of the segment's header, with which the chain of frame checksums begins; undefined = the chain is not looked at. */
  readonly chainFrom?: number;
}

export interface SegmentScan extends FooterContents {
  /** First address behind the last accepted frame. */
  readonly endAddress: number;
  /** Where data blocks do not match their checksum, and where no frame could be read, in words. */
  readonly faults: readonly string[];
  /** Addresses of data blocks that do not match their checksum. */
  readonly badBlocks: readonly number[];
  /** Some frame could not be read: nobody knows what it changed. */
  readonly isIncomplete: boolean;
  /** Greatest durableThrough of all frames. */
  readonly durableThrough: number;
  readonly lastHlcMs: number;
}

/** Slots that are read at once where frames are looked for: about 50 us. */
export const slotsAtOnceMax = 64;

/** All that a scan needs of a file. */
type Readable = Pick<DiskFile, 'read'>;

/** A frame read whole: header blocks in `bytes`, then (when asked for) data. */
export interface LoadedFrame {
  readonly frame: FrameHeader;
  readonly header: Uint8Array;
}

export class SegmentReader {
  readonly #file: Readable;
  readonly #segmentSlots: number;
  readonly #seeds: Seeds;
  #readError: string | undefined;
  /** Memory of slots that are looked at and forgotten: many megabytes of them are, and what is given back is collected all at once. */
  #window: Uint8Array | undefined;

  constructor(file: Readable, segmentSlots: number, seeds: Seeds) {
    this.#file = file;
    this.#segmentSlots = segmentSlots;
    this.#seeds = seeds;
  }

  /** Bytes of `count` slots from `address` on; undefined when they cannot be read in full. */
  slots(address: number, count: number): Uint8Array | undefined {
    const bytes = new Uint8Array(count * slotSizeBytes);
    return this.#readInto(bytes, address) === bytes.length ? bytes : undefined;
  }

  /** The same of at most `slotsAtOnceMax`: good until it is called again. */
  glance(address: number, count: number): Uint8Array | undefined {
    const bytes = this.#glanceAtSome(address, count);
    return bytes?.length === count * slotSizeBytes ? bytes : undefined;
  }

  /** The part of it that lies before the end of the file; undefined when the disk refuses. */
  #glanceAtSome(address: number, count: number): Uint8Array | undefined {
    this.#window ??= new Uint8Array(slotsAtOnceMax * slotSizeBytes);
    const bytesRead = this.#readInto(this.#window.subarray(0, count * slotSizeBytes), address);
    return bytesRead === undefined ? undefined : this.#window.subarray(0, bytesRead);
  }

  /** How many bytes there were; undefined when the disk refuses. */
  #readInto(bytes: Uint8Array, address: number): number | undefined {
    try {
      return this.#file.read(bytes, slotOf(address) * slotSizeBytes);
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      this.#readError = thrown.message;
      return undefined;
    }
  }

  /** What the disk said to the newest read that it refused since this was asked last. */
  takeReadError(): string | undefined {
    const error = this.#readError;
    this.#readError = undefined;
    return error;
  }

  /** The frame that starts at `address`, header verified; undefined when there is none. */
  frame(address: number): LoadedFrame | undefined {
    const first = this.slots(address, 1);
    if (first === undefined) return undefined;
    const frame = peekFrame(first, address, this.#segmentSlots);
    if (frame === undefined) return undefined;
    const header = frame.headerBlocks === 1 ? first : this.slots(address, frame.headerBlocks);
    if (header === undefined || !verifyFrameHeader(header, frame, this.#seeds)) return undefined;
    return { frame, header };
  }

  /** Addresses of the frame's data blocks that do not match their checksums. */
  badBlocks(loaded: LoadedFrame): number[] {
    const { frame, header } = loaded;
    if (frame.dataBlocks === 0) return [];
    const start = frame.address + frame.headerBlocks;
    const data = this.slots(start, frame.dataBlocks);
    const bad: number[] = [];
    for (let index = 0; index < frame.dataBlocks; index += 1) {
      const block =
        data === undefined
          ? this.slots(start + index, 1)
          : data.subarray(index * slotSizeBytes, (index + 1) * slotSizeBytes);
      const isGood =
        block !== undefined &&
        crc32c(block, this.#seeds.block(start + index)) === blockCrc(header, frame, index);
      if (!isGood) bad.push(start + index);
    }
    return bad;
  }

  /** First frame at or behind `address`, below `limit`; undefined when there is none. */
  nextFrame(address: number, epoch: number, limit: number): LoadedFrame | undefined {
    return finish(this.findFrame(address, epoch, limit));
  }

  /** The same in steps. Behind the last frame there may be thousands of slots, so more and more of them are read at once. */
  *findFrame(address: number, epoch: number, limit: number): Steps<LoadedFrame | undefined> {
    let count = 1;
    for (let at = address; at < limit; ) {
      const found = this.#frameAmong(at, count, epoch);
      if (found !== undefined) return found;
      yield;
      at += count;
      count = Math.min(count * 2, slotsAtOnceMax, limit - at);
    }
    return undefined;
  }

  /** First frame of `epoch` that begins in one of `count` slots. */
  #frameAmong(address: number, count: number, epoch: number): LoadedFrame | undefined {
    const error = this.#readError;
    const bytes = count === 1 ? undefined : this.#glanceAtSome(address, count);
    // What cannot be read as a whole is read one by one, and may not be refused then. A file that nobody prepared ends early.
    this.#readError = error;
    const slots = bytes === undefined ? count : Math.floor(bytes.length / slotSizeBytes);
    for (let index = 0; index < slots; index += 1) {
      const first = bytes?.subarray(index * slotSizeBytes, (index + 1) * slotSizeBytes);
      const mayBegin =
        first === undefined || peekFrame(first, address + index, this.#segmentSlots) !== undefined;
      const loaded = mayBegin ? this.frame(address + index) : undefined;
      if (loaded !== undefined && loaded.frame.epoch === epoch) return loaded;
    }
    return undefined;
  }
}

/** Walks the segment. Throws FormatError for frames of a newer version or with impossible contents that verify. */
export function scanSegment(file: Readable, options: ScanOptions): SegmentScan {
  const scanner = new SegmentScanner(file, options);
  scanner.step(Number.POSITIVE_INFINITY);
  return scanner.result();
}

/** A scan in steps. */
export class SegmentScanner {
  readonly #reader: SegmentReader;
  readonly #options: ScanOptions;
  readonly #frames: FooterFrame[] = [];
  readonly #entries: FooterEntry[] = [];
  readonly #faults: string[] = [];
  readonly #badBlocks: number[] = [];
  #isIncomplete = false;
  readonly #slotCrcs: Uint32Array;
  readonly #digest = createHash('sha256');
  #durableThrough = 0;
  readonly #limit: number;
  #address: number;
  /** Of the structure before the next frame; undefined when it is not known. */
  #chain: number | undefined;

  constructor(file: Readable, options: ScanOptions) {
    this.#options = options;
    this.#reader = new SegmentReader(file, options.segmentSlots, options.seeds);
    this.#slotCrcs = new Uint32Array(options.segmentSlots);
    this.#digest.update(options.segmentHeader.subarray(0, slotSizeBytes));
    const { segId, segmentSlots, endLimit } = options;
    this.#limit = Math.min(endLimit, addressOf(segId, segmentSlots - 1) + 1);
    this.#address = addressOf(segId, 1);
    this.#chain = options.chainFrom;
  }

  /** Address up to which it has come: behind the last accepted frame. */
  get address(): number {
    return this.#address;
  }

  /** Looks at frames until at least `slots` slots were read; answers whether the scan has ended. */
  step(slots: number): boolean {
    const until = Math.min(this.#limit, this.#address + slots);
    while (this.#address < until) {
      const loaded = this.#acceptable(this.#address, this.#limit);
      if (loaded === undefined) return true;
      this.#accept(loaded);
      this.#address = frameEnd(loaded.frame);
    }
    return this.#address >= this.#limit;
  }

  /** What the scan has found; once, when it has ended. */
  result(): SegmentScan {
    const { segId, epoch } = this.#options;
    const endAddress = this.#address;
    const endSlot = endAddress - addressOf(segId, 0);
    return {
      segId,
      epoch,
      endSlot,
      endAddress,
      entries: this.#entries,
      frames: this.#frames,
      slotCrcs: this.#slotCrcs,
      digest: this.#digest.digest(),
      faults: this.#faults,
      badBlocks: this.#badBlocks,
      isIncomplete: this.#isIncomplete,
      durableThrough: this.#durableThrough,
      lastHlcMs: this.#frames.at(-1)?.hlcMs ?? 0,
    };
  }

  /** The frame to take at `address`, or (after rot) the next one behind; undefined = the log ends. */
  #acceptable(address: number, limit: number): LoadedFrame | undefined {
    const { epoch, durableLimit, verifiesData } = this.#options;
    const loaded = this.#reader.frame(address);
    const bad = loaded !== undefined && verifiesData ? this.#reader.badBlocks(loaded) : [];
    // What the disk refuses to read may have been acknowledged: that is never a torn tail.
    const readError = this.#reader.takeReadError();
    const isTorn = address >= durableLimit && readError === undefined;
    if (loaded === undefined || loaded.frame.epoch !== epoch || frameEnd(loaded.frame) > limit) {
      if (isTorn) return undefined;
      const next = this.#reader.nextFrame(address + 1, epoch, limit);
      const to = next?.frame.address ?? Math.max(address + 1, Math.min(limit, durableLimit));
      const reason = readError === undefined ? '' : ` (${readError})`;
      this.#isIncomplete = true;
      this.#chain = undefined;
      this.#faults.push(
        `${describeAddress(address)} to ${slotOf(to - 1)}: no readable frame${reason}; writes recorded there are lost`,
      );
      return next;
    }
    if (bad.length > 0 && isTorn) return undefined;
    for (const block of bad) {
      this.#badBlocks.push(block);
      this.#faults.push(badBlockText(block));
    }
    return loaded;
  }

  /** A frame that verifies, but not behind the one that it was written behind. */
  #checkChain({ address, previousCrc, crc }: FrameHeader): void {
    if (this.#options.chainFrom === undefined) return;
    if (this.#chain !== undefined && this.#chain !== previousCrc) {
      this.#faults.push(
        `${describeAddress(address)}: the frame does not follow the one before it (chain of checksums)`,
      );
    }
    this.#chain = crc;
  }

  #accept({ frame, header }: LoadedFrame): void {
    this.#checkChain(frame);
    this.#digest.update(header.subarray(0, frame.headerBlocks * slotSizeBytes));
    this.#durableThrough = Math.max(this.#durableThrough, frame.durableThrough);
    const slot = slotOf(frame.address);
    this.#frames.push({
      slot,
      headerBlocks: frame.headerBlocks,
      descriptors: frame.descriptors,
      dataBlocks: frame.dataBlocks,
      hlcMs: frame.hlcMs,
      hlcCounter: frame.hlcCounter,
    });
    for (let index = 0; index < frame.dataBlocks; index += 1) {
      this.#slotCrcs[slot + frame.headerBlocks + index] = blockCrc(header, frame, index);
    }
    for (let index = 0; index < frame.descriptors; index += 1) {
      const descriptor = decodeDescriptor(header, frame, index);
      this.#entries.push({
        position: positionOf(frame.address, index),
        address: descriptor.address,
        lba: descriptor.lba,
        blockCount: descriptor.blockCount,
        line: descriptor.line,
        timeDelta: descriptor.timeDelta,
        type: descriptor.type,
        flags: descriptor.flags,
        writer: descriptor.writer,
      });
    }
  }
}

export function badBlockText(address: number): string {
  return `${describeAddress(address)}: data does not match its checksum`;
}

/** Payloads of a segment's catalogue records. The frame of the last one is kept: five hundred snapshots of one cut are in one frame. */
export class RecordPayloads {
  readonly #reader: SegmentReader;
  #frame: LoadedFrame | undefined;

  constructor(reader: SegmentReader) {
    this.#reader = reader;
  }

  /** Of the record at `position`; a copy. Throws FormatError when it cannot be read. */
  at(position: number): Uint8Array {
    const address = frameAddressOf(position);
    if (this.#frame?.frame.address !== address) this.#frame = this.#reader.frame(address);
    if (this.#frame === undefined) {
      throw new FormatError(`no frame at ${describeAddress(address)} for a catalogue record`);
    }
    const { header, frame } = this.#frame;
    const index = position - positionOf(address, 0);
    const { payloadOffset, payloadLength } = decodeDescriptor(header, frame, index);
    return header.slice(payloadOffset, payloadOffset + payloadLength);
  }
}
