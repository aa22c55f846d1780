/** How much a volume has written since when, as far as it was looked at: what a budget of bytes is counted by. */

import { slotSizeBytes } from '../format/address.ts';
import type { Line } from '../io/line.ts';
import type { Anchor } from './anchors.ts';

interface Sample extends Anchor {
  /** Blocks written before it; below 0 for what lies before the first look. */
  readonly blocks: number;
}

/** A moment before the first look. */
export interface PastSample extends Anchor {
  /** At least so many blocks were written from it on, until somebody looked. */
  readonly sinceBlocks: number;
}

/** Of more, every second one is forgotten: the budget is kept more coarsely then, never exceeded by moments that are given up. */
const samplesMax = 256;

export class ByteBudget {
  #samples: Sample[] = [];
  #line = 0;
  #lineBlocks = 0;
  #blocks = 0;

  /** Blocks written as of the last look. */
  get blocks(): number {
    return this.#blocks;
  }

  /** Looks at the volume's present line at `anchor`. */
  look({ id, writtenBlocks }: Pick<Line, 'id' | 'writtenBlocks'>, anchor: Anchor): void {
    this.#blocks += id === this.#line ? writtenBlocks - this.#lineBlocks : writtenBlocks;
    this.#line = id;
    this.#lineBlocks = writtenBlocks;
    if (this.#samples.at(-1)?.blocks === this.#blocks) return;
    this.#samples.push({ ...anchor, blocks: this.#blocks });
    this.#thin();
  }

  /** What the log says of the time before it was looked first, oldest first, counted when `blocks` were written. */
  remember(past: readonly PastSample[], blocks: number): void {
    const first = this.#samples[0];
    const before = past
      .map(({ position, timeMs, sinceBlocks }) => ({
        position,
        timeMs,
        blocks: blocks - sinceBlocks,
      }))
      .filter((each) => first === undefined || each.position < first.position);
    this.#samples = [...before, ...this.#samples];
    this.#thin();
  }

  /** Where the newest `budgetBytes` that were written begin, or a little later; undefined when less was written. */
  horizon(budgetBytes: number): Anchor | undefined {
    const budget = budgetBytes / slotSizeBytes;
    const at = this.#samples.findIndex(({ blocks }) => this.#blocks - blocks <= budget);
    if (at <= 0) return undefined;
    this.#samples = this.#samples.slice(at - 1);
    return this.#samples[1];
  }

  #thin(): void {
    while (this.#samples.length > samplesMax) {
      this.#samples = this.#samples.filter((_, index) => index % 2 === 1);
    }
  }
}
