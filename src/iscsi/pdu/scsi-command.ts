/** SCSI Command, RFC 7143 section 11.3. Hot: decoded into an object that the caller keeps. */
import { bytes, u8, u32be } from '../../base/fields.ts';
import { finalBit, isImmediate } from './header.ts';
import { decodeLun } from './lun.ts';

export const scsiCommand = {
  flags: u8(1),
  initiatorTaskTag: u32be(16),
  expectedDataTransferLength: u32be(20),
  cmdSn: u32be(24),
  expStatSn: u32be(28),
  cdb: bytes(32, 16),
} as const;

export const shortCdbBytes = 16;
const CommandFlag = { final: finalBit, read: 0x40, write: 0x20 } as const;
const attributeMask = 0x07;

/** Section 11.3.1. Values above `aca` are reserved. */
export const CommandAttribute = {
  untagged: 0,
  simple: 1,
  ordered: 2,
  headOfQueue: 3,
  aca: 4,
} as const;
export type CommandAttribute = (typeof CommandAttribute)[keyof typeof CommandAttribute];

export interface ScsiCommand {
  isImmediate: boolean;
  /** No unsolicited Data-Out follows. */
  isFinal: boolean;
  isRead: boolean;
  isWrite: boolean;
  attribute: CommandAttribute;
  /** -1 = names nothing. */
  lun: number;
  initiatorTaskTag: number;
  expectedDataTransferLength: number;
  cmdSn: number;
  expStatSn: number;
  /** Sixteen bytes that belong to this object; the decoder copies the CDB into them. */
  readonly cdb: Uint8Array;
}

export function newScsiCommand(): ScsiCommand {
  return {
    isImmediate: false,
    isFinal: false,
    isRead: false,
    isWrite: false,
    attribute: CommandAttribute.untagged,
    lun: -1,
    initiatorTaskTag: 0,
    expectedDataTransferLength: 0,
    cmdSn: 0,
    expStatSn: 0,
    cdb: new Uint8Array(shortCdbBytes),
  };
}

function isAttribute(value: number): value is CommandAttribute {
  return value <= CommandAttribute.aca;
}

/** Fills `into` from the header at `at`. Returns what is wrong with it (for a Reject), undefined when nothing is. */
export function decodeScsiCommand(
  view: DataView,
  at: number,
  into: ScsiCommand,
): string | undefined {
  const flags = scsiCommand.flags.get(view, at);
  into.isImmediate = isImmediate(view, at);
  into.isFinal = (flags & CommandFlag.final) !== 0;
  into.isRead = (flags & CommandFlag.read) !== 0;
  into.isWrite = (flags & CommandFlag.write) !== 0;
  into.lun = decodeLun(view, at);
  into.initiatorTaskTag = scsiCommand.initiatorTaskTag.get(view, at);
  into.expectedDataTransferLength = scsiCommand.expectedDataTransferLength.get(view, at);
  into.cmdSn = scsiCommand.cmdSn.get(view, at);
  into.expStatSn = scsiCommand.expStatSn.get(view, at);
  const { cdb } = into;
  const cdbAt = at + scsiCommand.cdb.offset;
  for (let index = 0; index < shortCdbBytes; index += 1) cdb[index] = view.getUint8(cdbAt + index);
  const attribute = flags & attributeMask;
  if (!isAttribute(attribute)) return 'reserved task attribute';
  into.attribute = attribute;
  if (!into.isFinal && !into.isWrite) return 'data announced for a command that writes none';
  return undefined;
}
