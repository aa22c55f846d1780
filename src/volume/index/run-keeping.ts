/** What the keeper does about index runs: makes them in steps, lists them in the manifest, reads them whole. */
import { FormatError } from '../format/format-error.ts';
import { keeperError } from '../keeper-checks.ts';
import type { KeeperError } from '../keeper-jobs.ts';
import { limits } from '../limits.ts';
import type { Manifest } from '../recovery/manifest.ts';
import { mediumWindowBytes } from '../scrub/medium-file.ts';
import { type BuiltRun, RunBuilder, type RunBuilderOptions, type RunPlan } from './run-builder.ts';
import { compareRuns } from './run-comparison.ts';
import type { RunPlace } from './run-format.ts';
import { runFolder, runPath, runPlaceOf, stemOf } from './run-path.ts';
import { readRunTables } from './run-tables.ts';
import { verifyRun, verifyRunOnMedium } from './run-verify.ts';
import type { RunSummary } from './run-writer.ts';

export class RunKeeping {
  readonly #options: RunBuilderOptions;
  readonly #builder: RunBuilder;
  #window: Uint8Array | undefined;

  constructor(options: RunBuilderOptions) {
    this.#options = options;
    this.#builder = new RunBuilder(options);
  }

  close(): void {
    this.#builder.abandon();
  }

  /** One step towards a run; undefined = not done yet. Throws DiskError, FormatError. */
  step(plan: RunPlan, manifest: Manifest | undefined): BuiltRun | undefined {
    const built = this.#builder.step(plan, limits.runEntriesPerStep);
    if (built !== undefined && !built.wasEqual) manifest?.addRun(built.summary);
    return built;
  }

  /**
   * Makes folder and manifest agree: what was being written when a process ended is removed, whole runs that the manifest
   * lacks are entered, damaged ones removed (they are made again), rows without a file deleted. Throws DiskError.
   */
  open(manifest: Manifest | undefined): void {
    const { disk } = this.#options;
    const { doubtful, unfinished } = compareRuns(disk, manifest?.runs() ?? []);
    for (const name of unfinished) disk.remove(`${runFolder}/${name}`);
    if (doubtful.size === 0) return;
    const files = this.#filesOf((stem) => doubtful.has(stem));
    for (const [stem, place] of doubtful) {
      const { newest, damaged } = this.#newest(files.get(stem) ?? []);
      for (const each of damaged) disk.remove(runPath(each));
      if (newest !== undefined) manifest?.addRun(newest);
      else manifest?.removeRun(place);
    }
  }

  /** Bytes of the files of runs, in their order, as far as the disk says; 0 of one that is missing. */
  measure(places: readonly RunPlace[]): { readonly bytes: number[]; readonly error?: KeeperError } {
    const bytes: number[] = [];
    try {
      for (const place of places) bytes.push(this.#options.disk.sizeOf(runPath(place)));
      return { bytes };
    } catch (thrown) {
      return { bytes, error: keeperError(thrown) };
    }
  }

  /** Enters all runs that are there into a manifest that has none. Throws DiskError. */
  list(manifest: Manifest | undefined): void {
    for (const places of this.#filesOf(() => true).values()) {
      const { newest } = this.#newest(places);
      if (newest !== undefined) manifest?.addRun(newest);
    }
  }

  /** Removes runs that nobody reads any more; what counts in their stead is durable under its name before. Throws DiskError. */
  remove(places: readonly RunPlace[], manifest: Manifest | undefined): void {
    const { disk } = this.#options;
    disk.flushFolder(runFolder);
    for (const place of places) disk.remove(runPath(place));
    const stems = new Set(places.map(stemOf));
    const left = this.#filesOf((stem) => stems.has(stem));
    for (const place of places) {
      const { newest } = this.#newest(left.get(stemOf(place)) ?? []);
      if (newest === undefined) manifest?.removeRun(place);
      else manifest?.addRun(newest);
    }
  }

  /** The files of runs by the stem of their place, of those that are `wanted`: what was thinned most often first. */
  #filesOf(wanted: (stem: string) => boolean): Map<string, RunPlace[]> {
    const found = new Map<string, RunPlace[]>();
    for (const name of this.#options.disk.names(runFolder)) {
      const place = runPlaceOf(name);
      if (place === undefined) continue;
      const stem = stemOf(place);
      if (!wanted(stem)) continue;
      const others = found.get(stem);
      if (others === undefined) found.set(stem, [place]);
      else others.push(place);
    }
    for (const places of found.values()) {
      places.sort((left, right) => (right.generation ?? 0) - (left.generation ?? 0));
    }
    return found;
  }

  /** The first of them that is whole, and the damaged ones before it. */
  #newest(places: readonly RunPlace[]): {
    readonly newest: RunSummary | undefined;
    readonly damaged: readonly RunPlace[];
  } {
    const damaged: RunPlace[] = [];
    for (const place of places) {
      const newest = this.#summary(place);
      if (newest !== undefined) return { newest, damaged };
      damaged.push(place);
    }
    return { newest: undefined, damaged };
  }

  /** Reads a run whole. Throws DiskError, and FormatError when the run is damaged. */
  verify({ place, isOnMedium }: { readonly place: RunPlace; readonly isOnMedium: boolean }): void {
    const { disk, seeds } = this.#options;
    if (!isOnMedium) {
      verifyRun(disk, place, seeds);
      return;
    }
    this.#window ??= new Uint8Array(disk.memory(mediumWindowBytes));
    verifyRunOnMedium({ disk, seeds, window: this.#window }, place, runPath(place));
  }

  /** What a run says of itself; undefined when it is not whole. Throws DiskError, and FormatError for a newer version. */
  #summary(place: RunPlace): RunSummary | undefined {
    const { disk, seeds } = this.#options;
    const file = disk.open(runPath(place), { create: false });
    try {
      const { header, digest } = readRunTables(file, place, seeds);
      const { positionLow, positionHigh, entryCount } = header;
      return { ...place, positionLow, positionHigh, bytes: file.size(), entryCount, digest };
    } catch (thrown) {
      if (!(thrown instanceof FormatError) || thrown.isTooNew) throw thrown;
      return undefined;
    } finally {
      file.close();
    }
  }
}
