/** LOG SENSE, SPC-4 6.8: supported pages, and logical block provisioning (SBC-3 6.4.4) so that hosts see the space there is. */
import { u8, u16be, u32be, viewOf } from '../base/fields.ts';
import { byteAt, u16At } from './bytes.ts';
import type { Command } from './command.ts';
import { logicalBlockBytes, thresholdExponent } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { cdbField, SenseCode } from './sense.ts';

const pageMask = 0x3f;
const supportedPage = 0x00;
const provisioningPage = 0x0c;
const allSubpages = 0xff;
const subpageFormat = 0x40;

const header = { code: u8(0), subpage: u8(1), length: u16be(2) } as const;
const headerBytes = 4;

/** A provisioning log parameter, SBC-3 table 183. */
const parameter = {
  code: u16be(0),
  control: u8(2),
  length: u8(3),
  count: u32be(4),
  scope: u8(8),
} as const;
const parameterBytes = 12;
/** FORMAT AND LINKING 11b: binary, bounded list. */
const binaryList = 0x03;
/** The pool's space is shared with other units. */
const scopeShared = 0x02;
const ParameterCode = { available: 1, used: 2 } as const;
const countMax = 0xffffffff;
const thresholdSetBytes = 2 ** thresholdExponent * logicalBlockBytes;

export function logSense(command: Command): void {
  const { cdb } = command;
  const code = byteAt(cdb, 2) & pageMask;
  const subpage = byteAt(cdb, 3);
  const pointer = u16At(cdb, 5);
  const allocationLength = u16At(cdb, 7);
  if (code === supportedPage && (subpage === 0 || subpage === allSubpages)) {
    if (pointer === 0) {
      command.sendParameters(supportedPages(command.unit, subpage), allocationLength);
    } else command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(5, 7) });
  } else if (code === provisioningPage && subpage === 0 && !command.unit.device.isThick) {
    if (pointer <= ParameterCode.used) {
      command.sendParameters(provisioning(command.unit, pointer), allocationLength);
    } else {
      command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(5, 7) });
    }
  } else {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(2, 5) });
  }
}

/** Page 00h lists page codes; its subpage FFh lists pairs of page and subpage. What is left is of interest to thin units only. */
function supportedPages(unit: LogicalUnit, subpage: number): Uint8Array {
  const isPairs = subpage === allSubpages;
  const pages = isPairs ? [supportedPage, 0, supportedPage, allSubpages] : [supportedPage];
  const thinPages = isPairs ? [provisioningPage, 0] : [provisioningPage];
  const list = unit.device.isThick ? pages : [...pages, ...thinPages];
  const page = new Uint8Array(headerBytes + list.length);
  const view = viewOf(page);
  header.code.set(view, 0, supportedPage | (isPairs ? subpageFormat : 0));
  header.subpage.set(view, 0, subpage);
  header.length.set(view, 0, list.length);
  page.set(list, headerBytes);
  return page;
}

function provisioning(unit: LogicalUnit, pointer: number): Uint8Array {
  const space = unit.space();
  const counts: readonly (readonly [number, number])[] = [
    [ParameterCode.available, space.availableBytes],
    [ParameterCode.used, space.usedBytes],
  ];
  const shown = counts.filter(([code]) => code >= pointer);
  const page = new Uint8Array(headerBytes + shown.length * parameterBytes);
  const view = viewOf(page);
  header.code.set(view, 0, provisioningPage);
  header.length.set(view, 0, shown.length * parameterBytes);
  for (const [index, [code, byteCount]] of shown.entries()) {
    const at = headerBytes + index * parameterBytes;
    parameter.code.set(view, at, code);
    parameter.control.set(view, at, binaryList);
    parameter.length.set(view, at, parameterBytes - 4);
    parameter.count.set(view, at, Math.min(countMax, Math.floor(byteCount / thresholdSetBytes)));
    parameter.scope.set(view, at, scopeShared);
  }
  return page;
}
