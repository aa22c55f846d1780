/** Ready To Transfer, RFC 7143 section 11.8. Hot: encoded from an object that the caller keeps. */
import { u32be } from '../../base/fields.ts';
import { finalBit, Opcode, setTargetNumbers, startHeader, type TargetNumbers } from './header.ts';
import { encodeLun } from './lun.ts';

/** @internal the layout: tests look at every field */
export const r2t = {
  initiatorTaskTag: u32be(16),
  targetTransferTag: u32be(20),
  r2tSn: u32be(36),
  bufferOffset: u32be(40),
  desiredLength: u32be(44),
} as const;

export interface R2t extends TargetNumbers {
  /** Here `statSn` is the next to be used: an R2T does not consume it. */
  lun: number;
  initiatorTaskTag: number;
  targetTransferTag: number;
  r2tSn: number;
  bufferOffset: number;
  /** Never 0, at most MaxBurstLength. */
  desiredLength: number;
}

/** Writes the 48 bytes at `at`. */
export function encodeR2t(view: DataView, at: number, pdu: R2t): void {
  startHeader(view, at, Opcode.r2t, finalBit);
  setTargetNumbers(view, at, pdu);
  encodeLun(view, at, pdu.lun);
  r2t.initiatorTaskTag.set(view, at, pdu.initiatorTaskTag);
  r2t.targetTransferTag.set(view, at, pdu.targetTransferTag);
  r2t.r2tSn.set(view, at, pdu.r2tSn);
  r2t.bufferOffset.set(view, at, pdu.bufferOffset);
  r2t.desiredLength.set(view, at, pdu.desiredLength);
}
