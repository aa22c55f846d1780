/** What the keeper does about index runs: makes them in steps, lists them in the manifest, reads them whole. */
import { FormatError } from '../format/format-error.ts';
import { limits } from '../limits.ts';
import type { Manifest } from '../recovery/manifest.ts';
import { type BuiltRun, RunBuilder, type RunBuilderOptions, type RunPlan } from './run-builder.ts';
import type { RunPlace } from './run-format.ts';
import { isUnfinishedRun, runFolder, runName, runPath, runPlaceOf } from './run-path.ts';
import { readRunTables } from './run-tables.ts';
import { verifyRun } from './run-verify.ts';
import type { RunSummary } from './run-writer.ts';

export class RunKeeping {
  readonly #options: RunBuilderOptions;
  readonly #builder: RunBuilder;

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
    const known = new Set(manifest?.runs().map(runName));
    for (const name of disk.list(runFolder)) {
      if (isUnfinishedRun(name)) disk.remove(`${runFolder}/${name}`);
      const place = runPlaceOf(name);
      if (place === undefined || known.delete(name)) continue;
      const summary = this.#summary(place);
      if (summary === undefined) disk.remove(runPath(place));
      else manifest?.addRun(summary);
    }
    for (const name of known) {
      const place = runPlaceOf(name);
      if (place !== undefined) manifest?.removeRun(place);
    }
  }

  /** Enters all runs that are there into a manifest that has none. Throws DiskError. */
  list(manifest: Manifest | undefined): void {
    for (const name of this.#options.disk.list(runFolder)) {
      const place = runPlaceOf(name);
      const summary = place === undefined ? undefined : this.#summary(place);
      if (summary !== undefined) manifest?.addRun(summary);
    }
  }

  /** Throws DiskError, and FormatError when the run is damaged. */
  verify(place: RunPlace): void {
    verifyRun(this.#options.disk, place, this.#options.seeds);
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
