/**
 * LogWriter: the main thread's end of the log. Mutations queue here, become frames, and are published in position order
 * once the commit side has made them durable.
 *
 *     append ──▶ queue ──▶ frame in ring slot ──write──▶ publish write-back ──flush──▶ publish the rest
 *                  ▲ grows while a frame is being flushed: that is the group commit       (map set, locks freed, answers out)
 *
 * Invariants
 * 1. Order of append = order of positions; each line is published in that order (a line is write-back or it is not).
 * 2. A mutation is published exactly once: after its frame and all before it are durable, or on write-back volumes written.
 *    What FLUSH or FUA answered is durable.
 * 3. Segments are taken in increasing id, each opened by the first frame that goes into it.
 */
import { assert, present } from '../../base/assert.ts';
import { viewOf } from '../../base/fields.ts';
import type { Timers } from '../../base/ports.ts';
import { CommitRing, type CommitShared, control, job, ringSlotCount } from '../commit-ring.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import { blockCrcOffset } from '../format/frame.ts';
import { encodeSegmentHeader } from '../format/segment-header.ts';
import { limits } from '../limits.ts';
import type { CommitDoor } from '../ports.ts';
import type { CrcTables } from './crc-tables.ts';
import { buildFrame, planFrame } from './frame-builder.ts';
import { type HybridClock, ticksPerMs } from './hybrid-clock.ts';
import type { Mutation } from './mutation.ts';
import type { SegmentSupply } from './segment-supply.ts';

export interface LogTail {
  readonly epoch: number;
  /** The last segment of the recovered log and where it ends; 0 and 0 for a new pool. */
  readonly previousSegId: number;
  readonly previousEnd: number;
}

export interface LogEvents {
  /** The log moved into this segment. */
  segmentOpened(segId: number): void;
  /** Everything in the segment is durable and the log has left it: it may be sealed. */
  segmentFinished(segId: number, endAddress: number): void;
  /** The commit side failed: nothing will be published any more; the process must stop. */
  failed(message: string): void;
}

export interface LogWriterOptions {
  readonly shared: CommitShared;
  readonly door: CommitDoor;
  readonly segmentSlots: number;
  readonly tail: LogTail;
  readonly clock: HybridClock;
  readonly timers: Timers;
  readonly supply: SegmentSupply;
  readonly crcTables: CrcTables;
  readonly events: LogEvents;
}

interface FrameInFlight {
  mutations: Mutation[];
  endAddress: number;
  /** Time of its header. */
  hlcMs: number;
  dataAddress: number;
  dataBlocks: number;
  descriptors: number;
  /** Somebody waits for it to be durable. */
  needsFlush: boolean;
  /** Set when this frame opened a segment: the one before, which is finished once this frame is durable. */
  finishes: { segId: number; endAddress: number } | undefined;
}

/** A frame that is written but not known to be durable. */
interface WrittenFrame {
  readonly mutations: readonly Mutation[];
  readonly endAddress: number;
  readonly hlcMs: number;
  readonly needsFlush: boolean;
  readonly finishes: { readonly segId: number; readonly endAddress: number } | undefined;
}

interface FlushWaiter {
  /** Number of frames that must be durable. */
  readonly frames: number;
  readonly done: () => void;
}

export class LogWriter {
  readonly #ring: CommitRing;
  readonly #options: LogWriterOptions;
  readonly #frames: FrameInFlight[];
  #queue: Mutation[] = [];
  #queueHead = 0;
  /** How many of the queue, from its head on, were put there by `appendUrgent`. */
  #urgentCount = 0;
  #submitted = 0;
  /** Frames whose writing was taken note of, and those whose flush was. */
  #written = 0;
  #durable = 0;
  readonly #writtenFrames: WrittenFrame[] = [];
  /** Of those, how many somebody waits for. */
  #awaitedCount = 0;
  readonly #flushWaiters: FlushWaiter[] = [];
  #isFlushPlanned = false;
  #segId: number;
  #nextSlot: number;
  #previousEnd: number;
  #isFirstSegment = true;
  #lastHlcMs = 0;
  #lastHlcCounter = 0;
  #durableThrough: number;
  #durableHlcMs = 0;
  #isPumpScheduled = false;
  #hasFailed = false;
  #bytesLogged = 0;
  readonly #drained: (() => void)[] = [];

  constructor(options: LogWriterOptions) {
    this.#options = options;
    this.#ring = new CommitRing(options.shared);
    this.#segId = options.tail.previousSegId;
    this.#previousEnd = options.tail.previousEnd;
    this.#nextSlot = options.segmentSlots;
    this.#durableThrough = options.shared.durableThrough;
    this.#frames = Array.from({ length: ringSlotCount }, () => ({
      mutations: [],
      endAddress: 0,
      hlcMs: 0,
      dataAddress: 0,
      dataBlocks: 0,
      descriptors: 0,
      needsFlush: false,
      finishes: undefined,
    }));
  }

  /** End address of the durable log. */
  get durableThrough(): number {
    return this.#durableThrough;
  }

  /** Segment that the log is in, and the first slot not used; a fresh writer is at the end of none. */
  get place(): { readonly segId: number; readonly nextSlot: number } {
    return { segId: this.#segId, nextSlot: this.#nextSlot };
  }

  /** Bytes of frames built since this writer was made. */
  get bytesLogged(): number {
    return this.#bytesLogged;
  }

  /** A frame finds no place on the file system, and waits for one. */
  get waitsForSpace(): boolean {
    return this.#ring.waitsForSpace;
  }

  get isIdle(): boolean {
    return this.#queueHead === this.#queue.length && this.#durable === this.#submitted;
  }

  /** Newest time given to a frame, milliseconds. */
  get lastHlcMs(): number {
    return this.#lastHlcMs;
  }

  /** Time of the newest durable frame: its records are no earlier. 0 = there was none since the pool was opened. */
  get durableHlcMs(): number {
    return this.#durableHlcMs;
  }

  /** Queues a mutation; it is committed with others of this turn, or sooner. */
  append(mutation: Mutation): void {
    mutation.ticks = this.#options.clock.now();
    this.#queue.push(mutation);
    this.#schedulePump();
  }

  /**
   * Queues a small mutation before those that wait for a frame (behind other urgent ones). The caller holds the exclusive
   * lock of its blocks, so none of those touches them, and the order among them does not matter.
   */
  appendUrgent(mutation: Mutation): void {
    const at = this.#queueHead + this.#urgentCount;
    // Times grow along the log: it has the time of the one that it goes before.
    mutation.ticks = this.#queue[at]?.ticks ?? this.#options.clock.now();
    this.#queue.splice(at, 0, mutation);
    this.#urgentCount += 1;
    this.#schedulePump();
  }

  #schedulePump(): void {
    if (this.#isPumpScheduled) return;
    this.#isPumpScheduled = true;
    this.#options.timers.defer(() => {
      this.#isPumpScheduled = false;
      this.#pump();
    });
  }

  /** Calls `action` when nothing is queued or in flight, and everything is durable. */
  whenIdle(action: () => void): void {
    if (this.isIdle) {
      action();
      return;
    }
    this.#drained.push(action);
    this.#wantFlush();
  }

  /** Calls `done` when everything that was published until now is durable. May run inside the call. */
  flush(done: () => void): void {
    if (this.#durable === this.#written) {
      done();
      return;
    }
    this.#flushWaiters.push({ frames: this.#written, done });
    this.#wantFlush();
  }

  #wantFlush(): void {
    Atomics.store(this.#ring.control, control.flushWanted, this.#submitted);
    this.#options.door.wake();
  }

  /** The commit side made progress (or failed). */
  onProgress(): void {
    if (this.#hasFailed) return;
    // In this order: whatever is durable by the second look was written by the first.
    const durable = this.#ring.durable;
    const written = this.#ring.written;
    while (this.#written < written) {
      const index = this.#written % ringSlotCount;
      this.#written += 1;
      this.#frameWritten(index);
    }
    while (this.#durable < durable) {
      this.#durable += 1;
      this.#frameDurable();
    }
    this.#answerFlushes();
    const failure = this.#ring.failure;
    if (failure !== undefined) {
      this.#hasFailed = true;
      this.#options.events.failed(failure);
      return;
    }
    this.#pump();
    if (this.isIdle) {
      for (const action of this.#drained.splice(0)) action();
    } else if (this.#drained.length > 0 && this.#queueHead === this.#queue.length) {
      this.#wantFlush();
    }
  }

  #answerFlushes(): void {
    for (;;) {
      const [waiter] = this.#flushWaiters;
      if (waiter === undefined || waiter.frames > this.#durable) return;
      this.#flushWaiters.shift();
      waiter.done();
    }
  }

  #frameWritten(index: number): void {
    const frame = present(this.#frames[index], 'frame in flight');
    const header = present(this.#ring.frameHeaders[index], 'frame header');
    this.#options.crcTables.record(
      frame.dataAddress,
      viewOf(header),
      blockCrcOffset(frame.descriptors),
      frame.dataBlocks,
    );
    const { mutations, finishes, endAddress, hlcMs, needsFlush } = frame;
    frame.mutations = [];
    frame.finishes = undefined;
    if (needsFlush) this.#awaitedCount += 1;
    else this.#planFlush();
    this.#writtenFrames.push({
      mutations: whoWaits(mutations),
      endAddress,
      hlcMs,
      needsFlush,
      finishes,
    });
    for (const mutation of mutations) if (mutation.isWriteBack) mutation.onPublished(mutation);
  }

  #frameDurable(): void {
    const frame = present(this.#writtenFrames.shift(), 'written frame');
    const { mutations, finishes } = frame;
    if (frame.needsFlush) this.#awaitedCount -= 1;
    this.#durableThrough = frame.endAddress;
    this.#durableHlcMs = frame.hlcMs;
    // Before anyone is answered: whoever reads the log then must know where the segment before ends.
    if (finishes !== undefined) {
      this.#options.events.segmentFinished(finishes.segId, finishes.endAddress);
    }
    for (const mutation of mutations) {
      if (!mutation.isWriteBack) mutation.onPublished(mutation);
      else if (mutation.fua) mutation.onDurable(mutation);
    }
  }

  /** What nobody waits for is flushed all the same, after a while. */
  #planFlush(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    this.#options.timers.after(limits.writeBackFlushMs, () => {
      this.#isFlushPlanned = false;
      if (this.#durable < this.#submitted && !this.#hasFailed) this.#wantFlush();
    });
  }

  #pump(): void {
    if (this.#hasFailed) return;
    let isWorkThere = false;
    while (
      this.#queueHead < this.#queue.length &&
      this.#submitted - this.#written + this.#awaitedCount < limits.framesInFlightMax
    ) {
      this.#buildNext();
      isWorkThere = true;
    }
    if (isWorkThere) {
      if (this.#queueHead === this.#queue.length) {
        this.#queue = [];
        this.#queueHead = 0;
      }
      this.#options.door.wake();
    }
  }

  #buildNext(): void {
    const { segmentSlots } = this.#options;
    const index = this.#submitted % ringSlotCount;
    const frame = present(this.#frames[index], 'ring slot');
    let plan = planFrame(this.#queue, this.#queueHead, segmentSlots - this.#nextSlot);
    let createsFile = false;
    const opensSegment = plan.count === 0;
    if (opensSegment) {
      frame.finishes = this.#isFirstSegment
        ? undefined
        : { segId: this.#segId, endAddress: this.#previousEnd };
      createsFile = this.#openSegment(index);
      plan = planFrame(this.#queue, this.#queueHead, segmentSlots - this.#nextSlot);
      assert(plan.count > 0, 'mutation larger than a segment');
    }
    const mutations = this.#queue.slice(this.#queueHead, this.#queueHead + plan.count);
    this.#queueHead += plan.count;
    this.#urgentCount = Math.max(0, this.#urgentCount - plan.count);
    const time = this.#nextTime(mutations[0]?.ticks ?? 0);
    const address = addressOf(this.#segId, this.#nextSlot);
    const place = { slot: index, address, epoch: this.#options.tail.epoch, ...time };
    const pieceCount = buildFrame(this.#ring, place, plan, mutations);
    const slots = plan.headerBlocks + plan.dataBlocks;
    frame.mutations = mutations;
    frame.needsFlush = mutations.some((mutation) => !mutation.isWriteBack || mutation.fua);
    frame.dataAddress = address + plan.headerBlocks;
    frame.dataBlocks = plan.dataBlocks;
    frame.descriptors = plan.descriptors;
    frame.endAddress = address + slots;
    frame.hlcMs = place.hlcMs;
    const numbers = present(this.#ring.jobs[index], 'job');
    numbers[job.segId] = this.#segId;
    numbers[job.frameAddress] = address;
    numbers[job.headerBlocks] = plan.headerBlocks;
    numbers[job.dataBlocks] = plan.dataBlocks;
    numbers[job.descriptors] = plan.descriptors;
    numbers[job.pieceCount] = pieceCount;
    numbers[job.opensSegment] = opensSegment ? 1 : 0;
    numbers[job.createsFile] = createsFile ? 1 : 0;
    numbers[job.needsFlush] = frame.needsFlush ? 1 : 0;
    numbers[job.announces] = mutations.some((mutation) => mutation.isWriteBack) ? 1 : 0;
    this.#nextSlot += slots;
    this.#previousEnd = frame.endAddress;
    this.#bytesLogged += slots * slotSizeBytes;
    this.#submitted += 1;
    Atomics.store(this.#ring.control, control.submitted, this.#submitted);
  }

  /** Moves the log to a new segment whose header goes into ring slot `index`; returns whether its file must be made. */
  #openSegment(index: number): boolean {
    const taken = this.#options.supply.take();
    const time = this.#nextTime(this.#options.clock.now());
    encodeSegmentHeader(
      present(this.#ring.segmentHeaders[index], 'segment header'),
      {
        segId: taken.segId,
        epoch: this.#options.tail.epoch,
        previousSegId: this.#segId,
        previousEnd: this.#previousEnd,
        hlcMs: time.hlcMs,
        hlcCounter: time.hlcCounter,
        streamClass: 0,
        segmentSlots: this.#options.segmentSlots,
      },
      this.#options.shared.poolUuid,
    );
    this.#segId = taken.segId;
    this.#nextSlot = 1;
    this.#isFirstSegment = false;
    this.#options.crcTables.begin(taken.segId);
    this.#options.events.segmentOpened(taken.segId);
    return taken.createsFile;
  }

  /** Time of the next frame: the hybrid clock's millisecond, a counter for frames within one. */
  #nextTime(ticks: number): { hlcMs: number; hlcCounter: number } {
    this.#options.clock.resync();
    let hlcMs = Math.floor(ticks / ticksPerMs);
    let hlcCounter = 0;
    if (hlcMs <= this.#lastHlcMs) {
      hlcMs = this.#lastHlcMs;
      hlcCounter = this.#lastHlcCounter + 1;
      if (hlcCounter > 0xffff) {
        hlcMs += 1;
        hlcCounter = 0;
        this.#options.clock.raise(hlcMs * ticksPerMs);
      }
    }
    this.#lastHlcMs = hlcMs;
    this.#lastHlcCounter = hlcCounter;
    return { hlcMs, hlcCounter };
  }
}

/**
 * Those that wait for the flush. The others belong to their owners again once they are published, and may be part of a
 * later frame by the time of the flush: nobody may look at them then.
 */
function whoWaits(mutations: readonly Mutation[]): readonly Mutation[] {
  return mutations.every(waitsForFlush) ? mutations : mutations.filter(waitsForFlush);
}

function waitsForFlush(mutation: Mutation): boolean {
  return !mutation.isWriteBack || mutation.fua;
}
