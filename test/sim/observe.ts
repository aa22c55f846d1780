/** Reads a whole device through its front door, block by block, as a client would. */
import {
  type BlockDevice,
  blockSizeBytes,
  type Extent,
  type ExtentState,
  IoKind,
  IoRequest,
  IoStatus,
} from '../../src/device/block-device.ts';
import { type ContentId, type ContentTable, zeroContent } from './content.ts';
import { type ObservedDevice, unreadable, Violation } from './oracle.ts';
import type { Scheduler } from './scheduler.ts';

const blocksPerRead = 32;
const eventsMax = 20_000;
const extentsPerCall = 64;

export class DeviceReader {
  readonly #scheduler: Scheduler;
  readonly #contents: ContentTable;
  readonly #buffer = new Uint8Array(blocksPerRead * blockSizeBytes);
  readonly #request: IoRequest;
  #isDone = false;

  constructor(scheduler: Scheduler, contents: ContentTable) {
    this.#scheduler = scheduler;
    this.#contents = contents;
    this.#request = new IoRequest(() => {
      this.#isDone = true;
    });
  }

  observe(device: BlockDevice): ObservedDevice {
    const blockCount = device.sizeBytes / blockSizeBytes;
    const contents: ContentId[] = [];
    for (let first = 0; first < blockCount; first += blocksPerRead) {
      const count = Math.min(blocksPerRead, blockCount - first);
      contents.push(...this.#blocks(device, first, count));
    }
    return { sizeBytes: device.sizeBytes, contents, states: this.#states(device, blockCount) };
  }

  /** Contents of `count` blocks; when the whole cannot be read, block by block, so that only bad ones are unreadable. */
  #blocks(device: BlockDevice, first: number, count: number): ContentId[] {
    const status = this.#read(device, first, count);
    if (status === IoStatus.ok) {
      if (this.#request.isHole) return Array.from({ length: count }, () => zeroContent);
      return Array.from({ length: count }, (_, index) => {
        const at = index * blockSizeBytes;
        return this.#contents.intern(this.#buffer.subarray(at, at + blockSizeBytes));
      });
    }
    if (status !== IoStatus.ioError) {
      throw new Violation(`${device.name}: read of block ${first} answered with status ${status}`);
    }
    if (count === 1) return [unreadable];
    return Array.from({ length: count }, (_, index) =>
      this.#blocks(device, first + index, 1),
    ).flat();
  }

  #read(device: BlockDevice, first: number, count: number): IoStatus {
    const request = this.#request;
    request.kind = IoKind.read;
    request.offset = first * blockSizeBytes;
    request.length = count * blockSizeBytes;
    request.target = this.#buffer.subarray(0, request.length);
    request.target.fill(0xee);
    request.isHole = false;
    this.#isDone = false;
    device.submit(request);
    this.#scheduler.runUntil(() => this.#isDone, eventsMax, `read of ${device.name}`);
    return request.status;
  }

  #states(device: BlockDevice, blockCount: number): ExtentState[] {
    const states: ExtentState[] = [];
    while (states.length < blockCount) {
      const offset = states.length * blockSizeBytes;
      for (const extent of this.#extents(device, offset, device.sizeBytes - offset)) {
        if (extent.length <= 0 || extent.length % blockSizeBytes !== 0) {
          throw new Violation(`${device.name}: extent of ${extent.length} bytes at ${offset}`);
        }
        for (let at = 0; at < extent.length; at += blockSizeBytes) states.push(extent.state);
      }
    }
    if (states.length > blockCount) throw new Violation(`${device.name}: extents beyond the end`);
    return states;
  }

  #extents(device: BlockDevice, offset: number, length: number): readonly Extent[] {
    let found: readonly Extent[] | undefined;
    device.extents(offset, length, extentsPerCall, (extents) => {
      found = extents;
    });
    this.#scheduler.runUntil(() => found !== undefined, eventsMax, `extents of ${device.name}`);
    if (found === undefined || found.length === 0) {
      throw new Violation(`${device.name}: no extents at ${offset}`);
    }
    return found;
  }
}
