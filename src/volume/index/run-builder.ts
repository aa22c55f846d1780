/**
 * Run builder: makes the file of one run from the footers of its segments, or from the runs below it, a bounded number of
 * entries at a time, so that whoever else needs the keeper waits for one step at most.
 *
 *     begin ─▶ step ─▶ step ─▶ ... ─▶ flushed as NAME.new ─▶ renamed to NAME ─▶ folder flushed ─▶ summary
 *
 * A crash at any point leaves a NAME.new that nobody reads, or the whole run. A run that is made of thinned runs or footers counts
 * as thinned, too.
 */
import { type Disk, DiskError, type DiskFile } from '../../base/ports.ts';
import { addressOf, positionOf } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';
import type { Containers } from '../pack/containers.ts';
import { type Footer, SegmentSource } from '../recovery/segment-source.ts';
import { eachFooterRecord } from './footer-records.ts';
import { describeRun, isThinned, type RunPlace, type RunSegment } from './run-format.ts';
import { type EntrySource, RunCursor, RunMerge } from './run-merge.ts';
import { runFolder, runPath, unfinishedRunPath } from './run-path.ts';
import { RunSegments } from './run-segments.ts';
import { type VerifiedRun, verifyRun } from './run-verify.ts';
import { type RunSummary, RunWriter } from './run-writer.ts';
import { SegmentIndex } from './segment-index.ts';

/** A run that another one is made from. */
export interface RunInput extends RunPlace {
  /** Of the file that was found to be of the pool's own segments: no other is taken. */
  readonly digest: Uint8Array;
}

/** What a run is to be made from. */
export interface RunPlan extends RunPlace {
  readonly fanOut: number;
  /** Level 1: the segments, all sealed. Above: none. */
  readonly segments: readonly { readonly segId: number; readonly epoch: number }[];
  /** Above level 1: the runs of the level below. */
  readonly inputs: readonly RunInput[];
  /** The run is there: tell whether it is what comes out, and replace it only when it is not. */
  readonly isRebuild: boolean;
}

export interface BuiltRun {
  readonly summary: RunSummary;
  /** A rebuild: nothing was replaced. */
  readonly wasEqual: boolean;
}

export interface RunBuilderOptions {
  readonly disk: Disk;
  readonly containers: Containers;
  readonly seeds: Seeds;
  readonly poolUuid: Uint8Array;
  readonly segmentSlots: number;
}

interface Build {
  readonly plan: RunPlan;
  /** Of the run that is made. */
  readonly place: RunPlace;
  readonly file: DiskFile;
  readonly merge: RunMerge;
  readonly writer: RunWriter;
}

export class RunBuilder {
  readonly #options: RunBuilderOptions;
  #build: Build | undefined;

  constructor(options: RunBuilderOptions) {
    this.#options = options;
  }

  /**
   * Goes on with the run, or begins it, for up to `countMax` entries; undefined = call again. What was begun for another
   * run is given up. Throws DiskError, FormatError; then nothing is left of it.
   */
  step(plan: RunPlan, countMax: number): BuiltRun | undefined {
    try {
      const known = this.#build;
      const isOther = known?.plan.level !== plan.level || known.plan.firstSegId !== plan.firstSegId;
      const build = known === undefined || isOther ? this.#begin(plan) : known;
      if (!build.merge.step(countMax)) return undefined;
      return this.#finish(build);
    } catch (thrown) {
      this.abandon();
      throw thrown;
    }
  }

  /** Gives up what was begun. Never throws DiskError: what cannot be removed now is removed when the pool is opened again. */
  abandon(): void {
    const build = this.#build;
    this.#build = undefined;
    if (build === undefined) return;
    build.merge.close();
    build.file.close();
    try {
      this.#options.disk.remove(unfinishedRunPath(build.place));
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
    }
  }

  #begin(plan: RunPlan): Build {
    this.abandon();
    const sources: EntrySource[] = [];
    try {
      this.#build = this.#started(plan, sources);
      return this.#build;
    } catch (thrown) {
      for (const source of sources) source.close();
      throw thrown;
    }
  }

  #started(plan: RunPlan, sources: EntrySource[]): Build {
    const { disk, seeds } = this.#options;
    const { level, firstSegId, fanOut } = plan;
    const sealed: RunSegment[] = [];
    const merged: RunSegments[] = [];
    let keptThrough = 0;
    for (const segment of plan.segments) {
      keptThrough = Math.max(keptThrough, this.#addSegment(segment, sources, sealed));
    }
    let isThin = keptThrough > 0;
    for (const input of plan.inputs) {
      const cursor = new RunCursor(disk.open(runPath(input), { create: false }), input, seeds);
      sources.push(cursor);
      if (Buffer.compare(cursor.tables.digest, input.digest) !== 0) {
        throw new FormatError(`run ${describeRun(input)}: not the one that was looked at`);
      }
      merged.push(cursor.segments());
      keptThrough = Math.max(keptThrough, cursor.tables.header.keptThrough);
      isThin ||= isThinned(input);
    }
    const segments = RunSegments.joined([RunSegments.of(sealed), ...merged]);
    // What is made of runs of which one was thinned has not all that there was, either.
    const place = isThin ? { level, firstSegId, generation: 1 } : { level, firstSegId };
    const shape = {
      ...place,
      keptThrough,
      fanOut,
      endSegId: firstSegId + fanOut ** level,
      segments,
      baseTicks: (segments.oldestMs ?? 0) * ticksPerMs,
    };
    disk.makeFolder(runFolder);
    disk.remove(unfinishedRunPath(place));
    const file = disk.open(unfinishedRunPath(place), { create: true });
    try {
      const writer = new RunWriter(file, shape, seeds);
      return { plan, place, file, merge: new RunMerge(sources, writer), writer };
    } catch (thrown) {
      file.close();
      throw thrown;
    }
  }

  /** Answers the position up to which the log judged what its footer has no records of; 0 = it has all. */
  #addSegment(
    { segId, epoch }: RunPlan['segments'][number],
    sources: EntrySource[],
    segments: RunSegment[],
  ): number {
    const footer = this.#footer(segId, epoch);
    const index = new SegmentIndex((visit) => {
      eachFooterRecord(footer, visit);
    });
    sources.push(index.entries());
    const { endSlot, entryCount, digest, minHlcMs, maxHlcMs } = footer.header;
    segments.push({ segId, epoch, endSlot, entryCount, digest, minHlcMs, maxHlcMs });
    if (!footer.header.isThinned) return 0;
    // Where no judgement is known, at least the segment itself was there.
    const judged = this.#options.containers.find(segId)?.pack.keptThrough ?? 0;
    return Math.max(judged, positionOf(addressOf(segId, endSlot), 0));
  }

  #footer(segId: number, epoch: number): Footer {
    const { containers, seeds, segmentSlots } = this.#options;
    const source = new SegmentSource(containers, segId, segmentSlots, seeds);
    try {
      const footer = source.footer(epoch);
      if (footer === undefined) throw new FormatError(`segment ${segId}: footer unreadable`);
      return footer;
    } finally {
      source.close();
    }
  }

  #finish({ plan, place, file, writer }: Build): BuiltRun {
    const { disk, poolUuid } = this.#options;
    const summary = writer.finish(poolUuid);
    if (
      plan.isRebuild &&
      this.#isThere(plan, { ...summary, entriesDigest: writer.entriesDigest })
    ) {
      this.abandon();
      return { summary, wasEqual: true };
    }
    this.#build = undefined;
    file.close();
    disk.rename(unfinishedRunPath(place), runPath(place));
    disk.flushFolder(runFolder);
    return { summary, wasEqual: false };
  }

  /** Whether the run is there, whole, with the same digest; one from before paging with the same entries. */
  #isThere(plan: RunPlan, made: Pick<VerifiedRun, 'digest' | 'entriesDigest'>): boolean {
    const { disk, seeds } = this.#options;
    try {
      const found = verifyRun(disk, plan, seeds);
      return found.isPaged
        ? Buffer.compare(found.digest, made.digest) === 0
        : Buffer.compare(found.entriesDigest, made.entriesDigest) === 0;
    } catch (thrown) {
      if (thrown instanceof FormatError) return false;
      throw thrown;
    }
  }
}
