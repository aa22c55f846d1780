/** What the keeper does about index runs: makes them in steps, lists them in the manifest, reads them whole. */
import { FormatError } from '../format/format-error.ts';
import { limits } from '../limits.ts';
import type { Manifest } from '../recovery/manifest.ts';
import { mediumWindowBytes } from '../scrub/medium-file.ts';
import { type BuiltRun, RunBuilder, type RunBuilderOptions, type RunPlan } from './run-builder.ts';
import { isThinned, type RunPlace } from './run-format.ts';
import { isUnfinishedRun, runFolder, runPath, runPlaceOf, stemOf } from './run-path.ts';
import { RunPlaces } from './run-places.ts';
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
    const names = disk.list(runFolder);
    for (const name of names) {
      if (isUnfinishedRun(name)) disk.remove(`${runFolder}/${name}`);
    }
    const known = new RunPlaces();
    for (const place of manifest?.runs() ?? []) known.add(place);
    const there = names.map(runPlaceOf).filter((place) => place !== undefined);
    const thinned = new Set(there.filter(isThinned).map(stemOf));
    // Of most of tens of thousands nothing is to be done. The row does not tell how often a run was thinned.
    const others = there.filter(
      (place) => (thinned.size > 0 && thinned.has(stemOf(place))) || !known.delete(place),
    );
    for (const places of byStem(others).values()) {
      for (const place of places) known.delete(place);
      const { newest, damaged } = this.#newest(places);
      for (const place of damaged) disk.remove(runPath(place));
      if (newest !== undefined) manifest?.addRun(newest);
      else manifest?.removeRun(places[0] ?? { level: 0, firstSegId: 0 });
    }
    for (const place of known) manifest?.removeRun(place);
  }

  /** Enters all runs that are there into a manifest that has none. Throws DiskError. */
  list(manifest: Manifest | undefined): void {
    for (const places of this.#places().values()) {
      const { newest } = this.#newest(places);
      if (newest !== undefined) manifest?.addRun(newest);
    }
  }

  /** Removes runs that nobody reads any more; what counts in their stead is durable under its name before. Throws DiskError. */
  remove(places: readonly RunPlace[], manifest: Manifest | undefined): void {
    const { disk } = this.#options;
    disk.flushFolder(runFolder);
    for (const place of places) disk.remove(runPath(place));
    const left = this.#places();
    for (const place of places) {
      const { newest } = this.#newest(left.get(stemOf(place)) ?? []);
      if (newest === undefined) manifest?.removeRun(place);
      else manifest?.addRun(newest);
    }
  }

  /** The files of runs by place, those that were thinned most often first. */
  #places(): Map<string, RunPlace[]> {
    const names = this.#options.disk.list(runFolder);
    return byStem(names.map(runPlaceOf).filter((place) => place !== undefined));
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

/** Files of runs by place, those that were thinned most often first. */
function byStem(places: readonly RunPlace[]): Map<string, RunPlace[]> {
  const found = new Map<string, RunPlace[]>();
  for (const place of places) {
    const others = found.get(stemOf(place)) ?? [];
    others.push(place);
    others.sort((left, right) => (right.generation ?? 0) - (left.generation ?? 0));
    found.set(stemOf(place), others);
  }
  return found;
}
