/**
 * Run set: which runs there are, and how a prefix of the log decomposes into them.
 *
 *     segments  0 1 2 3 4 5 6 7 8 9 10 11 ...       fan-out 4
 *     level 1   [     ] [     ] [       ]
 *     level 2   [                          ...      not whole yet
 *     prefix up to 10:  [0-3] [4-7] 8 9, and the part of 10 that lies before it
 *
 * A run that reaches beyond the end of the prefix serves too: its entries have positions.
 *
 * A run that was thinned has the place of the one that it was made from, and counts instead of it: in each place the one that
 * was thinned most often is in force. It says the same of every state that is kept, so do narrower runs in its range, if they are
 * still there: both, and the file before, are `superseded`. Nothing in its range is made again.
 */
import { isThinned, type RunPlace } from './run-format.ts';
import { runName, runPlaceOf, stemOf } from './run-path.ts';
import { RunPlaces } from './run-places.ts';

export const levelsOfRuns = 9;

/** A stretch of the log, in the order of the log: a run, or one segment. */
export type Piece =
  | { readonly kind: 'run'; readonly place: RunPlace }
  | { readonly kind: 'segment'; readonly segId: number };

/** A run that is not needed any more, because of another one. */
export interface Superseded {
  readonly place: RunPlace;
  readonly by: RunPlace;
}

export class RunSet {
  readonly fanOut: number;
  /** Of runs that were not thinned. */
  readonly #plain = new RunPlaces();
  /** By the stem of their names: the thinned ones in one place, the one in force last. */
  readonly #thinned = new Map<string, RunPlace[]>();
  /** Places by level where the run in force was thinned. */
  readonly #thinnedByLevel: number[] = [];
  /** By name, of the thinned ones whose files somebody has looked at. */
  readonly #thinnedBytes = new Map<string, number>();
  /** Names of runs that may be superseded: nobody goes through hundreds of thousands that are not. */
  readonly #suspects = new Set<string>();
  #version = 0;
  #bytes = 0;
  #notMeasured = 0;

  constructor(fanOut: number) {
    this.fanOut = fanOut;
  }

  /** Grows with every change. */
  get version(): number {
    return this.#version;
  }

  /** All files of runs. */
  *places(): Generator<RunPlace> {
    yield* this.#plain;
    for (const places of this.#thinned.values()) yield* places;
  }

  /** Bytes of the files that were measured. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How many files nobody has looked at. */
  get notMeasured(): number {
    return this.#notMeasured;
  }

  /** The first `count` of these, or a few more. */
  firstNotMeasured(count: number): RunPlace[] {
    if (this.#notMeasured === 0) return [];
    const found = this.#plain.notMeasured().take(count).toArray() as RunPlace[];
    for (const places of this.#thinned.values()) {
      if (found.length >= count) break;
      found.push(...places.filter((place) => !this.#thinnedBytes.has(runName(place))));
    }
    return found;
  }

  /** The file of a run that is there has so many bytes, until it is added again. */
  measured(place: RunPlace, bytes: number): void {
    if (!this.isKnown(place) || this.#bytesOf(place) !== undefined) return;
    if (isThinned(place)) this.#thinnedBytes.set(runName(place), bytes);
    else this.#plain.measured(place, bytes);
    this.#bytes += bytes;
    this.#notMeasured -= 1;
  }

  /** It is as if nobody had looked at its file. */
  #forgetBytes(place: RunPlace): void {
    const bytes = this.#bytesOf(place);
    if (bytes === undefined) return;
    if (isThinned(place)) this.#thinnedBytes.delete(runName(place));
    else this.#plain.add(place);
    this.#bytes -= bytes;
    this.#notMeasured += 1;
  }

  #bytesOf(place: RunPlace): number | undefined {
    return isThinned(place) ? this.#thinnedBytes.get(runName(place)) : this.#plain.bytesOf(place);
  }

  /** Whether there is a run in this place, thinned or not. */
  has(place: RunPlace): boolean {
    return this.#plain.has(place.level, place.firstSegId) || this.#thinnedAt(place).length > 0;
  }

  /** The run in force in this place; of a thinned one always the same object. */
  inForce(place: RunPlace): RunPlace | undefined {
    const thinned = this.#thinnedAt(place).at(-1);
    const { level, firstSegId } = place;
    if (thinned !== undefined || !this.#plain.has(level, firstSegId)) return thinned;
    return { level, firstSegId };
  }

  /** Whether this very one is there. */
  isKnown(place: RunPlace): boolean {
    if (!isThinned(place)) return this.#plain.has(place.level, place.firstSegId);
    return this.#thinnedAt(place).some(({ generation }) => generation === place.generation);
  }

  #thinnedAt(place: RunPlace): readonly RunPlace[] {
    return (this.#thinned.size > 0 ? this.#thinned.get(stemOf(place)) : undefined) ?? [];
  }

  /** All files of runs in this place, the one in force last. */
  #at({ level, firstSegId }: RunPlace): RunPlace[] {
    const thinned = this.#thinnedAt({ level, firstSegId });
    return this.#plain.has(level, firstSegId) ? [{ level, firstSegId }, ...thinned] : [...thinned];
  }

  add(place: RunPlace): void {
    this.#version += 1;
    if (this.isKnown(place)) {
      this.#forgetBytes(place);
      return;
    }
    this.#notMeasured += 1;
    const { level, firstSegId, generation = 0 } = place;
    if (generation === 0) {
      this.#plain.add(place);
      this.#suspectBecauseOf({ level, firstSegId });
      return;
    }
    const added = { level, firstSegId, generation };
    const others = this.#thinnedAt(place);
    if (others.length === 0) this.#countThinned(level, 1);
    this.#thinned.set(
      stemOf(place),
      [...others, added].sort((left, right) => (left.generation ?? 0) - (right.generation ?? 0)),
    );
    this.#suspectBecauseOf(added);
  }

  #countThinned(level: number, more: number): void {
    this.#thinnedByLevel[level] = (this.#thinnedByLevel[level] ?? 0) + more;
  }

  /** What a run that was added makes of others, and they of it. */
  #suspectBecauseOf(added: RunPlace): void {
    // Nothing is superseded but by a thinned one.
    if (this.#thinned.size === 0) return;
    const others = this.#at(added);
    if (others.length > 1) for (const other of others) this.#suspects.add(runName(other));
    if (this.thinnedAround(added) !== undefined) this.#suspects.add(runName(added));
    if (!isThinned(added)) return;
    const end = added.firstSegId + this.span(added.level);
    for (let level = 1; level < added.level; level += 1) {
      for (let segId = added.firstSegId; segId < end; segId += this.span(level)) {
        const narrower = this.#at({ level, firstSegId: segId });
        for (const place of narrower) this.#suspects.add(runName(place));
      }
    }
  }

  remove(place: RunPlace): void {
    this.#version += 1;
    if (!this.isKnown(place)) return;
    this.#suspects.delete(runName(place));
    this.#forgetBytes(place);
    this.#notMeasured -= 1;
    if (!isThinned(place)) {
      this.#plain.delete(place);
      return;
    }
    const left = this.#thinnedAt(place).filter(({ generation }) => generation !== place.generation);
    if (left.length > 0) this.#thinned.set(stemOf(place), left);
    else {
      this.#thinned.delete(stemOf(place));
      this.#countThinned(place.level, -1);
    }
  }

  /** How many segment ids a run of `level` covers. */
  span(level: number): number {
    return this.fanOut ** level;
  }

  /** A wider run around the range of this one that was thinned: then this one is not made. */
  thinnedAround({ level, firstSegId }: RunPlace): RunPlace | undefined {
    for (let wider = level + 1; wider <= levelsOfRuns; wider += 1) {
      if ((this.#thinnedByLevel[wider] ?? 0) === 0) continue;
      const around = this.#around(wider, firstSegId);
      if (around !== undefined && isThinned(around)) return around;
    }
    return undefined;
  }

  /** Runs that are there although another one says the same of all that is kept. */
  superseded(): Superseded[] {
    const suspects = [...this.#suspects].map(runPlaceOf).filter((place) => place !== undefined);
    return suspects.flatMap((place) => {
      const by = this.thinnedAround(place) ?? this.inForce(place);
      return by === undefined || runName(by) === runName(place) ? [] : [{ place, by }];
    });
  }

  #around(level: number, segId: number): RunPlace | undefined {
    return this.inForce({ level, firstSegId: segId - (segId % this.span(level)) });
  }

  /**
   * What holds the records of segments [first, last], oldest first; `hasSegment` tells which ids are part of the log. They do
   * not overlap when `last` is the last one.
   */
  pieces(first: number, last: number, hasSegment: (segId: number) => boolean): Piece[] {
    const pieces: Piece[] = [];
    let begin = first;
    // The log does not begin where runs do.
    while (begin > 0 && !hasSegment(begin - 1)) begin -= 1;
    for (let segId = begin; segId <= last; ) {
      const place = this.#widest(segId, last);
      if (place !== undefined) {
        pieces.push({ kind: 'run', place });
        segId = place.firstSegId + this.span(place.level);
        continue;
      }
      if (hasSegment(segId)) pieces.push({ kind: 'segment', segId });
      segId += 1;
    }
    return pieces;
  }

  /**
   * The same of a line that began in segment `first`, with what lies before it where that makes fewer pieces: nothing of the
   * line is there. From the middle of a wide run on it would take up to seven narrower ones of each level.
   */
  piecesOfLine(first: number, last: number, hasSegment: (segId: number) => boolean): Piece[] {
    for (let level = levelsOfRuns; level >= 1; level -= 1) {
      const begin = first - (first % this.span(level));
      if (begin + this.span(level) - 1 > last) continue;
      if (this.#around(level, first) !== undefined) return this.pieces(begin, last, hasSegment);
    }
    return this.pieces(first, last, hasSegment);
  }

  /** The widest run that begins at `segId` and ends at or before `last`; else the narrowest one that holds it. */
  #widest(segId: number, last: number): RunPlace | undefined {
    for (let level = levelsOfRuns; level >= 1; level -= 1) {
      const span = this.span(level);
      if (segId % span !== 0 || segId + span - 1 > last) continue;
      const place = this.#around(level, segId);
      if (place !== undefined) return place;
    }
    for (let level = 1; level <= levelsOfRuns; level += 1) {
      const around = this.#around(level, segId);
      if (around !== undefined) return around;
    }
    return undefined;
  }
}
