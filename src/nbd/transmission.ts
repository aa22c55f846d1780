/**
 * Transmission phase of one connection: admits requests, hands them to the device, answers each exactly once.
 *
 *     chunk ─▶ Receiver ─▶ admission ─▶ Reads / Writes / plain ─▶ BlockDevice
 *                              │                                       │
 *                              └── refused ─▶ Replies ─▶ Output ◀──────┘ in any order
 *
 * Invariants
 * 1. Requests in flight and their bytes are bounded; when full, the receiver leaves the rest with its caller.
 * 2. A task is answered or its connection is gone before it is given back.
 * 3. Nothing is believed about lengths and offsets: every range is checked against the size the client was told.
 */

import { assert } from '../base/assert.ts';
import { type Output, smallRepliesMaxBytes } from '../base/output.ts';
import { type OutputPool, smallBufferBytes } from '../base/output-pool.ts';
import { IoKind, IoStatus } from '../device/block-device.ts';
import type { StagingDoor } from '../device/staging-door.ts';
import {
  allocationRuns,
  blockStatusReplyBytes,
  contextsFitting,
  coveredBytes,
  dirtyRuns,
  encodeBlockStatus,
  type StatusContext,
} from './block-status.ts';
import type { Agreement, Lane } from './lane.ts';
import { type NbdLimits, payloadMaxBytes, requestsPerTurnMax, statusExtentsMax } from './limits.ts';
import { Reads } from './reads.ts';
import { Admission, Receiver, type RequestHeader, type RequestSink } from './receiver.ts';
import { type Failure, Replies } from './replies.ts';
import type { Part, PartOwner, Task, TaskPool } from './task.ts';
import { NbdError } from './wire/error.ts';
import { allocationContextId, dirtyBitmapContextId } from './wire/meta-context.ts';
import { Command, CommandFlag } from './wire/request.ts';
import { Writes } from './writes.ts';

/** What all connections of a server share. */
export interface Shared {
  readonly limits: NbdLimits;
  readonly pool: OutputPool;
  readonly staging: StagingDoor;
  readonly tasks: TaskPool;
}

/** What the connection does for its transmission phase. */
export interface TransmissionOwner {
  /** `endTurn` must be called, and left-over input offered again, at the end of the turn. */
  markTurn(): void;
  onCrowded(): void;
  /** Everything was answered after the last request: the stream can end. */
  onFinished(): void;
  onBreach(reason: string): void;
}

export interface TransmissionParts {
  readonly agreement: Agreement;
  readonly shared: Shared;
  readonly output: Output;
  readonly owner: TransmissionOwner;
  /** Id of the connection. */
  readonly id: number;
}

/** Flags that a command may carry; FUA may stand on every one. DF needs structured replies besides. */
const flagsByCommand: ReadonlyMap<number, number> = new Map([
  [Command.read, CommandFlag.fua | CommandFlag.dontFragment],
  [Command.write, CommandFlag.fua],
  [Command.disconnect, CommandFlag.fua],
  [Command.flush, CommandFlag.fua],
  [Command.trim, CommandFlag.fua],
  [Command.cache, CommandFlag.fua],
  [Command.writeZeroes, CommandFlag.fua | CommandFlag.noHole | CommandFlag.fastZero],
  [Command.blockStatus, CommandFlag.fua | CommandFlag.onlyOne],
]);

const beyondEnd = 'the range goes beyond the end of the export';
const refusals = {
  command: { error: NbdError.invalid, message: 'there is no such command' },
  flags: { error: NbdError.invalid, message: 'a flag is not valid for this command' },
  readTooLong: { error: NbdError.invalid, message: 'a read may be 64 MiB at most' },
  beyondEnd: { error: NbdError.invalid, message: beyondEnd },
  noSpace: { error: NbdError.noSpace, message: beyondEnd },
  readOnly: { error: NbdError.notPermitted, message: 'the export is read-only' },
  noContext: { error: NbdError.invalid, message: 'no metadata context was negotiated' },
  emptyStatus: { error: NbdError.invalid, message: 'block status of no bytes' },
  thickFast: {
    error: NbdError.notSupported,
    message: 'allocated zeroes are not promised to be faster than a write',
  },
  shutdown: { error: NbdError.shutdown, message: 'the server is stopping' },
} as const satisfies Record<string, Failure>;

export class Transmission implements RequestSink, PartOwner {
  readonly #lane: Lane;
  readonly #owner: TransmissionOwner;
  readonly #receiver: Receiver;
  readonly #reads: Reads;
  readonly #writes: Writes;
  #inFlightCount = 0;
  #inFlightBytes = 0;
  #takenInTurn = 0;
  #isInputOver = false;
  #isDraining = false;
  #isClosed = false;

  constructor(parts: TransmissionParts) {
    const { agreement, shared, output, owner, id } = parts;
    this.#owner = owner;
    this.#lane = {
      ...agreement,
      ...shared,
      output,
      writer: id,
      replies: new Replies(output, agreement.isStructured),
      finish: (task) => {
        this.#finish(task);
      },
      markTurn: () => {
        owner.markTurn();
      },
      onCrowded: () => {
        owner.onCrowded();
      },
    };
    this.#receiver = new Receiver(this);
    this.#reads = new Reads(this.#lane);
    this.#writes = new Writes(this.#lane);
  }

  /** No request is with the device or unanswered. */
  get isIdle(): boolean {
    return this.#inFlightCount === 0;
  }

  /** `consume` must be called again at the end of a turn, even without new bytes. */
  get isWaiting(): boolean {
    return this.#receiver.isWaiting;
  }

  /** Holds staging that waits for bytes of the client. */
  get isHalfFilled(): boolean {
    return this.#writes.isHalfFilled;
  }

  /** Grows with every payload piece received. */
  get pieceCount(): number {
    return this.#writes.pieceCount;
  }

  /** Takes what can be taken now of `bytes[start, end)`; returns where it stopped. */
  consume(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    return this.#receiver.consume(bytes, view, start, end);
  }

  endTurn(): void {
    this.#takenInTurn = 0;
    if (!this.#isClosed) this.#reads.endTurn();
  }

  /** The client sends nothing more. What it asked for is answered, then `onFinished` follows. */
  endInput(): void {
    this.#isInputOver = true;
    this.#receiver.stop();
    this.#writes.close();
    this.#checkFinished();
  }

  /** New requests are refused, those in flight are answered, then `onFinished` follows. */
  drain(): void {
    this.#isDraining = true;
    this.#checkFinished();
  }

  /** The stream is gone: nothing is answered any more; `isIdle` tells when the device is done with us. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#receiver.stop();
    this.#reads.close();
    this.#writes.close();
  }

  onBreach(reason: string): void {
    this.#owner.onBreach(reason);
  }

  onPayload(bytes: Uint8Array, start: number, end: number): number {
    return this.#writes.take(bytes, start, end);
  }

  partDone(part: Part): void {
    switch (part.io.kind) {
      case IoKind.read:
        this.#reads.partDone(part);
        return;
      case IoKind.write:
        this.#writes.partDone(part);
        return;
      case IoKind.zero:
      case IoKind.trim:
      case IoKind.flush:
        this.#plainDone(part);
        return;
      case IoKind.compareAndWrite:
      case IoKind.orWrite:
      case IoKind.clone:
        assert(false, 'NBD never asks for these');
    }
  }

  onRequest(header: RequestHeader): Admission {
    if (header.command === Command.disconnect) {
      this.endInput();
      return Admission.stop;
    }
    if (!this.#hasRoomFor(header)) return Admission.later;
    this.#takenInTurn += 1;
    const isWrite = header.command === Command.write;
    if (isWrite && header.length > payloadMaxBytes) {
      this.onBreach('a write is longer than 64 MiB');
      return Admission.stop;
    }
    const refusal = this.#refusal(header);
    if (refusal !== undefined) {
      this.#lane.replies.failure(header, refusal);
      return isWrite ? Admission.skip : Admission.next;
    }
    this.#begin(header);
    return isWrite ? Admission.take : Admission.next;
  }

  /** A client that does not take its replies gets no further requests in, and none crowds out the others. */
  #hasRoomFor(header: RequestHeader): boolean {
    const { limits, output, pool } = this.#lane;
    if (this.#takenInTurn >= requestsPerTurnMax) {
      this.#owner.markTurn();
      return false;
    }
    const spare = pool.hasLarge(1) ? limits.outputMaxBytes : 0;
    if (output.unsentBytes >= spare + smallRepliesMaxBytes) return false;
    if (this.#inFlightCount === 0) return true;
    if (this.#inFlightCount >= limits.requestsInFlightMax) return false;
    return this.#inFlightBytes + dataBytes(header) <= limits.bytesInFlightMax;
  }

  /** Why the request cannot be served; undefined when it can. */
  #refusal(header: RequestHeader): Failure | undefined {
    const { command, flags } = header;
    const known = flagsByCommand.get(command);
    if (known === undefined) return refusals.command;
    if ((flags & ~known) !== 0) return refusals.flags;
    if (this.#isDraining) return refusals.shutdown;
    switch (command) {
      case Command.read:
        return this.#readRefusal(header);
      case Command.flush:
        return undefined;
      case Command.blockStatus:
        return this.#statusRefusal(header);
      case Command.cache:
        return this.#isInside(header) ? undefined : refusals.beyondEnd;
      default:
        return this.#changeRefusal(header);
    }
  }

  #readRefusal(header: RequestHeader): Failure | undefined {
    const isWhole = (header.flags & CommandFlag.dontFragment) !== 0;
    if (isWhole && !this.#lane.isStructured) return refusals.flags;
    if (!this.#isInside(header)) return refusals.beyondEnd;
    return header.length > payloadMaxBytes ? refusals.readTooLong : undefined;
  }

  /** A range that begins inside may run over the end: clients round lengths up; the answer is clipped. */
  #statusRefusal(header: RequestHeader): Failure | undefined {
    const { hasAllocationContext, dirtyBitmap } = this.#lane;
    if (!hasAllocationContext && dirtyBitmap === undefined) return refusals.noContext;
    if (header.length === 0) return refusals.emptyStatus;
    return header.offset < this.#lane.sizeBytes ? undefined : refusals.beyondEnd;
  }

  /** WRITE, TRIM and WRITE_ZEROES. */
  #changeRefusal(header: RequestHeader): Failure | undefined {
    if (this.#lane.device.isReadOnly) return refusals.readOnly;
    if (!this.#isInside(header)) {
      return header.command === Command.trim ? refusals.beyondEnd : refusals.noSpace;
    }
    const thickFast = CommandFlag.fastZero | CommandFlag.noHole;
    return (header.flags & thickFast) === thickFast ? refusals.thickFast : undefined;
  }

  #isInside(header: RequestHeader): boolean {
    return header.offset + header.length <= this.#lane.sizeBytes;
  }

  /** The request is good: make it a task, or answer it at once when nothing is to be done. */
  #begin(header: RequestHeader): void {
    const { replies, tasks } = this.#lane;
    if (this.#isEmpty(header)) {
      if (header.command === Command.read) replies.emptyRead(header);
      else replies.success(header);
      return;
    }
    const task = tasks.takeTask(this);
    task.cookieHigh = header.cookieHigh;
    task.cookieLow = header.cookieLow;
    task.command = header.command;
    task.flags = header.flags;
    task.offset = header.offset;
    task.length = header.length;
    this.#inFlightCount += 1;
    this.#inFlightBytes += dataBytes(header);
    switch (header.command) {
      case Command.read:
        this.#reads.start(task);
        return;
      case Command.write:
        this.#writes.start(task);
        return;
      case Command.blockStatus:
        this.#startStatus(task);
        return;
      default:
        this.#startPlain(task);
    }
  }

  /** CACHE is a hint that we do not need; a read-only export has nothing to flush; no bytes, no work. */
  #isEmpty(header: RequestHeader): boolean {
    switch (header.command) {
      case Command.cache:
        return true;
      case Command.flush:
        return this.#lane.device.isReadOnly;
      default:
        return header.length === 0;
    }
  }

  // ---- flush, trim, write zeroes: one device request for the whole range

  #startPlain(task: Task): void {
    const part = this.#lane.tasks.takePart(task);
    task.isSubmitted = true;
    const io = part.io;
    const isFlush = task.command === Command.flush;
    const isTrim = task.command === Command.trim;
    io.kind = isFlush ? IoKind.flush : isTrim ? IoKind.trim : IoKind.zero;
    io.offset = isFlush ? 0 : task.offset;
    io.length = isFlush ? 0 : task.length;
    io.fua = (task.flags & CommandFlag.fua) !== 0;
    io.noHole = (task.flags & CommandFlag.noHole) !== 0;
    io.writer = this.#lane.writer;
    io.status = IoStatus.ok;
    this.#lane.device.submit(io);
  }

  #plainDone(part: Part): void {
    const { task, io } = part;
    if (io.status !== IoStatus.ok) task.fail(io.status, io.offset);
    this.#lane.tasks.givePart(part);
    this.#lane.replies.outcome(task);
    this.#finish(task);
  }

  // ---- block status

  #startStatus(task: Task): void {
    const { sizeBytes, dirtyBitmap } = this.#lane;
    const length = Math.min(task.length, sizeBytes - task.offset);
    const isOnlyOne = (task.flags & CommandFlag.onlyOne) !== 0;
    const runsMax = isOnlyOne ? 1 : statusExtentsMax;
    if (dirtyBitmap === undefined) {
      this.#askAllocation(task, { length, runsMax }, []);
      return;
    }
    dirtyBitmap.runs({ offset: task.offset, length }, runsMax, (found) => {
      const contexts = [{ contextId: dirtyBitmapContextId, runs: dirtyRuns(found) }];
      // What the one does not tell about need not be asked of the other.
      const covered = Math.min(coveredBytes(contexts), length);
      this.#askAllocation(task, { length: covered, runsMax }, contexts);
    });
  }

  #askAllocation(
    task: Task,
    { length, runsMax }: { readonly length: number; readonly runsMax: number },
    contexts: readonly StatusContext[],
  ): void {
    const { device, hasAllocationContext } = this.#lane;
    if (!hasAllocationContext) {
      this.#answerStatus(task, contexts);
      return;
    }
    device.extents(task.offset, length, runsMax, (extents) => {
      const runs = allocationRuns(extents);
      this.#answerStatus(task, [{ contextId: allocationContextId, runs }, ...contexts]);
    });
  }

  #answerStatus(task: Task, contexts: readonly StatusContext[]): void {
    if (coveredBytes(contexts) > 0) {
      this.#sendStatus(task, contexts);
    } else {
      task.fail(IoStatus.invalid, task.offset);
      this.#lane.replies.outcome(task);
    }
    this.#finish(task);
  }

  /** When output memory is short the reply has fewer extents, as the protocol allows: the client asks again. */
  #sendStatus(task: Task, contexts: readonly StatusContext[]): void {
    const { output, limits } = this.#lane;
    const fullBytes = blockStatusReplyBytes(contexts);
    const hasRoom = output.unsentBytes < limits.outputMaxBytes;
    const large = hasRoom ? output.reserve(fullBytes) : undefined;
    const size = large === undefined ? Math.min(fullBytes, smallBufferBytes) : fullBytes;
    const buffer = large ?? output.reserveSmall(size);
    const reservedEnd = buffer.used;
    const start = reservedEnd - size;
    const fitting = contextsFitting(contexts, size);
    const length = coveredBytes(fitting);
    let end = start;
    fitting.forEach((context, index) => {
      const isLast = index === fitting.length - 1;
      end = encodeBlockStatus(buffer.view, end, task, { ...context, length, isLast });
    });
    output.commit(buffer, start, end, reservedEnd);
  }

  // ---- end

  #finish(task: Task): void {
    this.#inFlightCount -= 1;
    this.#inFlightBytes -= dataBytes(task);
    this.#lane.tasks.giveTask(task);
    this.#checkFinished();
  }

  #checkFinished(): void {
    if (this.#inFlightCount > 0) return;
    if (this.#isInputOver || this.#isDraining || this.#isClosed) this.#owner.onFinished();
  }
}

/** Bytes that travel with a request, in either direction. */
function dataBytes(of: { readonly command: number; readonly length: number }): number {
  return of.command === Command.read || of.command === Command.write ? of.length : 0;
}
