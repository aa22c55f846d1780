/**
 * Moment walk: which blocks of the log each of many moments refers to, told as differences between neighbours.
 *
 *     nothing ──▶ moment 0 ──▶ moment 1 ──▶ moment 2 ...        each arrow: opened(blocks that came), closed(blocks that went)
 *
 * Neighbours are compared only where the log's records between them say that they can differ: ten thousand snapshots of a
 * volume cost one walk of its map and what changed between them. Runs in slices.
 */
import { present } from '../../base/assert.ts';
import { failure, type Outcome, success } from '../../base/errors.ts';
import { giveWay } from '../core/give-way.ts';
import type { Moment, OpenMoment } from '../core/moment-maps.ts';
import { momentUnreadable } from '../core/open-moments.ts';
import type { Operator } from '../core/operator.ts';
import { slotSizeBytes } from '../format/address.ts';
import { limits } from '../limits.ts';
import { BlockMap, zeroValue } from '../map/block-map.ts';
import { compareMaps } from '../map/compare-maps.ts';
import { livenessLimits } from './limits.ts';
import type { Root } from './roots.ts';
import type { TouchedBlocks } from './touched.ts';
import type { BlockRange } from './touched-leaves.ts';

/** Who is told what a walk finds. Addresses count up within a call. */
export interface ReferenceSink {
  /** What is opened from now on, moment `index` refers to; what is closed, the one before was the last to. */
  moveTo(index: number): void;
  opened(address: number, count: number): void;
  closed(address: number, count: number): void;
}

export interface WalkOptions {
  readonly roots: readonly Pick<Root, 'kind' | 'moment'>[];
  /** Maps of the present by line, as far as there are any: the walk reads them and leaves them to their owner. */
  readonly heads: ReadonlyMap<number, BlockMap>;
  readonly touched: TouchedBlocks;
  readonly sink: ReferenceSink;
  /** After moment `index`: how many blocks of it are mapped. */
  readonly onMoment: (index: number, mappedBlocks: number) => void;
}

/** Forks of the maps of the present at one instant, by line, for a walk of what lies before `end`; their owner releases them. */
export function forkHeads({ parts }: Operator, end: number): Map<number, BlockMap> {
  const heads = new Map<number, BlockMap>();
  for (const id of parts.catalogue.currentLines()) {
    const line = present(parts.lineById.get(id), 'line of a volume');
    // What is not durable yet is not counted: where there is any, the map is made from the index.
    if (line.lastPosition < end) heads.set(id, line.map.fork());
  }
  return heads;
}

/** `done` gets an error when the log cannot be read. May run inside the call. */
export function walkMoments(
  operator: Operator,
  options: WalkOptions,
  done: (outcome: Outcome<undefined>) => void,
): void {
  new Walk(operator, options, done).run();
}

interface Place {
  readonly map: BlockMap;
  readonly blockCount: number;
  readonly release: () => void;
}

class Walk {
  readonly #operator: Operator;
  readonly #options: WalkOptions;
  /** When it began to work after the pause before. */
  #pausedMs = 0;
  readonly #done: (outcome: Outcome<undefined>) => void;
  #before: Place;
  #index = 0;
  /** Of the moment that is looked at, as far as it was. */
  #mappedBlocks = 0;
  #isReadable = true;

  constructor(
    operator: Operator,
    options: WalkOptions,
    done: (outcome: Outcome<undefined>) => void,
  ) {
    this.#operator = operator;
    this.#options = options;
    this.#done = done;
    const map = new BlockMap(operator.parts.leaves, 0);
    this.#before = { map, blockCount: 0, release: () => undefined };
  }

  run(): void {
    const root = this.#options.roots[this.#index];
    if (root === undefined) {
      this.#finish(success(undefined));
      return;
    }
    const { moment } = root;
    const blockCount = moment.sizeBytes / slotSizeBytes;
    const head = root.kind === 'present' ? this.#options.heads.get(moment.line) : undefined;
    if (head !== undefined) {
      this.#compareWith({ map: head, blockCount, release: () => undefined }, moment);
      return;
    }
    this.#operator.moments.look(moment, (opened: OpenMoment | undefined) => {
      if (opened === undefined) this.#finish(failure(momentUnreadable()));
      else {
        const release = (): void => {
          opened.release();
        };
        this.#compareWith({ map: opened.map, blockCount, release }, moment);
      }
    });
  }

  #finish(outcome: Outcome<undefined>): void {
    this.#before.release();
    this.#done(outcome);
  }

  /** Finds out where the moment can differ from the one before, and compares there. */
  #compareWith(next: Place, moment: Moment): void {
    const all = [{ block: 0, count: Math.max(this.#before.blockCount, next.blockCount) }];
    const before = this.#options.roots[this.#index - 1]?.moment;
    this.#options.sink.moveTo(this.#index);
    if (before === undefined) {
      this.#compareIn(next, all);
      return;
    }
    this.#options.touched.between(before, moment, (outcome) => {
      if (outcome.ok) this.#compareIn(next, outcome.value ?? all);
      else {
        next.release();
        this.#finish(outcome);
      }
    });
  }

  #compareIn(next: Place, ranges: readonly BlockRange[]): void {
    const { host } = this.#operator.parts;
    let index = 0;
    let at = ranges[0]?.block ?? 0;
    const slice = (): void => {
      const started = host.clock.monotonicMs();
      while (this.#isReadable && host.clock.monotonicMs() - started < limits.sliceMs) {
        const range = ranges[index];
        if (range === undefined) break;
        at += this.#compareFrom(next, at, range.block + range.count - at);
        if (at < range.block + range.count) continue;
        index += 1;
        at = ranges[index]?.block ?? 0;
      }
      if (index < ranges.length && this.#isReadable) this.#giveWay(slice);
      else this.#compared(next);
    };
    slice();
  }

  #compared(next: Place): void {
    this.#before.release();
    this.#before = next;
    if (!this.#isReadable) {
      this.#finish(failure(momentUnreadable()));
      return;
    }
    this.#options.onMoment(this.#index, this.#mappedBlocks);
    this.#index += 1;
    const { clock, timers } = this.#operator.parts.host;
    const run = (): void => {
      this.run();
    };
    // Many moments may be there at once: not one inside the other.
    if (clock.monotonicMs() - this.#pausedMs < limits.sliceMs) timers.defer(run);
    else this.#giveWay(run);
  }

  #giveWay(slice: () => void): void {
    const { host } = this.#operator.parts;
    giveWay(host, () => {
      this.#pausedMs = host.clock.monotonicMs();
      slice();
    });
  }

  /** Compares some leaves; returns how many blocks were looked at. */
  #compareFrom(next: Place, block: number, count: number): number {
    const { sink } = this.#options;
    const before = this.#before.map;
    let at = block;
    const range = { block, count, leavesMax: livenessLimits.walkLeavesPerCall };
    return compareMaps(before, next.map, range, (length, isDifferent) => {
      if (isDifferent) {
        this.#visit(before, at, length, (address, blocks) => {
          this.#mappedBlocks -= blocks;
          sink.closed(address, blocks);
        });
        this.#visit(next.map, at, length, (address, blocks) => {
          this.#mappedBlocks += blocks;
          sink.opened(address, blocks);
        });
      }
      at += length;
      return true;
    });
  }

  #visit(
    map: BlockMap,
    block: number,
    count: number,
    tell: (address: number, length: number) => void,
  ): void {
    map.visit(block, count, (length, value) => {
      if (value > 0) tell(value, length);
      else if (value < zeroValue) this.#isReadable = false;
      return true;
    });
  }
}
