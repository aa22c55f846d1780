/**
 * Basic Header Segment, RFC 7143 section 11.2: the 48 bytes that every PDU begins with, and what all kinds share.
 *
 *     BHS 48 │ AHS 0..1020 │ header digest 0/4 │ data 0..2^24-1 │ padding to 4 │ data digest 0/4
 */
import { u8, u24be, u32be } from '../../base/fields.ts';

export const headerBytes = 48;

/** Fields at the same place in every PDU, or every one that has them. */
export const header = {
  opcode: u8(0),
  flags: u8(1),
  /** In words of four bytes. */
  totalAhsLength: u8(4),
  dataSegmentLength: u24be(5),
  initiatorTaskTag: u32be(16),
  targetTransferTag: u32be(20),
} as const;

/** Opcode without the immediate bit. Section 11.2.1.2. */
export const Opcode = {
  nopOut: 0x00,
  scsiCommand: 0x01,
  taskManagementRequest: 0x02,
  loginRequest: 0x03,
  textRequest: 0x04,
  dataOut: 0x05,
  logoutRequest: 0x06,
  snackRequest: 0x10,
  nopIn: 0x20,
  scsiResponse: 0x21,
  taskManagementResponse: 0x22,
  loginResponse: 0x23,
  textResponse: 0x24,
  dataIn: 0x25,
  logoutResponse: 0x26,
  r2t: 0x31,
  asyncMessage: 0x32,
  reject: 0x3f,
} as const;
export type Opcode = (typeof Opcode)[keyof typeof Opcode];

const opcodeMask = 0x3f;
const immediateBit = 0x40;
/** First flag of most PDUs: final, or transit in a login. */
export const finalBit = 0x80;
/** Tag that stands for none: initiator task tag and target transfer tag alike. */
export const noTag = 0xffff_ffff;

/** Opcode of the PDU at `at`; any value of 6 bits, not only those we know. */
export function opcodeOf(view: DataView, at: number): number {
  return header.opcode.get(view, at) & opcodeMask;
}

export function isImmediate(view: DataView, at: number): boolean {
  return (header.opcode.get(view, at) & immediateBit) !== 0;
}

/** Bytes of the data segment with its padding. */
export function paddedLength(lengthBytes: number): number {
  return lengthBytes + (-lengthBytes & 3);
}

/** Begins a PDU at `at`: 48 bytes are zeroed, then opcode and flags set. */
export function startHeader(view: DataView, at: number, opcode: Opcode, flags: number): void {
  for (let offset = 0; offset < headerBytes; offset += 4) view.setUint32(at + offset, 0);
  header.opcode.set(view, at, opcode);
  header.flags.set(view, at, flags);
}

/** What every PDU of a target carries in full feature phase. Section 4.2.2. */
export interface TargetNumbers {
  statSn: number;
  expCmdSn: number;
  maxCmdSn: number;
}

const targetNumbers = {
  statSn: u32be(24),
  expCmdSn: u32be(28),
  maxCmdSn: u32be(32),
} as const;

export function setTargetNumbers(view: DataView, at: number, numbers: TargetNumbers): void {
  targetNumbers.statSn.set(view, at, numbers.statSn);
  targetNumbers.expCmdSn.set(view, at, numbers.expCmdSn);
  targetNumbers.maxCmdSn.set(view, at, numbers.maxCmdSn);
}

/** For PDUs that carry no status number. */
export function clearStatSn(view: DataView, at: number): void {
  targetNumbers.statSn.set(view, at, 0);
}
