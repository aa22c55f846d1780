/** Logout Response, RFC 7143 section 11.15. */
import { u8, u16be, u32be } from '../../base/fields.ts';
import { finalBit, Opcode, setTargetNumbers, startHeader, type TargetNumbers } from './header.ts';

/** @internal the layout: tests look at every field */
export const logoutResponse = {
  response: u8(2),
  initiatorTaskTag: u32be(16),
  time2Wait: u16be(40),
  time2Retain: u16be(42),
} as const;

/** Section 11.15.1. */
export const LogoutAnswer = { closed: 0, cidNotFound: 1, recoveryNotSupported: 2 } as const;
export type LogoutAnswer = (typeof LogoutAnswer)[keyof typeof LogoutAnswer];

export interface LogoutResponse extends TargetNumbers {
  response: LogoutAnswer;
  initiatorTaskTag: number;
  /** Seconds. */
  time2Wait: number;
  time2Retain: number;
}

/** Writes the 48 bytes at `at`. */
export function encodeLogoutResponse(view: DataView, at: number, pdu: LogoutResponse): void {
  startHeader(view, at, Opcode.logoutResponse, finalBit);
  setTargetNumbers(view, at, pdu);
  logoutResponse.response.set(view, at, pdu.response);
  logoutResponse.initiatorTaskTag.set(view, at, pdu.initiatorTaskTag);
  logoutResponse.time2Wait.set(view, at, pdu.time2Wait);
  logoutResponse.time2Retain.set(view, at, pdu.time2Retain);
}
