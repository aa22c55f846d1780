/**
 * Retention: which states of which lines are kept, and so which blocks of the log somebody can still reach.
 *
 *     line 1   ────o──────o─────────[══════════════════▶      o  pin: one state           [══ window: every state from here on
 *                  └─ line 2 ──o───────[════]                 a line that is kept pins the state of its parent where it began
 *
 * A state of a line is named by its cut: everything of the line before that position. A version of a block, written at `birth` and
 * overwritten or trimmed on the same line at `death`, is kept when a pin or a state of the window lies in (birth, death].
 *
 * Invariants
 * 1. What is told here only ever shrinks, but for what is written later: who is dead once is dead for ever. So it is a function
 *    of the durable catalogue, of which windows move forward only, and of leases, which are taken on kept states only.
 * 2. When in doubt a state is kept.
 */
import type { Catalogue, VolumeState } from '../catalogue/catalogue.ts';

/** A state of a line: everything of it before position `cut`. */
export interface KeptState {
  readonly line: number;
  readonly cut: number;
}

/** What is kept of one line. */
export interface LineRetention {
  readonly line: number;
  /** 0 = none: it began empty. */
  readonly parentLine: number;
  /** Everything of the parent before this position belongs to the line; the parent has a pin there. */
  readonly forkPosition: number;
  /** Ascending cuts, each once. */
  readonly pins: Float64Array;
  /** Every state from this cut on is kept ... */
  readonly windowFrom: number;
  /** ... up to this one; Infinity for a line that is being written (its head). Less than `windowFrom`: there is no window. */
  readonly windowTo: number;
}

interface Building {
  /** In any order, and perhaps more than once. */
  readonly pins: number[];
  /** The same, many at once. */
  readonly lists: Float64Array[];
  windowFrom: number;
  windowTo: number;
}

/** The lines of which something is kept, by id. `leases`: states that somebody reads just now. */
export function retentionOf(
  catalogue: Pick<Catalogue, 'volumes' | 'line'>,
  leases: readonly KeptState[],
): readonly LineRetention[] {
  const kept = new KeptLines();
  for (const volume of catalogue.volumes()) keepVolume(kept, volume);
  for (const { line, cut } of leases) kept.pin(line, cut);
  return kept.finish(catalogue);
}

function keepVolume(kept: KeptLines, volume: VolumeState): void {
  const from = volume.horizon?.position ?? 0;
  for (const { line, leftAt } of volume.history) {
    const to = leftAt?.position ?? Number.POSITIVE_INFINITY;
    if (from <= to) kept.window(line, from, to);
  }
  for (const { line, cut } of volume.snapshotByName.values()) kept.pin(line, cut);
  keepPins(kept, volume);
  // An undo goes back to what the newest rollback or refresh left.
  const left = volume.history.findLast(({ leftAt }) => leftAt !== undefined);
  if (left?.leftAt !== undefined) kept.pin(left.line, left.leftAt.position);
}

function keepPins(kept: KeptLines, { pins, history }: VolumeState): void {
  let from = 0;
  history.forEach((span, index) => {
    // Those up to where the volume left the line: both lists are in order.
    const next = history[index + 1]?.fromPosition;
    const end = next === undefined ? pins.length : pins.countUpTo(next);
    if (end > from) kept.pinAll(span.line, pins.cuts(from, end).slice());
    from = end;
  });
}

class KeptLines {
  readonly #byLine = new Map<number, Building>();

  pin(line: number, cut: number): void {
    this.#of(line).pins.push(cut);
  }

  /** Takes the cuts over. */
  pinAll(line: number, cuts: Float64Array): void {
    this.#of(line).lists.push(cuts);
  }

  /** A line belongs to one volume, and to one stretch of its history: it has one window. */
  window(line: number, from: number, to: number): void {
    const building = this.#of(line);
    building.windowFrom = from;
    building.windowTo = to;
  }

  /** Lines that begin in others hold the states that they begin with. */
  finish(catalogue: Pick<Catalogue, 'line'>): LineRetention[] {
    const found: LineRetention[] = [];
    const open = [...this.#byLine.keys()].sort((left, right) => left - right);
    // A line has a greater id than the one that it began in: from the last one on, all children come before their parent.
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      const { parentLine, forkPosition } = catalogue.line(id);
      const { pins, lists, windowFrom, windowTo } = this.#of(id);
      const cuts = ascending([...lists, Float64Array.from(pins)]);
      found.push({ line: id, parentLine, forkPosition, pins: cuts, windowFrom, windowTo });
      if (parentLine === 0) continue;
      if (!this.#byLine.has(parentLine)) insert(open, parentLine);
      this.pin(parentLine, forkPosition);
    }
    return found.toReversed();
  }

  #of(line: number): Building {
    const known = this.#byLine.get(line);
    if (known !== undefined) return known;
    const building = { pins: [], lists: [], windowFrom: 0, windowTo: -1 };
    this.#byLine.set(line, building);
    return building;
  }
}

/** Each once, in order. There may be hundreds of thousands, nearly always in order: a walk of 10 ns each. */
function ascending(lists: readonly Float64Array[]): Float64Array {
  const sorted = new Float64Array(lists.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const list of lists) {
    sorted.set(list, at);
    at += list.length;
  }
  if (!isAscending(sorted)) sorted.sort();
  let count = 0;
  for (let index = 0; index < sorted.length; index += 1) {
    const number = sorted[index] ?? 0;
    if (count > 0 && sorted[count - 1] === number) continue;
    sorted[count] = number;
    count += 1;
  }
  return count === sorted.length ? sorted : sorted.slice(0, count);
}

function isAscending(numbers: Float64Array): boolean {
  for (let index = 1; index < numbers.length; index += 1) {
    if ((numbers[index] ?? 0) < (numbers[index - 1] ?? 0)) return false;
  }
  return true;
}

/** Into ascending numbers. */
function insert(numbers: number[], value: number): void {
  const at = numbers.findLastIndex((other) => other < value);
  numbers.splice(at + 1, 0, value);
}
