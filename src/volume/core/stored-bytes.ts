/**
 * Stored bytes: what the pool takes on disk, counted so that asking costs nothing per write.
 *
 *     stored = segment files + packs + index runs + manifest      every second: what was added or packed since
 *            + segments that the log went through since            one addition each
 *            + slots of the segment that is being written           read from the log
 *
 * A segment that the log has left counts in full with its footer, whatever of it was written: the file is that long. Files
 * that wait to be written (ready segments, leftovers) do not count: they are what the next writes go into.
 */
import { present } from '../../base/assert.ts';
import { type Disk, DiskError } from '../../base/ports.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import { footerCrcOffset, footerSizeBytes } from '../format/footer.ts';
import type { RunPlace } from '../index/run-format.ts';
import { runPath } from '../index/run-path.ts';
import type { LogWriter } from '../log/log-writer.ts';
import { manifestFiles } from '../manifest-database.ts';
import type { SegmentState } from '../recovery/segment-table.ts';
import type { StoredBytes } from '../reports.ts';
import type { PoolParts } from './parts.ts';

/**
 * Runs whose size is looked up in one go: 2 us each, but up to 400 where the system does not know them yet, as when a pool is opened. Those
 * of a large pool are measured by the keeper then.
 */
const runsPerCount = 50;
/** Parts of a footer but its table of frames: what each has, each entry and each slot. */
const footerBytes = footerCrcOffset({ entryCount: 0 }) + footerSizeBytes(0, 0, 0);
const entryBytes = footerCrcOffset({ entryCount: 1 }) - footerCrcOffset({ entryCount: 0 });
const slotCrcBytes = footerSizeBytes(0, 1, 0) - footerSizeBytes(0, 0, 0);

/** Which runs there are, and how large their files. */
export interface MeasuredRuns {
  /** Grows with every change. */
  readonly version: number;
  /** Bytes of the files that were measured; how many were not, and the first so many of them. */
  readonly bytes: number;
  readonly notMeasured: number;
  firstNotMeasured(count: number): readonly RunPlace[];
  measured(place: RunPlace, bytes: number): void;
}

/** Which segments lie in packs: those that do stay in one or another, and new ones come last. */
export interface PackList {
  /** Bytes of all packs. */
  readonly packedBytes: number;
  find(segId: number): unknown;
  segIds(): Iterable<number>;
}

/** What it needs of the pool. */
type CountedParts = Pick<PoolParts, 'segmentById' | 'settings'> & {
  readonly host: { readonly disk: Pick<Disk, 'sizeOf'> };
  readonly writer: { readonly log: Pick<LogWriter, 'place'> } | undefined;
};

export class StoredCount {
  readonly #parts: CountedParts;
  readonly #runs: MeasuredRuns;
  readonly #packs: PackList;
  readonly #segmentBytes: number;
  #counted: StoredBytes = { segmentBytes: 0, packBytes: 0, runBytes: 0, manifestBytes: 0 };
  /** Sum of what was counted. */
  #countedTotal = 0;
  /** Segments that the log opened since: it has left as many. */
  #openedSince = 0;
  /** What the count is of; when it is the same nothing has to be counted again. */
  #countedState = '';
  /** Sealed segments from the first on, all that were counted, whether packed or not; and their bytes. */
  #sealedCount = 0;
  #sealedBytes = 0;
  /** Packed segments that were seen, those of them that were not sealed then, and what of `#sealedBytes` the others have: no files. */
  #packedCount = 0;
  #newPacked: number[] = [];
  #packedBytes = 0;
  /** Bytes of all packs when that was looked at. */
  #packedState = -1;

  constructor(parts: CountedParts, { runs, packs }: { runs: MeasuredRuns; packs: PackList }) {
    this.#parts = parts;
    this.#runs = runs;
    this.#packs = packs;
    this.#segmentBytes = parts.settings.segmentSlots * slotSizeBytes;
  }

  /** Without what waits to be logged. Cheap. */
  get total(): number {
    const nextSlot = this.#parts.writer?.log.place.nextSlot ?? 0;
    return this.#countedTotal + this.#openedSince * this.#segmentBytes + nextSlot * slotSizeBytes;
  }

  /** What the last count found, and the log went through since. */
  get parts(): StoredBytes {
    const nextSlot = this.#parts.writer?.log.place.nextSlot ?? 0;
    const { segmentBytes, ...others } = this.#counted;
    const since = this.#openedSince * this.#segmentBytes + nextSlot * slotSizeBytes;
    return { ...others, segmentBytes: segmentBytes + since };
  }

  /** The log opened another segment, and left one. */
  segmentOpened(): void {
    if (this.#parts.segmentById.size > 1) this.#openedSince += 1;
  }

  /** Counts again, when something changed. */
  count(): void {
    if (this.#openedSince === 0 && this.#countedState === this.#state) return;
    const segments = this.#segments();
    this.#measureRuns();
    const runBytes = this.#runs.bytes;
    const manifestBytes = this.#manifestBytes();
    const packBytes = this.#packs.packedBytes;
    this.#counted = { segmentBytes: segments.bytes, packBytes, runBytes, manifestBytes };
    this.#countedTotal = segments.bytes + packBytes + runBytes + manifestBytes;
    this.#openedSince = 0;
    // Footers and sizes of runs that are still to come are counted next time.
    const isComplete = segments.isSealed && this.#runs.notMeasured === 0;
    this.#countedState = isComplete ? this.#state : '';
  }

  get #state(): string {
    const { size } = this.#parts.segmentById;
    return `${size} ${this.#packs.packedBytes} ${this.#runs.version}`;
  }

  /**
   * Segments with files of their own, but the one that is being written. What is sealed is counted once: of a pool of many TiB only
   * what was added or packed since is looked at.
   */
  #segments(): { readonly bytes: number; readonly isSealed: boolean } {
    const { segmentById, writer } = this.#parts;
    const current = writer?.log.place.segId;
    const { end, written, entries, slots } = segmentById.sealedSums(this.#sealedCount);
    this.#sealedBytes += (end - this.#sealedCount) * this.#segmentBytes;
    // As footerBytesOf of each.
    this.#sealedBytes += written * footerBytes + entries * entryBytes + slots * slotCrcBytes;
    this.#sealedCount = end;
    this.#countPacked();
    let bytes = this.#sealedBytes - this.#packedBytes;
    let isSealed = true;
    for (let index = this.#sealedCount; index < segmentById.size; index += 1) {
      const segment = present(segmentById.at(index), 'segment of the table');
      if (segment.segId === current || this.#packs.find(segment.segId) !== undefined) continue;
      bytes += this.#bytesOf(segment);
      if (!segment.isSealed) isSealed = false;
    }
    return { bytes, isSealed };
  }

  /** Takes those off that were packed since: of what was counted as sealed, the others wait for that. */
  #countPacked(): void {
    if (this.#packedState !== this.#packs.packedBytes) this.#notePacked();
    const end = this.#parts.segmentById.segIdAt(this.#sealedCount);
    const waiting = this.#newPacked;
    this.#newPacked = [];
    for (const segId of waiting) {
      const segment = this.#parts.segmentById.get(segId);
      if (end > 0 && segId >= end) this.#newPacked.push(segId);
      else if (segment !== undefined) this.#packedBytes += this.#bytesOf(segment);
    }
  }

  #notePacked(): void {
    this.#packedState = this.#packs.packedBytes;
    let index = 0;
    for (const segId of this.#packs.segIds()) {
      if (index >= this.#packedCount) this.#newPacked.push(segId);
      index += 1;
    }
    this.#packedCount = index;
  }

  #bytesOf(segment: SegmentState): number {
    return this.#segmentBytes + footerBytesOf(segment, this.#segmentBytes);
  }

  /** Of many that are new a part at a time. */
  #measureRuns(): void {
    if (this.#runs.notMeasured === 0) return;
    for (const place of this.#runs.firstNotMeasured(runsPerCount)) {
      // One that cannot be looked at holds up none behind it.
      this.#runs.measured(place, this.#sizeOf(runPath(place)) ?? 0);
    }
  }

  #manifestBytes(): number {
    let bytes = 0;
    for (const name of manifestFiles) bytes += this.#sizeOf(name) ?? 0;
    return bytes;
  }

  #sizeOf(path: string): number | undefined {
    try {
      return this.#parts.host.disk.sizeOf(path);
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      return undefined;
    }
  }
}

/** Bytes of a segment's footer but for its table of frames (24 bytes for each): where its checksums lie tells the rest. */
export function footerBytesOf(
  { segId, endAddress, crcPlace }: SegmentState,
  segmentBytes: number,
): number {
  if (crcPlace === undefined || endAddress <= addressOf(segId, 0)) return 0;
  return crcPlace.offset - segmentBytes + footerSizeBytes(0, crcPlace.slots, 0);
}
