/** What a session runs with, agreed in its login. RFC 7143 section 13. */
import { receiveSegmentMaxBytes } from './limits.ts';

export interface SessionParameters {
  /** CRC32C after every header (with its AHS), and after every data segment, both ways. */
  hasHeaderDigest: boolean;
  hasDataDigest: boolean;
  /** False: Data-Out may follow a command without being asked for, up to FirstBurstLength. */
  initialR2t: boolean;
  immediateData: boolean;
  /** Longest data segment that we take. */
  readonly maxRecvDataSegmentLength: number;
  /** Longest data segment that the initiator takes; it may declare a new one in full feature phase. */
  initiatorMaxRecvDataSegmentLength: number;
  maxBurstLength: number;
  firstBurstLength: number;
  maxOutstandingR2t: number;
  defaultTime2Wait: number;
  defaultTime2Retain: number;
}

/** The standard's defaults: what holds when a key was not negotiated. */
export function defaultParameters(): SessionParameters {
  return {
    hasHeaderDigest: false,
    hasDataDigest: false,
    initialR2t: true,
    immediateData: true,
    maxRecvDataSegmentLength: receiveSegmentMaxBytes,
    initiatorMaxRecvDataSegmentLength: 8192,
    maxBurstLength: 262_144,
    firstBurstLength: 65_536,
    maxOutstandingR2t: 1,
    defaultTime2Wait: 2,
    defaultTime2Retain: 20,
  };
}
