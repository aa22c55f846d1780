/** Logout Request, RFC 7143 section 11.14. */
import { u8, u16be, u32be } from '../../base/fields.ts';
import { isImmediate } from './header.ts';

/** @internal the layout: tests look at every field */
export const logoutRequest = {
  reason: u8(1),
  initiatorTaskTag: u32be(16),
  cid: u16be(20),
  cmdSn: u32be(24),
  expStatSn: u32be(28),
} as const;

const reasonMask = 0x7f;

/** Section 11.14.1. */
export const LogoutReason = { closeSession: 0, closeConnection: 1, removeConnection: 2 } as const;

export interface LogoutRequest {
  readonly isImmediate: boolean;
  /** Any value: unknown ones are a protocol error. */
  readonly reason: number;
  readonly initiatorTaskTag: number;
  /** Meaningless when the whole session is closed. */
  readonly cid: number;
  readonly cmdSn: number;
  readonly expStatSn: number;
}

/** Decodes the header at `at`. */
export function decodeLogoutRequest(view: DataView, at: number): LogoutRequest {
  return {
    isImmediate: isImmediate(view, at),
    reason: logoutRequest.reason.get(view, at) & reasonMask,
    initiatorTaskTag: logoutRequest.initiatorTaskTag.get(view, at),
    cid: logoutRequest.cid.get(view, at),
    cmdSn: logoutRequest.cmdSn.get(view, at),
    expStatSn: logoutRequest.expStatSn.get(view, at),
  };
}
