/**
 * Run thinner: what of the runs in a mark some kept state can see: counted for all of them, and for those that are to be thinned
 * written into a run of the same place, the next in number.
 *
 *     begin ─▶ add, in the order of the run ─▶ ... ─▶ worth it? flushed as NAME.new ─▶ read back whole ─▶ named ─▶ folder flushed
 *                                                    no: removed
 *
 * A crash at any point leaves a NAME.new that nobody reads, or both runs whole. The one before is removed by others, later.
 * When the disk refuses, nothing is thinned, and the mark goes on.
 */
import { type Disk, DiskError, type DiskFile } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import type { IndexEntry } from '../index/entry.ts';
import { describeRun, type RunHeader, type RunPlace } from '../index/run-format.ts';
import { runFolder, runPath, unfinishedRunPath } from '../index/run-path.ts';
import type { RunSegments } from '../index/run-segments.ts';
import type { RunTables } from '../index/run-tables.ts';
import { verifyRunOnMedium } from '../index/run-verify.ts';
import { type RunSummary, RunWriter } from '../index/run-writer.ts';
import { mediumWindowBytes } from '../scrub/medium-file.ts';
import type { KeptEntries } from './mark-pass.ts';
import type { MarkPlan, RunCount } from './mark-plan.ts';

interface ThinnerOptions {
  readonly disk: Disk;
  readonly seeds: Seeds;
  readonly poolUuid: Uint8Array;
}

/** The run that is thinned. */
interface ThinnedFrom {
  readonly from: RunPlace;
  readonly header: RunHeader;
  readonly segments: RunSegments;
}

interface Target {
  /** Of the run that is made. */
  readonly place: RunPlace;
  readonly file: DiskFile;
  readonly writer: RunWriter;
  readonly entryCount: number;
}

interface Counted {
  readonly place: RunPlace;
  readonly entryCount: number;
  keptCount: number;
}

export class RunThinner implements KeptEntries {
  readonly #options: ThinnerOptions;
  readonly #plan: Pick<MarkPlan, 'endPosition' | 'keptShareMax'>;
  #window: Uint8Array | undefined;
  /** By source. */
  readonly #counted = new Map<number, Counted>();
  readonly #targets = new Map<number, Target>();
  readonly #made: RunSummary[] = [];
  #error: string | undefined;

  constructor(options: ThinnerOptions, plan: Pick<MarkPlan, 'endPosition' | 'keptShareMax'>) {
    this.#options = options;
    this.#plan = plan;
  }

  /** What was found of all runs. */
  get counts(): readonly RunCount[] {
    return [...this.#counted.values()];
  }

  /** Runs that are durable under their names. */
  get made(): readonly RunSummary[] {
    return this.#made;
  }

  /** Why runs were not thinned. */
  get error(): string | undefined {
    return this.#error;
  }

  /** A source is a run: what is kept of it is counted. */
  count(source: number, place: RunPlace, { header }: RunTables): void {
    this.#counted.set(source, { place, entryCount: header.entryCount, keptCount: 0 });
  }

  /** A source is a run that is to be thinned. */
  begin(source: number, { from, header, segments }: ThinnedFrom): void {
    const { level, firstSegId, fanOut, endSegId, baseTicks, entryCount } = header;
    const { disk, seeds } = this.#options;
    const place = { level, firstSegId, generation: (from.generation ?? 0) + 1 };
    this.#attempt(() => {
      disk.remove(unfinishedRunPath(place));
      const file = disk.open(unfinishedRunPath(place), { create: true });
      const keptThrough = this.#plan.endPosition;
      const shape = { ...place, fanOut, endSegId, segments, baseTicks, keptThrough };
      const writer = new RunWriter(file, shape, seeds);
      this.#targets.set(source, { place, file, writer, entryCount });
    });
  }

  wants(source: number): boolean {
    return this.#counted.has(source);
  }

  add(source: number, entry: IndexEntry): void {
    const counted = this.#counted.get(source);
    if (counted !== undefined) counted.keptCount += 1;
    const target = this.#targets.get(source);
    if (target === undefined) return;
    this.#attempt(() => {
      target.writer.add(entry);
    });
  }

  /** All entries were there: completes one of the runs; false when there is none left. */
  finishNext(): boolean {
    const [next] = this.#targets;
    if (next === undefined) return false;
    const [source, target] = next;
    const keptCount = this.#counted.get(source)?.keptCount ?? 0;
    this.#attempt(() => {
      if (keptCount > target.entryCount * this.#plan.keptShareMax) this.#remove(source, target);
      else this.#finish(source, target);
    });
    return true;
  }

  /** Gives up what was begun. What cannot be removed now is when the pool is opened again. */
  giveUp(): void {
    for (const [source, target] of this.#targets) {
      try {
        this.#remove(source, target);
      } catch (thrown) {
        if (!(thrown instanceof DiskError)) throw thrown;
      }
    }
  }

  #finish(source: number, { place, file, writer }: Target): void {
    const { disk, seeds, poolUuid } = this.#options;
    const path = unfinishedRunPath(place);
    const summary = writer.finish(poolUuid);
    this.#window ??= new Uint8Array(disk.memory(mediumWindowBytes));
    const { digest } = verifyRunOnMedium({ disk, seeds, window: this.#window }, place, path);
    if (Buffer.compare(digest, summary.digest) !== 0) {
      throw new FormatError(`run ${describeRun(place)}: not what was written`);
    }
    this.#targets.delete(source);
    file.close();
    disk.rename(path, runPath(place));
    disk.flushFolder(runFolder);
    this.#made.push(summary);
  }

  #remove(source: number, { file, place }: Target): void {
    this.#targets.delete(source);
    file.close();
    this.#options.disk.remove(unfinishedRunPath(place));
  }

  /** What goes wrong ends the thinning, and nothing else. */
  #attempt(action: () => void): void {
    try {
      action();
    } catch (thrown) {
      if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
      this.#error ??= thrown.message;
      this.giveUp();
    }
  }
}
