/**
 * A log of blocks with the store's cleaning policy and nothing else: no bytes, no window, no snapshots. A block's address
 * never changes; a segment's content lies in its own container or, after cleaning, in a pack.
 */
import { present } from '../../src/base/assert.ts';
import {
  type Container,
  copyBytesOf,
  nextBatch,
  type PoolState,
} from '../../src/volume/cleaner/policy.ts';
import { slotSizeBytes } from '../../src/volume/format/address.ts';

export interface ModelOptions {
  readonly blockCount: number;
  readonly segmentBlocks: number;
  /** Space of the log, in segments. */
  readonly capacitySegments: number;
  /** Segments beside it that are only for copies. */
  readonly reserveSegments: number;
  /**
   * "full": nothing is copied before the capacity is used up, and then as much as a batch gives; so all of the capacity
   * works, as in the reference. "fill": the store's own rule, by the fill of the pool.
   */
  readonly trigger: 'full' | 'fill';
}

interface FileState {
  readonly segIds: number[];
  readonly blocks: number;
  readonly isPack: boolean;
  readonly madeAtSegId: number;
}

export class LogModel {
  readonly #options: ModelOptions;
  readonly #addressOfBlock: Float64Array;
  /** By segment id; all addresses of a segment lie in one file. */
  readonly #liveBlocks: number[] = [];
  readonly #files = new Map<number, FileState>();
  readonly #fileOfSegment: number[] = [];
  #nextFile = 0;
  #headSegId = 0;
  #headBlocks = 0;
  /** Blocks of all files but the head's. */
  #usedBlocks = 0;
  #written = 0;
  #copied = 0;
  #fillSum = 0;
  #fillCount = 0;

  constructor(options: ModelOptions) {
    this.#options = options;
    this.#addressOfBlock = new Float64Array(options.blockCount).fill(-1);
    this.#liveBlocks.push(0);
  }

  /** Counting begins here. */
  reset(): void {
    this.#written = 0;
    this.#copied = 0;
    this.#fillSum = 0;
    this.#fillCount = 0;
  }

  /** Blocks written by user and cleaner for each that the user wrote. */
  get writeAmplification(): number {
    return (this.#written + this.#copied) / this.#written;
  }

  /** How full the log was, on average, when a segment was begun. */
  get fill(): number {
    return this.#fillSum / this.#fillCount;
  }

  write(block: number): void {
    const { segmentBlocks } = this.#options;
    const before = this.#addressOfBlock[block] ?? -1;
    if (before >= 0) {
      const segId = Math.floor(before / segmentBlocks);
      this.#liveBlocks[segId] = (this.#liveBlocks[segId] ?? 0) - 1;
    }
    this.#addressOfBlock[block] = this.#headSegId * segmentBlocks + this.#headBlocks;
    this.#liveBlocks[this.#headSegId] = (this.#liveBlocks[this.#headSegId] ?? 0) + 1;
    this.#headBlocks += 1;
    this.#written += 1;
    if (this.#headBlocks === segmentBlocks) this.#seal();
  }

  #seal(): void {
    const { segmentBlocks, capacitySegments, trigger } = this.#options;
    const madeAtSegId = this.#headSegId;
    const segIds = [madeAtSegId];
    this.#addFile({ segIds, blocks: segmentBlocks, isPack: false, madeAtSegId });
    this.#headSegId += 1;
    this.#headBlocks = 0;
    this.#liveBlocks.push(0);
    const capacityBlocks = capacitySegments * segmentBlocks;
    const isFull = this.#usedBlocks > capacityBlocks - segmentBlocks;
    if (trigger === 'fill' || isFull) this.#clean();
    this.#fillSum += this.#usedBlocks / capacityBlocks;
    this.#fillCount += 1;
    if (this.#usedBlocks > capacityBlocks) throw new Error('the cleaner did not make room');
  }

  /** By the fill: all that the policy wants now. When full: one batch that makes room. */
  #clean(): void {
    const { segmentBlocks, trigger } = this.#options;
    for (;;) {
      const pool = this.#pool();
      const batch = nextBatch(pool);
      if (batch === undefined) return;
      const before = this.#usedBlocks;
      this.#run(batch.packs);
      const isRoomMade = before - this.#usedBlocks >= segmentBlocks;
      if (trigger === 'full' && isRoomMade) return;
    }
  }

  #pool(): PoolState {
    const { segmentBlocks, capacitySegments, reserveSegments, trigger } = this.#options;
    const containers: Container[] = [];
    let liveBytes = 0;
    for (const { segIds, blocks, isPack, madeAtSegId } of this.#files.values()) {
      const members = segIds.map((segId) => ({
        segId,
        liveBlocks: this.#liveBlocks[segId] ?? 0,
        fixedBytes: 0,
      }));
      liveBytes += copyBytesOf(members);
      containers.push({ sizeBytes: blocks * slotSizeBytes, members, isPack, madeAtSegId });
    }
    const free = capacitySegments * segmentBlocks - this.#usedBlocks;
    return {
      containers,
      liveBytes,
      garbageBytes: this.#usedBlocks * slotSizeBytes - liveBytes,
      headSegId: this.#headSegId,
      segmentBytes: segmentBlocks * slotSizeBytes,
      fill: this.#usedBlocks / (capacitySegments * segmentBlocks),
      pressure: trigger === 'full' ? 'hard' : 'none',
      spareBytes: (Math.max(0, free) + reserveSegments * segmentBlocks) * slotSizeBytes,
    };
  }

  #run(packs: readonly { readonly segIds: readonly number[] }[]): void {
    const replaced = new Set<number>();
    for (const { segIds } of packs) {
      for (const segId of segIds) replaced.add(present(this.#fileOfSegment[segId], 'file'));
      // What nothing lives of needs no place in this model.
      const alive = segIds.filter((segId) => (this.#liveBlocks[segId] ?? 0) > 0);
      const blocks = alive.reduce((sum, segId) => sum + (this.#liveBlocks[segId] ?? 0), 0);
      this.#copied += blocks;
      const madeAtSegId = this.#headSegId;
      if (blocks > 0) this.#addFile({ segIds: alive, blocks, isPack: true, madeAtSegId });
    }
    for (const file of replaced) {
      this.#usedBlocks -= present(this.#files.get(file), 'file').blocks;
      this.#files.delete(file);
    }
  }

  #addFile(file: FileState): void {
    this.#files.set(this.#nextFile, file);
    for (const segId of file.segIds) this.#fileOfSegment[segId] = this.#nextFile;
    this.#nextFile += 1;
    this.#usedBlocks += file.blocks;
  }
}
