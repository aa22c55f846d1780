/** REPORT LUNS, SPC-4 6.33: what this nexus sees, in ascending order. */
import { u32be, viewOf } from '../base/fields.ts';
import { byteAt, u32At } from './bytes.ts';
import type { Command } from './command.ts';
import { cdbField, SenseCode } from './sense.ts';

const headerBytes = 8;
const header = { listLength: u32be(0) } as const;
const lunFieldBytes = 8;
const allocationMin = 16;
/** SELECT REPORT: everything addressable, well-known units only, both. There are no well-known units here. */
const SelectReport = { addressable: 0, wellKnown: 1, all: 2 } as const;
/** Flat space addressing, for LUNs that the peripheral format cannot say. */
const flatMethod = 0x40;
const peripheralMax = 0xff;

export function reportLuns(command: Command): void {
  const { cdb, nexus } = command;
  const select = byteAt(cdb, 2);
  const allocationLength = u32At(cdb, 6);
  if (select > SelectReport.all) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(2, 7) });
    return;
  }
  if (allocationLength < allocationMin) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(6, 7) });
    return;
  }
  const luns = select === SelectReport.wellKnown ? [] : [...nexus.luns.keys()];
  const data = new Uint8Array(headerBytes + luns.length * lunFieldBytes);
  header.listLength.set(viewOf(data), 0, luns.length * lunFieldBytes);
  for (const [index, lun] of luns.entries()) {
    const at = headerBytes + index * lunFieldBytes;
    data[at] = lun > peripheralMax ? flatMethod | (lun >> 8) : 0;
    data[at + 1] = lun & 0xff;
  }
  // SPC-4 6.33: this answer is what REPORTED LUNS DATA HAS CHANGED asks for, at every unit of the nexus.
  for (const place of nexus.luns.values()) place.attentions.drop(SenseCode.reportedLunsChanged);
  command.sendParameters(data, allocationLength);
}
