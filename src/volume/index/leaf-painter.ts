/**
 * Leaf painter: decides the 512 blocks of one leaf from the records of a line and of the lines it began in, newest first.
 * What is decided stays: older records only fill what is left.
 *
 *     newest ─▶ WRITE 3..5 ─▶ resize to 4 blocks: all from 4 on that is left is a hole ─▶ TRIM 0..9 ─▶ ... oldest
 */
import { holeValue } from '../map/block-map.ts';
import { leafBlocks } from '../map/leaf-store.ts';

/** From `position` back, nothing at or behind block `blockCount` of the volume is there any more. */
export interface Clip {
  readonly position: number;
  readonly blockCount: number;
}

export class LeafPainter {
  /** Values of the blocks, as in a BlockMap; those not decided yet are NaN. */
  readonly values = new Float64Array(leafBlocks);
  #left = leafBlocks;
  #firstBlock = 0;
  /** Newest first. */
  #clips: readonly Clip[] = [];
  #nextClip = 0;

  /** Begins with another leaf: nothing is decided. */
  begin(leaf: number): void {
    this.values.fill(Number.NaN);
    this.#left = leafBlocks;
    this.#firstBlock = leaf * leafBlocks;
    this.#clips = [];
    this.#nextClip = 0;
  }

  /** Goes on with the records of a line, to whose volume `clips` happened; newest first. */
  enterLine(clips: readonly Clip[]): void {
    this.#clips = clips;
    this.#nextClip = 0;
  }

  /** No older record can matter. */
  get isDone(): boolean {
    return this.#left === 0;
  }

  /** A record at `position`, older than all before in this line; `value` as in a map, addresses count up. */
  paint(position: number, within: number, blockCount: number, value: number): void {
    this.#clipDownTo(position);
    for (let index = 0; index < blockCount; index += 1) {
      const block = within + index;
      if (!Number.isNaN(this.values[block])) continue;
      this.values[block] = value > 0 ? value + index : value;
      this.#left -= 1;
    }
  }

  /** The records of a line end here: what happened to its volume before the oldest of them, and how large it began. */
  leaveLine(blockCount: number): void {
    this.#clipDownTo(0);
    this.#clip(blockCount);
  }

  /** No older records: what is left is a hole. */
  finish(): void {
    this.#clip(0);
  }

  #clipDownTo(position: number): void {
    for (;;) {
      const clip = this.#clips[this.#nextClip];
      if (clip === undefined || clip.position < position) return;
      this.#nextClip += 1;
      this.#clip(clip.blockCount);
    }
  }

  #clip(blockCount: number): void {
    const first = Math.max(0, blockCount - this.#firstBlock);
    for (let block = first; block < leafBlocks && this.#left > 0; block += 1) {
      if (!Number.isNaN(this.values[block])) continue;
      this.values[block] = holeValue;
      this.#left -= 1;
    }
  }
}
