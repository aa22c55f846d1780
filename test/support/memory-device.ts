/**
 * A block device in memory that keeps the contract of `BlockDevice`: sparse, with allocation per 4 KiB block, faults at
 * chosen blocks, and (when asked) completions that are held back until a test releases them.
 */

import { assert } from '../../src/base/assert.ts';
import {
  type BlockDevice,
  blockSizeBytes,
  type DeviceIdentity,
  type Extent,
  ExtentState,
  IoKind,
  type IoRequest,
  IoStatus,
  luStateMaxBytes,
  readMaxBytes,
  writeAtomicBytes,
} from '../../src/device/block-device.ts';
import type { Payload } from '../../src/device/staging.ts';

const chunkBytes = 1 << 20;
const blocksPerChunk = chunkBytes / blockSizeBytes;

interface Chunk {
  readonly bytes: Uint8Array;
  /** ExtentState per block. */
  readonly states: Uint8Array;
}

export interface MemoryDeviceOptions {
  readonly name?: string;
  readonly sizeBytes: number;
  readonly isReadOnly?: boolean;
  readonly isWriteBack?: boolean;
  /** Bytes of the staging slab that payloads lie in. Devices with one slab are of one pool: they can be cloned from each other. */
  readonly slab: Uint8Array;
  /** Default: one of its own. */
  readonly identity?: DeviceIdentity;
}

let devicesMade = 0;

/** A new identity, as a pool gives one. */
function memoryIdentity(): DeviceIdentity {
  devicesMade += 1;
  const uuid = new Uint8Array(16);
  new DataView(uuid.buffer).setUint32(12, devicesMade);
  const naa = uuid.slice();
  naa.set([0x67, 0x46, 0x96, 0x40]);
  return { uuid, naa, serial: `MEMORY${devicesMade}` };
}

export class MemoryDevice implements BlockDevice {
  readonly name: string;
  readonly identity: DeviceIdentity;
  isReadOnly: boolean;
  isWriteBack: boolean;
  isThick = false;
  sizeBytes: number;
  luState: Uint8Array | undefined;
  /** Requests are done only when `release` is called. */
  isHolding = false;
  /** Blocks whose reads fail. */
  readonly badBlocks = new Set<number>();
  /** Status that everything that would change the device gets while it is set. */
  changeStatus: IoStatus | undefined;
  /** What was submitted, newest last, while `isRecording`. */
  readonly record: { kind: IoKind; offset: number; length: number; fua: boolean }[] = [];
  isRecording = false;
  readonly #slab: Uint8Array;
  readonly #chunks = new Map<number, Chunk>();
  readonly #held: (() => void)[] = [];

  constructor(options: MemoryDeviceOptions) {
    this.name = options.name ?? 'memory';
    this.sizeBytes = options.sizeBytes;
    this.identity = options.identity ?? memoryIdentity();
    this.isReadOnly = options.isReadOnly ?? false;
    this.isWriteBack = options.isWriteBack ?? false;
    this.#slab = options.slab;
  }

  get heldCount(): number {
    return this.#held.length;
  }

  submit(request: IoRequest): void {
    if (this.isRecording) {
      const { kind, offset, length, fua } = request;
      this.record.push({ kind, offset, length, fua });
    }
    if (this.isHolding) {
      this.#held.push(() => {
        this.#run(request);
      });
      return;
    }
    this.#run(request);
  }

  /** Finishes the `count` oldest (or with `newestFirst`, newest) held requests. */
  release(count = this.#held.length, newestFirst = false): void {
    for (let left = count; left > 0; left -= 1) {
      const run = newestFirst ? this.#held.pop() : this.#held.shift();
      run?.();
    }
  }

  extents(
    offset: number,
    length: number,
    extentsMax: number,
    done: (extents: readonly Extent[]) => void,
  ): void {
    if (this.isHolding) {
      this.#held.push(() => {
        done(this.#extents(offset, length, extentsMax));
      });
      return;
    }
    done(this.#extents(offset, length, extentsMax));
  }

  canCloneFrom(source: BlockDevice): boolean {
    return source instanceof MemoryDevice && source.#slab === this.#slab;
  }

  saveLuState(state: Uint8Array, done: (status: IoStatus) => void): void {
    const copy = state.slice();
    const run = (): void => {
      const status = this.#luStateRefusal(copy);
      if (status === IoStatus.ok) this.luState = copy;
      done(status);
    };
    if (this.isHolding) this.#held.push(run);
    else run();
  }

  #luStateRefusal(state: Uint8Array): IoStatus {
    if (this.isReadOnly) return IoStatus.readOnly;
    if (state.length > luStateMaxBytes) return IoStatus.invalid;
    return this.changeStatus ?? IoStatus.ok;
  }

  #extents(offset: number, length: number, extentsMax: number): Extent[] {
    const extents: Extent[] = [];
    const end = Math.min(offset + length, this.sizeBytes);
    let at = offset;
    while (at < end) {
      const state = this.#stateOf(at);
      const blockEnd = Math.min(end, (Math.floor(at / blockSizeBytes) + 1) * blockSizeBytes);
      const last = extents.at(-1);
      if (last !== undefined && last.state === state) last.length += blockEnd - at;
      else if (extents.length === extentsMax) break;
      else extents.push({ length: blockEnd - at, state });
      at = blockEnd;
    }
    return extents;
  }

  #stateOf(offset: number): ExtentState {
    const chunk = this.#chunks.get(Math.floor(offset / chunkBytes));
    const state = chunk?.states[Math.floor((offset % chunkBytes) / blockSizeBytes)];
    // The array holds nothing but states.
    return (state ?? ExtentState.hole) as ExtentState;
  }

  #run(request: IoRequest): void {
    request.status = this.#perform(request);
    request.payload?.release();
    request.payload = undefined;
    request.onDone(request);
  }

  #perform(request: IoRequest): IoStatus {
    const { kind, offset, length } = request;
    if (kind === IoKind.flush) return IoStatus.ok;
    if (offset + length > this.sizeBytes) return IoStatus.invalid;
    if (kind === IoKind.read) return this.#read(request);
    if (this.isReadOnly) return IoStatus.readOnly;
    if (this.changeStatus !== undefined) return this.changeStatus;
    if (kind === IoKind.write) return this.#write(request);
    if (kind === IoKind.compareAndWrite) return this.#compareAndWrite(request);
    if (kind === IoKind.orWrite) return this.#orWrite(request);
    if (kind === IoKind.clone) return this.#clone(request);
    const isThick = kind === IoKind.zero && request.noHole;
    this.#clear(offset, length, isThick ? ExtentState.zero : ExtentState.hole);
    return IoStatus.ok;
  }

  #read(request: IoRequest): IoStatus {
    const { offset, length, target } = request;
    assert(target !== undefined && target.length === length, 'a read has a target of its length');
    assert(length <= readMaxBytes, 'a read is at most readMaxBytes long');
    if (this.#failsAt(request)) return IoStatus.ioError;
    let isHole = true;
    let done = 0;
    while (done < length) {
      const at = offset + done;
      const within = at % chunkBytes;
      const count = Math.min(length - done, chunkBytes - within);
      const chunk = this.#chunks.get((at - within) / chunkBytes);
      if (chunk === undefined) {
        target.fill(0, done, done + count);
      } else {
        target.set(chunk.bytes.subarray(within, within + count), done);
        isHole &&= isAll(chunk.states, within, count, ExtentState.hole);
      }
      done += count;
    }
    request.isHole = isHole;
    // The contract leaves the target of a hole unwritten: nobody may rely on zeros there.
    if (isHole) target.fill(0xee);
    return IoStatus.ok;
  }

  /** Whether a block of the range cannot be read; says which. */
  #failsAt(request: IoRequest): boolean {
    const { offset, length } = request;
    if (this.badBlocks.size === 0) return false;
    const end = offset + length;
    for (let at = offset - (offset % blockSizeBytes); at < end; at += blockSizeBytes) {
      if (!this.badBlocks.has(at / blockSizeBytes)) continue;
      request.errorOffset = Math.max(offset, at);
      return true;
    }
    return false;
  }

  /** What a reader of [offset, offset + length) sees. */
  #content(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const within = (offset + done) % chunkBytes;
      const count = Math.min(length - done, chunkBytes - within);
      const chunk = this.#chunks.get((offset + done - within) / chunkBytes);
      if (chunk !== undefined) bytes.set(chunk.bytes.subarray(within, within + count), done);
      done += count;
    }
    return bytes;
  }

  #compareAndWrite(request: IoRequest): IoStatus {
    const { offset, length, expected } = request;
    if (length > writeAtomicBytes || expected?.length !== length) return IoStatus.invalid;
    if (this.#failsAt(request)) return IoStatus.ioError;
    const present = this.#content(offset, length);
    const at = present.findIndex((byte, index) => byte !== expected[index]);
    if (at < 0) return length === 0 ? IoStatus.ok : this.#write(request);
    request.miscompareOffset = at;
    return IoStatus.miscompare;
  }

  #orWrite(request: IoRequest): IoStatus {
    const { offset, length, payload } = request;
    if (length > writeAtomicBytes) return IoStatus.invalid;
    if (this.#failsAt(request)) return IoStatus.ioError;
    if (length === 0) return IoStatus.ok;
    assert(payload !== undefined && payload.length === length, 'an OR write has its payload');
    const bytes = new Uint8Array(length);
    this.#copyOut(payload, 0, bytes);
    const present = this.#content(offset, length);
    payload.fill(
      0,
      bytes.map((byte, index) => byte | (present[index] ?? 0)),
      0,
      length,
    );
    return this.#write(request);
  }

  #clone(request: IoRequest): IoStatus {
    const { offset, length, source, sourceOffset } = request;
    const isWhole = [offset, length, sourceOffset].every((each) => each % blockSizeBytes === 0);
    if (!isWhole || !(source instanceof MemoryDevice) || !this.canCloneFrom(source)) {
      return IoStatus.invalid;
    }
    const isInside = sourceOffset >= 0 && sourceOffset + length <= source.sizeBytes;
    const isOverlapping =
      source === this && sourceOffset < offset + length && offset < sourceOffset + length;
    if (!isInside || (isOverlapping && length > 0)) return IoStatus.invalid;
    for (let at = 0; at < length; at += blockSizeBytes) {
      const state = source.#stateOf(sourceOffset + at);
      this.#clear(offset + at, blockSizeBytes, state);
      if (state !== ExtentState.data) continue;
      const within = (offset + at) % chunkBytes;
      const chunk = this.#chunkAt((offset + at - within) / chunkBytes);
      chunk.bytes.set(source.#content(sourceOffset + at, blockSizeBytes), within);
    }
    return IoStatus.ok;
  }

  #write(request: IoRequest): IoStatus {
    const { offset, length, payload } = request;
    assert(payload !== undefined && payload.length === length, 'a write has its payload');
    assert(length <= writeAtomicBytes, 'a write is at most writeAtomicBytes long');
    assert(payload.lead === offset % blockSizeBytes, 'a payload lies as its blocks do');
    let done = 0;
    while (done < length) {
      const at = offset + done;
      const within = at % chunkBytes;
      const count = Math.min(length - done, chunkBytes - within);
      const chunk = this.#chunkAt((at - within) / chunkBytes);
      this.#copyOut(payload, done, chunk.bytes.subarray(within, within + count));
      mark(chunk.states, within, count, ExtentState.data);
      done += count;
    }
    return IoStatus.ok;
  }

  /** Copies payload bytes from `from` on into `target`, piece by piece. */
  #copyOut(payload: Payload, from: number, target: Uint8Array): void {
    const size = payload.pieceSizeBytes;
    let done = 0;
    while (done < target.length) {
      const at = payload.lead + from + done;
      const piece = Math.floor(at / size);
      const within = at - piece * size;
      const count = Math.min(target.length - done, size - within);
      const start = (payload.pieceOffsets[piece] ?? 0) + within;
      target.set(this.#slab.subarray(start, start + count), done);
      done += count;
    }
  }

  /** Whole blocks change their state, ragged edges become zeros in place. */
  #clear(offset: number, length: number, state: ExtentState): void {
    let at = offset;
    const end = offset + length;
    while (at < end) {
      const within = at % chunkBytes;
      const count = Math.min(end - at, chunkBytes - within);
      const index = (at - within) / chunkBytes;
      const isWhole = within === 0 && count === chunkBytes;
      if (isWhole && state === ExtentState.hole) this.#chunks.delete(index);
      else if (state !== ExtentState.hole || this.#chunks.has(index)) {
        const chunk = this.#chunkAt(index);
        chunk.bytes.fill(0, within, within + count);
        const first = Math.ceil(within / blockSizeBytes) * blockSizeBytes;
        const last = Math.floor((within + count) / blockSizeBytes) * blockSizeBytes;
        if (last > first) mark(chunk.states, first, last - first, state);
      }
      at += count;
    }
  }

  #chunkAt(index: number): Chunk {
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) {
      const states = new Uint8Array(blocksPerChunk).fill(ExtentState.hole);
      chunk = { bytes: new Uint8Array(chunkBytes), states };
      this.#chunks.set(index, chunk);
    }
    return chunk;
  }
}

function mark(states: Uint8Array, within: number, count: number, state: ExtentState): void {
  const first = Math.floor(within / blockSizeBytes);
  const last = Math.ceil((within + count) / blockSizeBytes);
  states.fill(state, first, last);
}

function isAll(states: Uint8Array, within: number, count: number, state: ExtentState): boolean {
  const last = Math.ceil((within + count) / blockSizeBytes);
  for (let index = Math.floor(within / blockSizeBytes); index < last; index += 1) {
    if (states[index] !== state) return false;
  }
  return true;
}
