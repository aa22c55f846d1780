/** Login Response, RFC 7143 section 11.13. */
import { bytes, u8, u16be, u32be } from '../../base/fields.ts';
import { header, Opcode, setTargetNumbers, startHeader, type TargetNumbers } from './header.ts';
import { loginFlags } from './login-request.ts';

/** @internal the layout: tests look at every field */
export const loginResponse = {
  versionMax: u8(2),
  versionActive: u8(3),
  isid: bytes(8, 6),
  tsih: u16be(14),
  initiatorTaskTag: u32be(16),
  /** Class in the upper byte, detail in the lower. */
  status: u16be(36),
} as const;

/** The only version there is. */
export const protocolVersion = 0;

/** Status class and detail, section 11.13.5. Class 2: the initiator's fault, 3: ours, it may try again. */
export const LoginStatus = {
  success: 0x0000,
  initiatorError: 0x0200,
  authenticationFailure: 0x0201,
  authorizationFailure: 0x0202,
  notFound: 0x0203,
  unsupportedVersion: 0x0205,
  tooManyConnections: 0x0206,
  missingParameter: 0x0207,
  sessionTypeNotSupported: 0x0209,
  sessionDoesNotExist: 0x020a,
  invalidDuringLogin: 0x020b,
  targetError: 0x0300,
  serviceUnavailable: 0x0301,
  outOfResources: 0x0302,
} as const;
export type LoginStatus = (typeof LoginStatus)[keyof typeof LoginStatus];

export interface LoginResponse extends TargetNumbers {
  readonly isTransit: boolean;
  readonly isContinued: boolean;
  readonly currentStage: number;
  readonly nextStage: number;
  readonly isid: Uint8Array;
  readonly tsih: number;
  readonly initiatorTaskTag: number;
  readonly status: LoginStatus;
  readonly dataSegmentLength: number;
}

/** Writes the 48 bytes at the start of `target`; `view` is the same memory. */
export function encodeLoginResponse(target: Uint8Array, view: DataView, pdu: LoginResponse): void {
  const at = 0;
  startHeader(view, at, Opcode.loginResponse, loginFlags(pdu));
  setTargetNumbers(view, at, pdu);
  loginResponse.versionMax.set(view, at, protocolVersion);
  loginResponse.versionActive.set(view, at, protocolVersion);
  header.dataSegmentLength.set(view, at, pdu.dataSegmentLength);
  loginResponse.isid.set(target, at, pdu.isid);
  loginResponse.tsih.set(view, at, pdu.tsih);
  loginResponse.initiatorTaskTag.set(view, at, pdu.initiatorTaskTag);
  loginResponse.status.set(view, at, pdu.status);
}
