/** Text Response, RFC 7143 section 11.11. */
import { u32be } from '../../base/fields.ts';
import {
  finalBit,
  header,
  Opcode,
  setTargetNumbers,
  startHeader,
  type TargetNumbers,
} from './header.ts';
import { continueBit } from './text-request.ts';

/** @internal the layout: tests look at every field */
export const textResponse = {
  initiatorTaskTag: u32be(16),
  targetTransferTag: u32be(20),
} as const;

export interface TextResponse extends TargetNumbers {
  isFinal: boolean;
  isContinued: boolean;
  initiatorTaskTag: number;
  /** `noTag` when final. */
  targetTransferTag: number;
  dataSegmentLength: number;
}

/** Writes the 48 bytes at `at`. */
export function encodeTextResponse(view: DataView, at: number, pdu: TextResponse): void {
  const flags = (pdu.isFinal ? finalBit : 0) | (pdu.isContinued ? continueBit : 0);
  startHeader(view, at, Opcode.textResponse, flags);
  setTargetNumbers(view, at, pdu);
  header.dataSegmentLength.set(view, at, pdu.dataSegmentLength);
  textResponse.initiatorTaskTag.set(view, at, pdu.initiatorTaskTag);
  textResponse.targetTransferTag.set(view, at, pdu.targetTransferTag);
}
