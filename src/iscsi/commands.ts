/**
 * SCSI commands of one session: from their PDU to their answer.
 *
 *     SCSI Command ─▶ task, by its tag ─▶ ScsiTarget.submit ─▶ DataOut / DataIn ─▶ isDone ─▶ response ─▶ given back
 *                                              └──── abort ─▶ silent ─▶ given back, data on its way is dropped
 *
 * Invariants
 * 1. Every admitted command is answered once, or was aborted by its own initiator, or its session ended.
 * 2. A response leaves when the initiator has sent all it announced (the standard's rule), and nothing follows it.
 * 3. An aborted command is silent from the moment its abort was asked for.
 */
import { ScsiStatus, TaskAttribute } from '../scsi/status.ts';
import { DataIn } from './data-in.ts';
import { DataOut } from './data-out.ts';
import { type IscsiTask, type Piece, Place, Sequence, type TaskHost } from './iscsi-task.ts';
import type { Lane } from './lane.ts';
import { type AdditionalHeaders, decodeAdditionalHeaders } from './pdu/ahs.ts';
import { type DataOut as DataOutPdu, decodeDataOut, newDataOut } from './pdu/data-out.ts';
import { headerBytes, noTag } from './pdu/header.ts';
import { RejectReason } from './pdu/reject.ts';
import { CommandAttribute, decodeScsiCommand } from './pdu/scsi-command.ts';
import { Admission, type PduHeader } from './receiver.ts';
import { residualFlagsOf } from './responses.ts';
import { immediateCommandsMax, orphansMax } from './server-limits.ts';
import { TransportFailure } from './transport-failure.ts';

const attributes = {
  [CommandAttribute.untagged]: TaskAttribute.untagged,
  [CommandAttribute.simple]: TaskAttribute.simple,
  [CommandAttribute.ordered]: TaskAttribute.ordered,
  [CommandAttribute.headOfQueue]: TaskAttribute.headOfQueue,
  [CommandAttribute.aca]: TaskAttribute.aca,
} as const;

export class Commands implements TaskHost {
  readonly #lane: Lane;
  readonly #dataIn: DataIn;
  readonly #dataOut: DataOut;
  readonly #taskByTag = new Map<number, IscsiTask>();
  /** Aborted while data of theirs was on its way: their tags, oldest first. */
  readonly #orphans = new Set<number>();
  #immediateCount = 0;
  readonly #dataOutPdu: DataOutPdu = newDataOut();
  readonly #additional: AdditionalHeaders = {
    extendedCdb: undefined,
    bidirectionalReadLength: undefined,
  };
  /** Whose data segment is arriving, and whether the sequence ends with it. */
  #receiving: IscsiTask | undefined;
  #isLastSegment = false;
  /** Header of the PDU whose data segment is arriving, for a Reject should its digest be wrong. */
  readonly #segmentHeader = new Uint8Array(headerBytes);
  /** Counts segments received: whether the connection moves. */
  segmentCount = 0;
  #isClosed = false;

  constructor(lane: Lane) {
    this.#lane = lane;
    this.#dataIn = new DataIn(lane);
    this.#dataOut = new DataOut(lane);
  }

  get inFlightCount(): number {
    return this.#taskByTag.size;
  }

  /** Staging lies here and waits for bytes of the initiator. */
  get isHalfFilled(): boolean {
    return this.#receiving !== undefined;
  }

  find(initiatorTaskTag: number): IscsiTask | undefined {
    return this.#taskByTag.get(initiatorTaskTag);
  }

  all(): Iterable<IscsiTask> {
    return this.#taskByTag.values();
  }

  endTurn(): void {
    this.#dataIn.endTurn();
  }

  /** The connection is gone. The session's nexus ends what SCSI has; the rest is given back here. */
  close(): void {
    this.#isClosed = true;
    this.#receiving = undefined;
    this.#dataIn.close();
    this.#dataOut.close();
    for (const task of this.#taskByTag.values()) this.silence(task);
  }

  /** From now on nothing of the task is answered, and its data is dropped. Its abort, if SCSI has it, is for the caller. */
  silence(task: IscsiTask): void {
    if (task.isSilent) return;
    task.isSilent = true;
    if (!task.isDataInOver) this.#dataIn.stop(task);
    const isEnding = this.#receiving === task && this.#isLastSegment;
    if (this.#receiving === task) this.#receiving = undefined;
    if (task.sequence !== Sequence.none && !isEnding) this.#addOrphan(task);
    task.sequence = Sequence.none;
    this.#finish(task);
  }

  // ---- SCSI Command

  /** Whether an immediate command may come in: they are outside the window, and bounded on their own. */
  get hasRoomForImmediate(): boolean {
    return this.#immediateCount < immediateCommandsMax;
  }

  /** Starts a command whose turn it is. */
  onCommand(header: PduHeader, place: Place): Admission {
    const { tasks, numbers, target, counters } = this.#lane;
    const task = tasks.take(this);
    const problem = this.#decode(header, task);
    if (problem !== undefined) {
      tasks.give(task);
      if (place === Place.window) numbers.release();
      this.#reject(problem, header);
      return Admission.skip;
    }
    this.#enter(task, place);
    counters.commandCount += 1;
    task.failure = this.#dataOut.begin(task, header.dataBytes);
    if (task.failure === TransportFailure.none) target.submit(task.scsi);
    else task.isDone = true;
    // It may be answered by now.
    if (!task.isActive) return Admission.skip;
    if (header.dataBytes > 0) {
      this.#isLastSegment = task.request.isFinal;
      return this.#receive(task, header);
    }
    if (task.request.isFinal) this.#endSequence(task);
    else this.#finish(task);
    return Admission.next;
  }

  #enter(task: IscsiTask, place: Place): void {
    const { initiatorTaskTag } = task.request;
    task.isActive = true;
    task.place = place;
    if (place === Place.immediate) this.#immediateCount += 1;
    this.#orphans.delete(initiatorTaskTag);
    this.#taskByTag.set(initiatorTaskTag, task);
  }

  /** Returns why the PDU is refused. */
  #decode(header: PduHeader, task: IscsiTask): RejectReason | undefined {
    const { request, scsi } = task;
    const isMalformed = decodeScsiCommand(header.view, header.at, request) !== undefined;
    if (isMalformed || request.initiatorTaskTag === noTag) return RejectReason.protocolError;
    if (this.#taskByTag.has(request.initiatorTaskTag)) return RejectReason.taskInProgress;
    scsi.nexus = this.#lane.nexus;
    scsi.lun = request.lun;
    scsi.cdb = request.cdb;
    scsi.attribute = attributes[request.attribute];
    const expected = request.expectedDataTransferLength;
    scsi.dataOutBytes = request.isWrite ? expected : 0;
    scsi.dataInBytes = request.isRead && !request.isWrite ? expected : 0;
    if (header.ahsBytes === 0) return undefined;
    const { bytes, at, ahsBytes } = header;
    const segments = new DataView(bytes.buffer, bytes.byteOffset + at + headerBytes, ahsBytes);
    const additional = this.#additional;
    if (decodeAdditionalHeaders(segments, request.cdb, additional) !== undefined) {
      return RejectReason.invalidPduField;
    }
    scsi.cdb = additional.extendedCdb ?? request.cdb;
    if (request.isRead && request.isWrite) {
      scsi.dataInBytes = additional.bidirectionalReadLength ?? 0;
    }
    return undefined;
  }

  // ---- data-out

  /** A Data-Out PDU. */
  onDataOutPdu(header: PduHeader): Admission {
    const pdu = this.#dataOutPdu;
    decodeDataOut(header.view, header.at, pdu);
    const task = this.#taskByTag.get(pdu.initiatorTaskTag);
    // One that was aborted may still be in the table: it waits for the device.
    if (task === undefined || task.isSilent) {
      this.#onStray(pdu, header);
      return Admission.skip;
    }
    if (!this.#dataOut.isExpected(task, pdu)) {
      this.#onUnexpected(task, pdu, header);
      return Admission.skip;
    }
    this.#isLastSegment = pdu.isFinal;
    if (task.failure === TransportFailure.none && !task.isDone) {
      const failure = this.#dataOut.check(task, pdu, header.dataBytes);
      if (failure === TransportFailure.incorrectAmountOfData) this.#isLastSegment = true;
      if (failure !== TransportFailure.none) this.#fail(task, failure);
    }
    if (header.dataBytes > 0 && task.failure === TransportFailure.none) {
      return this.#receive(task, header);
    }
    if (this.#isLastSegment) {
      // Where a sequence of a wrong length ends is not known: what still comes of it is dropped.
      if (!pdu.isFinal) this.#addOrphan(task);
      this.#endSequence(task);
    }
    return Admission.skip;
  }

  /** Data of a task that was aborted is dropped in silence; of one that never was, it is refused. */
  #onStray(pdu: DataOutPdu, header: PduHeader): void {
    if (!this.#orphans.has(pdu.initiatorTaskTag)) this.#reject(RejectReason.protocolError, header);
    else if (pdu.isFinal) this.#orphans.delete(pdu.initiatorTaskTag);
  }

  /** A wrong tag is refused. Unsolicited data after the sequence was final ends the command as well. */
  #onUnexpected(task: IscsiTask, pdu: DataOutPdu, header: PduHeader): void {
    this.#reject(RejectReason.invalidPduField, header);
    const isUnsolicited = pdu.targetTransferTag === noTag;
    if (isUnsolicited && task.failure === TransportFailure.none && !task.isDone) {
      this.#fail(task, TransportFailure.unexpectedUnsolicitedData);
    }
  }

  #receive(task: IscsiTask, header: PduHeader): Admission {
    this.#receiving = task;
    if (this.#lane.parameters.hasDataDigest) {
      this.#segmentHeader.set(header.bytes.subarray(header.at, header.at + headerBytes));
    }
    this.#dataOut.expect(task, header.dataBytes);
    return Admission.take;
  }

  /** Data of the segment at hand. Returns how many bytes were taken: fewer than given means wait. */
  onData(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end) {
      const task = this.#receiving;
      if (task === undefined) return end - start;
      const taken = this.#dataOut.take(task, bytes, at, end);
      if (taken === 0) break;
      at += taken;
    }
    return at - start;
  }

  /** The data segment is over. With a wrong digest none of it was passed on. */
  onDataEnd(isGood: boolean): void {
    const task = this.#receiving;
    this.#receiving = undefined;
    this.segmentCount += 1;
    if (!isGood) this.#lane.responses.reject(RejectReason.dataDigestError, this.#segmentHeader);
    if (task === undefined) return;
    if (!isGood) this.#fail(task, TransportFailure.digestError);
    if (this.#isLastSegment) this.#endSequence(task);
    else this.#finish(task);
  }

  #endSequence(task: IscsiTask): void {
    this.#dataOut.goOn(task);
    this.#finish(task);
  }

  /** The command ends with an error of the transfer, when SCSI has let go of it and the initiator has sent its sequence. */
  #fail(task: IscsiTask, failure: TransportFailure): void {
    if (task.failure !== TransportFailure.none) return;
    task.failure = failure;
    if (task.isDone) return;
    task.isAborting = true;
    this.#lane.target.abortTask(task.scsi, () => {
      task.isAborting = false;
      this.#finish(task);
    });
  }

  // ---- what SCSI says

  onDataOut(task: IscsiTask): void {
    task.isOpen = true;
  }

  onRoom(): void {
    this.#lane.markTurn();
  }

  onDataIn(task: IscsiTask): void {
    if (!task.isSilent && task.failure === TransportFailure.none) this.#dataIn.start(task);
  }

  onPieceRead(piece: Piece, isGood: boolean): void {
    const { task } = piece;
    this.#dataIn.onPieceRead(piece, isGood);
    if (task?.isActive === true) this.#finish(task);
  }

  onDone(task: IscsiTask): void {
    task.isDone = true;
    const { scsi } = task;
    if (scsi.isAborted && task.failure === TransportFailure.none) this.silence(task);
    // Silenced, it may be given back by now: whatever were set here would be found by the next command that gets it.
    if (!task.isActive) return;
    const isAnswered = !task.isSilent && task.failure === TransportFailure.none;
    if (isAnswered && task.firstPiece !== undefined && !task.isDataInOver) {
      const isCollapsed =
        scsi.status === ScsiStatus.good || scsi.status === ScsiStatus.conditionMet;
      this.#dataInDone(task, isCollapsed);
    }
    if (!task.isDataInOver) this.#dataIn.stop(task);
    this.#finish(task);
  }

  /** The last piece waits for the status; it may carry it when nothing of the initiator is awaited any more. */
  #dataInDone(task: IscsiTask, isGood: boolean): void {
    const isCollapsed = isGood && task.sequence === Sequence.none;
    if (isCollapsed) this.#releasePlace(task);
    this.#dataIn.sendLast(task, isCollapsed, residualFlagsOf(task));
    if (isCollapsed) task.isSilent = true;
  }

  // ---- end

  #finish(task: IscsiTask): void {
    const isBusy = !task.isDone || task.isAborting || task.readsPending > 0;
    if (isBusy || !task.isActive) return;
    if (task.sequence !== Sequence.none || this.#receiving === task) return;
    this.#taskByTag.delete(task.request.initiatorTaskTag);
    task.isActive = false;
    this.#releasePlace(task);
    if (!task.isSilent && !this.#isClosed) {
      if (task.failure === TransportFailure.none) this.#lane.responses.outcome(task);
      else this.#lane.responses.failed(task);
    }
    this.#dataOut.release(task);
    this.#lane.tasks.give(task);
  }

  /** Before the answer is written, so that it tells of the place. */
  #releasePlace(task: IscsiTask): void {
    if (task.place === Place.window) this.#lane.numbers.release();
    else if (task.place === Place.immediate) this.#immediateCount -= 1;
    task.place = Place.none;
  }

  #addOrphan(task: IscsiTask): void {
    this.#orphans.add(task.request.initiatorTaskTag);
    if (this.#orphans.size <= orphansMax) return;
    const [oldest] = this.#orphans;
    if (oldest !== undefined) this.#orphans.delete(oldest);
  }

  #reject(reason: RejectReason, header: PduHeader): void {
    this.#lane.responses.reject(reason, header.bytes.subarray(header.at));
  }
}
