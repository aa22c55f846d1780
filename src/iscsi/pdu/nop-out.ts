/** NOP-Out, RFC 7143 section 11.18: a ping (its data comes back), or the answer to ours. */
import { u32be } from '../../base/fields.ts';
import { isImmediate } from './header.ts';
import { decodeLun } from './lun.ts';

/** @internal the layout: tests look at every field */
export const nopOut = {
  initiatorTaskTag: u32be(16),
  targetTransferTag: u32be(20),
  cmdSn: u32be(24),
  expStatSn: u32be(28),
} as const;

export interface NopOut {
  isImmediate: boolean;
  lun: number;
  /** `noTag` = no answer wanted. */
  initiatorTaskTag: number;
  /** `noTag` = not an answer to a ping of ours. */
  targetTransferTag: number;
  cmdSn: number;
  expStatSn: number;
}

export function newNopOut(): NopOut {
  return {
    isImmediate: false,
    lun: -1,
    initiatorTaskTag: 0,
    targetTransferTag: 0,
    cmdSn: 0,
    expStatSn: 0,
  };
}

/** Fills `into` from the header at `at`. */
export function decodeNopOut(view: DataView, at: number, into: NopOut): void {
  into.isImmediate = isImmediate(view, at);
  into.lun = decodeLun(view, at);
  into.initiatorTaskTag = nopOut.initiatorTaskTag.get(view, at);
  into.targetTransferTag = nopOut.targetTransferTag.get(view, at);
  into.cmdSn = nopOut.cmdSn.get(view, at);
  into.expStatSn = nopOut.expStatSn.get(view, at);
}
