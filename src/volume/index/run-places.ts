/** Places of runs that were not thinned, without an object for each: of a log of many TiB there are tens of thousands. */
import type { RunPlace } from './run-format.ts';

type Place = Pick<RunPlace, 'level' | 'firstSegId'>;

export class RunPlaces implements Iterable<Place> {
  /** By level. */
  readonly #firstSegIds: (Set<number> | undefined)[] = [];

  has({ level, firstSegId }: Place): boolean {
    return this.#firstSegIds[level]?.has(firstSegId) === true;
  }

  add({ level, firstSegId }: Place): void {
    const known = this.#firstSegIds[level] ?? new Set();
    this.#firstSegIds[level] = known.add(firstSegId);
  }

  /** False when it was not there. */
  delete({ level, firstSegId }: Place): boolean {
    return this.#firstSegIds[level]?.delete(firstSegId) === true;
  }

  *[Symbol.iterator](): Generator<Place> {
    for (const [level, firstSegIds] of this.#firstSegIds.entries()) {
      for (const firstSegId of firstSegIds ?? []) yield { level, firstSegId };
    }
  }
}
