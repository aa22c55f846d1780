/**
 * Commit ring: the shared memory between the engine's main thread, which builds frames, and the commit thread, which writes
 * them. No bytes are copied between the two; only counters move.
 *
 *     main:   build frame in slot s ── submitted += 1 ──▶ commit: checksum, write  ── written += 1 ──▶ main: publish write-back
 *                                                                 fdatasync        ── durable += 1 ──▶ main: publish the rest
 *
 *     slot s:  job      numbers: where, how many, flags
 *              pieces   (offset, bytes) pairs into the staging slab, in data block order
 *              header   [segment header, used when the frame opens a segment][frame header blocks]
 *
 * Invariants
 * 1. Frame n lives in slot n % slotCount; a slot belongs to the commit side from `submitted > n` until `written > n`.
 * 2. Counters only grow. Frames are written, and become durable, in order.
 * 3. After `failed` is set nothing more becomes durable: the process must stop (fail-stop).
 */
import { slotSizeBytes } from './format/address.ts';

export const ringSlotCount = 8;
/** Most bytes of header blocks: 64 + 2,048 descriptors + CRCs of 1,024 blocks + two catalogue payloads of 64 KiB. */
export const frameHeaderBytesMax = 212_992;
/** Inline bytes that one frame takes at most (two full catalogue payloads). */
export const frameInlineBytesMax = 131_072;
const headerStride = slotSizeBytes + frameHeaderBytesMax;
const pieceCountMax = 1024;
const failureBytes = 512;

/** Indexes of the control words. */
export const control = {
  submitted: 0,
  durable: 1,
  failed: 2,
  /** Rung for the commit side: frames were submitted, or it should stop. */
  commitBell: 3,
  /** Rung for the main side: something became durable, or failed. */
  mainBell: 4,
  stop: 5,
  written: 6,
  /** A flush is wanted that covers every frame below this one. */
  flushWanted: 7,
  /** 1 = a write waits for the file system to have space. */
  waitsForSpace: 8,
} as const;
const controlWords = 16;

/** Numbers of a job, by index. */
export const job = {
  segId: 0,
  frameAddress: 1,
  headerBlocks: 2,
  dataBlocks: 3,
  descriptors: 4,
  pieceCount: 5,
  /** 1 = the frame is the first of its segment: the segment header goes with it. */
  opensSegment: 6,
  /** 1 = nobody prepared the segment's file: make it. */
  createsFile: 7,
  /** 1 = somebody waits for this frame to be durable. */
  needsFlush: 8,
  /** 1 = somebody waits for this frame to be written. */
  announces: 9,
} as const;
const jobNumbers = 10;
/** Most bytes that write-back volumes leave unflushed. */
export const unflushedBytesMax = 16 * 2 ** 20;

/** What both sides need; made of shared memory and plain values, so it can be sent to a thread. */
export interface CommitShared {
  readonly control: SharedArrayBuffer;
  readonly jobs: SharedArrayBuffer;
  readonly pieces: SharedArrayBuffer;
  readonly headers: SharedArrayBuffer;
  readonly failure: SharedArrayBuffer;
  readonly staging: SharedArrayBuffer;
  readonly poolUuid: Uint8Array;
  /** Digest of the last segment of the recovered log, for the header of the first new one. */
  readonly previousDigest: Uint8Array;
  /** End address of the recovered log, which recovery made durable. */
  readonly durableThrough: number;
}

/** Where frame headers are built: bytes of memory that the disk writes from. */
export const ringHeaderBytes = ringSlotCount * headerStride;

/** `from.headers` holds at least `ringHeaderBytes`. */
export function makeCommitShared(
  from: Pick<
    CommitShared,
    'headers' | 'staging' | 'poolUuid' | 'previousDigest' | 'durableThrough'
  >,
): CommitShared {
  return {
    ...from,
    control: new SharedArrayBuffer(controlWords * 4),
    jobs: new SharedArrayBuffer(ringSlotCount * jobNumbers * 8),
    pieces: new SharedArrayBuffer(ringSlotCount * pieceCountMax * 8),
    failure: new SharedArrayBuffer(failureBytes),
  };
}

/** Views of the shared memory, one set per side. */
export class CommitRing {
  readonly control: Int32Array;
  readonly jobs: readonly Float64Array[];
  readonly pieces: readonly Int32Array[];
  /** Where the segment header goes: 4096 bytes. */
  readonly segmentHeaders: readonly Uint8Array[];
  readonly frameHeaders: readonly Uint8Array[];
  /** Segment header and frame header blocks in one piece, as they lie in the file. */
  readonly wholeHeaders: readonly Uint8Array[];
  readonly #failure: Uint8Array;

  constructor(shared: CommitShared) {
    this.control = new Int32Array(shared.control);
    const slots = Array.from({ length: ringSlotCount }, (_, index) => index);
    this.jobs = slots.map(
      (slot) => new Float64Array(shared.jobs, slot * jobNumbers * 8, jobNumbers),
    );
    this.pieces = slots.map(
      (slot) => new Int32Array(shared.pieces, slot * pieceCountMax * 8, pieceCountMax * 2),
    );
    this.wholeHeaders = slots.map(
      (slot) => new Uint8Array(shared.headers, slot * headerStride, headerStride),
    );
    this.segmentHeaders = this.wholeHeaders.map((whole) => whole.subarray(0, slotSizeBytes));
    this.frameHeaders = this.wholeHeaders.map((whole) => whole.subarray(slotSizeBytes));
    this.#failure = new Uint8Array(shared.failure);
  }

  get submitted(): number {
    return Atomics.load(this.control, control.submitted);
  }

  get durable(): number {
    return Atomics.load(this.control, control.durable);
  }

  get written(): number {
    return Atomics.load(this.control, control.written);
  }

  /** Why the commit side stopped; undefined while it works. */
  get failure(): string | undefined {
    const length = Atomics.load(this.control, control.failed);
    return length === 0 ? undefined : new TextDecoder().decode(this.#failure.slice(0, length));
  }

  /** Whether a write waits for the file system to have space. */
  get waitsForSpace(): boolean {
    return Atomics.load(this.control, control.waitsForSpace) === 1;
  }

  /** Called by the commit side. */
  setWaitsForSpace(waits: boolean): void {
    Atomics.store(this.control, control.waitsForSpace, waits ? 1 : 0);
  }

  /** Marks the ring as failed; called by the commit side once. */
  fail(message: string): void {
    const bytes = new TextEncoder().encode(message === '' ? 'unknown' : message);
    const length = Math.min(bytes.length, failureBytes);
    this.#failure.set(bytes.subarray(0, length));
    Atomics.store(this.control, control.failed, length);
  }
}
