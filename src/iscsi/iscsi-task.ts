/**
 * A SCSI command of an initiator while it is in flight: the SCSI room's task and what the transfer of its data needs.
 * Pooled: no object is made per command.
 *
 *     SCSI Command ─▶ submit ─▶ data-out sequences ─▶ executes ─▶ data-in pieces ─▶ isDone ─▶ answered, given back
 *
 * Invariants
 * 1. An object is in the pool, or in its connection's table of tags, never in both.
 * 2. It is given back when SCSI has finished with it, no read of it is in flight and no sequence of data is awaited.
 */
import { assert } from '../base/assert.ts';
import type { OutputBuffer } from '../base/output-pool.ts';
import { Task, type TaskOwner } from '../scsi/task.ts';
import { noTag } from './pdu/header.ts';
import { newScsiCommand, type ScsiCommand } from './pdu/scsi-command.ts';

/** What the connection does when SCSI has something to say about a task. */
export interface TaskHost {
  onDataOut(task: IscsiTask): void;
  onRoom(): void;
  onDataIn(task: IscsiTask): void;
  onDone(task: IscsiTask): void;
  onPieceRead(piece: Piece, isGood: boolean): void;
}

/** Data that the initiator sends in one go: what came with the command and behind it, or what one R2T asked for. */
export const Sequence = { none: 0, unsolicited: 1, solicited: 2 } as const;
export type Sequence = (typeof Sequence)[keyof typeof Sequence];

/** What a command takes from its session until it is answered: a place in the CmdSN window, or one of the immediate ones. */
export const Place = { none: 0, window: 1, immediate: 2 } as const;
export type Place = (typeof Place)[keyof typeof Place];

/** One Data-In PDU whose data is being read into its place in the output, or waits for those before it. */
export class Piece {
  task: IscsiTask | undefined;
  buffer: OutputBuffer | undefined;
  /** Where the PDU begins in the buffer. */
  start = 0;
  /** Byte of the command's data-in. */
  offset = 0;
  dataBytes = 0;
  isReady = false;
  /** The next piece of the same command, or of the free list. */
  next: Piece | undefined;
  /** For `Task.read`. */
  readonly onRead: (task: Task, isGood: boolean) => void;

  constructor() {
    this.onRead = (_task, isGood) => {
      this.task?.host?.onPieceRead(this, isGood);
    };
  }
}

export class IscsiTask implements TaskOwner {
  readonly scsi = new Task();
  readonly request: ScsiCommand = newScsiCommand();
  host: TaskHost | undefined;
  isActive = false;
  place: Place = Place.none;
  /** SCSI has finished with it. */
  isDone = false;
  /** An abort of ours is on its way. */
  isAborting = false;
  /** Nothing is answered: it was aborted. */
  isSilent = false;
  /** Sense code of a failure of the transport, 0 = none; the answer is CHECK CONDITION with it. */
  failure = 0;

  /** SCSI takes data: `scsi.dataOutLength` is known. */
  isOpen = false;
  /** Bytes of the initiator's data seen so far, in order. */
  received = 0;
  sequence: Sequence = Sequence.none;
  /** Byte at which the sequence must end (solicited), or may not go on (unsolicited). */
  sequenceEnd = 0;
  targetTransferTag: number = noTag;
  /** DataSN that the next Data-Out of the sequence must have. */
  dataOutSn = 0;
  r2tSn = 0;
  /** What it holds of the connection's budget for solicited data. */
  budgetBytes = 0;

  /** Bytes of data-in that were asked of SCSI. */
  cursor = 0;
  dataInSn = 0;
  readsPending = 0;
  /** No further piece is read or sent: a read failed or the task is done. */
  isDataInOver = false;
  firstPiece: Piece | undefined;
  lastPiece: Piece | undefined;

  constructor() {
    this.scsi.owner = this;
  }

  onDataOut(): void {
    this.host?.onDataOut(this);
  }

  onRoom(): void {
    this.host?.onRoom();
  }

  onDataIn(): void {
    this.host?.onDataIn(this);
  }

  onDone(): void {
    this.host?.onDone(this);
  }
}

/** Free lists of one server. Bounded by what was in flight at once, which has limits of its own. */
export class IscsiTaskPool {
  readonly #tasks: IscsiTask[] = [];
  #pieces: Piece | undefined;

  take(host: TaskHost): IscsiTask {
    const task = this.#tasks.pop() ?? new IscsiTask();
    task.host = host;
    return task;
  }

  give(task: IscsiTask): void {
    assert(task.readsPending === 0 && task.firstPiece === undefined, 'task given back in use');
    task.host = undefined;
    task.isActive = false;
    task.place = Place.none;
    task.isDone = false;
    task.isAborting = false;
    task.isSilent = false;
    task.failure = 0;
    task.isOpen = false;
    task.received = 0;
    task.sequence = Sequence.none;
    task.targetTransferTag = noTag;
    task.dataOutSn = 0;
    task.r2tSn = 0;
    task.cursor = 0;
    task.dataInSn = 0;
    task.isDataInOver = false;
    task.lastPiece = undefined;
    this.#tasks.push(task);
  }

  /** A piece at the end of the task's list. */
  takePiece(task: IscsiTask): Piece {
    const piece = this.#pieces ?? new Piece();
    this.#pieces = piece.next;
    piece.next = undefined;
    piece.task = task;
    piece.isReady = false;
    if (task.firstPiece === undefined) task.firstPiece = piece;
    else if (task.lastPiece !== undefined) task.lastPiece.next = piece;
    task.lastPiece = piece;
    return piece;
  }

  /** Takes the task's first piece off its list. */
  giveFirstPiece(task: IscsiTask): void {
    const piece = task.firstPiece;
    if (piece === undefined) return;
    task.firstPiece = piece.next;
    piece.task = undefined;
    piece.buffer = undefined;
    piece.next = this.#pieces;
    this.#pieces = piece;
  }
}
