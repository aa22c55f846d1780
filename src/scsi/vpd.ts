/**
 * Vital product data, SPC-4 7.8 and SBC-3 6.6: one function per page. Hosts name disks by page 83h, so what it says never
 * changes in the life of a volume; it comes from the store.
 */
import { concatenate } from '../base/bytes.ts';
import { u8, u16be, u32be, u64be, viewOf } from '../base/fields.ts';
import { toHex } from '../base/uuid.ts';
import {
  compareAndWriteBlocksMax,
  thresholdExponent,
  transferBlocksAdvertised,
  transferBlocksOptimal,
  transferGranularityBlocks,
  unmapBlocksMax,
  unmapDescriptorsMax,
  writeSameBlocksMax,
} from './limits.ts';
import type { NexusLun } from './nexus.ts';
import type { TargetGroups } from './target-groups.ts';
import { asciiBytes, nameString, vendorText } from './text.ts';

type Page = (place: NexusLun, groups: TargetGroups) => Uint8Array;

/** By page code, ascending. */
const pages: ReadonlyMap<number, Page> = new Map([
  [0x00, supportedPages],
  [0x80, serialNumber],
  [0x83, identification],
  [0x86, extendedInquiry],
  [0xb0, blockLimits],
  [0xb1, blockCharacteristics],
  [0xb2, provisioning],
]);

const headerBytes = 4;
const header = { pageCode: u8(1), pageLength: u16be(2) } as const;

/** A fresh page, header included; undefined when there is no such page. */
export function vpdPage(
  code: number,
  place: NexusLun,
  groups: TargetGroups,
): Uint8Array | undefined {
  const body = pages.get(code)?.(place, groups);
  if (body === undefined) return undefined;
  const page = new Uint8Array(headerBytes + body.length);
  const view = viewOf(page);
  header.pageCode.set(view, 0, code);
  header.pageLength.set(view, 0, body.length);
  page.set(body, headerBytes);
  return page;
}

function supportedPages(): Uint8Array {
  return Uint8Array.from(pages.keys());
}

/** 80h, SPC-4 7.8.15. */
function serialNumber({ unit }: NexusLun): Uint8Array {
  const { serial } = unit.device.identity;
  return asciiBytes(serial, serial.length);
}

// ---- 83h, SPC-4 7.8.6

const CodeSet = { binary: 1, ascii: 2, utf8: 3 } as const;
const Association = { unit: 0x00, port: 0x10, target: 0x20 } as const;
const DesignatorType = { t10: 1, naa: 3, relativePort: 4, portGroup: 5, scsiName: 8 } as const;
/** Protocol identifier iSCSI, and the bit that says it is valid. */
const iscsiProtocol = 0x50;
const protocolValid = 0x80;

interface Designator {
  readonly codeSet: number;
  readonly association: number;
  readonly type: number;
  readonly value: Uint8Array;
}

function identification(place: NexusLun, groups: TargetGroups): Uint8Array {
  const { nexus, unit } = place;
  const { naa, serial } = unit.device.identity;
  const group = groups.groupOf(nexus.relativePort);
  const portName = `${nexus.targetName},t,0x${nexus.portalGroupTag.toString(16).padStart(4, '0')}`;
  const { unit: ofUnit, port, target } = Association;
  return concatenate(
    [
      { codeSet: CodeSet.binary, association: ofUnit, type: DesignatorType.naa, value: naa },
      {
        codeSet: CodeSet.ascii,
        association: ofUnit,
        type: DesignatorType.t10,
        // Some hosts compare only the first eight characters behind the vendor: the unique part comes first.
        value: asciiBytes(vendorText + serial, vendorText.length + serial.length),
      },
      named(ofUnit, `naa.${toHex(naa)}`),
      numbered(DesignatorType.relativePort, nexus.relativePort),
      numbered(DesignatorType.portGroup, group),
      named(port, portName),
      named(target, nexus.targetName),
    ].map(designatorBytes),
  );
}

function named(association: number, text: string): Designator {
  const value = nameString(text);
  return { codeSet: CodeSet.utf8, association, type: DesignatorType.scsiName, value };
}

function numbered(type: number, id: number): Designator {
  const value = Uint8Array.of(0, 0, id >> 8, id & 0xff);
  return { codeSet: CodeSet.binary, association: Association.port, type, value };
}

function designatorBytes({ codeSet, association, type, value }: Designator): Uint8Array {
  const isOfPort = association !== Association.unit;
  const first = codeSet | (isOfPort ? iscsiProtocol : 0);
  const second = association | type | (isOfPort ? protocolValid : 0);
  return concatenate([Uint8Array.of(first, second, 0, value.length), value]);
}

// ---- 86h, SPC-4 7.8.7

const extendedBytes = 0x3c;
const extended = { taskAttributes: u8(1), cache: u8(2), nexusLoss: u8(3) } as const;

function extendedInquiry({ unit }: NexusLun): Uint8Array {
  const page = new Uint8Array(extendedBytes);
  const view = viewOf(page);
  // HEADSUP, ORDSUP, SIMPSUP.
  extended.taskAttributes.set(view, 0, 0x07);
  // V_SUP: there is a cache that forgets, only when the volume opted in to write-back.
  extended.cache.set(view, 0, unit.device.isWriteBack ? 0x01 : 0x00);
  // LUICLR: events of one nexus do not clear those of others.
  extended.nexusLoss.set(view, 0, 0x01);
  return page;
}

// ---- B0h, SBC-3 6.6.3

const limitsBytes = 0x3c;
const limits = {
  wsnz: u8(0),
  compareAndWriteBlocks: u8(1),
  transferGranularity: u16be(2),
  transferBlocksMax: u32be(4),
  transferBlocksOptimal: u32be(8),
  unmapBlocksMax: u32be(16),
  unmapDescriptorsMax: u32be(20),
  unmapGranularity: u32be(24),
  unmapAlignment: u32be(28),
  writeSameBlocksMax: u64be(32),
} as const;
const alignmentValid = 0x80000000;

function blockLimits(): Uint8Array {
  const page = new Uint8Array(limitsBytes);
  const view = viewOf(page);
  limits.wsnz.set(view, 0, 1);
  limits.compareAndWriteBlocks.set(view, 0, compareAndWriteBlocksMax);
  limits.transferGranularity.set(view, 0, transferGranularityBlocks);
  limits.transferBlocksMax.set(view, 0, transferBlocksAdvertised);
  limits.transferBlocksOptimal.set(view, 0, transferBlocksOptimal);
  limits.unmapBlocksMax.set(view, 0, unmapBlocksMax);
  limits.unmapDescriptorsMax.set(view, 0, unmapDescriptorsMax);
  limits.unmapGranularity.set(view, 0, transferGranularityBlocks);
  limits.unmapAlignment.set(view, 0, alignmentValid);
  limits.writeSameBlocksMax.set(view, 0, writeSameBlocksMax);
  return page;
}

// ---- B1h, SBC-3 6.6.2

const characteristicsBytes = 0x3c;
const characteristics = { rotationRate: u16be(0) } as const;
const nonRotating = 1;

function blockCharacteristics(): Uint8Array {
  const page = new Uint8Array(characteristicsBytes);
  characteristics.rotationRate.set(viewOf(page), 0, nonRotating);
  return page;
}

// ---- B2h, SBC-3 6.6.4

const provisioningBytes = 4;
const provisioningPage = { thresholdExponent: u8(0), flags: u8(1), type: u8(2) } as const;
/** LBPU, LBPWS, LBPWS10 and LBPRZ: all three ways to unmap, and what was unmapped reads as zero. */
const unmapWays = 0xe4;
/** PROVISIONING TYPE. Resource provisioned: thick, and what is unmapped is given back all the same. */
const ProvisioningType = { resource: 1, thin: 2 } as const;

function provisioning({ unit }: NexusLun): Uint8Array {
  const { isThick } = unit.device;
  const page = new Uint8Array(provisioningBytes);
  const view = viewOf(page);
  // Thresholds are of thin units only.
  provisioningPage.thresholdExponent.set(view, 0, isThick ? 0 : thresholdExponent);
  provisioningPage.flags.set(view, 0, unmapWays);
  provisioningPage.type.set(view, 0, isThick ? ProvisioningType.resource : ProvisioningType.thin);
  return page;
}
