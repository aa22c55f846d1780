/**
 * Places of runs that were not thinned, with the bytes of their files as far as somebody has looked, and no object for any of them: of a log
 * of many TiB there are tens of thousands.
 */
import type { RunPlace } from './run-format.ts';

type Place = Pick<RunPlace, 'level' | 'firstSegId'>;

const notMeasured = -1;

export class RunPlaces implements Iterable<Place> {
  /** Bytes by first segment, by level. */
  readonly #levels: (Map<number, number> | undefined)[] = [];

  has(level: number, firstSegId: number): boolean {
    return this.#levels[level]?.has(firstSegId) === true;
  }

  add({ level, firstSegId }: Place): void {
    this.#set(level, firstSegId, notMeasured);
  }

  /** False when it was not there. */
  delete({ level, firstSegId }: Place): boolean {
    return this.#levels[level]?.delete(firstSegId) === true;
  }

  /** Undefined when nobody has looked. */
  bytesOf({ level, firstSegId }: Place): number | undefined {
    const bytes = this.#levels[level]?.get(firstSegId) ?? notMeasured;
    return bytes === notMeasured ? undefined : bytes;
  }

  /** It is there. */
  measured({ level, firstSegId }: Place, bytes: number): void {
    this.#set(level, firstSegId, bytes);
  }

  *notMeasured(): Generator<Place> {
    for (const [level, runs] of this.#levels.entries()) {
      for (const [firstSegId, bytes] of runs ?? []) {
        if (bytes === notMeasured) yield { level, firstSegId };
      }
    }
  }

  *[Symbol.iterator](): Generator<Place> {
    for (const [level, runs] of this.#levels.entries()) {
      for (const firstSegId of runs?.keys() ?? []) yield { level, firstSegId };
    }
  }

  #set(level: number, firstSegId: number, bytes: number): void {
    const runs = this.#levels[level] ?? new Map<number, number>();
    this.#levels[level] = runs.set(firstSegId, bytes);
  }
}
