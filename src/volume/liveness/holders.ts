/**
 * Holders: by which moments each block of the log is held, exactly, in a number per block.
 *
 *     moments in the order of the walk:   0    1    2    3    4    5
 *     a block:                                 ├── held ─┤         ├─▶ from 5 on            = {[1, 3], [5, ...]}
 *
 * Blocks with equal holders share one number, and where neighbours in the walk are neighbours in time most sets are one
 * interval. A block may be referred to from several places (CLONE): then it is held until the last of them lets go.
 */
import { present } from '../../base/assert.ts';

/** Inclusive, by the order of the walk. */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

/** Intervals that have ended, newest last: a list that shares its beginning with others. */
interface Ended {
  readonly before: Ended | undefined;
  readonly from: number;
  readonly to: number;
  readonly id: number;
}

interface State {
  readonly ended: Ended | undefined;
  /** References that are held now; with any, the newest interval began at `start`. */
  readonly references: number;
  readonly start: number;
}

/** Held by nothing, ever. */
export const nobody = 0;

export class HolderSets {
  readonly #states: State[] = [{ ended: undefined, references: 0, start: 0 }];
  readonly #stateByKey = new Map<string, number>();
  readonly #endedByKey = new Map<string, Ended>();
  #moment = -1;
  /** From one set to the next, for the present moment. */
  readonly #opened = new Map<number, number>();
  readonly #closed = new Map<number, number>();

  /** One more than every number of a set. */
  get count(): number {
    return this.#states.length;
  }

  /** From now on references begin at moment `index`, and those that end were held until the one before. */
  moveTo(index: number): void {
    this.#moment = index;
    this.#opened.clear();
    this.#closed.clear();
  }

  /** Number of the set with one more reference. */
  open(set: number): number {
    const known = this.#opened.get(set);
    if (known !== undefined) return known;
    const { ended, references, start } = this.#state(set);
    let next: State;
    if (references > 0) next = { ended, references: references + 1, start };
    // What let go between two moments and is held again was held all the time, as far as moments go.
    else if (ended !== undefined && ended.to === this.#moment - 1) {
      next = { ended: ended.before, references: 1, start: ended.from };
    } else next = { ended, references: 1, start: this.#moment };
    return this.#remember(this.#opened, set, next);
  }

  /** Number of the set with one reference less. */
  close(set: number): number {
    const known = this.#closed.get(set);
    if (known !== undefined) return known;
    const { ended, references, start } = this.#state(set);
    const next =
      references > 1
        ? { ended, references: references - 1, start }
        : { ended: this.#end(ended, start, this.#moment - 1), references: 0, start: 0 };
    return this.#remember(this.#closed, set, next);
  }

  /** The set as intervals, in order; what is held still is held until `last`. */
  intervals(set: number, last: number): Interval[] {
    const { ended, references, start } = this.#state(set);
    const intervals: Interval[] = references > 0 ? [{ from: start, to: last }] : [];
    for (let at = ended; at !== undefined; at = at.before) intervals.push(at);
    return intervals.toReversed();
  }

  #state(set: number): State {
    return present(this.#states[set], 'set of holders');
  }

  #remember(memory: Map<number, number>, from: number, next: State): number {
    const key = `${next.ended?.id ?? 0}:${next.references}:${next.start}`;
    let set =
      next.references === 0 && next.ended === undefined ? nobody : this.#stateByKey.get(key);
    if (set === undefined) {
      set = this.#states.length;
      this.#states.push(next);
      this.#stateByKey.set(key, set);
    }
    memory.set(from, set);
    return set;
  }

  #end(before: Ended | undefined, from: number, to: number): Ended | undefined {
    // Begun and ended between the same two moments: no moment holds it.
    if (to < from) return before;
    const key = `${before?.id ?? 0}:${from}:${to}`;
    let ended = this.#endedByKey.get(key);
    if (ended === undefined) {
      ended = { before, from, to, id: this.#endedByKey.size + 1 };
      this.#endedByKey.set(key, ended);
    }
    return ended;
  }
}
