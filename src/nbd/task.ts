/**
 * Requests in flight, and the device requests they consist of. Both are pooled: no object is made per request.
 *
 *     Task (one NBD request) 1 ──▶ n Part (one IoRequest each: at most 1 MiB written or 256 KiB read)
 */
import { assert, present } from '../base/assert.ts';
import type { OutputBuffer } from '../base/output-pool.ts';
import { type Extent, IoRequest, IoStatus } from '../device/block-device.ts';
import { Command } from './wire/request.ts';

/** Who is told that the device finished a part. */
export interface PartOwner {
  partDone(part: Part): void;
}

export class Task {
  owner: PartOwner | undefined;
  cookieHigh = 0;
  cookieLow = 0;
  command: number = Command.read;
  flags = 0;
  offset = 0;
  length = 0;
  /** Parts that the device has. */
  partsPending = 0;
  /** Every byte was submitted: the task ends with its last part. */
  isSubmitted = false;
  /** First failure; its place when it has one. */
  status: IoStatus = IoStatus.ok;
  failedOffset = 0;
  /** Reads: bytes from `offset` on that were submitted or answered as holes. */
  cursor = 0;
  /** Reads that split by allocation: runs from the cursor on, and which one is next. */
  extents: readonly Extent[] = [];
  extentIndex = 0;
  /** Reads whose reply spans buffers: those buffers in order. */
  readonly buffers: OutputBuffer[] = [];

  /** Notes a failure; the first one is reported. */
  fail(status: IoStatus, offset: number): void {
    if (this.status !== IoStatus.ok) return;
    this.status = status;
    this.failedOffset = offset;
  }
}

export class Part {
  readonly io: IoRequest;
  #task: Task | undefined;
  /** Reads: the reserved place of header and data in the output. */
  buffer: OutputBuffer | undefined;
  start = 0;
  reservedEnd = 0;

  constructor() {
    this.io = new IoRequest(() => {
      present(this.task.owner, 'owner of a task').partDone(this);
    });
  }

  get task(): Task {
    return present(this.#task, 'task of a part');
  }

  set task(task: Task | undefined) {
    this.#task = task;
  }
}

/** Free lists of one server. Bounded by what was in flight at once, which has limits of its own. */
export class TaskPool {
  readonly #tasks: Task[] = [];
  readonly #parts: Part[] = [];

  takeTask(owner: PartOwner): Task {
    const task = this.#tasks.pop() ?? new Task();
    task.owner = owner;
    return task;
  }

  giveTask(task: Task): void {
    assert(task.partsPending === 0 && task.buffers.length === 0, 'task given back while in use');
    task.owner = undefined;
    task.isSubmitted = false;
    task.status = IoStatus.ok;
    task.cursor = 0;
    if (task.extents.length > 0) task.extents = [];
    task.extentIndex = 0;
    this.#tasks.push(task);
  }

  /** A part of `task`, counted as pending. */
  takePart(task: Task): Part {
    const part = this.#parts.pop() ?? new Part();
    part.task = task;
    task.partsPending += 1;
    return part;
  }

  givePart(part: Part): void {
    part.task.partsPending -= 1;
    part.task = undefined;
    part.buffer = undefined;
    part.io.target = undefined;
    part.io.payload = undefined;
    this.#parts.push(part);
  }
}
