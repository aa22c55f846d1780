/**
 * Data-In: what a command reads goes from the device straight into its PDUs in the output. RFC 7143 section 11.7.
 *
 *     task ─▶ queue ─▶ piece │ header │ data ◀── read │ padding, digest │ ─▶ sent when all before it were sent
 *
 * One piece is one PDU: as long as the initiator takes (MaxRecvDataSegmentLength), within one sequence (MaxBurstLength),
 * at most one output buffer. The last piece waits until SCSI has finished, and carries the status when it needs no sense.
 * Commands wait in the order of arrival while the initiator does not take its output or output memory is exhausted.
 *
 * Invariants
 * 1. A task is in the queue until all of it was asked for; only the head asks.
 * 2. Nothing touches a task after its last read was submitted: it may be finished and reused by then.
 * 3. Pieces of one task leave in order of their offset. DataSN and header are written when they leave.
 */
import { assert } from '../base/assert.ts';
import { outputPieceBytes } from '../base/output-pool.ts';
import type { Waiter } from '../base/turnstile.ts';
import type { IscsiTask, Piece } from './iscsi-task.ts';
import type { Lane } from './lane.ts';
import { type DataIn as DataInPdu, encodeDataIn } from './pdu/data-in.ts';
import { serialAdd } from './serial-number.ts';

export class DataIn implements Waiter {
  readonly #lane: Lane;
  readonly #queue: IscsiTask[] = [];
  readonly #pdu: DataInPdu;
  #isPumping = false;
  #isClosed = false;

  constructor(lane: Lane) {
    this.#lane = lane;
    this.#pdu = {
      isFinal: false,
      hasStatus: false,
      status: 0,
      residualFlags: 0,
      residual: 0,
      initiatorTaskTag: 0,
      dataSn: 0,
      bufferOffset: 0,
      dataSegmentLength: 0,
      statSn: 0,
      expCmdSn: 0,
      maxCmdSn: 0,
    };
  }

  /** The command has `dataInLength` bytes for the initiator. */
  start(task: IscsiTask): void {
    if (task.scsi.dataInLength === 0) {
      task.scsi.dataInSent();
      return;
    }
    this.#queue.push(task);
    this.#pump();
  }

  /** Output left, or a turn ended: go on with what waits. */
  endTurn(): void {
    if (this.#queue.length > 0) this.#pump();
  }

  /** Output memory was given back and it is our turn. */
  retry(): boolean {
    if (this.#queue.length === 0 || this.#isClosed) return true;
    if (!this.#lane.pool.hasLargeForWaiter(1)) return false;
    this.#lane.writer.output.refill();
    // What waits goes on at the end of the turn, and not inside the connection that gave the memory back.
    this.#lane.markTurn();
    return true;
  }

  /** Nothing more of the task is read: it is done or failed. Its pieces that did not leave are dropped. */
  stop(task: IscsiTask): void {
    task.isDataInOver = true;
    const place = this.#queue.indexOf(task);
    if (place >= 0) this.#queue.splice(place, 1);
    this.#dropPieces(task);
  }

  /** The connection is gone: what waits is not started any more. */
  close(): void {
    this.#isClosed = true;
    this.#lane.pool.turnstile.leave(this);
    this.#queue.length = 0;
  }

  /** A read is over. Returns whether the task may have come to its end by it. */
  onPieceRead(piece: Piece, isGood: boolean): void {
    const { task } = piece;
    assert(task !== undefined, 'a piece that was read has its task');
    task.readsPending -= 1;
    piece.isReady = true;
    if (!isGood && !task.isDataInOver) this.stop(task);
    else if (task.isDataInOver) this.#dropPieces(task);
    else this.#sendReady(task);
  }

  /** SCSI has finished: the last piece leaves, with the status when `isCollapsed`. */
  sendLast(task: IscsiTask, isCollapsed: boolean, residualFlags: number): void {
    const piece = task.firstPiece;
    assert(piece?.isReady === true && piece.next === undefined, 'only the last piece waits');
    const pdu = this.#pdu;
    pdu.hasStatus = isCollapsed;
    if (isCollapsed) {
      pdu.status = task.scsi.status;
      pdu.residualFlags = residualFlags;
      pdu.residual = task.scsi.residual;
    }
    this.#send(piece, task);
    pdu.hasStatus = false;
  }

  #pump(): void {
    if (this.#isPumping || this.#isClosed) return;
    this.#isPumping = true;
    let head = this.#queue[0];
    while (head !== undefined && this.#advance(head)) {
      // A callback may have ended the task, and taken it from the queue.
      if (this.#queue[0] === head) this.#queue.shift();
      head = this.#queue[0];
    }
    this.#isPumping = false;
  }

  /** Asks for what may be asked for of `task` now; true when nothing of it is left to ask for. */
  #advance(task: IscsiTask): boolean {
    const { limits, writer } = this.#lane;
    const length = task.scsi.dataInLength;
    while (writer.output.unsentBytes < limits.outputMaxBytes) {
      const offset = task.cursor;
      const dataBytes = this.#pieceBytes(task, offset);
      const isLast = offset + dataBytes === length;
      if (!this.#ask(task, offset, dataBytes)) return false;
      if (isLast || this.#queue[0] !== task) return true;
    }
    return false;
  }

  #pieceBytes(task: IscsiTask, offset: number): number {
    const { initiatorMaxRecvDataSegmentLength, maxBurstLength } = this.#lane.parameters;
    return Math.min(
      initiatorMaxRecvDataSegmentLength,
      outputPieceBytes,
      maxBurstLength - (offset % maxBurstLength),
      task.scsi.dataInLength - offset,
    );
  }

  /** Reads one piece into a place of its own; false when there is no output memory. */
  #ask(task: IscsiTask, offset: number, dataBytes: number): boolean {
    const { writer, pool, tasks } = this.#lane;
    const buffer = writer.output.reserve(writer.sizeFor(dataBytes));
    if (buffer === undefined) {
      pool.wait(this);
      return false;
    }
    const piece = tasks.takePiece(task);
    piece.buffer = buffer;
    piece.start = writer.startOf(buffer, dataBytes);
    piece.offset = offset;
    piece.dataBytes = dataBytes;
    task.cursor = offset + dataBytes;
    task.readsPending += 1;
    const dataAt = piece.start + writer.frontBytes;
    task.scsi.read(buffer.bytes.subarray(dataAt, dataAt + dataBytes), offset, piece.onRead);
    return true;
  }

  #sendReady(task: IscsiTask): void {
    let piece = task.firstPiece;
    while (piece?.isReady === true) {
      if (piece.offset + piece.dataBytes === task.scsi.dataInLength) {
        task.scsi.dataInSent();
        return;
      }
      this.#send(piece, task);
      piece = task.firstPiece;
    }
  }

  #send(piece: Piece, task: IscsiTask): void {
    const { buffer, start, offset, dataBytes } = piece;
    assert(buffer !== undefined, 'a piece has its buffer');
    const { parameters, numbers, writer, counters, tasks } = this.#lane;
    const end = offset + dataBytes;
    const pdu = this.#pdu;
    pdu.isFinal = end === task.scsi.dataInLength || end % parameters.maxBurstLength === 0;
    pdu.initiatorTaskTag = task.request.initiatorTaskTag;
    pdu.dataSn = task.dataInSn;
    pdu.bufferOffset = offset;
    pdu.dataSegmentLength = dataBytes;
    task.dataInSn = serialAdd(task.dataInSn, 1);
    if (pdu.hasStatus) numbers.stampStatus(pdu);
    else numbers.stamp(pdu);
    encodeDataIn(buffer.view, start, pdu);
    counters.bytesRead += dataBytes;
    tasks.giveFirstPiece(task);
    writer.finish(buffer, start, dataBytes);
  }

  /** Pieces that are still being read are dropped when that is over: the device writes into them. */
  #dropPieces(task: IscsiTask): void {
    if (task.readsPending > 0) return;
    const { writer, tasks } = this.#lane;
    for (let piece = task.firstPiece; piece !== undefined; piece = task.firstPiece) {
      const { buffer, start, dataBytes } = piece;
      tasks.giveFirstPiece(task);
      if (buffer !== undefined) {
        writer.output.cancel(buffer, start, start + writer.sizeFor(dataBytes));
      }
    }
  }
}
