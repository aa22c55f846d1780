/** MODE SENSE and MODE SELECT (6) and (10), SPC-4 6.11 to 6.14. */
import { u8, u16be, u32be, u64be, viewOf } from '../base/fields.ts';
import { byteAt, u16At, u24At } from './bytes.ts';
import type { Command } from './command.ts';
import type { Handler } from './command-row.ts';
import { isWriteProtected } from './execute.ts';
import { logicalBlockBytes } from './limits.ts';
import type { ModePages, PageControl } from './mode-pages.ts';
import { cdbField, parameterField, SenseCode } from './sense.ts';

const noDescriptors = 0x08;
const longLba = 0x10;
const savePages = 0x01;
const pageFormat = 0x10;
const pageMask = 0x3f;

/** Parameter list headers, SPC-4 tables 385 and 386. */
const header6 = { dataLength: u8(0), deviceFlags: u8(2), descriptorBytes: u8(3) } as const;
const header6Bytes = 4;
const header10 = {
  dataLength: u16be(0),
  deviceFlags: u8(3),
  longLba: u8(4),
  descriptorBytes: u16be(6),
} as const;
const header10Bytes = 8;
const writeProtectedFlag = 0x80;
const dpoFuaFlag = 0x10;

/** Block descriptors, SBC-3 tables 201 and 202. */
const shortDescriptorBytes = 8;
const shortDescriptor = { blocks: u32be(0), blockBytes: u32be(4) } as const;
const longDescriptorBytes = 16;
const longDescriptor = { blocks: u64be(0), blockBytes: u32be(12) } as const;
const blocksTooMany = 0xffffffff;

interface ModeForm {
  readonly isTen: boolean;
  readonly headerBytes: number;
  readonly length: (cdb: Uint8Array) => number;
}

const form6: ModeForm = {
  isTen: false,
  headerBytes: header6Bytes,
  length: (cdb) => byteAt(cdb, 4),
};
const form10: ModeForm = {
  isTen: true,
  headerBytes: header10Bytes,
  length: (cdb) => u16At(cdb, 7),
};

function modeSense(form: ModeForm): Handler {
  return (command) => {
    const { cdb, unit, place } = command;
    const { isWriteBack } = unit.device;
    const flags = byteAt(cdb, 1);
    const control = (byteAt(cdb, 2) >> 6) as PageControl;
    const code = byteAt(cdb, 2) & pageMask;
    const pages = unit.modePages.sense(code, byteAt(cdb, 3), { control, isWriteBack });
    if (pages === undefined) {
      command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(2, 5) });
      return;
    }
    const isLong = form.isTen && (flags & longLba) !== 0;
    const descriptor =
      (flags & noDescriptors) === 0 ? blockDescriptor(unit.blockCount, isLong) : new Uint8Array(0);
    const data = new Uint8Array(form.headerBytes + descriptor.length + pages.length);
    const deviceFlags = dpoFuaFlag | (isWriteProtected(place) ? writeProtectedFlag : 0);
    putHeader(data, form, { deviceFlags, isLong, descriptorBytes: descriptor.length });
    data.set(descriptor, form.headerBytes);
    data.set(pages, form.headerBytes + descriptor.length);
    command.sendParameters(data, form.length(cdb));
  };
}

export const modeSense6 = modeSense(form6);
export const modeSense10 = modeSense(form10);

function putHeader(
  data: Uint8Array,
  form: ModeForm,
  fields: { deviceFlags: number; isLong: boolean; descriptorBytes: number },
): void {
  const view = viewOf(data);
  if (form.isTen) {
    header10.dataLength.set(view, 0, data.length - header10.dataLength.size);
    header10.deviceFlags.set(view, 0, fields.deviceFlags);
    header10.longLba.set(view, 0, fields.isLong ? 1 : 0);
    header10.descriptorBytes.set(view, 0, fields.descriptorBytes);
  } else {
    header6.dataLength.set(view, 0, data.length - header6.dataLength.size);
    header6.deviceFlags.set(view, 0, fields.deviceFlags);
    header6.descriptorBytes.set(view, 0, fields.descriptorBytes);
  }
}

function blockDescriptor(blockCount: number, isLong: boolean): Uint8Array {
  const descriptor = new Uint8Array(isLong ? longDescriptorBytes : shortDescriptorBytes);
  const view = viewOf(descriptor);
  if (isLong) {
    longDescriptor.blocks.set(view, 0, blockCount);
    longDescriptor.blockBytes.set(view, 0, logicalBlockBytes);
  } else {
    shortDescriptor.blocks.set(view, 0, Math.min(blockCount, blocksTooMany));
    shortDescriptor.blockBytes.set(view, 0, logicalBlockBytes);
  }
  return descriptor;
}

// ---- MODE SELECT

function modeSelect(form: ModeForm): Handler {
  return (command) => {
    const { cdb } = command;
    if ((byteAt(cdb, 1) & pageFormat) === 0) {
      command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(1, 4) });
      return;
    }
    command.receiveParameters(form.length(cdb), (_command, list) => {
      select(command, form, list);
    });
  };
}

export const modeSelect6 = modeSelect(form6);
export const modeSelect10 = modeSelect(form10);

function select(command: Command, form: ModeForm, list: Uint8Array): void {
  const { unit } = command;
  if (list.length === 0) {
    command.succeed();
    return;
  }
  const start = pagesStart(command, form, list);
  if (start < 0) return;
  const selected = unit.modePages.select(list, start, unit.device.isWriteBack);
  if ('next' in selected) {
    store(command, unit.modePages, selected.next);
  } else if (selected.problem === 'length') {
    command.check(SenseCode.parameterListLengthError);
  } else {
    const keySpecific = parameterField(selected.at);
    command.check(SenseCode.invalidFieldInParameterList, { keySpecific });
  }
}

/** Byte at which the pages begin; ends the command and returns -1 when what comes before is wrong. */
function pagesStart(command: Command, form: ModeForm, list: Uint8Array): number {
  if (list.length < form.headerBytes) {
    command.check(SenseCode.parameterListLengthError);
    return -1;
  }
  const view = viewOf(list);
  const header = form.isTen ? header10 : header6;
  const descriptorBytes = header.descriptorBytes.get(view, 0);
  const start = form.headerBytes + descriptorBytes;
  if (start > list.length) {
    command.check(SenseCode.parameterListLengthError);
    return -1;
  }
  const isLong = form.isTen && (header10.longLba.get(view, 0) & 1) !== 0;
  const isRight = isSameFormat(list.subarray(form.headerBytes, start), isLong, command);
  if (isRight) return start;
  const keySpecific = parameterField(form.headerBytes);
  command.check(SenseCode.invalidFieldInParameterList, { keySpecific });
  return -1;
}

/** A block descriptor may repeat what is; it cannot change capacity or block length. */
function isSameFormat(descriptor: Uint8Array, isLong: boolean, { unit }: Command): boolean {
  if (descriptor.length === 0) return true;
  if (descriptor.length !== (isLong ? longDescriptorBytes : shortDescriptorBytes)) return false;
  const view = viewOf(descriptor);
  const blocks = (isLong ? longDescriptor : shortDescriptor).blocks.get(view, 0);
  const blockBytes = isLong
    ? longDescriptor.blockBytes.get(view, 0)
    : u24At(descriptor, shortDescriptor.blockBytes.offset + 1);
  const isSameCount = blocks === 0 || blocks >= blocksTooMany || blocks === unit.blockCount;
  return isSameCount && blockBytes === logicalBlockBytes;
}

/** Saved pages are durable before they are in force, and before the answer. */
function store(command: Command, modePages: ModePages, next: Uint8Array): void {
  const { cdb, unit } = command;
  if ((byteAt(cdb, 1) & savePages) === 0) {
    putInForce(command, next);
    return;
  }
  unit.saveModePages(next, (isSaved) => {
    if (!isSaved) {
      command.check(SenseCode.internalTargetFailure);
      return;
    }
    modePages.saved(next);
    putInForce(command, next);
  });
}

function putInForce(command: Command, next: Uint8Array): void {
  const { unit, place } = command;
  if (unit.modePages.apply(next)) unit.raise(SenseCode.modeParametersChanged, place);
  command.succeed();
}
