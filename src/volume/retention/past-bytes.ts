/**
 * Past bytes: how much volumes with a budget of bytes wrote before anybody counted: before the pool was opened, or before they had
 * a budget. From the records of the log, newest segments first, as far back as the budgets reach.
 *
 *     log   ├─w──w───w──w─┼─────w───w───┼─w─────w────w┼──▶ now
 *             sample ─────────────────────────────────────▶   so many blocks of the volume were written from here on
 *
 * What was dead is missing from the records of packs, and what is not durable is not looked at: no sample says more than was
 * written. So a budget keeps rather too much than too little. Works in slices.
 */
import { success } from '../../base/errors.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import type { Done, Operator } from '../core/operator.ts';
import { slotSizeBytes } from '../format/address.ts';
import { RecordType } from '../format/frame.ts';
import { linesOf } from '../history/changes.ts';
import { eachSegment } from '../history/sliced.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';
import type { Anchor } from './anchors.ts';
import type { ByteBudget, PastSample } from './byte-budget.ts';
import { retentionLimits as limits } from './limits.ts';

/** A volume whose budget is counted from now on. */
export interface Budgeted {
  readonly volume: VolumeState;
  readonly budgetBytes: number;
  readonly budget: ByteBudget;
}

/** What was found of one of them. */
class Found {
  /** Newest first. */
  readonly samples: PastSample[] = [];
  readonly lines: ReadonlySet<number>;
  readonly from: number;
  readonly #budgetBlocks: number;
  readonly #stepBlocks: number;
  /** In all segments that were looked at. */
  #blocks = 0;
  /** In the present one, so far, and at some records of it. */
  #segmentBlocks = 0;
  #marks: (Anchor & { readonly before: number })[] = [];

  constructor({ volume, budgetBytes }: Budgeted) {
    this.lines = linesOf(volume);
    this.from = volume.horizon?.position ?? volume.createdPosition;
    this.#budgetBlocks = budgetBytes / slotSizeBytes;
    this.#stepBlocks = this.#budgetBlocks / limits.pastBytesSamples;
  }

  /** Where the budget begins is known. */
  get isOver(): boolean {
    return this.#blocks > this.#budgetBlocks;
  }

  /** A record of the segment, in the order of the log. */
  wrote(blocks: number, anchor: Anchor): void {
    const last = this.#marks.at(-1);
    if (last === undefined || this.#segmentBlocks - last.before >= this.#stepBlocks) {
      this.#marks.push({ ...anchor, before: this.#segmentBlocks });
    }
    this.#segmentBlocks += blocks;
  }

  /** That was all of the segment. */
  segmentEnded(): void {
    this.#blocks += this.#segmentBlocks;
    for (const { position, timeMs, before } of this.#marks.toReversed()) {
      this.samples.push({ position, timeMs, sinceBlocks: this.#blocks - before });
    }
    this.#segmentBlocks = 0;
    this.#marks = [];
  }
}

/** `done` runs when the budgets know of it, or with an error when the log cannot be read: then they know what they knew. */
export function countPastBytes(
  operator: Operator,
  wanted: readonly Budgeted[],
  done: Done<undefined>,
): void {
  const { timeline, parts } = operator;
  const end = timeline.end();
  const found = wanted.map((each) => new Found(each));
  const bases = wanted.map(({ budget }) => budget.blocks);
  const from = Math.min(...found.map((each) => each.from), end);
  const segIds = timeline.segmentsBetween(from, end).toReversed();
  const visit = (segId: number): void => {
    const open = found.filter((each) => !each.isOver);
    countSegment(operator, { segId, end }, open);
    for (const each of open) each.segmentEnded();
  };
  const next = (): void => {
    const some = segIds.splice(0, limits.pastSegmentsAtOnce);
    if (some.length === 0 || found.every(({ isOver }) => isOver)) {
      wanted.forEach(({ budget }, index) => {
        budget.remember(found[index]?.samples.toReversed() ?? [], bases[index] ?? 0);
      });
      done(success(undefined));
      return;
    }
    eachSegment(operator, { segIds: some, visit, progress: undefined }, (outcome) => {
      if (outcome.ok) parts.host.timers.defer(next);
      else done(outcome);
    });
  };
  parts.host.timers.defer(next);
}

function countSegment(
  { reading }: Operator,
  { segId, end }: { readonly segId: number; readonly end: number },
  open: readonly Found[],
): void {
  reading.visit(segId, ({ position, type, line, blockCount }, ticks) => {
    if (position >= end) return false;
    if (type !== RecordType.write) return true;
    for (const each of open) {
      if (position < each.from || !each.lines.has(line)) continue;
      // Times of horizons are whole milliseconds.
      each.wrote(blockCount, { position, timeMs: Math.ceil(ticks / ticksPerMs) });
    }
    return true;
  });
}
