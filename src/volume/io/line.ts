/** Line: one writable history and its present state, the map. A volume points at its current line. */
import type { BlockMap } from '../map/block-map.ts';
import { RangeLock } from './range-lock.ts';

export class Line {
  readonly id: number;
  readonly map: BlockMap;
  readonly lock = new RangeLock();
  /** Position of the newest mutation of the map. */
  lastPosition = 0;
  /** 4 KiB blocks written since the line was opened or began. */
  writtenBlocks = 0;
  /** Writes are answered when written; FLUSH and FUA wait for the disk. */
  isWriteBack = false;
  /** The volume was deleted: whatever still arrives is refused. */
  isGone = false;

  blockCount: number;

  constructor(id: number, map: BlockMap, blockCount: number) {
    this.id = id;
    this.map = map;
    this.blockCount = blockCount;
  }

  /** Grows or cuts the line; nothing may be in flight beyond a smaller size. */
  resize(blockCount: number): void {
    this.map.resize(blockCount);
    this.blockCount = blockCount;
  }
}
