/** INQUIRY, SPC-4 6.6: who the unit is. VPD pages are in vpd.ts. */
import { bytes, u8, u16be, viewOf } from '../base/fields.ts';
import { byteAt, u16At } from './bytes.ts';
import type { Command } from './command.ts';
import { cdbField, SenseCode } from './sense.ts';
import { asciiBytes, vendorText } from './text.ts';
import { vpdPage } from './vpd.ts';

/** ESXi copies only between units of the same product, so all have one name. */
const productText = 'LUN';
const evpdMask = 0x01;

/** Standard INQUIRY data, SPC-4 table 175. */
const standard = {
  peripheral: u8(0),
  version: u8(2),
  format: u8(3),
  additionalLength: u8(4),
  flags5: u8(5),
  flags6: u8(6),
  flags7: u8(7),
  vendor: bytes(8, 8),
  product: bytes(16, 16),
  revision: bytes(32, 4),
  firstVersionDescriptor: u16be(58),
} as const;
const standardBytes = 96;

/** SAM-5, iSCSI, SPC-4 and SBC-3, without claiming a revision. */
const versionDescriptors = [0x00a0, 0x0960, 0x0460, 0x04c0];
const versionSpc4 = 0x06;
/** HISUP, and response data format 2. */
const hisupFormat2 = 0x12;
/** TPGS 01b: implicit asymmetric access; 3PC: EXTENDED COPY. */
const tpgsAndCopy = 0x18;
const multiPort = 0x10;
const commandQueue = 0x02;

/** Peripheral qualifier and device type of byte 0. */
export const Peripheral = {
  /** A direct access block device. */
  disk: 0x00,
  /** A disk could be here, and is not: LUN 0, at which hosts begin. */
  absentDisk: 0x20,
  /** There cannot be anything here. */
  none: 0x7f,
} as const;
export type Peripheral = (typeof Peripheral)[keyof typeof Peripheral];

export function standardInquiry(peripheral: Peripheral, revision: string): Uint8Array {
  const data = new Uint8Array(standardBytes);
  const view = viewOf(data);
  standard.peripheral.set(view, 0, peripheral);
  standard.version.set(view, 0, versionSpc4);
  standard.format.set(view, 0, hisupFormat2);
  standard.additionalLength.set(view, 0, standardBytes - 5);
  standard.flags5.set(view, 0, tpgsAndCopy);
  standard.flags6.set(view, 0, multiPort);
  standard.flags7.set(view, 0, commandQueue);
  standard.vendor.set(data, 0, asciiBytes(vendorText, 8));
  standard.product.set(data, 0, asciiBytes(productText, 16));
  standard.revision.set(data, 0, asciiBytes(revision, 4));
  for (const [index, descriptor] of versionDescriptors.entries()) {
    standard.firstVersionDescriptor.set(view, index * 2, descriptor);
  }
  return data;
}

export function inquiry(command: Command): void {
  const { cdb, place } = command;
  const allocationLength = u16At(cdb, 3);
  const page = byteAt(cdb, 2);
  if ((byteAt(cdb, 1) & evpdMask) === 0) {
    if (page === 0) {
      const data = standardInquiry(Peripheral.disk, place.unit.productRevision);
      command.sendParameters(data, allocationLength);
      return;
    }
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(2, 7) });
    return;
  }
  const data = vpdPage(page, place, command.services.targetGroups);
  if (data === undefined) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(2, 7) });
  } else {
    command.sendParameters(data, allocationLength);
  }
}
