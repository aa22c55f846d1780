/** SCSI Data-In, RFC 7143 section 11.7. Hot: encoded from an object that the caller keeps. */
import { u8, u32be } from '../../base/fields.ts';
import {
  clearStatSn,
  finalBit,
  header,
  noTag,
  Opcode,
  setTargetNumbers,
  startHeader,
  type TargetNumbers,
} from './header.ts';

/** @internal the layout: tests look at every field */
export const dataIn = {
  flags: u8(1),
  status: u8(3),
  initiatorTaskTag: u32be(16),
  targetTransferTag: u32be(20),
  dataSn: u32be(36),
  bufferOffset: u32be(40),
  residual: u32be(44),
} as const;

/** The status of the command is in this PDU: no SCSI Response follows. Residual flags count only with it. */
const statusBit = 0x01;

export interface DataIn extends TargetNumbers {
  /** Last of its sequence. */
  isFinal: boolean;
  /** Without it status, residual and StatSN are not sent (zero on the wire). */
  hasStatus: boolean;
  /** SCSI status byte, only good or condition met. */
  status: number;
  /** Bits of `ResidualFlag`: overflow, underflow. */
  residualFlags: number;
  residual: number;
  initiatorTaskTag: number;
  dataSn: number;
  bufferOffset: number;
  dataSegmentLength: number;
}

/** Writes the 48 bytes at `at`. No acknowledgement is ever asked for: error recovery level 0. */
export function encodeDataIn(view: DataView, at: number, pdu: DataIn): void {
  const final = pdu.isFinal ? finalBit : 0;
  const status = pdu.hasStatus ? statusBit | pdu.residualFlags : 0;
  startHeader(view, at, Opcode.dataIn, final | status);
  setTargetNumbers(view, at, pdu);
  header.dataSegmentLength.set(view, at, pdu.dataSegmentLength);
  dataIn.initiatorTaskTag.set(view, at, pdu.initiatorTaskTag);
  dataIn.targetTransferTag.set(view, at, noTag);
  dataIn.dataSn.set(view, at, pdu.dataSn);
  dataIn.bufferOffset.set(view, at, pdu.bufferOffset);
  if (!pdu.hasStatus) {
    clearStatSn(view, at);
    return;
  }
  dataIn.status.set(view, at, pdu.status);
  dataIn.residual.set(view, at, pdu.residual);
}
