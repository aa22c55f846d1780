/** GET LBA STATUS, SBC-3 5.4: which blocks are mapped. The first descriptor begins at the LBA that was asked for. */
import { u8, u32be, u64be, viewOf } from '../base/fields.ts';
import { type Extent, ExtentState } from '../device/block-device.ts';
import { range16 } from './block-range.ts';
import { u32At } from './bytes.ts';
import type { Command } from './command.ts';
import { lbaStatusDescriptorsMax, logicalBlockBytes } from './limits.ts';
import { cdbField, SenseCode } from './sense.ts';

const header = { length: u32be(0) } as const;
const headerBytes = 8;
const descriptor = { lba: u64be(0), blocks: u32be(8), status: u8(12) } as const;
const descriptorBytes = 16;
/** PROVISIONING STATUS. What reads as zero but must stay allocated is mapped. */
const Provisioning = { mapped: 0, deallocated: 1 } as const;
const allocationMin = headerBytes + descriptorBytes;
const blocksPerDescriptorMax = 0xffffffff;

export function getLbaStatus(command: Command): void {
  const { cdb, unit } = command;
  const lba = range16.lba(cdb);
  const allocationLength = u32At(cdb, 10);
  if (lba >= unit.blockCount) {
    command.check(SenseCode.lbaOutOfRange);
    return;
  }
  if (allocationLength < allocationMin) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(10, 7) });
    return;
  }
  const room = Math.floor((allocationLength - headerBytes) / descriptorBytes);
  const offset = lba * logicalBlockBytes;
  const length = (unit.blockCount - lba) * logicalBlockBytes;
  const count = Math.min(room, lbaStatusDescriptorsMax);
  unit.device.extents(offset, length, count, (extents) => {
    if (extents.length === 0) command.check(SenseCode.lbaOutOfRange);
    else command.sendParameters(statusData(lba, extents), allocationLength);
  });
}

function statusData(lba: number, extents: readonly Extent[]): Uint8Array {
  const data = new Uint8Array(headerBytes + extents.length * descriptorBytes);
  const view = viewOf(data);
  header.length.set(view, 0, data.length - header.length.size);
  let at = lba;
  for (const [index, extent] of extents.entries()) {
    const place = headerBytes + index * descriptorBytes;
    const blocks = Math.floor(extent.length / logicalBlockBytes);
    const isHole = extent.state === ExtentState.hole;
    descriptor.lba.set(view, place, at);
    descriptor.blocks.set(view, place, Math.min(blocks, blocksPerDescriptorMax));
    descriptor.status.set(view, place, isHole ? Provisioning.deallocated : Provisioning.mapped);
    at += blocks;
  }
  return data;
}
