/**
 * Oracle of `bench day`: every block that is written holds a stamp of its own, and a journal per volume knows which stamp each
 * block may hold at which moment. A volume has one write under way at a time, so at any moment at most one is in doubt. A
 * rollback is a write of the whole volume.
 *
 *     journal   w0 ── w1 ── w2 ── w3 ···            w2: issued, not answered
 *     moment        └ answered before it: certain   issued before it was taken: either
 */

export const blockBytes = 4096;
const wordsPerBlock = blockBytes / 4;
const mixer = 2_654_435_761;
/** Clocks of two processes, and what lies between a request and its record in the log; of the machine. */
const marginMs = 500;

/** Writes up to `certain` are in the state, those up to `possible` may be. */
export interface Span {
  readonly certain: number;
  readonly possible: number;
}

let lastStamp = 0;

/** Stamps for `count` blocks in a row: the first of them. */
export function newStamps(count: number): number {
  const first = lastStamp + 1;
  lastStamp += count;
  return first;
}

/** Content of blocks whose stamps are `first`, `first + 1`, ... */
export function fillBlocks(target: Buffer, first: number): void {
  const words = new Uint32Array(target.buffer, target.byteOffset, target.length / 4);
  for (let at = 0; at < words.length; at += wordsPerBlock) {
    const stamp = first + at / wordsPerBlock;
    for (let word = 0; word < wordsPerBlock; word += 1) {
      words[at + word] = (stamp + Math.imul(word, mixer)) >>> 0;
    }
  }
}

/** The stamp of a block; 0 = zeros; undefined = the block holds neither. */
function stampOf(block: Buffer): number | undefined {
  const words = wordsOf(block);
  const stamp = words[0] ?? 0;
  for (let word = 0; word < wordsPerBlock; word += 1) {
    const wanted = stamp === 0 ? 0 : (stamp + Math.imul(word, mixer)) >>> 0;
    if (words[word] !== wanted) return undefined;
  }
  return stamp;
}

/** Data from a socket begins anywhere; words begin at multiples of four. */
function wordsOf(block: Buffer): Uint32Array {
  const { buffer, byteOffset, length } = block;
  if (byteOffset % 4 === 0) return new Uint32Array(buffer, byteOffset, length / 4);
  return new Uint32Array(new Uint8Array(block).buffer);
}

export class Journal {
  readonly blockCount: number;
  /** State in which the volume was made. */
  readonly #base: Uint32Array;
  /** After all writes that were answered. */
  readonly #present: Uint32Array;
  readonly #firsts: number[] = [];
  readonly #counts: number[] = [];
  /** Of the first block; 0 = a trim. */
  readonly #stamps: number[] = [];
  /** What rollbacks led to, by their place in the journal. */
  readonly #states = new Map<number, Uint32Array>();
  readonly #issuedMs: number[] = [];
  readonly #answeredMs: number[] = [];

  constructor(base: Uint32Array) {
    this.#base = base;
    this.#present = base.slice();
    this.blockCount = base.length;
  }

  static empty(blockCount: number): Journal {
    return new Journal(new Uint32Array(blockCount));
  }

  /** A copy of the present; nothing may be under way. */
  fork(): Journal {
    return new Journal(this.#present.slice());
  }

  /** A request goes out; the one before was answered. */
  issue(first: number, count: number, stamp: number): void {
    this.#firsts.push(first);
    this.#counts.push(count);
    this.#stamps.push(stamp);
    this.#issuedMs.push(Date.now());
  }

  /** The request that went out last was answered. */
  answered(): void {
    this.#apply(this.#present, this.#answeredMs.length);
    this.#answeredMs.push(Date.now());
  }

  /** A rollback goes out; until it is over nobody looks at the volume. */
  issueRollback(): void {
    this.issue(0, this.blockCount, 0);
  }

  /** The rollback that went out last is over, and the volume holds `state` now, which becomes the journal's. */
  rolledBack(state: Uint32Array): void {
    this.#states.set(this.#answeredMs.length, state);
    this.answered();
  }

  /** What is certain now. To be completed with `until` when what is asked for has come. */
  get now(): Span {
    return { certain: this.#answeredMs.length, possible: this.#issuedMs.length };
  }

  until({ certain }: Span): Span {
    return { certain, possible: this.#issuedMs.length };
  }

  /** The state at a time of the machine, or up to `lateMs` later. */
  at(timeMs: number, lateMs = 0): Span {
    return {
      certain: countUntil(this.#answeredMs, timeMs - marginMs),
      possible: countUntil(this.#issuedMs, timeMs + lateMs + marginMs),
    };
  }

  /** Stamps of all blocks in the state that is certain. */
  state({ certain }: Span): Uint32Array {
    if (certain === this.#answeredMs.length) return this.#present.slice();
    const state = this.#base.slice();
    for (let index = 0; index < certain; index += 1) this.#apply(state, index);
    return state;
  }

  /** Whether a write in doubt gives the block this stamp. */
  mayHold(block: number, stamp: number, { certain, possible }: Span): boolean {
    for (let index = certain; index < possible; index += 1) {
      if (this.#stampFrom(index, block) === stamp) return true;
    }
    return false;
  }

  /** Whether a write in doubt touches the block. */
  isInDoubt(block: number, { certain, possible }: Span): boolean {
    for (let index = certain; index < possible; index += 1) {
      if (this.#stampFrom(index, block) !== undefined) return true;
    }
    return false;
  }

  /** Blocks that any write between two states touched, those in doubt included. */
  touched(from: Span, to: Span): Uint8Array {
    const found = new Uint8Array(this.blockCount);
    for (let index = from.certain; index < to.possible; index += 1) {
      const first = this.#firsts[index] ?? 0;
      found.fill(1, first, first + (this.#counts[index] ?? 0));
    }
    return found;
  }

  /** Stamps of blocks in `data`, which holds whole ones. Throws when bytes are there that nobody wrote. */
  stampsOf(data: Buffer): Uint32Array {
    const stamps = new Uint32Array(data.length / blockBytes);
    for (let at = 0; at < stamps.length; at += 1) {
      const stamp = stampOf(data.subarray(at * blockBytes, (at + 1) * blockBytes));
      if (stamp === undefined) throw new Error('bytes that nobody wrote');
      stamps[at] = stamp;
    }
    return stamps;
  }

  /** What is wrong with `data`, read at block `first` from `span`, whose certain state is `state`; undefined = nothing. */
  faultIn(
    data: Buffer,
    first: number,
    { span, state }: { readonly span: Span; readonly state: Uint32Array },
  ): string | undefined {
    for (let at = 0; at < data.length; at += blockBytes) {
      const block = first + at / blockBytes;
      const found = stampOf(data.subarray(at, at + blockBytes));
      const wanted = state[block] ?? 0;
      if (found === wanted) continue;
      if (found !== undefined && this.mayHold(block, found, span)) continue;
      const shown = found === undefined ? 'bytes that nobody wrote' : `stamp ${found}`;
      return `block ${block} holds ${shown} instead of stamp ${wanted}`;
    }
    return undefined;
  }

  #stampFrom(index: number, block: number): number | undefined {
    const first = this.#firsts[index] ?? 0;
    const stamp = this.#stamps[index] ?? 0;
    if (block < first || block >= first + (this.#counts[index] ?? 0)) return undefined;
    const whole = this.#states.get(index);
    if (whole !== undefined) return whole[block];
    return stamp === 0 ? 0 : stamp + block - first;
  }

  #apply(state: Uint32Array, index: number): void {
    const whole = this.#states.get(index);
    if (whole !== undefined) {
      state.set(whole);
      return;
    }
    const first = this.#firsts[index] ?? 0;
    const count = this.#counts[index] ?? 0;
    const stamp = this.#stamps[index] ?? 0;
    for (let at = 0; at < count; at += 1) state[first + at] = stamp === 0 ? 0 : stamp + at;
  }
}

/** How many of `times`, which are in order, are not later. */
function countUntil(times: readonly number[], timeMs: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((times[middle] ?? 0) <= timeMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
