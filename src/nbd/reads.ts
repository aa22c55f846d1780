/**
 * READ and its replies. Three ways, by what was agreed and by length:
 *
 *     whole      one piece, answered in one chunk or one simple reply; holes as OFFSET_HOLE when structured
 *     split      structured, longer than 64 KiB: extents first; data in pieces, holes as holes, DONE with the last
 *     assembled  simple or DF, longer than a piece: every byte must be good before the header may leave
 *
 * Reads wait in arrival order while the client does not take its output or output memory is exhausted; requests of
 * other kinds go past them.
 *
 * Invariants
 * 1. A task is in the queue until all of it is submitted; only the head submits.
 * 2. Nothing touches a task after its last part was submitted: it may be finished and reused by then.
 */
import { assert } from '../base/assert.ts';
import { type OutputBuffer, outputPieceBytes } from '../base/output-pool.ts';
import type { Waiter } from '../base/turnstile.ts';
import { blockSizeBytes, ExtentState, IoKind, IoStatus } from '../device/block-device.ts';
import type { Lane } from './lane.ts';
import { extentsFirstBytes, readExtentsMax } from './limits.ts';
import type { Part, Task } from './task.ts';
import {
  ChunkFlag,
  encodeOffsetDataHeader,
  encodeOffsetHole,
  encodeSimpleReply,
  offsetDataBytes,
  offsetHoleBytes,
  simpleReplyBytes,
} from './wire/reply.ts';
import { CommandFlag } from './wire/request.ts';

type Way = 'whole' | 'split' | 'assembled';

export class Reads implements Waiter {
  readonly #lane: Lane;
  readonly #headerBytes: number;
  readonly #queue: Task[] = [];
  #isPumping = false;
  #isClosed = false;
  /** The head's question for extents is on its way. */
  #isAsking = false;
  /** Bytes of assembled reads that were submitted in this turn. */
  #turnBytes = 0;

  constructor(lane: Lane) {
    this.#lane = lane;
    this.#headerBytes = lane.isStructured ? offsetDataBytes : simpleReplyBytes;
  }

  /** Takes the task; its range was checked and is not empty. */
  start(task: Task): void {
    if (this.#queue.length === 0 && this.#hasRoom() && this.#way(task) === 'whole') {
      if (this.#submitWhole(task)) return;
    }
    this.#queue.push(task);
    this.#pump();
  }

  /** Output left, or a turn ended: go on with what waits. */
  endTurn(): void {
    this.#turnBytes = 0;
    if (this.#queue.length > 0) this.#pump();
  }

  /** Output memory was given back and it is our turn. */
  retry(): boolean {
    const head = this.#queue[0];
    if (head === undefined || this.#isClosed) return true;
    if (!this.#lane.pool.hasLargeForWaiter(this.#buffersFor(head))) return false;
    if (this.#way(head) === 'assembled') this.#takeBuffers(head);
    else this.#lane.output.refill();
    // What waits goes on at the end of the turn, and not inside the connection that gave the memory back.
    this.#lane.markTurn();
    return true;
  }

  /** The connection is gone: waiting reads end, those that the device has end when it is done. */
  close(): void {
    this.#isClosed = true;
    this.#lane.pool.turnstile.leave(this);
    for (const task of this.#queue.splice(0)) {
      task.fail(IoStatus.shuttingDown, task.offset);
      task.isSubmitted = true;
      this.#settle(task);
    }
  }

  partDone(part: Part): void {
    const task = part.task;
    if (part.io.status !== IoStatus.ok) task.fail(part.io.status, part.io.offset);
    if (part.buffer === undefined) {
      if (part.io.isHole) part.io.target?.fill(0);
      this.#lane.tasks.givePart(part);
    } else {
      this.#pieceDone(part, task, part.buffer);
    }
    this.#settle(task);
  }

  #way(task: Task): Way {
    const mustBeOne = !this.#lane.isStructured || (task.flags & CommandFlag.dontFragment) !== 0;
    if (!mustBeOne) return task.length <= extentsFirstBytes ? 'whole' : 'split';
    const isOnePiece = task.length <= outputPieceBytes;
    return isOnePiece ? 'whole' : 'assembled';
  }

  #hasRoom(): boolean {
    return this.#lane.output.unsentBytes < this.#lane.limits.outputMaxBytes;
  }

  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    let head = this.#queue[0];
    while (head !== undefined && this.#advance(head)) {
      // A callback of the device may have closed the connection and emptied the queue.
      if (this.#queue[0] === head) this.#queue.shift();
      head = this.#queue[0];
    }
    this.#isPumping = false;
  }

  /** Submits what may be submitted of `task` now; true when that was the last of it. */
  #advance(task: Task): boolean {
    const way = this.#way(task);
    if (way === 'split') return this.#advanceSplit(task);
    if (way === 'assembled') return this.#advanceAssembled(task);
    return this.#hasRoom() && this.#submitWhole(task);
  }

  // ---- whole

  #submitWhole(task: Task): boolean {
    task.isSubmitted = true;
    if (this.#submitPiece(task, task.length)) return true;
    task.isSubmitted = false;
    return false;
  }

  /** Reads `length` bytes at the cursor into a place of their own; false when there is no output memory. */
  #submitPiece(task: Task, length: number): boolean {
    const size = Math.max(this.#headerBytes + length, offsetHoleBytes);
    const buffer = this.#lane.output.reserve(size);
    if (buffer === undefined) {
      this.#waitForMemory();
      return false;
    }
    const part = this.#lane.tasks.takePart(task);
    part.buffer = buffer;
    part.reservedEnd = buffer.used;
    part.start = buffer.used - size;
    const dataAt = part.start + this.#headerBytes;
    const offset = task.offset + task.cursor;
    task.cursor += length;
    this.#submitRead(part, offset, buffer.bytes.subarray(dataAt, dataAt + length));
    return true;
  }

  #submitRead(part: Part, offset: number, target: Uint8Array): void {
    const io = part.io;
    io.kind = IoKind.read;
    io.offset = offset;
    io.length = target.length;
    io.target = target;
    io.isHole = false;
    io.fua = false;
    io.writer = this.#lane.writer;
    io.status = IoStatus.ok;
    this.#lane.device.submit(io);
  }

  /** One chunk, or the whole simple reply, is complete in its place. */
  #pieceDone(part: Part, task: Task, buffer: OutputBuffer): void {
    const { start, reservedEnd, io } = part;
    const { offset, length, isHole, status, target } = io;
    this.#lane.tasks.givePart(part);
    if (status !== IoStatus.ok) {
      this.#lane.output.cancel(buffer, start, reservedEnd);
      return;
    }
    let end = start + this.#headerBytes + length;
    const isLast = task.isSubmitted && task.partsPending === 0 && task.status === IoStatus.ok;
    const flags = isLast ? ChunkFlag.done : ChunkFlag.none;
    if (!this.#lane.isStructured) {
      if (isHole) target?.fill(0);
      encodeSimpleReply(buffer.view, start, task, 0);
    } else if (isHole) {
      end = encodeOffsetHole(buffer.view, start, task, { flags, offset, holeBytes: length });
    } else {
      encodeOffsetDataHeader(buffer.view, start, task, { flags, offset, dataBytes: length });
    }
    this.#lane.output.commit(buffer, start, end, reservedEnd);
  }

  // ---- split

  #advanceSplit(task: Task): boolean {
    while (this.#hasRoom()) {
      if (task.status !== IoStatus.ok) {
        task.isSubmitted = true;
        this.#settle(task);
        return true;
      }
      const extent = task.extents[task.extentIndex];
      if (extent === undefined) {
        if (!this.#askExtents(task)) return false;
        continue;
      }
      const remaining = task.length - task.cursor;
      const isHole = extent.state !== ExtentState.data;
      const length = Math.min(extent.length, remaining, isHole ? remaining : this.#pieceAt(task));
      // The cursor moves inside, and the task may be gone when this returns.
      const isLast = length === remaining;
      task.isSubmitted = isLast;
      if (isHole) {
        extent.length -= length;
        if (extent.length === 0) task.extentIndex += 1;
        this.#sendHole(task, length);
      } else {
        const runLeft = extent.length - length;
        if (!this.#submitPiece(task, length)) {
          task.isSubmitted = false;
          return false;
        }
        if (isLast) return true;
        extent.length = runLeft;
        if (runLeft === 0) task.extentIndex += 1;
      }
      if (isLast) return true;
    }
    return false;
  }

  /** Bytes from the cursor to the end of the piece: pieces end on block boundaries. */
  #pieceAt(task: Task): number {
    return outputPieceBytes - ((task.offset + task.cursor) % blockSizeBytes);
  }

  #sendHole(task: Task, holeBytes: number): void {
    const offset = task.offset + task.cursor;
    task.cursor += holeBytes;
    const isLast = task.isSubmitted && task.partsPending === 0;
    const buffer = this.#lane.output.reserveSmall(offsetHoleBytes);
    const end = buffer.used;
    const flags = isLast ? ChunkFlag.done : ChunkFlag.none;
    encodeOffsetHole(buffer.view, end - offsetHoleBytes, task, { flags, offset, holeBytes });
    this.#lane.output.commit(buffer, end - offsetHoleBytes, end, end);
    this.#settle(task);
  }

  /** Asks for the runs from the cursor on; false when the answer comes later. The question counts as a pending part. */
  #askExtents(task: Task): boolean {
    if (this.#isAsking) return false;
    this.#isAsking = true;
    let isInside = true;
    task.partsPending += 1;
    const remaining = task.length - task.cursor;
    const at = task.offset + task.cursor;
    this.#lane.device.extents(at, remaining, readExtentsMax, (extents) => {
      this.#isAsking = false;
      task.partsPending -= 1;
      // Copies, because runs are shortened while they are worked off.
      task.extents = extents
        .filter(({ length }) => length > 0)
        .map(({ length, state }) => ({ length, state }));
      task.extentIndex = 0;
      if (task.extents.length === 0) task.fail(IoStatus.invalid, at);
      if (isInside) return;
      if (this.#isClosed) this.#settle(task);
      else this.#lane.markTurn();
    });
    isInside = false;
    return !this.#isAsking;
  }

  // ---- assembled

  #buffersFor(task: Task): number {
    if (this.#way(task) !== 'assembled') return 1;
    return 1 + Math.ceil(task.length / outputPieceBytes);
  }

  #advanceAssembled(task: Task): boolean {
    if (task.buffers.length === 0 && !this.#mayAssemble(task)) return false;
    if (task.buffers.length === 0) this.#takeBuffers(task);
    while (this.#turnBytes < this.#lane.limits.outputMaxBytes) {
      if (task.status !== IoStatus.ok) {
        task.isSubmitted = true;
        this.#settle(task);
        return true;
      }
      const index = Math.ceil(task.cursor / outputPieceBytes);
      const buffer = task.buffers[index];
      assert(buffer !== undefined, 'an assembled read has a buffer per piece');
      const headerBytes = index === 0 ? this.#headerBytes : 0;
      const part = this.#lane.tasks.takePart(task);
      const offset = task.offset + task.cursor;
      const target = buffer.bytes.subarray(headerBytes, buffer.used);
      task.cursor += target.length;
      this.#turnBytes += target.length;
      const isLast = task.cursor === task.length;
      task.isSubmitted = isLast;
      this.#submitRead(part, offset, target);
      if (isLast) return true;
    }
    this.#lane.markTurn();
    return false;
  }

  #mayAssemble(task: Task): boolean {
    if (!this.#hasRoom()) return false;
    if (this.#lane.pool.hasLarge(this.#buffersFor(task))) return true;
    this.#waitForMemory();
    return false;
  }

  /** All memory of the reply at once, so that two half-assembled replies cannot wait for each other. */
  #takeBuffers(task: Task): void {
    let length = Math.min(this.#pieceAt(task), task.length);
    let left = task.length;
    let headerBytes = this.#headerBytes;
    while (left > 0) {
      task.buffers.push(this.#lane.output.reserveLarge(headerBytes + length));
      headerBytes = 0;
      left -= length;
      length = Math.min(outputPieceBytes, left);
    }
  }

  #sendAssembled(task: Task): void {
    const first = task.buffers[0];
    assert(first !== undefined, 'an assembled read has buffers');
    if (this.#lane.isStructured) {
      const shape = { flags: ChunkFlag.done, offset: task.offset, dataBytes: task.length };
      encodeOffsetDataHeader(first.view, 0, task, shape);
    } else {
      encodeSimpleReply(first.view, 0, task, 0);
    }
    for (const buffer of task.buffers) {
      this.#lane.output.commit(buffer, 0, buffer.used, buffer.used);
    }
    task.buffers.length = 0;
  }

  #dropAssembled(task: Task): void {
    for (const buffer of task.buffers) {
      this.#lane.output.cancel(buffer, 0, buffer.used);
    }
    task.buffers.length = 0;
  }

  // ---- all

  #waitForMemory(): void {
    this.#lane.pool.wait(this);
    this.#lane.onCrowded();
  }

  /** Ends the task when its last part is done. */
  #settle(task: Task): void {
    if (!task.isSubmitted || task.partsPending > 0) return;
    const isGood = task.status === IoStatus.ok;
    if (task.buffers.length > 0) {
      if (isGood) this.#sendAssembled(task);
      else this.#dropAssembled(task);
    }
    if (!isGood) this.#lane.replies.failedRead(task);
    this.#lane.finish(task);
  }
}
