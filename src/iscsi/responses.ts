/** Every PDU that the target sends and that carries no data of a command. Encoded from objects that are kept: the hot ones cost nothing. */
import { encodeSense, senseMaxBytes } from '../scsi/sense.ts';
import { ScsiStatus } from '../scsi/status.ts';
import type { IscsiTask } from './iscsi-task.ts';
import { AsyncEvent, encodeAsyncMessage } from './pdu/async-message.ts';
import { headerBytes, noTag } from './pdu/header.ts';
import { encodeLogoutResponse, type LogoutAnswer } from './pdu/logout-response.ts';
import { encodeNopIn } from './pdu/nop-in.ts';
import { encodeR2t, type R2t } from './pdu/r2t.ts';
import { encodeReject, type RejectReason } from './pdu/reject.ts';
import {
  encodeScsiResponse,
  encodeSenseSegment,
  ResidualFlag,
  type ScsiResponse,
  ServiceResponse,
  senseSegmentBytes,
} from './pdu/scsi-response.ts';
import {
  encodeTaskManagementResponse,
  type TaskManagementAnswer,
} from './pdu/task-management-response.ts';
import { encodeTextResponse } from './pdu/text-response.ts';
import type { PduWriter } from './pdu-writer.ts';
import type { SequenceNumbers } from './sequence-numbers.ts';
import { serialAdd } from './serial-number.ts';
import type { TextAnswer } from './text-exchange.ts';

/** Flags of Data-In and SCSI Response for what SCSI found. */
export function residualFlagsOf(task: IscsiTask): number {
  const { isOverflow, isUnderflow } = task.scsi;
  if (isOverflow) return ResidualFlag.overflow;
  return isUnderflow ? ResidualFlag.underflow : 0;
}

export class Responses {
  readonly #writer: PduWriter;
  readonly #numbers: SequenceNumbers;
  readonly #senseBytes = new Uint8Array(senseMaxBytes);
  readonly #response: ScsiResponse = {
    response: ServiceResponse.completed,
    status: 0,
    initiatorTaskTag: 0,
    expDataSn: 0,
    residualFlags: 0,
    residual: 0,
    bidirectionalResidual: 0,
    dataSegmentLength: 0,
    statSn: 0,
    expCmdSn: 0,
    maxCmdSn: 0,
  };
  readonly #r2t: R2t = {
    lun: 0,
    initiatorTaskTag: 0,
    targetTransferTag: 0,
    r2tSn: 0,
    bufferOffset: 0,
    desiredLength: 0,
    statSn: 0,
    expCmdSn: 0,
    maxCmdSn: 0,
  };

  constructor(writer: PduWriter, numbers: SequenceNumbers) {
    this.#writer = writer;
    this.#numbers = numbers;
  }

  /** What SCSI found: status, sense and residual of the task. */
  outcome(task: IscsiTask): void {
    const { scsi } = task;
    this.#response.status = scsi.status;
    this.#response.residualFlags = residualFlagsOf(task);
    this.#response.residual = scsi.residual;
    this.#respond(task, scsi.sense);
  }

  /** The transfer of the command's data went wrong. */
  failed(task: IscsiTask): void {
    const length = encodeSense(this.#senseBytes, task.failure, undefined, false);
    this.#response.status = ScsiStatus.checkCondition;
    this.#response.residualFlags = 0;
    this.#response.residual = 0;
    this.#respond(task, this.#senseBytes.subarray(0, length));
  }

  #respond(task: IscsiTask, sense: Uint8Array | undefined): void {
    const writer = this.#writer;
    const pdu = this.#response;
    const dataBytes = sense === undefined ? 0 : senseSegmentBytes(sense);
    pdu.initiatorTaskTag = task.request.initiatorTaskTag;
    pdu.expDataSn = serialAdd(task.dataInSn, task.r2tSn);
    pdu.dataSegmentLength = dataBytes;
    this.#numbers.stampStatus(pdu);
    const buffer = writer.small(dataBytes);
    const start = writer.startOf(buffer, dataBytes);
    encodeScsiResponse(buffer.view, start, pdu);
    if (sense !== undefined) encodeSenseSegment(buffer.bytes, start + writer.frontBytes, sense);
    writer.finish(buffer, start, dataBytes);
  }

  /** Asks for `desiredLength` bytes of the task's data from what was received on. */
  r2t(task: IscsiTask, desiredLength: number): void {
    const pdu = this.#r2t;
    pdu.lun = Math.max(0, task.request.lun);
    pdu.initiatorTaskTag = task.request.initiatorTaskTag;
    pdu.targetTransferTag = task.targetTransferTag;
    pdu.r2tSn = task.r2tSn;
    pdu.bufferOffset = task.received;
    pdu.desiredLength = desiredLength;
    task.r2tSn = serialAdd(task.r2tSn, 1);
    this.#numbers.stamp(pdu);
    const buffer = this.#writer.small(0);
    const start = this.#writer.startOf(buffer, 0);
    encodeR2t(buffer.view, start, pdu);
    this.#writer.finish(buffer, start, 0);
  }

  /** Answers a NOP-Out. */
  echo(initiatorTaskTag: number, data: Uint8Array): void {
    const writer = this.#writer;
    const buffer = writer.any(data.length);
    const start = writer.startOf(buffer, data.length);
    const target = { lun: 0, initiatorTaskTag, targetTransferTag: noTag };
    const pdu = { ...target, dataSegmentLength: data.length, statSn: 0, expCmdSn: 0, maxCmdSn: 0 };
    this.#numbers.stampStatus(pdu);
    encodeNopIn(buffer.view, start, pdu);
    buffer.bytes.set(data, start + writer.frontBytes);
    writer.finish(buffer, start, data.length);
  }

  /** Pings the initiator. */
  ping(targetTransferTag: number): void {
    const target = { lun: 0, initiatorTaskTag: noTag, targetTransferTag };
    const pdu = { ...target, dataSegmentLength: 0, statSn: 0, expCmdSn: 0, maxCmdSn: 0 };
    this.#numbers.stamp(pdu);
    const [buffer, start] = this.#place();
    encodeNopIn(buffer.view, start, pdu);
    this.#writer.finish(buffer, start, 0);
  }

  taskManagement(initiatorTaskTag: number, response: TaskManagementAnswer): void {
    const pdu = { initiatorTaskTag, response, statSn: 0, expCmdSn: 0, maxCmdSn: 0 };
    this.#numbers.stampStatus(pdu);
    const [buffer, start] = this.#place();
    encodeTaskManagementResponse(buffer.view, start, pdu);
    this.#writer.finish(buffer, start, 0);
  }

  logout(initiatorTaskTag: number, response: LogoutAnswer): void {
    const times = { time2Wait: 0, time2Retain: 0 };
    const pdu = { initiatorTaskTag, response, ...times, statSn: 0, expCmdSn: 0, maxCmdSn: 0 };
    this.#numbers.stampStatus(pdu);
    const [buffer, start] = this.#place();
    encodeLogoutResponse(buffer.view, start, pdu);
    this.#writer.finish(buffer, start, 0);
  }

  /** `refused` begins with the header that is sent back. */
  reject(reason: RejectReason, refused: Uint8Array): void {
    const pdu = { reason, statSn: 0, expCmdSn: 0, maxCmdSn: 0 };
    this.#numbers.stampStatus(pdu);
    const buffer = this.#writer.small(headerBytes);
    const start = this.#writer.startOf(buffer, headerBytes);
    encodeReject(buffer.view, start, pdu);
    buffer.bytes.set(refused.subarray(0, headerBytes), start + this.#writer.frontBytes);
    this.#writer.finish(buffer, start, headerBytes);
  }

  text(initiatorTaskTag: number, answer: TextAnswer): void {
    const { data } = answer;
    const numbers = { statSn: 0, expCmdSn: 0, maxCmdSn: 0 };
    this.#numbers.stampStatus(numbers);
    const buffer = this.#writer.any(data.length);
    const start = this.#writer.startOf(buffer, data.length);
    encodeTextResponse(buffer.view, start, {
      ...answer,
      ...numbers,
      initiatorTaskTag,
      dataSegmentLength: data.length,
    });
    buffer.bytes.set(data, start + this.#writer.frontBytes);
    this.#writer.finish(buffer, start, data.length);
  }

  /** Asks the initiator to log out within `seconds`. */
  requestLogout(seconds: number): void {
    const pdu = {
      event: AsyncEvent.logoutRequest,
      parameter1: 0,
      parameter2: 0,
      parameter3: seconds,
      statSn: 0,
      expCmdSn: 0,
      maxCmdSn: 0,
    };
    this.#numbers.stampStatus(pdu);
    const [buffer, start] = this.#place();
    encodeAsyncMessage(buffer.view, start, pdu);
    this.#writer.finish(buffer, start, 0);
  }

  #place() {
    const buffer = this.#writer.small(0);
    return [buffer, this.#writer.startOf(buffer, 0)] as const;
  }
}
