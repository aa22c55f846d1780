/**
 * Pins of one volume, in two columns: 16 bytes a pin (to 24 while it grows), for there may be hundreds of thousands in a pool.
 *
 *     cuts      4711   4890   5012   ·    ·         ascending, each once
 *     times     10 s   70 s   130 s  ·    ·         ascending
 */
import { FormatError } from '../format/format-error.ts';

/** An automatic pin. */
export interface PinState {
  /** Everything before it in the log is in the state. */
  readonly cut: number;
  readonly timeMs: number;
}

const firstCapacity = 8;
const growth = 1.5;
/** Columns of which less than this is used become smaller when a pin goes. */
const usedShareMin = 0.25;

export class PinList implements Iterable<PinState> {
  #cuts: Float64Array<ArrayBuffer>;
  #times: Float64Array<ArrayBuffer>;
  #length = 0;

  /** `capacity`: pins that there is room for at first. */
  constructor(capacity = 0) {
    this.#cuts = new Float64Array(capacity);
    this.#times = new Float64Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** 0 where there is none. */
  cutAt(index: number): number {
    return index < this.#length ? (this.#cuts[index] ?? 0) : 0;
  }

  /** 0 where there is none. */
  timeAt(index: number): number {
    return index < this.#length ? (this.#times[index] ?? 0) : 0;
  }

  at(index: number): PinState | undefined {
    if (index < 0 || index >= this.#length) return undefined;
    return { cut: this.cutAt(index), timeMs: this.timeAt(index) };
  }

  last(): PinState | undefined {
    return this.at(this.#length - 1);
  }

  /** The cuts from index `from` to before `end`: a view, good until the list changes. Read it only. */
  cuts(from: number, end: number): Float64Array {
    return this.#cuts.subarray(from, Math.min(end, this.#length));
  }

  /** How many pins have a cut of at most `cut`. */
  countUpTo(cut: number): number {
    return countUpTo(this.#cuts, this.#length, cut);
  }

  /** Index of the pin at `cut`; -1 when there is none. */
  indexOf(cut: number): number {
    const index = this.countUpTo(cut) - 1;
    return index >= 0 && this.#cuts[index] === cut ? index : -1;
  }

  /** How many pins are older than `timeMs`. */
  countBefore(timeMs: number): number {
    let count = countUpTo(this.#times, this.#length, timeMs);
    while (this.#times[count - 1] === timeMs) count -= 1;
    return count;
  }

  /** The last pin before `cut`. */
  before(cut: number): PinState | undefined {
    const count = this.countUpTo(cut);
    return this.at(this.cutAt(count - 1) === cut ? count - 2 : count - 1);
  }

  /** The first pin behind `cut`. */
  behind(cut: number): PinState | undefined {
    return this.at(this.countUpTo(cut));
  }

  /** The last pin of exactly this time. */
  ofTime(timeMs: number): PinState | undefined {
    const index = countUpTo(this.#times, this.#length, timeMs) - 1;
    return index >= 0 && this.#times[index] === timeMs ? this.at(index) : undefined;
  }

  *[Symbol.iterator](): Generator<PinState> {
    for (let index = 0; index < this.#length; index += 1) {
      yield { cut: this.cutAt(index), timeMs: this.timeAt(index) };
    }
  }

  /** Adds a pin where its cut belongs. Throws FormatError when there is one, or when it is older than one before it. */
  add({ cut, timeMs }: PinState): void {
    const end = this.#length;
    const at = this.countUpTo(cut);
    const isInOrder =
      (at === 0 || (this.cutAt(at - 1) < cut && this.timeAt(at - 1) <= timeMs)) &&
      (at === end || this.timeAt(at) >= timeMs);
    if (!isInOrder) throw new FormatError(`a pin at ${cut} of ${timeMs} is not in order`);
    if (end === this.#cuts.length) this.#resize(Math.max(firstCapacity, Math.ceil(end * growth)));
    this.#cuts.copyWithin(at + 1, at, end);
    this.#times.copyWithin(at + 1, at, end);
    this.#cuts[at] = cut;
    this.#times[at] = timeMs;
    this.#length += 1;
  }

  /** Whether there was a pin at `cut`; it is gone. */
  remove(cut: number): boolean {
    const at = this.indexOf(cut);
    if (at < 0) return false;
    this.#cuts.copyWithin(at, at + 1, this.#length);
    this.#times.copyWithin(at, at + 1, this.#length);
    this.#length -= 1;
    this.#shrink();
    return true;
  }

  /** Without the pins at these cuts, which ascend. */
  removeAll(cuts: readonly number[]): void {
    let kept = 0;
    let next = 0;
    for (let index = 0; index < this.#length; index += 1) {
      const cut = this.cutAt(index);
      while ((cuts[next] ?? Number.POSITIVE_INFINITY) < cut) next += 1;
      if (cuts[next] === cut) continue;
      this.#cuts[kept] = cut;
      this.#times[kept] = this.timeAt(index);
      kept += 1;
    }
    this.#length = kept;
    this.#shrink();
  }

  #shrink(): void {
    const capacity = this.#cuts.length;
    if (capacity <= firstCapacity || this.#length >= capacity * usedShareMin) return;
    this.#resize(Math.max(firstCapacity, Math.ceil(this.#length * growth)));
  }

  #resize(capacity: number): void {
    this.#cuts = resized(this.#cuts, this.#length, capacity);
    this.#times = resized(this.#times, this.#length, capacity);
  }
}

function resized(
  column: Float64Array,
  length: number,
  capacity: number,
): Float64Array<ArrayBuffer> {
  const made = new Float64Array(capacity);
  made.set(column.subarray(0, length));
  return made;
}

/** How many of the first `length` numbers, which ascend, are at most `limit`. */
function countUpTo(numbers: Float64Array, length: number, limit: number): number {
  // What is asked for most is new.
  if (length === 0 || (numbers[length - 1] ?? 0) <= limit) return length;
  let low = 0;
  let high = length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((numbers[middle] ?? 0) <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
