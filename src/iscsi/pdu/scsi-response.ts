/** SCSI Response, RFC 7143 section 11.4. Hot: encoded from an object that the caller keeps. Sense data follows as data segment. */
import { u8, u16be, u32be } from '../../base/fields.ts';
import {
  finalBit,
  header,
  Opcode,
  setTargetNumbers,
  startHeader,
  type TargetNumbers,
} from './header.ts';

/** @internal the layout: tests look at every field */
export const scsiResponse = {
  flags: u8(1),
  response: u8(2),
  status: u8(3),
  initiatorTaskTag: u32be(16),
  expDataSn: u32be(36),
  bidirectionalResidual: u32be(40),
  residual: u32be(44),
} as const;

/** Flags of residuals, also in Data-In (without the bidirectional ones). Section 11.4.1. */
export const ResidualFlag = {
  bidirectionalOverflow: 0x10,
  bidirectionalUnderflow: 0x08,
  overflow: 0x04,
  underflow: 0x02,
} as const;

/** Section 11.4.3. */
export const ServiceResponse = { completed: 0, targetFailure: 1 } as const;
export type ServiceResponse = (typeof ServiceResponse)[keyof typeof ServiceResponse];

export interface ScsiResponse extends TargetNumbers {
  response: ServiceResponse;
  /** SCSI status byte. */
  status: number;
  initiatorTaskTag: number;
  /** Data-In and R2T PDUs that were sent for the command. */
  expDataSn: number;
  /** Bits of `ResidualFlag`. */
  residualFlags: number;
  residual: number;
  bidirectionalResidual: number;
  /** Bytes of data segment that follow, without padding: 0, or `senseSegmentBytes` of the sense. */
  dataSegmentLength: number;
}

/** Writes the 48 bytes at `at`. */
export function encodeScsiResponse(view: DataView, at: number, pdu: ScsiResponse): void {
  startHeader(view, at, Opcode.scsiResponse, finalBit | pdu.residualFlags);
  setTargetNumbers(view, at, pdu);
  scsiResponse.response.set(view, at, pdu.response);
  scsiResponse.status.set(view, at, pdu.status);
  header.dataSegmentLength.set(view, at, pdu.dataSegmentLength);
  scsiResponse.initiatorTaskTag.set(view, at, pdu.initiatorTaskTag);
  scsiResponse.expDataSn.set(view, at, pdu.expDataSn);
  scsiResponse.bidirectionalResidual.set(view, at, pdu.bidirectionalResidual);
  scsiResponse.residual.set(view, at, pdu.residual);
}

/** Data segment of a response with sense. Section 11.4.7. */
const senseSegment = { senseLength: u16be(0) } as const;

/** Bytes of the data segment that carries `sense`. */
export function senseSegmentBytes(sense: Uint8Array): number {
  return senseSegment.senseLength.size + sense.length;
}

/** Writes the segment at `at`; padding is the caller's. */
export function encodeSenseSegment(target: Uint8Array, at: number, sense: Uint8Array): void {
  // By hand: a view for two bytes would be an object per response.
  target[at] = sense.length >>> 8;
  target[at + 1] = sense.length & 0xff;
  target.set(sense, at + senseSegment.senseLength.size);
}
