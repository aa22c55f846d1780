/** UNMAP, SBC-3 5.35. All descriptors are checked before anything is unmapped. */
import { u16be, u32be, u64be, viewOf } from '../base/fields.ts';
import { IoKind } from '../device/block-device.ts';
import { isInside } from './block-range.ts';
import { u16At } from './bytes.ts';
import type { Command } from './command.ts';
import { logicalBlockBytes, unmapBlocksMax, unmapDescriptorsMax } from './limits.ts';
import { type ByteRange, RangeWork } from './range-work.ts';
import { parameterField, SenseCode } from './sense.ts';

/** SBC-3 table 84. */
const header = { dataLength: u16be(0), descriptorBytes: u16be(2) } as const;
const headerBytes = 8;
const descriptor = { lba: u64be(0), blocks: u32be(8) } as const;
const descriptorBytes = 16;

export function unmap(command: Command): void {
  const length = u16At(command.cdb, 7);
  if (length === 0) command.succeed();
  else if (length < headerBytes) command.check(SenseCode.parameterListLengthError);
  else command.receiveParameters(length, unmapList);
}

function unmapList(command: Command, list: Uint8Array): void {
  const bytes = header.descriptorBytes.get(viewOf(list), 0);
  if (bytes > list.length - headerBytes) {
    command.check(SenseCode.parameterListLengthError);
    return;
  }
  const count = Math.floor(bytes / descriptorBytes);
  if (count > unmapDescriptorsMax) {
    const keySpecific = parameterField(header.descriptorBytes.offset);
    command.check(SenseCode.invalidFieldInParameterList, { keySpecific });
    return;
  }
  const ranges = rangesOf(command, list, count);
  if (ranges !== undefined) command.startWork(new RangeWork(IoKind.trim, ranges));
}

/** The ranges that are not empty; undefined when the command was refused. */
function rangesOf(command: Command, list: Uint8Array, count: number): ByteRange[] | undefined {
  const view = viewOf(list);
  const ranges: ByteRange[] = [];
  let total = 0;
  for (let index = 0; index < count; index += 1) {
    const at = headerBytes + index * descriptorBytes;
    const lba = descriptor.lba.get(view, at);
    const blocks = descriptor.blocks.get(view, at);
    if (!isInside(lba, blocks, command.unit.blockCount)) {
      command.check(SenseCode.lbaOutOfRange);
      return undefined;
    }
    total += blocks;
    if (total > unmapBlocksMax) {
      const keySpecific = parameterField(at + descriptor.blocks.offset);
      command.check(SenseCode.invalidFieldInParameterList, { keySpecific });
      return undefined;
    }
    const range = { offset: lba * logicalBlockBytes, length: blocks * logicalBlockBytes };
    if (blocks > 0) ranges.push(range);
  }
  return ranges;
}
