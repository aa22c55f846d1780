/**
 * WRITE: payload goes from the receive buffer into staging, in pieces of at most 1 MiB that are submitted as soon as
 * each is complete. The reply leaves when all pieces are done; the first failure is the answer.
 *
 * Invariants
 * 1. At most one payload per connection is half-filled; it is released when the connection ends.
 * 2. One connection holds at most its share of staging, or a single piece.
 */

import type { Waiter } from '../base/turnstile.ts';
import { blockSizeBytes, IoKind, IoStatus, writeAtomicBytes } from '../device/block-device.ts';
import type { Payload } from '../device/staging.ts';
import type { Lane } from './lane.ts';
import type { Part, Task } from './task.ts';
import { CommandFlag } from './wire/request.ts';

export class Writes implements Waiter {
  readonly #lane: Lane;
  /** The write whose payload is arriving. */
  #task: Task | undefined;
  /** The write that was cut short: there is nobody to answer. */
  #forgotten: Task | undefined;
  #payload: Payload | undefined;
  #filled = 0;
  /** Bytes of payloads that the device has. */
  #stagedBytes = 0;
  #isWaitingForShare = false;
  #isClosed = false;
  /** Pieces received: whether the connection moves. */
  pieceCount = 0;

  constructor(lane: Lane) {
    this.#lane = lane;
  }

  /** Staging memory lies here and waits for bytes of the client. */
  get isHalfFilled(): boolean {
    return this.#payload !== undefined;
  }

  /** Takes the task; its range was checked and is not empty. Payload follows. */
  start(task: Task): void {
    this.#task = task;
  }

  /** Takes payload bytes of `bytes[start, end)`; returns how many. Fewer than given: no staging now. */
  take(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end) {
      const payload = this.#payload ?? this.#allocate();
      if (payload === undefined) break;
      const count = Math.min(end - at, payload.length - this.#filled);
      payload.fill(this.#filled, bytes, at, at + count);
      this.#filled += count;
      at += count;
      if (this.#filled === payload.length) this.#submit(payload);
    }
    return at - start;
  }

  /** Staging was released and it is our turn. */
  retry(): boolean {
    const task = this.#task;
    if (task === undefined || this.#payload !== undefined) return true;
    const length = this.#pieceAt(task);
    this.#payload = this.#lane.staging.allocateForWaiter(task.offset + task.cursor, length);
    if (this.#payload === undefined) return false;
    this.#lane.markTurn();
    return true;
  }

  partDone(part: Part): void {
    const { task, io } = part;
    this.#stagedBytes -= io.length;
    if (io.status !== IoStatus.ok) task.fail(io.status, io.offset);
    this.#lane.tasks.givePart(part);
    this.#settle(task);
    if (this.#isWaitingForShare) {
      this.#isWaitingForShare = false;
      this.#lane.markTurn();
    }
  }

  /** The stream ends inside a payload, or the connection is gone: the rest of the write never comes. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#lane.staging.leave(this);
    this.#payload?.release();
    this.#payload = undefined;
    const task = this.#task;
    this.#task = undefined;
    if (task === undefined) return;
    this.#forgotten = task;
    task.isSubmitted = true;
    this.#settle(task);
  }

  /** Pieces end on block boundaries, so that only the ends of a write can be ragged. */
  #pieceAt(task: Task): number {
    const offset = task.offset + task.cursor;
    return Math.min(task.length - task.cursor, writeAtomicBytes - (offset % blockSizeBytes));
  }

  #allocate(): Payload | undefined {
    const task = this.#task;
    if (task === undefined) return undefined;
    const length = this.#pieceAt(task);
    const { staging } = this.#lane;
    if (this.#stagedBytes > 0 && this.#stagedBytes + length > staging.shareBytes) {
      this.#isWaitingForShare = true;
      return undefined;
    }
    this.#payload = staging.allocate(task.offset + task.cursor, length);
    if (this.#payload === undefined) {
      staging.wait(this, length);
      this.#lane.onCrowded();
    }
    return this.#payload;
  }

  #submit(payload: Payload): void {
    const task = this.#task;
    if (task === undefined) return;
    const part = this.#lane.tasks.takePart(task);
    const io = part.io;
    io.kind = IoKind.write;
    io.offset = task.offset + task.cursor;
    io.length = payload.length;
    io.payload = payload;
    io.fua = (task.flags & CommandFlag.fua) !== 0;
    io.writer = this.#lane.writer;
    io.status = IoStatus.ok;
    this.#payload = undefined;
    this.#filled = 0;
    this.#stagedBytes += payload.length;
    this.pieceCount += 1;
    task.cursor += payload.length;
    task.isSubmitted = task.cursor === task.length;
    if (task.isSubmitted) this.#task = undefined;
    // The task may be finished and reused when this returns.
    this.#lane.device.submit(io);
  }

  #settle(task: Task): void {
    if (!task.isSubmitted || task.partsPending > 0) return;
    if (task !== this.#forgotten) this.#lane.replies.outcome(task);
    this.#lane.finish(task);
  }
}
