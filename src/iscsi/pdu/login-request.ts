/** Login Request, RFC 7143 section 11.12. Its data segment is `key=value\0` pairs. */
import { bytes, u8, u16be, u32be } from '../../base/fields.ts';
import { finalBit } from './header.ts';
import { continueBit } from './text-request.ts';

/** @internal the layout: tests look at every field */
export const loginRequest = {
  flags: u8(1),
  versionMax: u8(2),
  versionMin: u8(3),
  isid: bytes(8, 6),
  tsih: u16be(14),
  initiatorTaskTag: u32be(16),
  cid: u16be(20),
  cmdSn: u32be(24),
  expStatSn: u32be(28),
} as const;

/** Login stages, section 11.12.3; also the values of CSG and NSG. */
export const Stage = { security: 0, operational: 1, fullFeature: 3 } as const;
export type Stage = (typeof Stage)[keyof typeof Stage];

const currentStageShift = 2;
const stageMask = 3;

export interface LoginRequest {
  /** T: the sender is ready for the next stage. */
  readonly isTransit: boolean;
  readonly isContinued: boolean;
  /** Two bits as they came: 2 is no stage. */
  readonly currentStage: number;
  /** Meaningful only with `isTransit`. */
  readonly nextStage: number;
  readonly versionMin: number;
  /** A copy. */
  readonly isid: Uint8Array;
  readonly tsih: number;
  readonly initiatorTaskTag: number;
  readonly cid: number;
  readonly cmdSn: number;
  readonly expStatSn: number;
}

/** Decodes the header at `at`; every combination of bits decodes, the login's table judges it. */
export function decodeLoginRequest(source: Uint8Array, view: DataView, at: number): LoginRequest {
  const flags = loginRequest.flags.get(view, at);
  return {
    isTransit: (flags & finalBit) !== 0,
    isContinued: (flags & continueBit) !== 0,
    currentStage: (flags >>> currentStageShift) & stageMask,
    nextStage: flags & stageMask,
    versionMin: loginRequest.versionMin.get(view, at),
    // Not slice(): of a Buffer that is no copy.
    isid: new Uint8Array(loginRequest.isid.get(source, at)),
    tsih: loginRequest.tsih.get(view, at),
    initiatorTaskTag: loginRequest.initiatorTaskTag.get(view, at),
    cid: loginRequest.cid.get(view, at),
    cmdSn: loginRequest.cmdSn.get(view, at),
    expStatSn: loginRequest.expStatSn.get(view, at),
  };
}

/** Flags of a login PDU, either way. */
export function loginFlags(pdu: {
  readonly isTransit: boolean;
  readonly isContinued: boolean;
  readonly currentStage: number;
  readonly nextStage: number;
}): number {
  const stages =
    ((pdu.currentStage & stageMask) << currentStageShift) |
    (pdu.isTransit ? pdu.nextStage & stageMask : 0);
  return (pdu.isTransit ? finalBit : 0) | (pdu.isContinued ? continueBit : 0) | stages;
}
