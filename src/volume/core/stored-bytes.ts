/**
 * Stored bytes: what the pool takes on disk, counted so that asking costs nothing per write.
 *
 *     stored = segment files + packs + index runs + manifest      counted again every second, if anything changed
 *            + segments that the log went through since            one addition each
 *            + slots of the segment that is being written           read from the log
 *
 * A segment that the log has left counts in full with its footer, whatever of it was written: the file is that long. Files
 * that wait to be written (ready segments, leftovers) do not count: they are what the next writes go into.
 */
import { DiskError } from '../../base/ports.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import { footerSizeBytes } from '../format/footer.ts';
import type { RunPlace } from '../index/run-format.ts';
import { runName, runPath } from '../index/run-path.ts';
import type { SegmentState } from '../recovery/segment-table.ts';
import type { StoredBytes } from '../reports.ts';
import type { PoolParts } from './parts.ts';

/** Runs whose size is looked up in one go: 2 us each. */
const runsPerCount = 500;
const manifestFiles = ['manifest.db', 'manifest.db-wal', 'manifest.db-shm'];

/** Which runs there are. */
export interface RunList {
  /** Grows with every change. */
  readonly version: number;
  places(): readonly RunPlace[];
}

/** Which segments lie in packs. */
export interface PackList {
  /** Bytes of all packs. */
  readonly packedBytes: number;
  find(segId: number): unknown;
}

export class StoredCount {
  readonly #parts: PoolParts;
  readonly #runs: RunList;
  readonly #packs: PackList;
  readonly #segmentBytes: number;
  #counted: StoredBytes = { segmentBytes: 0, packBytes: 0, runBytes: 0, manifestBytes: 0 };
  /** Sum of what was counted. */
  #countedTotal = 0;
  /** Segments that the log opened since: it has left as many. */
  #openedSince = 0;
  /** What the count is of; when it is the same nothing has to be counted again. */
  #countedState = '';
  #runBytesByName = new Map<string, number>();
  #runsVersion = -1;

  constructor(parts: PoolParts, { runs, packs }: { runs: RunList; packs: PackList }) {
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
    const runBytes = this.#runBytes();
    const manifestBytes = this.#manifestBytes();
    const packBytes = this.#packs.packedBytes;
    this.#counted = { segmentBytes: segments.bytes, packBytes, runBytes, manifestBytes };
    this.#countedTotal = segments.bytes + packBytes + runBytes + manifestBytes;
    this.#openedSince = 0;
    // Footers and sizes of runs that are still to come are counted next time.
    const isComplete = segments.isSealed && this.#runsVersion === this.#runs.version;
    this.#countedState = isComplete ? this.#state : '';
  }

  get #state(): string {
    const { size } = this.#parts.segmentById;
    return `${size} ${this.#packs.packedBytes} ${this.#runs.version}`;
  }

  /** Segments with files of their own, but the one that is being written. */
  #segments(): { readonly bytes: number; readonly isSealed: boolean } {
    const { segmentById, writer } = this.#parts;
    const current = writer?.log.place.segId;
    let bytes = 0;
    let isSealed = true;
    for (const segment of segmentById.values()) {
      if (segment.segId === current || this.#packs.find(segment.segId) !== undefined) continue;
      bytes += this.#segmentBytes + footerBytesOf(segment, this.#segmentBytes);
      if (segment.crcPlace === undefined) isSealed = false;
    }
    return { bytes, isSealed };
  }

  #runBytes(): number {
    if (this.#runsVersion !== this.#runs.version) this.#lookUpRuns();
    let bytes = 0;
    for (const each of this.#runBytesByName.values()) bytes += each;
    return bytes;
  }

  /** A run never changes once it has its name; sizes of many that are new are looked up a part at a time. */
  #lookUpRuns(): void {
    const { version } = this.#runs;
    const known = this.#runBytesByName;
    const found = new Map<string, number>();
    let left = runsPerCount;
    for (const place of this.#runs.places()) {
      const name = runName(place);
      const size = known.get(name) ?? (left > 0 ? this.#sizeOf(runPath(place)) : undefined);
      if (!known.has(name)) left -= 1;
      if (size !== undefined) found.set(name, size);
    }
    this.#runBytesByName = found;
    this.#runsVersion = left >= 0 ? version : -1;
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
