/** Text Request, RFC 7143 section 11.10. Its data segment is `key=value\0` pairs. */
import { u8, u32be } from '../../base/fields.ts';
import { finalBit, isImmediate } from './header.ts';

/** @internal the layout: tests look at every field */
export const textRequest = {
  flags: u8(1),
  initiatorTaskTag: u32be(16),
  targetTransferTag: u32be(20),
  cmdSn: u32be(24),
  expStatSn: u32be(28),
} as const;

/** The text goes on in the next PDU. Also of Text Response and the login PDUs. */
export const continueBit = 0x40;

export interface TextRequest {
  readonly isImmediate: boolean;
  readonly isFinal: boolean;
  readonly isContinued: boolean;
  readonly initiatorTaskTag: number;
  /** `noTag` begins a new exchange. */
  readonly targetTransferTag: number;
  readonly cmdSn: number;
  readonly expStatSn: number;
}

/** Decodes the header at `at`. Returns a reason when its flags contradict each other. */
export function decodeTextRequest(view: DataView, at: number): TextRequest | string {
  const flags = textRequest.flags.get(view, at);
  const isFinal = (flags & finalBit) !== 0;
  const isContinued = (flags & continueBit) !== 0;
  if (isFinal && isContinued) return 'text that is final and continued';
  return {
    isImmediate: isImmediate(view, at),
    isFinal,
    isContinued,
    initiatorTaskTag: textRequest.initiatorTaskTag.get(view, at),
    targetTransferTag: textRequest.targetTransferTag.get(view, at),
    cmdSn: textRequest.cmdSn.get(view, at),
    expStatSn: textRequest.expStatSn.get(view, at),
  };
}
