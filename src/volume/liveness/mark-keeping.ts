/**
 * What the keeper does for the liveness mark: opens what holds the records of the log, a piece at a time, and walks through all
 * of it in steps. One pass at a time; a new one gives up what is left of the one before.
 */
import { lowerBound } from '../../base/lower-bound.ts';
import { type Disk, DiskError } from '../../base/ports.ts';
import { isReached } from '../core/segment-end.ts';
import { frameAddressOf } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { digestTagBytes } from '../format/segment-rows.ts';
import { eachFooterRecord } from '../index/footer-records.ts';
import { describeRun, type RunPlace } from '../index/run-format.ts';
import { runName } from '../index/run-path.ts';
import type { RunTables } from '../index/run-tables.ts';
import { SegmentIndex, type SegmentVisitor } from '../index/segment-index.ts';
import type { Containers } from '../pack/containers.ts';
import { SegmentSource } from '../recovery/segment-source.ts';
import { livenessLimits } from './limits.ts';
import { BadRunError, type LineSource, RunLineSource, SegmentLineSource } from './line-source.ts';
import { LiveBits } from './live-bits.ts';
import { MarkPass } from './mark-pass.ts';
import type { MarkPiece, MarkPlan, MarkSegments, MarkStepped } from './mark-plan.ts';
import { RunThinner } from './run-thinner.ts';

export interface MarkKeepingOptions {
  readonly disk: Disk;
  readonly containers: Containers;
  readonly seeds: Seeds;
  readonly poolUuid: Uint8Array;
  readonly segmentSlots: number;
}

interface Marking {
  readonly plan: MarkPlan;
  readonly sources: LineSource[];
  readonly thinner: RunThinner;
  /** Names of runs that are to be thinned. */
  readonly thin: ReadonlySet<string>;
  /** Segments before this one are in sources. */
  endSegId: number;
  entriesInMemory: number;
  isJudged: boolean;
  pass: MarkPass | undefined;
}

export class MarkKeeping {
  readonly #options: MarkKeepingOptions;
  #marking: Marking | undefined;

  constructor(options: MarkKeepingOptions) {
    this.#options = options;
  }

  /** Begins with `plan`, or goes on with the one before when there is none. */
  step(plan: MarkPlan | undefined): MarkStepped {
    try {
      if (plan !== undefined) this.#begin(plan);
      const marking = this.#marking;
      if (marking === undefined) throw new FormatError('no pass of the liveness mark is under way');
      if (this.#goOn(marking)) return { isUnfinished: true };
      this.close();
      return { isUnfinished: false, ...foundBy(marking.thinner) };
    } catch (thrown) {
      this.close();
      const code = thrown instanceof DiskError ? thrown.code : 'format';
      if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
      const error = { code, message: thrown.message };
      if (!(thrown instanceof BadRunError)) return { isUnfinished: false, error };
      return { isUnfinished: false, error, badRun: thrown.place };
    }
  }

  close(): void {
    const marking = this.#marking;
    this.#marking = undefined;
    for (const source of marking?.sources ?? []) source.close();
    marking?.thinner.giveUp();
  }

  #begin(plan: MarkPlan): void {
    this.close();
    this.#marking = {
      plan,
      sources: [],
      thinner: new RunThinner(this.#options, plan),
      thin: new Set(plan.thin.map(runName)),
      endSegId: 0,
      entriesInMemory: 0,
      isJudged: false,
      pass: undefined,
    };
  }

  /** False = all is judged. Throws DiskError, FormatError. */
  #goOn(marking: Marking): boolean {
    const { plan, sources, thinner } = marking;
    const piece = plan.pieces[sources.length];
    if (piece !== undefined) {
      sources.push(this.#open(marking, piece));
      return true;
    }
    marking.pass ??= new MarkPass(plan.lines, sources, new LiveBits(plan), thinner);
    if (!marking.isJudged && !marking.pass.step(livenessLimits.markEntriesPerStep)) return true;
    marking.isJudged = true;
    return thinner.finishNext();
  }

  #open(marking: Marking, piece: MarkPiece): LineSource {
    if (piece.kind === 'run') return this.#openRun(marking, piece.place);
    const visitor =
      piece.kind === 'segment' ? this.#footerRecords(marking, piece) : this.#frameRecords(piece);
    const index = new SegmentIndex(visitor);
    marking.entriesInMemory += index.entryCount;
    if (marking.entriesInMemory > livenessLimits.markSegmentEntriesMax) {
      throw new FormatError('too many segments have no index run yet');
    }
    return new SegmentLineSource(index.entries(), index.entryCount);
  }

  #openRun(marking: Marking, place: RunPlace): LineSource {
    const source = new RunLineSource(this.#options.disk, place, this.#options.seeds);
    const { tables } = source;
    if (!isMadeOf(tables, marking)) {
      source.close();
      throw new BadRunError(place, new FormatError(`run ${describeRun(place)}: of other segments`));
    }
    const { sources, thinner, thin } = marking;
    const isBehind = tables.header.firstSegId >= marking.endSegId;
    marking.endSegId = tables.header.endSegId;
    if (!isBehind) throw new FormatError(`run ${describeRun(place)}: overlaps with another one`);
    thinner.count(sources.length, place, tables);
    if (thin.has(runName(place))) {
      thinner.begin(sources.length, {
        from: place,
        header: tables.header,
        segments: source.segments(),
      });
    }
    return source;
  }

  #footerRecords(
    { plan }: Marking,
    { segId, epoch }: { readonly segId: number; readonly epoch: number },
  ): SegmentVisitor {
    const footer = this.#withSource(segId, (source) => source.footer(epoch));
    const digest = digestAt(plan.sealed, placeOf(plan.sealed, segId) ?? -1);
    if (
      footer === undefined ||
      Buffer.compare(footer.header.digest.subarray(0, digestTagBytes), digest) !== 0
    ) {
      throw new FormatError(`segment ${segId}: footer unreadable`);
    }
    return (visit) => {
      eachFooterRecord(footer, visit);
    };
  }

  #frameRecords({
    segId,
    endAddress,
  }: Extract<MarkPiece, { kind: 'open-segment' }>): SegmentVisitor {
    const range = { verifiesData: false, endLimit: endAddress, durableLimit: endAddress };
    const scan = this.#withSource(segId, (source) => source.scan(range));
    const isWhole = scan?.faults.length === 0 && scan.endAddress === endAddress;
    if (scan === undefined || !isWhole) {
      const faults = scan?.faults.join('; ') ?? 'header unreadable';
      throw new FormatError(`segment ${segId}: ${faults}`);
    }
    return (visit) => {
      // Times are not asked for.
      for (const entry of scan.entries) visit(entry, 0);
    };
  }

  #withSource<T>(segId: number, use: (source: SegmentSource) => T): T {
    const { containers, segmentSlots, seeds } = this.#options;
    const source = new SegmentSource(containers, segId, segmentSlots, seeds);
    try {
      return use(source);
    } finally {
      source.close();
    }
  }
}

/** What a pass that is through has found of runs. */
function foundBy({ counts, made, error }: RunThinner): Partial<MarkStepped> {
  return { counts, thinned: made, ...(error === undefined ? {} : { thinError: error }) };
}

/** Whether a run was made of exactly the sealed segments in its range. */
function isMadeOf(tables: RunTables, marking: Marking): boolean {
  const { sealed } = marking.plan;
  const { header } = tables;
  const end = frameAddressOf(header.keptThrough);
  if (!isReached(end, (segId) => endOf(segId, marking))) return false;
  const from = lowerBound(sealed.segIds, header.firstSegId);
  const to = lowerBound(sealed.segIds, header.endSegId);
  return tables.isOf({
    segIds: sealed.segIds.subarray(from, to),
    epochs: sealed.epochs.subarray(from, to),
    tags: sealed.digests.subarray(from * digestTagBytes, to * digestTagBytes),
  });
}

/** Where the log ends in a segment, as the mark sees it; 0 = there is no such segment. */
function endOf(segId: number, { plan }: Marking): number {
  const place = placeOf(plan.sealed, segId);
  if (place !== undefined) return plan.sealed.endAddresses[place] ?? 0;
  for (const piece of plan.pieces) {
    if (piece.kind === 'open-segment' && piece.segId === segId) return piece.endAddress;
  }
  return 0;
}

function placeOf(sealed: MarkSegments, segId: number): number | undefined {
  const place = lowerBound(sealed.segIds, segId);
  return sealed.segIds[place] === segId ? place : undefined;
}

/** Empty when there is no such segment. */
function digestAt({ digests }: MarkSegments, place: number): Uint8Array {
  return place < 0
    ? new Uint8Array(0)
    : digests.subarray(place * digestTagBytes, (place + 1) * digestTagBytes);
}
