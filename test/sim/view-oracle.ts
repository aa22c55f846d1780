/**
 * The oracle of runs whose volumes answer in different ways.
 *
 *     durable  D1 ─ D2 ─ D3 ─ D4      catalogue operations and writes of durable volumes, in the order of their answers
 *     lazy     L1 ─ L2 ─ L3           writes of write-back volumes, in the order of theirs
 *
 * Both orders are orders of the log, but how the two were interleaved is known only where one waited for the other.
 * A recovered pool must equal the first `d` of one and the first `l` of the other: no fewer than was promised, no more
 * than was submitted. What an answered D or a flush promises of L is what was answered before it was submitted.
 */
import { blockSizeBytes } from '../../src/device/block-device.ts';
import type { ContentTable } from './content.ts';
import { type ClearOp, clearParts } from './model.ts';
import { Violation } from './oracle.ts';
import { applyViewOp, describeViewOp, type ViewOp, type ViewState } from './view-model.ts';

export interface ViewRecord {
  readonly op: ViewOp;
  readonly isLazy: boolean;
  /** Lazy operations that had been answered when this one was submitted, if its own record lies behind theirs. */
  readonly lazyBefore: number;
}

/** Part of a block that is a hole already is answered without a record, and then without a flush. */
function isSurelyLogged(op: ViewOp): boolean {
  if (op.kind !== 'zero' && op.kind !== 'trim') return true;
  const first = Math.ceil(op.offset / blockSizeBytes);
  return first < Math.floor((op.offset + op.length) / blockSizeBytes);
}

/** What was promised when the process or machine stopped. */
export interface ViewMark {
  readonly durableCount: number;
  readonly lazyCount: number;
  /** Lazy operations that a lost machine must have, too. */
  readonly lazyFloor: number;
  readonly inFlight: ReadonlySet<ViewRecord>;
}

/** How a pool differs from a state, in words; empty = it does not. */
export type Compare = (state: ViewState, max: number) => readonly string[];

interface Counts {
  readonly durable: number;
  readonly lazy: number;
}

/** The first operations in the order of answers, and the state after them. */
interface Beginning extends Counts {
  readonly state: ViewState;
}

const differencesMax = 12;

export class ViewOracle {
  readonly contents: ContentTable;
  readonly #start: ViewState;
  #now: ViewState;
  /** In the order of answers. */
  readonly #order: ViewRecord[] = [];
  readonly #durable: ViewRecord[] = [];
  readonly #lazy: ViewRecord[] = [];
  readonly #inFlight = new Set<ViewRecord>();
  #lazyFloor = 0;

  constructor(contents: ContentTable, start: ViewState) {
    this.contents = contents;
    this.#start = start;
    this.#now = start;
  }

  get now(): ViewState {
    return this.#now;
  }

  get lazyCount(): number {
    return this.#lazy.length;
  }

  submit(op: ViewOp, isLazy: boolean): ViewRecord {
    const record = { op, isLazy, lazyBefore: isSurelyLogged(op) ? this.#lazy.length : 0 };
    this.#inFlight.add(record);
    return record;
  }

  publish(record: ViewRecord): void {
    this.#inFlight.delete(record);
    this.#now = applyViewOp(this.#now, record.op, this.contents);
    this.#order.push(record);
    (record.isLazy ? this.#lazy : this.#durable).push(record);
    if (!record.isLazy) this.flushed(record.lazyBefore);
  }

  /** The store refused it before it could have any effect. */
  refuse(record: ViewRecord): void {
    this.#inFlight.delete(record);
  }

  /** A flush that was submitted after `lazyCount` lazy answers has been answered. */
  flushed(lazyCount: number): void {
    this.#lazyFloor = Math.max(this.#lazyFloor, lazyCount);
  }

  mark(): ViewMark {
    return {
      durableCount: this.#durable.length,
      lazyCount: this.#lazy.length,
      lazyFloor: this.#lazyFloor,
      inFlight: new Set(this.#inFlight),
    };
  }

  /** The state that the recovered pool shows. Throws Violation when it is none that the mark allows. */
  verify(mark: ViewMark, isMachineLost: boolean, compare: Compare): ViewState {
    const low: Counts = {
      durable: mark.durableCount,
      lazy: isMachineLost ? mark.lazyFloor : mark.lazyCount,
    };
    const high: Counts = {
      durable: endOfFlight(this.#durable, mark.durableCount, mark.inFlight),
      lazy: endOfFlight(this.#lazy, mark.lazyCount, mark.inFlight),
    };
    const beginning = this.#certain(low);
    for (const state of this.#candidates(low, high, beginning)) {
      if (compare(state, 1).length === 0) return state;
    }
    throw new Violation(this.#explain(low, high, compare));
  }

  /** As much of the order as must be there: what all candidates have in common. */
  #certain(low: Counts): Beginning {
    let beginning: Beginning = { state: this.#start, durable: 0, lazy: 0 };
    for (const { op, isLazy } of this.#order) {
      const durable = beginning.durable + (isLazy ? 0 : 1);
      const lazy = beginning.lazy + (isLazy ? 1 : 0);
      if (durable > low.durable || lazy > low.lazy) break;
      const state = applyViewOp(beginning.state, op, this.contents);
      beginning = { state, durable, lazy };
    }
    return beginning;
  }

  *#candidates(low: Counts, high: Counts, beginning: Beginning): Generator<ViewState> {
    for (let durable = high.durable; durable >= low.durable; durable -= 1) {
      // What was answered before the last durable operation began lies before it in the log.
      const promised = this.#durable[durable - 1]?.lazyBefore ?? 0;
      for (let lazy = high.lazy; lazy >= Math.max(low.lazy, promised); lazy -= 1) {
        const counts = { durable, lazy };
        const state = this.#state(counts, beginning);
        yield state;
        if (durable < high.durable) yield* this.#torn(state, this.#durable[durable]);
        if (lazy < high.lazy) yield* this.#torn(state, this.#lazy[lazy]);
      }
    }
  }

  /** The states in which the next operation, a ragged zero or trim, is there only in parts. */
  *#torn(state: ViewState, next: ViewRecord | undefined): Generator<ViewState> {
    const op = next?.op;
    if (op?.kind !== 'zero' && op?.kind !== 'trim') return;
    const parts = clearParts(op);
    for (let choice = 1; choice < 2 ** parts.length - 1; choice += 1) {
      const chosen = parts.filter((_, bit) => (choice & (1 << bit)) !== 0);
      yield chosen.reduce(
        (before: ViewState, part: ClearOp) => applyViewOp(before, part, this.contents),
        state,
      );
    }
  }

  #state(counts: Counts, beginning: Beginning): ViewState {
    let { state, durable, lazy } = beginning;
    for (const { op, isLazy } of this.#order.slice(durable + lazy)) {
      if (isLazy) lazy += 1;
      else durable += 1;
      const isThere = isLazy ? lazy <= counts.lazy : durable <= counts.durable;
      if (isThere) state = applyViewOp(state, op, this.contents);
    }
    return state;
  }

  #explain(low: Counts, high: Counts, compare: Compare): string {
    const lines = [
      `the recovered pool equals no choice of ${low.durable} to ${high.durable} durable and ` +
        `${low.lazy} to ${high.lazy} write-back operations; the last ones are`,
    ];
    for (const [list, from, to] of [
      [this.#durable, low.durable, high.durable],
      [this.#lazy, low.lazy, high.lazy],
    ] as const) {
      for (let index = Math.max(0, from - 3); index < to; index += 1) {
        const record = list[index];
        if (record === undefined) continue;
        const what = record.isLazy ? 'write-back' : 'durable';
        lines.push(`  ${what} ${index + 1}: ${describeViewOp(record.op)}`);
      }
    }
    for (const [what, counts] of [
      ['least', low],
      ['most', high],
    ] as const) {
      lines.push(`  against the state with the ${what}:`);
      for (const difference of compare(this.#state(counts, this.#certain(low)), differencesMax)) {
        lines.push(`    ${difference}`);
      }
    }
    return lines.join('\n');
  }
}

/** How many of `list` may be there: those from `from` on only as long as they were in flight at the mark. */
function endOfFlight(
  list: readonly ViewRecord[],
  from: number,
  inFlight: ReadonlySet<ViewRecord>,
): number {
  let end = from;
  for (let record = list[end]; record !== undefined && inFlight.has(record); record = list[end]) {
    end += 1;
  }
  return end;
}
