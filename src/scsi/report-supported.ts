/**
 * REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS, SPC-4 6.34 and 6.35, answered from the
 * command table.
 */
import { u8, u16be, u32be, viewOf } from '../base/fields.ts';
import { byteAt, u16At, u32At } from './bytes.ts';
import type { Command } from './command.ts';
import type { CommandRow } from './command-row.ts';
import { type CommandTable, serviceActionMask } from './command-table.ts';
import { cdbField, SenseCode } from './sense.ts';

const returnTimeouts = 0x80;
const optionsMask = 0x07;
/** REPORTING OPTIONS: all; one opcode without service actions; one with; either. */
const Reporting = { all: 0, opcode: 1, serviceAction: 2, either: 3 } as const;

const listHeader = { length: u32be(0) } as const;
const listHeaderBytes = 4;
/** All commands: SPC-4 table 288. */
const descriptor = {
  opcode: u8(0),
  serviceAction: u16be(2),
  flags: u8(5),
  cdbLength: u16be(6),
} as const;
const descriptorBytes = 8;
const hasTimeouts = 0x02;
const hasServiceAction = 0x01;
/** One command: SPC-4 table 289. */
const one = { support: u8(1), cdbLength: u16be(2) } as const;
const oneHeaderBytes = 4;
const oneHasTimeouts = 0x80;
const Support = { not: 1, asStandard: 3 } as const;
/** Command timeouts descriptor, SPC-4 table 291. */
const timeouts = { length: u16be(0), nominal: u32be(4), recommended: u32be(8) } as const;
const timeoutsBytes = 12;

export function reportSupportedOpcodes(command: Command): void {
  const { cdb, services } = command;
  const { table } = services;
  const withTimeouts = (byteAt(cdb, 2) & returnTimeouts) !== 0;
  const option = byteAt(cdb, 2) & optionsMask;
  const allocationLength = u32At(cdb, 6);
  if (option === Reporting.all) {
    command.sendParameters(allCommands(table, withTimeouts), allocationLength);
    return;
  }
  const opcode = byteAt(cdb, 3);
  const serviceAction = u16At(cdb, 4);
  const wrong = wrongOption(table, option, opcode);
  if (wrong !== undefined) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: wrong });
    return;
  }
  const isPlain = !table.hasServiceActions(opcode);
  // Option 3 asks for a service action that an opcode without service actions cannot have.
  const isOff = option === Reporting.either && isPlain && serviceAction !== 0;
  const row = isOff ? undefined : table.row(opcode, serviceAction);
  command.sendParameters(oneCommand(row, withTimeouts), allocationLength);
}

/** SPC-4 table 286: the option must fit the opcode. */
function wrongOption(table: CommandTable, option: number, opcode: number): number | undefined {
  if (option > Reporting.either) return cdbField(2, 2);
  if (!table.hasOpcode(opcode)) return undefined;
  const hasActions = table.hasServiceActions(opcode);
  if (option === Reporting.opcode && hasActions) return cdbField(2, 2);
  if (option === Reporting.serviceAction && !hasActions) return cdbField(2, 2);
  return undefined;
}

function allCommands(table: CommandTable, withTimeouts: boolean): Uint8Array {
  const size = descriptorBytes + (withTimeouts ? timeoutsBytes : 0);
  const data = new Uint8Array(listHeaderBytes + table.rows.length * size);
  const view = viewOf(data);
  listHeader.length.set(view, 0, data.length - listHeaderBytes);
  for (const [index, row] of table.rows.entries()) {
    const at = listHeaderBytes + index * size;
    const actionFlag = row.serviceAction === undefined ? 0 : hasServiceAction;
    descriptor.opcode.set(view, at, row.opcode);
    descriptor.serviceAction.set(view, at, row.serviceAction ?? 0);
    descriptor.flags.set(view, at, actionFlag | (withTimeouts ? hasTimeouts : 0));
    descriptor.cdbLength.set(view, at, row.usage.length);
    if (withTimeouts) putTimeouts(view, at + descriptorBytes, row);
  }
  return data;
}

function oneCommand(row: CommandRow | undefined, withTimeouts: boolean): Uint8Array {
  if (row === undefined) {
    const data = new Uint8Array(oneHeaderBytes);
    one.support.set(viewOf(data), 0, Support.not);
    return data;
  }
  const usageEnd = oneHeaderBytes + row.usage.length;
  const data = new Uint8Array(usageEnd + (withTimeouts ? timeoutsBytes : 0));
  const view = viewOf(data);
  one.support.set(view, 0, Support.asStandard | (withTimeouts ? oneHasTimeouts : 0));
  one.cdbLength.set(view, 0, row.usage.length);
  data.set(row.usage, oneHeaderBytes);
  if (row.serviceAction !== undefined) {
    // The map shows the service action itself in place of its mask.
    const second = (row.usage[1] ?? 0) & ~serviceActionMask;
    data[oneHeaderBytes + 1] = second | row.serviceAction;
  }
  if (withTimeouts) putTimeouts(view, usageEnd, row);
  return data;
}

function putTimeouts(view: DataView, at: number, row: CommandRow): void {
  timeouts.length.set(view, at, timeoutsBytes - 2);
  timeouts.nominal.set(view, at, row.timeouts.nominal);
  timeouts.recommended.set(view, at, row.timeouts.recommended);
}

/** SPC-4 table 293. */
const management = { functions: u8(0), additionalLength: u8(3) } as const;
const managementBytes = 4;
const managementExtendedBytes = 16;
const returnExtended = 0x80;
/** ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET and TARGET RESET. */
const managementFunctions = 0xda;

export function reportSupportedManagement(command: Command): void {
  const { cdb } = command;
  const isExtended = (byteAt(cdb, 2) & returnExtended) !== 0;
  const data = new Uint8Array(isExtended ? managementExtendedBytes : managementBytes);
  const view = viewOf(data);
  management.functions.set(view, 0, managementFunctions);
  management.additionalLength.set(view, 0, data.length - managementBytes);
  command.sendParameters(data, u32At(cdb, 6));
}
