/**
 * Moment walk: which blocks of the log each of many moments refers to, told as differences between neighbours.
 *
 *     nothing ──▶ moment 0 ──▶ moment 1 ──▶ moment 2 ...        each arrow: opened(blocks that came), closed(blocks that went)
 *
 * Neighbours share the pages and leaves of their maps, and what they share costs nothing: ten thousand snapshots of a
 * volume cost one walk of its map and what changed between them. Runs in slices; the heads are forks taken at one instant.
 */
import { failure, type Outcome, success } from '../../base/errors.ts';
import type { OpenMoment } from '../core/moment-maps.ts';
import type { Operator } from '../core/operator.ts';
import { momentUnreadable } from '../core/view-operations.ts';
import { slotSizeBytes } from '../format/address.ts';
import { limits } from '../limits.ts';
import { BlockMap, zeroValue } from '../map/block-map.ts';
import { livenessLimits } from './limits.ts';
import type { Root } from './roots.ts';

/** Who is told what a walk finds. Addresses count up within a call. */
export interface ReferenceSink {
  /** What is opened from now on, moment `index` refers to; what is closed, the one before was the last to. */
  moveTo(index: number): void;
  opened(address: number, count: number): void;
  closed(address: number, count: number): void;
}

export interface WalkOptions {
  readonly roots: readonly Root[];
  /** Maps of the present by line: forks; the walk reads them and leaves them to their owner. */
  readonly heads: ReadonlyMap<number, BlockMap>;
  readonly sink: ReferenceSink;
  /** After moment `index`: how many blocks of it are mapped. */
  readonly onMoment: (index: number, mappedBlocks: number) => void;
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
    const head = moment.cut === Infinity ? this.#options.heads.get(moment.line) : undefined;
    if (head !== undefined) {
      this.#compareWith({ map: head, blockCount, release: () => undefined });
      return;
    }
    this.#operator.moments.open(moment, (opened: OpenMoment | undefined) => {
      if (opened === undefined) this.#finish(failure(momentUnreadable()));
      else {
        const release = (): void => {
          opened.release();
        };
        this.#compareWith({ map: opened.map, blockCount, release });
      }
    });
  }

  #finish(outcome: Outcome<undefined>): void {
    this.#before.release();
    this.#done(outcome);
  }

  #compareWith(next: Place): void {
    const { host } = this.#operator.parts;
    const blockCount = Math.max(this.#before.blockCount, next.blockCount);
    this.#options.sink.moveTo(this.#index);
    let at = 0;
    const slice = (): void => {
      const started = host.clock.monotonicMs();
      do at += this.#compareFrom(next, at, blockCount);
      while (at < blockCount && host.clock.monotonicMs() - started < limits.sliceMs);
      if (at < blockCount && this.#isReadable) {
        host.timers.defer(slice);
        return;
      }
      this.#before.release();
      this.#before = next;
      if (!this.#isReadable) {
        this.#finish(failure(momentUnreadable()));
        return;
      }
      this.#options.onMoment(this.#index, this.#mappedBlocks);
      this.#index += 1;
      // Many moments may be there at once: not one inside the other.
      host.timers.defer(() => {
        this.run();
      });
    };
    slice();
  }

  /** Compares some leaves; returns how many blocks were looked at. */
  #compareFrom(next: Place, block: number, blockCount: number): number {
    const { sink } = this.#options;
    const before = this.#before.map;
    let at = block;
    const range = { block, count: blockCount - block, leavesMax: livenessLimits.walkLeavesPerCall };
    return before.compare(next.map, range, (count, isDifferent) => {
      if (isDifferent) {
        this.#visit(before, at, count, (address, length) => {
          this.#mappedBlocks -= length;
          sink.closed(address, length);
        });
        this.#visit(next.map, at, count, (address, length) => {
          this.#mappedBlocks += length;
          sink.opened(address, length);
        });
      }
      at += count;
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
