/** READ CAPACITY(10) and (16), SBC-3 5.14 and 5.15: 512-byte logical blocks on 4 KiB physical ones, thin, zero when unmapped. */
import { u8, u32be, u64be, viewOf } from '../base/fields.ts';
import { u32At } from './bytes.ts';
import type { Command } from './command.ts';
import { logicalBlockBytes, physicalExponent } from './limits.ts';

const short = { lastLba: u32be(0), blockBytes: u32be(4) } as const;
const shortBytes = 8;
/** Says: ask with READ CAPACITY(16). */
const tooLarge = 0xffffffff;

const longLayout = {
  lastLba: u64be(0),
  blockBytes: u32be(8),
  physicalExponent: u8(13),
  provisioning: u8(14),
} as const;
const longBytes = 32;
/** LBPME and LBPRZ. */
const thinAndZero = 0xc0;

export function readCapacity10(command: Command): void {
  const data = new Uint8Array(shortBytes);
  const view = viewOf(data);
  short.lastLba.set(view, 0, Math.min(command.unit.blockCount - 1, tooLarge));
  short.blockBytes.set(view, 0, logicalBlockBytes);
  command.sendParameters(data, shortBytes);
}

export function readCapacity16(command: Command): void {
  const data = new Uint8Array(longBytes);
  const view = viewOf(data);
  longLayout.lastLba.set(view, 0, command.unit.blockCount - 1);
  longLayout.blockBytes.set(view, 0, logicalBlockBytes);
  longLayout.physicalExponent.set(view, 0, physicalExponent);
  longLayout.provisioning.set(view, 0, thinAndZero);
  command.sendParameters(data, u32At(command.cdb, 10));
}
