/** NOP-In, RFC 7143 section 11.19: the answer to a ping, or a ping of ours. */
import { u32be } from '../../base/fields.ts';
import {
  finalBit,
  header,
  Opcode,
  setTargetNumbers,
  startHeader,
  type TargetNumbers,
} from './header.ts';
import { encodeLun } from './lun.ts';

/** @internal the layout: tests look at every field */
export const nopIn = {
  initiatorTaskTag: u32be(16),
  targetTransferTag: u32be(20),
} as const;

export interface NopIn extends TargetNumbers {
  lun: number;
  /** `noTag` for a ping of ours; then `statSn` is the next to be used and is not consumed. */
  initiatorTaskTag: number;
  /** `noTag` = no answer wanted. */
  targetTransferTag: number;
  dataSegmentLength: number;
}

/** Writes the 48 bytes at `at`. */
export function encodeNopIn(view: DataView, at: number, pdu: NopIn): void {
  startHeader(view, at, Opcode.nopIn, finalBit);
  setTargetNumbers(view, at, pdu);
  encodeLun(view, at, pdu.lun);
  header.dataSegmentLength.set(view, at, pdu.dataSegmentLength);
  nopIn.initiatorTaskTag.set(view, at, pdu.initiatorTaskTag);
  nopIn.targetTransferTag.set(view, at, pdu.targetTransferTag);
}
