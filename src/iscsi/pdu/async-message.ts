/** Asynchronous Message, RFC 7143 section 11.9. */
import { u8, u16be, u32be } from '../../base/fields.ts';
import {
  finalBit,
  noTag,
  Opcode,
  setTargetNumbers,
  startHeader,
  type TargetNumbers,
} from './header.ts';

/** @internal the layout: tests look at every field */
export const asyncMessage = {
  /** Reserved, all ones. */
  initiatorTaskTag: u32be(16),
  event: u8(36),
  vendorCode: u8(37),
  parameter1: u16be(38),
  parameter2: u16be(40),
  parameter3: u16be(42),
} as const;

/** Section 11.9.1. Event 0 (SCSI) is not sent: unit attentions travel with commands. */
export const AsyncEvent = {
  /** Parameter 3: seconds in which the initiator must log out. */
  logoutRequest: 1,
  /** Parameter 1: CID, 2: Time2Wait, 3: Time2Retain. */
  connectionDropped: 2,
  /** Parameter 2: Time2Wait, 3: Time2Retain. */
  allConnectionsDropped: 3,
} as const;
export type AsyncEvent = (typeof AsyncEvent)[keyof typeof AsyncEvent];

export interface AsyncMessage extends TargetNumbers {
  event: AsyncEvent;
  parameter1: number;
  parameter2: number;
  parameter3: number;
}

/** Writes the 48 bytes at `at`. */
export function encodeAsyncMessage(view: DataView, at: number, pdu: AsyncMessage): void {
  startHeader(view, at, Opcode.asyncMessage, finalBit);
  setTargetNumbers(view, at, pdu);
  asyncMessage.initiatorTaskTag.set(view, at, noTag);
  asyncMessage.event.set(view, at, pdu.event);
  asyncMessage.parameter1.set(view, at, pdu.parameter1);
  asyncMessage.parameter2.set(view, at, pdu.parameter2);
  asyncMessage.parameter3.set(view, at, pdu.parameter3);
}
