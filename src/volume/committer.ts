/**
 * Committer: the commit thread's work without the thread. Takes submitted frames from the ring, completes their checksums,
 * writes each with one gathered write, flushes once for all that were waiting, and says what is durable.
 *
 *     drain:  [frame 7: checksum, write] [frame 8: checksum, write] ── fdatasync ──▶ durable = 9
 *
 * A batch of frames that only write-back volumes wrote is flushed when a FLUSH wants it or when enough bytes have gathered.
 * Such frames, unless large, go into the page cache (QD32: 41k writes/s; past it 22k), those that are flushed at once go past it.
 *
 * Invariants
 * 1. A segment is flushed before anything is written to the next one, so a valid segment header vouches for all before it.
 * 2. `durableThrough` in a header is only ever the end of what a successful flush has covered.
 * 3. The first failed write or flush ends it: the ring is marked failed and this object never touches the disk again. Only a write
 *    that finds no space is done again, the same bytes at the same place, for as long as the caller has patience: nothing of it
 *    was acknowledged, and what lies before it was flushed meanwhile. A flush never is.
 */
import { createHash, type Hash } from 'node:crypto';
import { crc32c } from '../base/crc32c.ts';
import { toError } from '../base/errors.ts';
import { viewOf } from '../base/fields.ts';
import { type Disk, DiskError, type DiskFile } from '../base/ports.ts';
import {
  CommitRing,
  type CommitShared,
  control,
  job,
  ringSlotCount,
  unflushedBytesMax,
} from './commit-ring.ts';
import { addressOf, slotOf, slotSizeBytes } from './format/address.ts';
import { Seeds } from './format/checksum.ts';
import { blockCrcOffset, finishFrame } from './format/frame.ts';
import { finishSegmentHeader } from './format/segment-header.ts';
import { segmentFolder, segmentPath } from './log/segment-path.ts';

/** Larger frames go past the page cache in any case (write-back, 1 MiB: 417 MiB/s into it, 562 past it). */
const directBlocksMin = 64;

/** Whoever runs the committer. */
export interface CommitterHost {
  /** Frames were written that somebody waits for, frames became durable, or it failed. */
  onAdvance(): void;
  /**
   * The file system has no space for a write: returns after a moment, and it is tried again; false = that has been long enough.
   * `tries`: how often it was tried again already.
   */
  waitForSpace(tries: number): boolean;
}

export class Committer {
  readonly #ring: CommitRing;
  readonly #disk: Disk;
  readonly #seeds: Seeds;
  readonly #staging: Uint8Array;
  /** One view per staging page, made on first use: views are not free and pages are reused all the time. */
  readonly #pageViews: (Uint8Array | undefined)[];
  readonly #host: CommitterHost;
  /** The open segment. Flushed through this one: it was opened first, so it hears of every failed write-back. */
  #file: DiskFile | undefined;
  /** The same file, for frames that nobody waits for; opened when there is one. */
  #cachedFile: DiskFile | undefined;
  #segmentPath = '';
  #isFolderDirty = false;
  #isFileDirty = false;
  /** Running digest of the open segment; undefined before the first. */
  #digest: Hash | undefined;
  readonly #recoveredDigest: Uint8Array;
  #previousCrc = 0;
  #durableThrough: number;
  #writtenThrough: number;
  #written = 0;
  /** Bytes written since the last flush. */
  #unflushedBytes = 0;

  constructor(shared: CommitShared, disk: Disk, host: CommitterHost) {
    this.#ring = new CommitRing(shared);
    this.#disk = disk;
    this.#seeds = new Seeds(shared.poolUuid);
    this.#staging = new Uint8Array(shared.staging);
    this.#pageViews = Array.from({ length: shared.staging.byteLength / slotSizeBytes });
    this.#recoveredDigest = shared.previousDigest;
    this.#durableThrough = shared.durableThrough;
    this.#writtenThrough = shared.durableThrough;
    this.#host = host;
  }

  /** Writes and flushes everything submitted so far, and what is submitted meanwhile. Never throws DiskError: see `ring.failure`. */
  drain(): void {
    if (this.#ring.failure !== undefined) return;
    try {
      do {
        const needsFlush = this.#writeSubmitted();
        if (needsFlush || this.#isFlushWanted()) {
          this.#flush();
          this.#sayDurable();
        }
      } while (this.#written < this.#ring.submitted);
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      this.#ring.fail(toError(thrown).message);
      this.#host.onAdvance();
    }
  }

  /** Writes all submitted frames; answers whether somebody waits for them to be durable. */
  #writeSubmitted(): boolean {
    let needsFlush = false;
    let announces = false;
    while (this.#written < this.#ring.submitted) {
      const slot = this.#written % ringSlotCount;
      // Read before the slot is given back.
      const numbers = this.#ring.jobs[slot];
      needsFlush ||= numbers?.[job.needsFlush] === 1;
      announces ||= numbers?.[job.announces] === 1;
      this.#writeFrame(slot);
      this.#written += 1;
    }
    Atomics.store(this.#ring.control, control.written, this.#written);
    if (announces) this.#host.onAdvance();
    return needsFlush;
  }

  /** Everything that was written is durable. */
  #sayDurable(): void {
    Atomics.store(this.#ring.control, control.written, this.#written);
    Atomics.store(this.#ring.control, control.durable, this.#written);
    this.#host.onAdvance();
  }

  #isFlushWanted(): boolean {
    const wanted = Atomics.load(this.#ring.control, control.flushWanted);
    const durable = Atomics.load(this.#ring.control, control.durable);
    return wanted > durable || this.#unflushedBytes >= unflushedBytesMax;
  }

  /** Closes the file; nothing may be submitted afterwards. */
  close(): void {
    this.#closeSegment();
  }

  #closeSegment(): void {
    this.#cachedFile?.close();
    this.#cachedFile = undefined;
    this.#file?.close();
    this.#file = undefined;
  }

  /** Where the frame is written through. */
  #target(numbers: Float64Array): DiskFile | undefined {
    const isDirect =
      numbers[job.opensSegment] === 1 ||
      numbers[job.needsFlush] === 1 ||
      (numbers[job.dataBlocks] ?? 0) >= directBlocksMin;
    if (isDirect) return this.#file;
    this.#cachedFile ??= this.#disk.open(this.#segmentPath, { create: false });
    return this.#cachedFile;
  }

  #writeFrame(slot: number): void {
    const numbers = this.#ring.jobs[slot];
    const frameHeader = this.#ring.frameHeaders[slot];
    const whole = this.#ring.wholeHeaders[slot];
    if (numbers === undefined || frameHeader === undefined || whole === undefined) return;
    const frameAddress = numbers[job.frameAddress] ?? 0;
    const headerBytes = (numbers[job.headerBlocks] ?? 0) * slotSizeBytes;
    const opensSegment = numbers[job.opensSegment] === 1;
    if (opensSegment) this.#openSegment(numbers, whole.subarray(0, slotSizeBytes));
    const pieces = this.#checksumBlocks(slot, numbers, frameHeader);
    const header = frameHeader.subarray(0, headerBytes);
    this.#previousCrc = finishFrame(header, this.#durableThrough, this.#previousCrc, this.#seeds);
    this.#digest?.update(header);
    pieces[0] = opensSegment ? whole.subarray(0, slotSizeBytes + headerBytes) : header;
    const firstSlot = slotOf(frameAddress) - (opensSegment ? 1 : 0);
    const file = this.#target(numbers);
    this.#whenThereIsSpace(() => file?.write(pieces, firstSlot * slotSizeBytes));
    this.#isFileDirty = true;
    this.#unflushedBytes += headerBytes + (numbers[job.dataBlocks] ?? 0) * slotSizeBytes;
    this.#writtenThrough =
      frameAddress + (numbers[job.headerBlocks] ?? 0) + (numbers[job.dataBlocks] ?? 0);
  }

  #openSegment(numbers: Float64Array, segmentHeader: Uint8Array): void {
    this.#flush();
    this.#closeSegment();
    const segId = numbers[job.segId] ?? 0;
    const creates = numbers[job.createsFile] === 1;
    this.#segmentPath = segmentPath(segId);
    this.#file = this.#whenThereIsSpace(() =>
      this.#disk.open(this.#segmentPath, { create: creates, isDirect: true }),
    );
    this.#isFolderDirty = creates;
    this.#previousCrc = finishSegmentHeader(
      segmentHeader,
      this.#digest?.digest() ?? this.#recoveredDigest,
      this.#durableThrough,
      this.#seeds,
    );
    this.#digest = createHash('sha256').update(segmentHeader);
    this.#writtenThrough = addressOf(segId, 1);
  }

  /** What `call` answers; it is called again when it finds no space. */
  #whenThereIsSpace<T>(call: () => T): T {
    for (let tries = 0; ; tries += 1) {
      try {
        const answer = call();
        if (tries > 0) this.#ring.setWaitsForSpace(false);
        return answer;
      } catch (thrown) {
        this.#waitForSpace(thrown, tries);
      }
    }
  }

  /** Returns when what threw is to be tried again; throws it otherwise. Whoever waits for frames before this one waits no longer. */
  #waitForSpace(thrown: unknown, tries: number): void {
    if (!(thrown instanceof DiskError) || thrown.code !== 'ENOSPC') throw thrown;
    if (tries === 0) {
      // Where a segment is being opened nothing is dirty: the one before was flushed, and this one vouches for nothing yet.
      if (this.#isFileDirty) this.#flush();
      this.#ring.setWaitsForSpace(true);
      this.#sayDurable();
    }
    if (!this.#host.waitForSpace(tries)) throw thrown;
  }

  /** Puts the data blocks' checksums into the header; returns the pieces to write, with room for the header in front. */
  #checksumBlocks(slot: number, numbers: Float64Array, header: Uint8Array): Uint8Array[] {
    const pairs = this.#ring.pieces[slot];
    const pieces: Uint8Array[] = [header];
    if (pairs === undefined) return pieces;
    const view = viewOf(header);
    let at = blockCrcOffset(numbers[job.descriptors] ?? 0);
    let address = (numbers[job.frameAddress] ?? 0) + (numbers[job.headerBlocks] ?? 0);
    const pieceCount = numbers[job.pieceCount] ?? 0;
    for (let index = 0; index < pieceCount; index += 1) {
      const offset = pairs[index * 2] ?? 0;
      const length = pairs[index * 2 + 1] ?? 0;
      for (let page = offset; page < offset + length; page += slotSizeBytes) {
        view.setUint32(at, crc32c(this.#page(page), this.#seeds.block(address)), true);
        at += 4;
        address += 1;
      }
      pieces.push(
        length === slotSizeBytes
          ? this.#page(offset)
          : this.#staging.subarray(offset, offset + length),
      );
    }
    return pieces;
  }

  #page(offset: number): Uint8Array {
    const index = offset / slotSizeBytes;
    const known = this.#pageViews[index];
    if (known !== undefined) return known;
    const view = this.#staging.subarray(offset, offset + slotSizeBytes);
    this.#pageViews[index] = view;
    return view;
  }

  #flush(): void {
    if (this.#isFileDirty) {
      this.#file?.flush();
      this.#isFileDirty = false;
    }
    if (this.#isFolderDirty) {
      this.#disk.flushFolder(segmentFolder);
      this.#isFolderDirty = false;
    }
    this.#durableThrough = this.#writtenThrough;
    this.#unflushedBytes = 0;
  }
}
