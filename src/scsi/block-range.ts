/**
 * Ranges of logical blocks in CDBs. LBAs have 64 bits; what is above 2^53 is rounded by JavaScript, but stays far above any
 * capacity, so comparing in blocks before multiplying cannot overflow.
 */
import { byteAt, u16At, u24At, u32At, u64At } from './bytes.ts';
import type { Command } from './command.ts';
import { logicalBlockBytes } from './limits.ts';
import { SenseCode } from './sense.ts';

/** Bits of the LBA in byte 1 of READ(6) and WRITE(6). */
const lba6Mask = 0x1fffff;
const blocks6WhenZero = 256;

/** Where a family of CDBs has its LBA and number of blocks, and how wide they are. */
export interface RangeFields {
  readonly lba: (cdb: Uint8Array) => number;
  readonly blocks: (cdb: Uint8Array) => number;
}

export const range6: RangeFields = {
  lba: (cdb) => u24At(cdb, 1) & lba6Mask,
  blocks: (cdb) => byteAt(cdb, 4) || blocks6WhenZero,
};

export const range10: RangeFields = {
  lba: (cdb) => u32At(cdb, 2),
  blocks: (cdb) => u16At(cdb, 7),
};

export const range12: RangeFields = {
  lba: (cdb) => u32At(cdb, 2),
  blocks: (cdb) => u32At(cdb, 6),
};

export const range16: RangeFields = {
  lba: (cdb) => u64At(cdb, 2),
  blocks: (cdb) => u32At(cdb, 10),
};

/** Whether the range lies on the medium; an empty one may start right behind the last block. */
export function isInside(lba: number, blocks: number, capacityBlocks: number): boolean {
  return lba + blocks <= capacityBlocks;
}

/** Sets `command.offset` to the range's first byte and returns its bytes; ends the command and returns -1 when it is outside. */
export function takeRange(command: Command, lba: number, blocks: number): number {
  if (!isInside(lba, blocks, command.unit.blockCount)) {
    command.check(SenseCode.lbaOutOfRange);
    return -1;
  }
  command.offset = lba * logicalBlockBytes;
  return blocks * logicalBlockBytes;
}

/**
 * Ends a command that takes `length` bytes and whose initiator sends none: GOOD with all of it as overflow, but not where the
 * initiator expects to read instead. It takes GOOD for its data having been written, or compared.
 */
export function endWithoutData(command: Command, length: number): void {
  if (length > 0 && command.task.dataInBytes > 0) {
    command.check(SenseCode.invalidFieldInCdb);
    return;
  }
  command.required = length;
  command.succeed();
}
