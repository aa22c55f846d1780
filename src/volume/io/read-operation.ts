/**
 * ReadOperation: serves one read request from a map. Whole blocks go straight into the caller's target; the ragged ends of
 * unaligned reads pass through scratch blocks, because a checksum covers whole blocks.
 *
 *     runs of the map ─▶ data: read · hole: nothing · leaf not in memory: wait until it was made, go on there
 *
 * Parts that waited see what was published when their leaf was there.
 */
import { IoRequest, IoStatus } from '../../device/block-device.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { BlockMap } from '../map/block-map.ts';
import { leafBlocks, unknownValue } from '../map/leaf-store.ts';
import type { BlockReader } from './block-reader.ts';

/** A leaf that was made may be dropped again before it is looked at; one that cannot be read is asked for in vain so often. */
const leafMakesMax = 3;

export class ReadOperation {
  readonly #reader: BlockReader;
  /** One block for each ragged end; made by the first request that has one. */
  #scratch: Uint8Array | undefined;
  #request: IoRequest = idle;
  /** While there is a request. */
  #map: BlockMap | undefined;
  #outstanding = 0;
  #cursor = 0;
  /** First block behind the request. */
  #end = 0;
  #hasData = false;
  /** Leaf that was made for this request last, and how often. */
  #madeLeaf = -1;
  #madeCount = 0;
  readonly #visit: (blockCount: number, value: number) => boolean;
  readonly #goOn: () => void;
  readonly #onFinished: (operation: ReadOperation) => void;

  constructor(reader: BlockReader, onFinished: (operation: ReadOperation) => void) {
    this.#reader = reader;
    this.#onFinished = onFinished;
    this.#visit = (blockCount, value) => this.#readPart(blockCount, value);
    this.#goOn = () => {
      this.#advance();
    };
  }

  /** `request` is valid and inside the device. Its `onDone` runs when all parts are in. */
  start(request: IoRequest, map: BlockMap): void {
    this.#request = request;
    this.#hasData = false;
    request.isHole = false;
    request.status = IoStatus.ok;
    const first = Math.floor(request.offset / slotSizeBytes);
    const last = Math.floor((request.offset + request.length - 1) / slotSizeBytes);
    this.#map = map;
    this.#cursor = first;
    this.#end = last + 1;
    this.#madeLeaf = -1;
    this.#outstanding = 1;
    this.#advance();
  }

  /** Visits the map from the cursor on, again after each leaf that is made within the call. */
  #advance(): void {
    const map = this.#map;
    if (map === undefined) return;
    while (this.#look(map)) if (!map.fillLater(this.#cursor, this.#goOn)) return;
    this.#request.isHole = !this.#hasData;
    this.#partDone();
  }

  /** Takes what is in memory; true when it stopped at a leaf that is to be made. */
  #look(map: BlockMap): boolean {
    const count = this.#end - this.#cursor;
    if (count === 1) return !this.#visit(1, map.peek(this.#cursor));
    map.visitKnown(this.#cursor, count, this.#visit);
    return this.#cursor < this.#end;
  }

  /** Whether the leaf at the cursor is to be made: not when that was in vain. */
  #mustMake(): boolean {
    const leaf = Math.floor(this.#cursor / leafBlocks);
    this.#madeCount = leaf === this.#madeLeaf ? this.#madeCount + 1 : 0;
    this.#madeLeaf = leaf;
    return this.#madeCount < leafMakesMax;
  }

  /**
   * One run of the map; false when its leaf is to be made. Holes are left for later: when the whole range is one, nobody
   * needs to write zeros.
   */
  #readPart(blockCount: number, value: number): boolean {
    const block = this.#cursor;
    if (value === unknownValue && this.#mustMake()) return false;
    this.#cursor += blockCount;
    if (value === unknownValue) {
      this.#hasData = true;
      this.#failAt(block, 0);
      return true;
    }
    if (value <= 0) {
      if (this.#hasData) this.#zeroFill(block, blockCount);
      return true;
    }
    if (!this.#hasData) {
      this.#hasData = true;
      const first = Math.floor(this.#request.offset / slotSizeBytes);
      if (block > first) this.#zeroFill(first, block - first);
    }
    this.#readData(block, blockCount, value);
    return true;
  }

  #zeroFill(block: number, blockCount: number): void {
    const { target, offset, length } = this.#request;
    const from = Math.max(0, block * slotSizeBytes - offset);
    const to = Math.min(length, (block + blockCount) * slotSizeBytes - offset);
    target?.fill(0, from, to);
  }

  #readData(block: number, blockCount: number, address: number): void {
    const { offset, length } = this.#request;
    const end = offset + length;
    let first = block;
    let count = blockCount;
    let from = address;
    if (first * slotSizeBytes < offset || (first + 1) * slotSizeBytes > end) {
      // Unaligned reads of one block's length are the most common: their two blocks are read at once.
      if (count === 2 && (first + 2) * slotSizeBytes > end) {
        this.#readRagged(first, 2, from);
        return;
      }
      this.#readRagged(first, 1, from);
      first += 1;
      from += 1;
      count -= 1;
    }
    const isTailRagged = count > 0 && (first + count) * slotSizeBytes > end;
    if (isTailRagged) {
      this.#readRagged(first + count - 1, 1, from + count - 1);
      count -= 1;
    }
    if (count > 0) this.#readWhole(first, count, from);
  }

  #readWhole(block: number, count: number, address: number): void {
    const start = block * slotSizeBytes - this.#request.offset;
    const target = this.#request.target?.subarray(start, start + count * slotSizeBytes);
    if (target === undefined) return;
    this.#outstanding += 1;
    const result = this.#reader.readRun(address, count, target, (bad) => {
      this.#runDone(block, bad);
    });
    if (result !== -2) this.#runDone(block, result);
  }

  #readRagged(block: number, count: number, address: number): void {
    this.#scratch ??= new Uint8Array(2 * slotSizeBytes);
    // The first block's place is the first half, the last one's the second: a request has at most these two.
    const at = block * slotSizeBytes <= this.#request.offset ? 0 : slotSizeBytes;
    const blocks = this.#scratch.subarray(at, at + count * slotSizeBytes);
    this.#outstanding += 1;
    const result = this.#reader.readRun(address, count, blocks, (bad) => {
      this.#raggedDone(block, blocks, bad);
    });
    if (result !== -2) this.#raggedDone(block, blocks, result);
  }

  #raggedDone(block: number, blocks: Uint8Array, bad: number): void {
    if (bad < 0) {
      const { offset, length, target } = this.#request;
      const start = block * slotSizeBytes;
      const from = Math.max(offset, start);
      const to = Math.min(offset + length, start + blocks.length);
      target?.set(blocks.subarray(from - start, to - start), from - offset);
    }
    this.#runDone(block, bad);
  }

  #runDone(block: number, badBlock: number): void {
    if (badBlock >= 0) this.#failAt(block, badBlock);
    this.#partDone();
  }

  #failAt(block: number, badBlock: number): void {
    const request = this.#request;
    const at = Math.max(request.offset, (block + badBlock) * slotSizeBytes);
    const isFirst = request.status === IoStatus.ok || at < request.errorOffset;
    if (isFirst) request.errorOffset = at;
    request.status = IoStatus.ioError;
  }

  #partDone(): void {
    this.#outstanding -= 1;
    if (this.#outstanding > 0) return;
    const request = this.#request;
    // The volume is gone, and its map with it: that is no fault of the disk.
    if (request.status !== IoStatus.ok && this.#map?.isReleased === true) {
      request.status = IoStatus.shuttingDown;
    }
    this.#request = idle;
    this.#map = undefined;
    this.#onFinished(this);
    request.onDone(request);
  }
}

/** Stands in while an operation has no request. */
const idle = new IoRequest(() => undefined);
