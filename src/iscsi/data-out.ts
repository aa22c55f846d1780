/**
 * Data-Out: the data of writes on its way in. RFC 7143 sections 11.7 and 11.8.
 *
 *     SCSI Command ┬ immediate data ┐                          ┌──────────────────────────────┐
 *                  └ unsolicited ───┴─ F ─▶ all here? ──no──▶ R2T ─▶ Data-Out ... Data-Out F ─┘
 *                                             └─yes─▶ the task executes by itself
 *
 * Data goes from the receive buffer into the task, which takes memory for one data segment at a time. Data-Out comes in
 * order (DataPDUInOrder, DataSequenceInOrder), one R2T at a time for a task; a DataSN or offset that is wrong ends the
 * command with an error, which is sent when the sequence is over: the initiator may not get status while it still sends.
 * What is asked for with R2T is bounded per connection, so that a stuck device does not block its socket.
 *
 * Invariants
 * 1. Only bytes [0, dataOutLength) reach the task, each once, in order.
 * 2. A task awaits at most one sequence.
 */
import type { IscsiTask } from './iscsi-task.ts';
import { Sequence } from './iscsi-task.ts';
import type { Lane } from './lane.ts';
import type { DataOut as DataOutPdu } from './pdu/data-out.ts';
import { noTag } from './pdu/header.ts';
import { serialAdd } from './serial-number.ts';
import { TransportFailure } from './transport-failure.ts';

export class DataOut {
  readonly #lane: Lane;
  /** Wait for their first R2T. */
  readonly #queue: IscsiTask[] = [];
  #budgetUsed = 0;
  #nextTag = 1;

  constructor(lane: Lane) {
    this.#lane = lane;
  }

  /** Sets the task up for the data that comes with and behind its command. Returns what is wrong with it. */
  begin(task: IscsiTask, immediateBytes: number): TransportFailure {
    const { isWrite, isFinal, expectedDataTransferLength } = task.request;
    const { parameters } = this.#lane;
    task.sequence = isFinal ? Sequence.none : Sequence.unsolicited;
    task.sequenceEnd = Math.min(
      isWrite ? expectedDataTransferLength : 0,
      parameters.firstBurstLength,
    );
    if (immediateBytes > 0 && !(isWrite && parameters.immediateData)) {
      return TransportFailure.unexpectedUnsolicitedData;
    }
    if (!isFinal && parameters.initialR2t) return TransportFailure.unexpectedUnsolicitedData;
    return immediateBytes > task.sequenceEnd
      ? TransportFailure.incorrectAmountOfData
      : TransportFailure.none;
  }

  /** Whether the Data-Out belongs to the sequence that the task awaits. */
  isExpected(task: IscsiTask, pdu: DataOutPdu): boolean {
    if (pdu.targetTransferTag === noTag) return task.sequence === Sequence.unsolicited;
    const isAwaited = task.sequence === Sequence.solicited;
    return isAwaited && pdu.targetTransferTag === task.targetTransferTag;
  }

  /** Checks the next Data-Out of the sequence, with `dataBytes` of data. */
  check(task: IscsiTask, pdu: DataOutPdu, dataBytes: number): TransportFailure {
    if (pdu.dataSn !== task.dataOutSn) return TransportFailure.dataSnError;
    if (pdu.bufferOffset !== task.received) return TransportFailure.dataOffsetError;
    task.dataOutSn = serialAdd(task.dataOutSn, 1);
    const end = task.received + dataBytes;
    if (end > task.sequenceEnd) return TransportFailure.incorrectAmountOfData;
    // A solicited sequence is final exactly where it ends; an unsolicited one may be shorter than allowed.
    const isWhole = end === task.sequenceEnd;
    if (task.sequence === Sequence.unsolicited) {
      return isWhole && !pdu.isFinal ? TransportFailure.incorrectAmountOfData : 0;
    }
    return isWhole === pdu.isFinal ? 0 : TransportFailure.incorrectAmountOfData;
  }

  /** Announces a data segment of the task. */
  expect(task: IscsiTask, dataBytes: number): void {
    if (!task.isOpen || task.isDone) return;
    const usable = Math.min(dataBytes, task.scsi.dataOutLength - task.received);
    if (usable > 0) task.scsi.expect(usable);
  }

  /** Takes bytes of the segment; what the command does not use, or no longer, is dropped. Returns how many were taken. */
  take(task: IscsiTask, bytes: Uint8Array, start: number, end: number): number {
    const isUseless = !task.isOpen || task.isDone || task.failure !== 0;
    const { dataOutLength } = task.scsi;
    if (isUseless || task.received >= dataOutLength) {
      task.received += end - start;
      return end - start;
    }
    const usableEnd = Math.min(end, start + dataOutLength - task.received);
    const from = task.received;
    // The task may be finished and given back inside; then nothing is known of it any more.
    task.received = from + (usableEnd - start);
    const taken = task.scsi.accept(bytes, start, usableEnd);
    if (!task.isActive) return end - start;
    task.received = from + taken;
    this.#lane.counters.bytesWritten += taken;
    return taken;
  }

  /** The sequence came to its end: asks for the next. */
  goOn(task: IscsiTask): void {
    task.sequence = Sequence.none;
    if (!task.isOpen || task.isDone || task.failure !== 0) return;
    const left = task.scsi.dataOutLength - task.received;
    if (left <= 0) return;
    if (task.budgetBytes === 0 && !this.#admit(task)) {
      this.#queue.push(task);
      return;
    }
    this.#solicit(task);
  }

  /** The task is over: gives back what it held, and lets others ask. */
  release(task: IscsiTask): void {
    this.#budgetUsed -= task.budgetBytes;
    task.budgetBytes = 0;
    const place = this.#queue.indexOf(task);
    if (place >= 0) this.#queue.splice(place, 1);
    let head = this.#queue[0];
    while (head !== undefined && this.#admit(head)) {
      this.#queue.shift();
      this.#solicit(head);
      head = this.#queue[0];
    }
  }

  close(): void {
    this.#queue.length = 0;
  }

  /** The whole rest of the command at once, so that two cannot wait for each other; a single one is always admitted. */
  #admit(task: IscsiTask): boolean {
    const bytes = task.scsi.dataOutLength - task.received;
    const sum = this.#budgetUsed + bytes;
    if (this.#budgetUsed > 0 && sum > this.#lane.limits.solicitedMaxBytes) return false;
    task.budgetBytes = bytes;
    this.#budgetUsed = sum;
    return true;
  }

  #solicit(task: IscsiTask): void {
    const left = task.scsi.dataOutLength - task.received;
    const length = Math.min(left, this.#lane.parameters.maxBurstLength);
    task.sequence = Sequence.solicited;
    task.sequenceEnd = task.received + length;
    task.dataOutSn = 0;
    task.targetTransferTag = this.#nextTag;
    this.#nextTag = this.#nextTag === noTag - 1 ? 1 : this.#nextTag + 1;
    this.#lane.responses.r2t(task, length);
  }
}
