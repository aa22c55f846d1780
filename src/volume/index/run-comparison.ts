/** Of which files of runs the manifest says what they are, and of which it does not. */
import type { Disk } from '../../base/ports.ts';
import { isThinned, type RunPlace } from './run-format.ts';
import { isUnfinishedRun, runFolder, runPlaceOf, stemOf } from './run-path.ts';
import { RunPlaces } from './run-places.ts';

export interface RunDifferences {
  /** By stem: places where the newest file is not the one that the manifest has, or one of both is missing. */
  readonly doubtful: ReadonlyMap<string, RunPlace>;
  /** Names of files that were being written when a process ended. */
  readonly unfinished: readonly string[];
}

/** Of tens of thousands most agree: nothing is kept of those but a number, and no file is opened. Throws DiskError. */
export function compareRuns(
  disk: Pick<Disk, 'names'>,
  inManifest: Iterable<RunPlace>,
): RunDifferences {
  const rows = new Rows(inManifest);
  const unfinished: string[] = [];
  for (const name of disk.names(runFolder)) {
    const place = runPlaceOf(name);
    if (place !== undefined) rows.found(place);
    else if (isUnfinishedRun(name)) unfinished.push(name);
  }
  return { doubtful: rows.doubtful(), unfinished };
}

class Rows {
  /** Rows of runs that were not thinned and have not been found. */
  readonly #plain = new RunPlaces();
  /** Rows of others, and those of them that have not been found. */
  readonly #thinned = new Map<string, RunPlace>();
  readonly #missing: Map<string, RunPlace>;
  readonly #doubtful = new Map<string, RunPlace>();

  constructor(rows: Iterable<RunPlace>) {
    for (const place of rows) {
      if (isThinned(place)) this.#thinned.set(stemOf(place), place);
      else this.#plain.add(place);
    }
    this.#missing = new Map(this.#thinned);
  }

  /** There is a file of it. */
  found(place: RunPlace): void {
    const { generation = 0 } = place;
    if (generation === 0 && this.#plain.delete(place)) return;
    const stem = stemOf(place);
    const row = this.#thinned.get(stem);
    if (row?.generation === generation) this.#missing.delete(stem);
    // Those that were thinned less often are about to be removed.
    else if (row === undefined || generation > (row.generation ?? 0))
      this.#doubtful.set(stem, place);
  }

  /** When all files were found. */
  doubtful(): ReadonlyMap<string, RunPlace> {
    for (const [stem, place] of this.#missing) this.#doubtful.set(stem, place);
    for (const place of this.#plain) this.#doubtful.set(stemOf(place), place);
    return this.#doubtful;
  }
}
