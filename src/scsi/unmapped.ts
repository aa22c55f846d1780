/**
 * Commands to a LUN that this nexus does not see: SPC-4 names three that are answered all the same (hosts begin a scan with
 * LUN 0, mapped or not), the rest gets LOGICAL UNIT NOT SUPPORTED. That sense is used for nothing else: hypervisors take it
 * for the loss of the device.
 */
import { byteAt, u16At } from './bytes.ts';
import type { Command } from './command.ts';
import { wrongBit } from './command-table.ts';
import { Peripheral, standardInquiry } from './inquiry.ts';
import { reportLuns } from './report-luns.ts';
import { answerSense } from './request-sense.ts';
import { cdbField, SenseCode } from './sense.ts';

const Opcode = { requestSense: 0x03, inquiry: 0x12, reportLuns: 0xa0 } as const;
const evpdMask = 0x01;

export function answerUnmapped(command: Command): void {
  const { cdb, services } = command;
  const row = services.table.find(cdb);
  command.row = row;
  const opcode = byteAt(cdb, 0);
  const isAnswered =
    opcode === Opcode.inquiry || opcode === Opcode.reportLuns || opcode === Opcode.requestSense;
  if (row === undefined || !isAnswered) {
    command.check(SenseCode.logicalUnitNotSupported);
    return;
  }
  const wrong = wrongBit(row, cdb);
  if (wrong >= 0) {
    const keySpecific = cdbField(Math.floor(wrong / 8), wrong % 8);
    command.check(SenseCode.invalidFieldInCdb, { keySpecific });
    return;
  }
  if (opcode === Opcode.inquiry) inquiryOfNothing(command);
  else if (opcode === Opcode.reportLuns) reportLuns(command);
  else answerSense(command, SenseCode.logicalUnitNotSupported);
}

function inquiryOfNothing(command: Command): void {
  const { cdb, task } = command;
  if ((byteAt(cdb, 1) & evpdMask) !== 0 || byteAt(cdb, 2) !== 0) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(1, 0) });
    return;
  }
  const peripheral = task.lun === 0 ? Peripheral.absentDisk : Peripheral.none;
  command.sendParameters(standardInquiry(peripheral, ''), u16At(cdb, 3));
}
