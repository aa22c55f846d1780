/** SCSI Data-Out, RFC 7143 section 11.7. Hot: decoded into an object that the caller keeps. */
import { u8, u32be } from '../../base/fields.ts';
import { finalBit } from './header.ts';
import { decodeLun } from './lun.ts';

/** @internal the layout: tests look at every field */
export const dataOut = {
  flags: u8(1),
  initiatorTaskTag: u32be(16),
  targetTransferTag: u32be(20),
  expStatSn: u32be(28),
  dataSn: u32be(36),
  bufferOffset: u32be(40),
} as const;

export interface DataOut {
  /** Last of its sequence. */
  isFinal: boolean;
  /** Meaningful only with a target transfer tag. */
  lun: number;
  initiatorTaskTag: number;
  /** `noTag` = unsolicited. */
  targetTransferTag: number;
  expStatSn: number;
  dataSn: number;
  bufferOffset: number;
}

export function newDataOut(): DataOut {
  return {
    isFinal: false,
    lun: -1,
    initiatorTaskTag: 0,
    targetTransferTag: 0,
    expStatSn: 0,
    dataSn: 0,
    bufferOffset: 0,
  };
}

/** Fills `into` from the header at `at`. */
export function decodeDataOut(view: DataView, at: number, into: DataOut): void {
  into.isFinal = (dataOut.flags.get(view, at) & finalBit) !== 0;
  into.lun = decodeLun(view, at);
  into.initiatorTaskTag = dataOut.initiatorTaskTag.get(view, at);
  into.targetTransferTag = dataOut.targetTransferTag.get(view, at);
  into.expStatSn = dataOut.expStatSn.get(view, at);
  into.dataSn = dataOut.dataSn.get(view, at);
  into.bufferOffset = dataOut.bufferOffset.get(view, at);
}
