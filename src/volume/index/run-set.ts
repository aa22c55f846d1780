/**
 * Run set: which runs there are, and how a prefix of the log decomposes into them.
 *
 *     segments  0 1 2 3 4 5 6 7 8 9 10 11 ...       fan-out 4
 *     level 1   [     ] [     ] [       ]
 *     level 2   [                          ...      not whole yet
 *     prefix up to 10:  [0-3] [4-7] 8 9, and the part of 10 that lies before it
 *
 * A run that reaches beyond the end of the prefix serves too: its entries have positions.
 */
import type { RunPlace } from './run-format.ts';
import { runName, runPlaceOf } from './run-path.ts';

export const levelsOfRuns = 9;

/** A stretch of the log, in the order of the log: a run, or one segment. */
export type Piece =
  | { readonly kind: 'run'; readonly place: RunPlace }
  | { readonly kind: 'segment'; readonly segId: number };

export class RunSet {
  readonly fanOut: number;
  readonly #names = new Set<string>();
  #version = 0;

  constructor(fanOut: number) {
    this.fanOut = fanOut;
  }

  /** Grows with every change. */
  get version(): number {
    return this.#version;
  }

  places(): RunPlace[] {
    return [...this.#names].map(runPlaceOf).filter((place) => place !== undefined);
  }

  has(place: RunPlace): boolean {
    return this.#names.has(runName(place));
  }

  add(place: RunPlace): void {
    this.#names.add(runName(place));
    this.#version += 1;
  }

  remove(place: RunPlace): void {
    this.#names.delete(runName(place));
    this.#version += 1;
  }

  /** How many segment ids a run of `level` covers. */
  span(level: number): number {
    return this.fanOut ** level;
  }

  /**
   * What holds the records of segments [first, last], oldest first; `hasSegment` tells which ids are part of the log.
   */
  pieces(first: number, last: number, hasSegment: (segId: number) => boolean): Piece[] {
    const pieces: Piece[] = [];
    for (let segId = first; segId <= last; ) {
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

  /** The widest run that begins at `segId` and ends at or before `last`; else one of level 1 that holds it. */
  #widest(segId: number, last: number): RunPlace | undefined {
    for (let level = levelsOfRuns; level >= 1; level -= 1) {
      const span = this.span(level);
      const place = { level, firstSegId: segId };
      if (segId % span === 0 && segId + span - 1 <= last && this.has(place)) return place;
    }
    const around = { level: 1, firstSegId: segId - (segId % this.fanOut) };
    return this.has(around) ? around : undefined;
  }
}
