/**
 * RECEIVE COPY RESULTS, SPC-4 6.18 to 6.24: COPY STATUS(LID1), RECEIVE DATA(LID1), OPERATING PARAMETERS and FAILED SEGMENT
 * DETAILS(LID1).
 */
import { u8, u16be, u32be, viewOf } from '../base/fields.ts';
import { byteAt, u32At } from './bytes.ts';
import type { Command } from './command.ts';
import type { CopyRecord } from './copy-desk.ts';
import { copyDescriptorTypes, copyListMaxBytes } from './copy-parameters.ts';
import { copiesMax, copySegmentMaxBytes, copySegmentsMax, copyTargetsMax } from './limits.ts';
import { cdbField, SenseCode } from './sense.ts';
import { ScsiStatus } from './status.ts';

const CopyResult = {
  status: 0x00,
  data: 0x01,
  operatingParameters: 0x03,
  failedSegment: 0x04,
} as const;

const serviceActionMask = 0x1f;
/** Every answer begins with AVAILABLE DATA, which does not count itself. */
const availableBytes = 4;

/** Handler of 84h, all service actions. */
export function receiveCopyResults(command: Command): void {
  const action = byteAt(command.cdb, 1) & serviceActionMask;
  if (action === CopyResult.operatingParameters) {
    send(command, encodeOperatingParameters());
    return;
  }
  const { copies } = command.services;
  const listId = byteAt(command.cdb, 2);
  const record = copies.record(command.place, listId);
  const isKnown = Object.values(CopyResult).some((known) => known === action);
  if (!isKnown || record === undefined) {
    const keySpecific = isKnown ? cdbField(2) : cdbField(1, 4);
    command.check(SenseCode.invalidFieldInCdb, { keySpecific });
    return;
  }
  if (action === CopyResult.status) send(command, encodeCopyStatus(record));
  else if (action === CopyResult.data) send(command, new Uint8Array(availableBytes));
  else send(command, encodeFailedSegment(record));
  // What was told about a finished copy is told once.
  if (action !== CopyResult.data && record.state !== 'running') {
    copies.forget(command.place, listId);
  }
}

function send(command: Command, data: Uint8Array): void {
  viewOf(data).setUint32(0, data.length - availableBytes);
  command.sendParameters(data, u32At(command.cdb, 10));
}

/** COPY STATUS(LID1), table 223. */
const copyStatus = {
  state: u8(4),
  segmentsProcessed: u16be(5),
  units: u8(7),
  transferCount: u32be(8),
} as const;
const copyStatusBytes = 12;
const stateCode = { running: 0, done: 1, failed: 2 } as const;
/** No segment of ours holds data for the initiator: HDD says that none is kept. */
const flagDiscarded = 0x80;

function encodeCopyStatus({ state, segmentsDone, bytesDone }: CopyRecord): Uint8Array {
  const data = new Uint8Array(copyStatusBytes);
  const view = viewOf(data);
  copyStatus.state.set(view, 0, flagDiscarded | stateCode[state]);
  copyStatus.segmentsProcessed.set(view, 0, segmentsDone);
  // Units 00h are bytes; a whole list stays far below 4 GiB.
  copyStatus.transferCount.set(view, 0, bytesDone);
  return data;
}

/** COPY OPERATING PARAMETERS(LID1), table 226. */
const operating = {
  flags: u8(4),
  targetsMax: u16be(8),
  segmentsMax: u16be(10),
  listMaxBytes: u32be(12),
  segmentMaxBytes: u32be(16),
  inlineMaxBytes: u32be(20),
  heldDataMaxBytes: u32be(24),
  streamMaxBytes: u32be(28),
  totalCopies: u16be(34),
  copiesMax: u8(36),
  granularity: u8(37),
  inlineGranularity: u8(38),
  heldGranularity: u8(39),
  typesBytes: u8(43),
} as const;
const typesAt = 44;
/** A copy may go without list identifier. */
const flagNoListId = 0x01;
/** log2 of the logical block: what a segment's length may be a multiple of. */
const granularityExponent = 9;

function encodeOperatingParameters(): Uint8Array {
  const data = new Uint8Array(typesAt + copyDescriptorTypes.length);
  const view = viewOf(data);
  operating.flags.set(view, 0, flagNoListId);
  operating.targetsMax.set(view, 0, copyTargetsMax);
  operating.segmentsMax.set(view, 0, copySegmentsMax);
  operating.listMaxBytes.set(view, 0, copyListMaxBytes);
  operating.segmentMaxBytes.set(view, 0, copySegmentMaxBytes);
  operating.totalCopies.set(view, 0, copiesMax);
  operating.copiesMax.set(view, 0, copiesMax);
  operating.granularity.set(view, 0, granularityExponent);
  operating.typesBytes.set(view, 0, copyDescriptorTypes.length);
  data.set(copyDescriptorTypes, typesAt);
  return data;
}

/** FAILED SEGMENT DETAILS(LID1), table 229. */
const failedSegment = { status: u8(56), senseBytes: u16be(58) } as const;
const failedSegmentBytes = 60;

function encodeFailedSegment({ state, sense }: CopyRecord): Uint8Array {
  const data = new Uint8Array(failedSegmentBytes + sense.length);
  const view = viewOf(data);
  const status = state === 'failed' ? ScsiStatus.checkCondition : ScsiStatus.good;
  failedSegment.status.set(view, 0, status);
  failedSegment.senseBytes.set(view, 0, sense.length);
  data.set(sense, failedSegmentBytes);
  return data;
}
