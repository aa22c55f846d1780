/**
 * Holder table: the set of holders of each block of a stretch of the log, 4 bytes a block. Segments of which nothing is held
 * take nothing; a log with more segments than fit in memory is looked at stretch by stretch.
 */
import { addressOf, segIdOf, slotOf } from '../format/address.ts';
import { isSlotIn } from '../format/pack.ts';
import { type HolderSets, nobody } from './holders.ts';
import type { LiveSet } from './live-set.ts';
import type { ReferenceSink } from './moment-walk.ts';

/**
 * Segments whose numbers are one allocation, 1 MiB: pages of the system's own, which are taken when they are touched and go back whole.
 * One of 32 KiB for each would leave holes in malloc's heap that nothing else fills.
 */
const slabSegments = 32;

/** Numbers from here on are no sets: nothing holds the block, but the past of a volume refers to it. */
const pastBase = 2 ** 31;

export class HolderTable implements ReferenceSink {
  readonly #sets: HolderSets;
  readonly #segmentSlots: number;
  readonly #firstSegId: number;
  readonly #lastSegId: number;
  /** Addresses from here on are not looked at: they were not durable when the walk began. */
  readonly #end: number;
  readonly #live: LiveSet | undefined;
  readonly #segments = new Map<number, Uint32Array>();
  /** Of the segments that come next. */
  #slab = new Uint32Array(0);
  #slabUsed = 0;
  #bitsSegId = -1;
  #bits: Uint8Array | undefined;

  constructor(
    sets: HolderSets,
    stretch: {
      readonly segmentSlots: number;
      readonly firstSegId: number;
      readonly lastSegId: number;
      readonly end: number;
      /** Who is dead; undefined = nobody knows. */
      readonly live: LiveSet | undefined;
    },
  ) {
    this.#sets = sets;
    this.#segmentSlots = stretch.segmentSlots;
    this.#firstSegId = stretch.firstSegId;
    this.#lastSegId = stretch.lastSegId;
    this.#end = stretch.end;
    this.#live = stretch.live;
  }

  moveTo(moment: number): void {
    this.#sets.moveTo(moment);
  }

  opened(address: number, count: number): void {
    this.#each(address, count, (set) => this.#sets.open(set));
  }

  closed(address: number, count: number): void {
    this.#each(address, count, (set) => this.#sets.close(set));
  }

  /** The past of volume number `volume` refers to these blocks: to those that can still be reached. */
  past(address: number, count: number, volume: number): void {
    const end = Math.min(address + count, this.#end);
    for (let at = address; at < end; ) {
      const segId = segIdOf(at);
      const next = Math.min(end, addressOf(segId + 1, 0));
      const segment = this.#segmentOf(at);
      const stretch = { from: slotOf(at), to: next - addressOf(segId, 0) };
      if (segment !== undefined) markPast(segment, this.#bitsOf(segId), stretch, pastBase + volume);
      at = next;
    }
  }

  /** Which of a segment's blocks may be alive; undefined: all. Records of one segment come together, and mostly name its own blocks. */
  #bitsOf(segId: number): Uint8Array | undefined {
    if (segId !== this.#bitsSegId) {
      this.#bitsSegId = segId;
      this.#bits = this.#live?.isJudged(segId) === true ? this.#live.bitmap(segId) : undefined;
    }
    return this.#bits;
  }

  /** Segments that anything was said of. */
  segIds(): number[] {
    return [...this.#segments.keys()];
  }

  /** Adds the number of blocks of each set, and of each volume's past, in one segment. */
  countInto(segId: number, blocksBySet: Map<number, number>, pastBlocks: number[]): void {
    const add = (value: number, count: number): void => {
      if (value === nobody) return;
      if (value < pastBase) blocksBySet.set(value, (blocksBySet.get(value) ?? 0) + count);
      else pastBlocks[value - pastBase] = (pastBlocks[value - pastBase] ?? 0) + count;
    };
    // Neighbours are mostly equal, and added together.
    let before = nobody;
    let count = 0;
    for (const value of this.#segments.get(segId) ?? []) {
      if (value !== before) {
        add(before, count);
        before = value;
        count = 0;
      }
      count += 1;
    }
    add(before, count);
  }

  /** Replaces the numbers of blocks; neighbours with equal ones are asked for once. */
  #each(address: number, count: number, change: (set: number) => number): void {
    let before = -1;
    let after = nobody;
    for (let at = address; at < address + count; at += 1) {
      const segment = this.#segmentOf(at);
      if (segment === undefined) continue;
      const slot = slotOf(at);
      const set = segment[slot] ?? nobody;
      if (set !== before) {
        before = set;
        after = change(set);
      }
      segment[slot] = after;
    }
  }

  #segmentOf(address: number): Uint32Array | undefined {
    const segId = segIdOf(address);
    if (segId < this.#firstSegId || segId > this.#lastSegId || address >= this.#end) {
      return undefined;
    }
    let segment = this.#segments.get(segId);
    if (segment === undefined) {
      segment = this.#newSegment();
      this.#segments.set(segId, segment);
    }
    return segment;
  }

  #newSegment(): Uint32Array {
    const length = this.#segmentSlots;
    if (this.#slabUsed === this.#slab.length) {
      this.#slab = new Uint32Array(length * slabSegments);
      this.#slabUsed = 0;
    }
    this.#slabUsed += length;
    return this.#slab.subarray(this.#slabUsed - length, this.#slabUsed);
  }
}

/** Gives slots that nothing holds and that may be alive the number. */
function markPast(
  segment: Uint32Array,
  bits: Uint8Array | undefined,
  { from, to }: { readonly from: number; readonly to: number },
  number: number,
): void {
  for (let slot = from; slot < to; slot += 1) {
    if (segment[slot] !== nobody) continue;
    if (bits === undefined || isSlotIn(bits, slot)) segment[slot] = number;
  }
}
