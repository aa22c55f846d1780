/**
 * Space account: what the blocks of the log are there for, exact to the block, at one moment of the pool.
 *
 *     segment files = headers · blocks held by volumes, snapshots, undo · history · dead · room that is not written yet
 *                               └ each block once, whoever shares it ┘     │          └ nothing refers to it any more
 *                                                                          └ only past moments of a volume refer to it
 *
 *     1. heads forked, catalogue and end of the log noted: all at one instant; I/O goes on. What is looked at is leased: it stays
 *        readable, whatever is deleted meanwhile, for as long as a lease lasts
 *     2. the walk over all moments that hold blocks (see MomentWalk) gives each block its set of holders
 *     3. the log's records say which of the other blocks some past of a volume that exists refers to, as far as the mark
 *        (see LivenessMark) does not call them dead: past moments of which nothing is kept any more hold nothing
 *
 * Memory: 4 bytes a block of log, at most `holderTableBytes`; a larger log is looked at in several passes.
 */
import { ErrorCode, failure, OperationError, type Outcome, success } from '../../base/errors.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import { giveWay } from '../core/give-way.ts';
import type { MomentsLease } from '../core/moment-maps.ts';
import { momentUnreadable } from '../core/open-moments.ts';
import type { Done, Operator } from '../core/operator.ts';
import { addressOf, frameAddressOf, slotSizeBytes } from '../format/address.ts';
import { footerSizeBytes } from '../format/footer.ts';
import { RecordType } from '../format/frame.ts';
import { eachSegment } from '../history/sliced.ts';
import { limits } from '../limits.ts';
import type { BlockMap } from '../map/block-map.ts';
import type { Progress } from '../reports.ts';
import { HolderTable } from './holder-table.ts';
import { HolderSets, type Interval } from './holders.ts';
import { livenessLimits } from './limits.ts';
import type { LiveSet } from './live-set.ts';
import type { LivenessMark } from './mark.ts';
import { forkHeads, walkMoments } from './moment-walk.ts';
import { keptStill, type Root, rootsOf } from './roots.ts';
import { TouchedBlocks } from './touched.ts';

/** So many blocks are held by exactly these moments (numbers of roots). */
export interface HeldBlocks {
  readonly holders: readonly Interval[];
  readonly blocks: number;
}

export interface SpaceAccount {
  readonly computedMs: number;
  /** End address of the log that it covers. */
  readonly end: number;
  readonly roots: readonly Root[];
  /** Blocks that each root refers to, counted as often as it does. */
  readonly mappedBlocks: readonly number[];
  readonly held: readonly HeldBlocks[];
  /** In the order of `pastBlocks`. */
  readonly volumes: readonly VolumeState[];
  /** Blocks that nothing holds, but some past moment of the volume refers to; each block once. */
  readonly pastBlocks: readonly number[];
  /** All blocks with data in the log, but those that packing left out. */
  readonly dataBlocks: number;
  /** Slots of segment files, and blocks that packs keep. */
  readonly slots: number;
  /** Slots of segment and frame headers. */
  readonly headerSlots: number;
  readonly footerBytes: number;
  readonly segmentCount: number;
}

/** Works in slices; `done` gets an error when the log cannot be read. */
export function accountSpace(
  operator: Operator,
  mark: LivenessMark,
  { progress, done }: { readonly progress: Progress; readonly done: Done<SpaceAccount> },
): void {
  mark.run((marked) => {
    // When it is not known who is dead, all past counts as history.
    const live = marked.ok ? marked.value : undefined;
    whenFlushed(operator, () => {
      new Accounting(operator, live, { progress, done }).run();
    });
  });
}

function whenFlushed({ parts }: Operator, start: () => void): void {
  // What was answered is counted: on write-back volumes it may not be durable yet.
  if (parts.writer === undefined) parts.host.timers.defer(start);
  else {
    parts.writer.log.flush(() => {
      parts.host.timers.defer(start);
    });
  }
}

class Accounting {
  readonly #operator: Operator;
  /** As of a moment before: who was dead then still is. */
  readonly #live: LiveSet | undefined;
  readonly #progress: Progress;
  readonly #done: Done<SpaceAccount>;
  readonly #computedMs: number;
  readonly #end: number;
  readonly #roots: readonly Root[];
  readonly #lease: MomentsLease;
  readonly #touched: TouchedBlocks;
  readonly #volumes: readonly VolumeState[];
  readonly #heads: ReadonlyMap<number, BlockMap>;
  readonly #mappedBlocks: number[];
  readonly #segIds: readonly number[];
  /** Volume by line: whose past the line's records are. */
  readonly #volumeByLine = new Map<number, number>();
  readonly #sets = new HolderSets();
  readonly #blocksBySet = new Map<number, number>();
  readonly #pastBlocks: number[];
  #dataBlocks = 0;
  #slots = 0;
  #headerSlots = 0;
  #footerBytes = 0;
  #stretchCount = 1;
  #stretch = 0;

  constructor(
    operator: Operator,
    live: LiveSet | undefined,
    { progress, done }: { readonly progress: Progress; readonly done: Done<SpaceAccount> },
  ) {
    const { catalogue, host, segmentById } = operator.parts;
    this.#operator = operator;
    this.#live = live;
    this.#progress = progress;
    this.#done = done;
    this.#computedMs = host.clock.wallMs();
    const endPosition = operator.timeline.end();
    this.#end = frameAddressOf(endPosition);
    this.#touched = new TouchedBlocks(operator, endPosition);
    this.#roots = rootsOf(catalogue, endPosition);
    this.#lease = operator.moments.leaseAll(this.#roots.map(({ moment }) => moment));
    this.#volumes = catalogue.volumes();
    this.#segIds = [...segmentById.keys()].filter((segId) => addressOf(segId, 0) < this.#end);
    this.#pastBlocks = this.#volumes.map(() => 0);
    this.#heads = forkHeads(operator, endPosition);
    this.#volumes.forEach((volume, index) => {
      for (const span of volume.history) this.#volumeByLine.set(span.line, index);
    });
    this.#mappedBlocks = this.#roots.map(() => 0);
  }

  run(): void {
    const { segmentSlots } = this.#operator.parts.settings;
    const perStretch = Math.max(
      1,
      Math.floor(livenessLimits.holderTableBytes / (segmentSlots * 4)),
    );
    const stretches: number[][] = [];
    for (let at = 0; at < this.#segIds.length; at += perStretch) {
      stretches.push(this.#segIds.slice(at, at + perStretch));
    }
    this.#stretchCount = stretches.length;
    const next = (): void => {
      const segIds = stretches[this.#stretch];
      if (segIds === undefined) {
        this.#finish(success(undefined));
        return;
      }
      this.#look(segIds, (outcome) => {
        this.#stretch += 1;
        if (outcome.ok) next();
        else this.#finish(outcome);
      });
    };
    next();
  }

  #finish(outcome: Outcome<undefined>): void {
    for (const map of this.#heads.values()) map.release();
    const isOver = this.#lease.isOver();
    this.#lease.release();
    if (!outcome.ok) {
      this.#done(outcome);
      return;
    }
    const isKept = keptStill(this.#operator.parts.catalogue);
    if (isOver && !this.#roots.every(isKept)) {
      this.#done(failure(tookTooLong()));
      return;
    }
    const last = this.#roots.length - 1;
    const held: HeldBlocks[] = [];
    for (const [set, blocks] of this.#blocksBySet) {
      held.push({ holders: this.#sets.intervals(set, last), blocks });
    }
    this.#done(
      success({
        computedMs: this.#computedMs,
        end: this.#end,
        roots: this.#roots,
        mappedBlocks: this.#mappedBlocks,
        held,
        volumes: this.#volumes,
        pastBlocks: this.#pastBlocks,
        dataBlocks: this.#dataBlocks,
        slots: this.#slots,
        headerSlots: this.#headerSlots,
        footerBytes: this.#footerBytes,
        segmentCount: this.#segIds.length,
      }),
    );
  }

  /** One stretch of the log: the walk, then the records. */
  #look(segIds: readonly number[], done: (outcome: Outcome<undefined>) => void): void {
    const table = new HolderTable(this.#sets, {
      segmentSlots: this.#operator.parts.settings.segmentSlots,
      firstSegId: segIds[0] ?? 0,
      lastSegId: segIds.at(-1) ?? 0,
      end: this.#end,
      live: this.#live,
    });
    const roots = this.#roots;
    const onMoment = (index: number, mappedBlocks: number): void => {
      this.#mappedBlocks[index] = mappedBlocks;
      this.#tell(((index + 1) / roots.length) * this.#segIds.length);
    };
    const heads = this.#heads;
    const touched = this.#touched;
    walkMoments(this.#operator, { roots, heads, touched, sink: table, onMoment }, (walked) => {
      if (!walked.ok) {
        done(walked);
        return;
      }
      this.#lookAtBases(table, (based) => {
        if (based.ok) this.#lookAtRecords(table, segIds, done);
        else done(based);
      });
    });
  }

  /** Half of a stretch's work is the walk, the other half are the records. */
  #tell(segments: number): void {
    const each = this.#segIds.length * 2;
    this.#progress(Math.floor(this.#stretch * each + segments), this.#stretchCount * each);
  }

  /** What a line began with belongs to its past, also when the volume that wrote it is gone. */
  #lookAtBases(table: HolderTable, done: (outcome: Outcome<undefined>) => void): void {
    const { catalogue } = this.#operator.parts;
    const begun = [...this.#volumeByLine].filter(([id]) => {
      const { parentLine } = catalogue.line(id);
      return parentLine !== 0 && !this.#volumeByLine.has(parentLine);
    });
    const next = (index: number): void => {
      const [id, volume] = begun[index] ?? [];
      if (id === undefined || volume === undefined) {
        done(success(undefined));
        return;
      }
      const { parentLine, forkPosition, sizeBytes } = catalogue.line(id);
      const moment = { line: parentLine, cut: forkPosition, sizeBytes };
      this.#operator.moments.look(moment, (opened) => {
        if (opened === undefined) {
          done(failure(momentUnreadable()));
          return;
        }
        opened.map.visit(0, sizeBytes / slotSizeBytes, (count, value) => {
          if (value > 0) table.past(value, count, volume);
          return true;
        });
        opened.release();
        this.#operator.parts.host.timers.defer(() => {
          next(index + 1);
        });
      });
    };
    next(0);
  }

  /** Records from the stretch on: a CLONE may refer to blocks long before it. */
  #lookAtRecords(
    table: HolderTable,
    stretch: readonly number[],
    done: (outcome: Outcome<undefined>) => void,
  ): void {
    const first = stretch[0] ?? 0;
    const segIds = this.#segIds.filter((segId) => segId >= first);
    const counted = new Set(stretch);
    const visit = (segId: number): void => {
      this.#lookAtSegment(table, segId, counted.has(segId));
    };
    const progress = (count: number, total: number): void => {
      const length = this.#segIds.length;
      this.#tell(length + (count / total) * length);
    };
    eachSegment(this.#operator, { segIds, visit, progress }, (outcome) => {
      if (outcome.ok) this.#count(table, done);
      else done(outcome);
    });
  }

  /** In slices: a table may be of 64 million blocks. */
  #count(table: HolderTable, done: (outcome: Outcome<undefined>) => void): void {
    const { host } = this.#operator.parts;
    const { clock } = host;
    const left = table.segIds();
    const slice = (): void => {
      const startedMs = clock.monotonicMs();
      while (clock.monotonicMs() - startedMs < limits.sliceMs) {
        const segId = left.pop();
        if (segId === undefined) {
          done(success(undefined));
          return;
        }
        table.countInto(segId, this.#blocksBySet, this.#pastBlocks);
      }
      giveWay(host, slice);
    };
    slice();
  }

  #lookAtSegment(table: HolderTable, segId: number, isCounted: boolean): void {
    const { segmentById, containers } = this.#operator.parts;
    const contents = this.#operator.reading.contents(segId);
    const hasFile = isCounted && this.#countPacked(segId);
    if (contents === undefined) return;
    if (hasFile) this.#headerSlots += 1;
    let index = 0;
    for (let at = 0; at < contents.frameCount; at += 1) {
      const { slot, headerBlocks, descriptors, dataBlocks } = contents.frame(at);
      if (addressOf(segId, slot) >= this.#end) return;
      if (hasFile) {
        this.#headerSlots += headerBlocks;
        this.#dataBlocks += dataBlocks;
      }
      for (const until = index + descriptors; index < until; index += 1) {
        const { type, line, address, blockCount } = contents.entry(index);
        if (type !== RecordType.write && type !== RecordType.clone) continue;
        const volume = this.#volumeByLine.get(line);
        if (volume !== undefined) table.past(address, blockCount, volume);
      }
    }
    const segment = segmentById.get(segId);
    if (!isCounted || segment?.crcPlace === undefined) return;
    const packed = containers.find(segId);
    if (packed !== undefined) {
      this.#footerBytes += packed.member.footerBytes;
      return;
    }
    const endSlot = segment.endAddress - addressOf(segId, 0);
    this.#footerBytes += footerSizeBytes(index, endSlot, contents.frameCount);
  }

  /** Counts what a pack keeps of the segment; true = it lies in a file of its own, with all its slots. */
  #countPacked(segId: number): boolean {
    const { segmentById, settings } = this.#operator.parts;
    const kept = segmentById.get(segId)?.keptBlocks;
    this.#slots += kept ?? settings.segmentSlots;
    this.#dataBlocks += kept ?? 0;
    return kept === undefined;
  }
}

function tookTooLong(): OperationError {
  return new OperationError(
    ErrorCode.conflict,
    'counting took so long that something was deleted meanwhile whose blocks could not be kept for it any more',
    'Ask again when less is going on.',
  );
}
