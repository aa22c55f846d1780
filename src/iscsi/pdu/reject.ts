/** Reject, RFC 7143 section 11.17. Its data segment is the header of the PDU that was refused. */
import { u8, u32be } from '../../base/fields.ts';
import {
  finalBit,
  header,
  headerBytes,
  noTag,
  Opcode,
  setTargetNumbers,
  startHeader,
  type TargetNumbers,
} from './header.ts';

/** @internal the layout: tests look at every field */
export const reject = {
  reason: u8(2),
  /** Reserved, all ones. */
  initiatorTaskTag: u32be(16),
} as const;

/** Section 11.17.1. */
export const RejectReason = {
  dataDigestError: 0x02,
  snackReject: 0x03,
  protocolError: 0x04,
  commandNotSupported: 0x05,
  immediateCommandReject: 0x06,
  taskInProgress: 0x07,
  invalidPduField: 0x09,
  longOperation: 0x0a,
  waitingForLogout: 0x0c,
} as const;
export type RejectReason = (typeof RejectReason)[keyof typeof RejectReason];

export interface Reject extends TargetNumbers {
  reason: RejectReason;
}

/** Writes the 48 bytes at `at`; the 48 bytes of the refused header follow them. */
export function encodeReject(view: DataView, at: number, pdu: Reject): void {
  startHeader(view, at, Opcode.reject, finalBit);
  setTargetNumbers(view, at, pdu);
  reject.reason.set(view, at, pdu.reason);
  header.dataSegmentLength.set(view, at, headerBytes);
  reject.initiatorTaskTag.set(view, at, noTag);
}
