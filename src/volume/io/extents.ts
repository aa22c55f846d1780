/**
 * Extents: what a range of a map is made of. An answer may cover less than the range: it ends when enough leaves were made
 * or looked at for one turn, so that a question over terabytes holds nobody up.
 */
import { type Extent, ExtentState } from '../../device/block-device.ts';
import { slotSizeBytes } from '../format/address.ts';
import { limits } from '../limits.ts';
import { type BlockMap, zeroValue } from '../map/block-map.ts';
import { leafBlocks, pageLeaves, unknownValue } from '../map/leaf-store.ts';

export interface ExtentRange {
  readonly offset: number;
  /** More than 0; the range lies inside the map. */
  readonly length: number;
  readonly extentsMax: number;
}

/** Answers with at least one extent, within the call unless a leaf has to be read. */
export function findExtents(
  map: BlockMap,
  range: ExtentRange,
  done: (extents: readonly Extent[]) => void,
): void {
  new ExtentSearch(map, range, done).goOn();
}

/** Of what cannot be read nobody may assume that it is zeros. */
function stateOf(value: number): ExtentState {
  if (value > 0 || value === unknownValue) return ExtentState.data;
  return value === zeroValue ? ExtentState.zero : ExtentState.hole;
}

class ExtentSearch {
  readonly #map: BlockMap;
  readonly #extentsMax: number;
  readonly #done: (extents: readonly Extent[]) => void;
  readonly #extents: Extent[] = [];
  /** Byte behind the extents, and behind the range. */
  #at: number;
  readonly #end: number;
  /** Next block to look at. */
  #block: number;
  #isFull = false;
  #made = 0;
  #looked = 0;
  /** Block whose leaf was asked for last. */
  #askedBlock = -1;

  constructor(
    map: BlockMap,
    { offset, length, extentsMax }: ExtentRange,
    done: (extents: readonly Extent[]) => void,
  ) {
    this.#map = map;
    this.#extentsMax = extentsMax;
    this.#done = done;
    this.#at = offset;
    this.#end = offset + length;
    this.#block = Math.floor(offset / slotSizeBytes);
  }

  goOn(): void {
    while (this.#look()) {
      this.#made += 1;
      if (this.#made > limits.extentLeavesMade && this.#extents.length > 0) break;
      this.#askedBlock = this.#block;
      const isThere = this.#map.fillLater(this.#block, () => {
        this.goOn();
      });
      if (!isThere) return;
    }
    this.#done(this.#extents);
  }

  /** Takes what is in memory; true when it stopped at a leaf that is not. */
  #look(): boolean {
    const end = Math.ceil(this.#end / slotSizeBytes);
    while (this.#block < end && !this.#isFull) {
      // Page by page: most of what is large is holes, and a page of those is one look.
      const pageBlocks = pageLeaves * leafBlocks;
      const pageEnd = Math.min(end, (Math.floor(this.#block / pageBlocks) + 1) * pageBlocks);
      this.#map.visitKnown(this.#block, pageEnd - this.#block, (blockCount, value) => {
        const isMissing = value === unknownValue && this.#block !== this.#askedBlock;
        return !isMissing && this.#take(blockCount, value);
      });
      if (this.#isMissing(pageEnd)) return true;
      this.#looked += 1;
      if (this.#looked === limits.extentPagesLooked) this.#isFull = true;
    }
    return false;
  }

  /** Whether it stopped before `pageEnd` because a leaf is not in memory. */
  #isMissing(pageEnd: number): boolean {
    return !this.#isFull && this.#block < pageEnd;
  }

  /** False when there are enough extents. */
  #take(blockCount: number, value: number): boolean {
    const to = Math.min(this.#end, (this.#block + blockCount) * slotSizeBytes);
    const state = stateOf(value);
    const before = this.#extents.at(-1);
    if (before?.state === state) before.length += to - this.#at;
    else if (this.#extents.length === this.#extentsMax) {
      this.#isFull = true;
      return false;
    } else this.#extents.push({ length: to - this.#at, state });
    this.#at = to;
    this.#block += blockCount;
    return true;
  }
}
