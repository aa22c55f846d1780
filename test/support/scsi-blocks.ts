/** A logical unit of 64 MiB with one initiator, and CDBs of the block commands in all widths. */
import { IoKind, IoRequest } from '../../src/device/block-device.ts';
import type { MemoryDevice } from './memory-device.ts';
import { type Initiator, ScsiWorld } from './scsi-world.ts';

export const block = 512;
/** 64 MiB. */
export const capacity = 131_072;

export interface Scene {
  readonly world: ScsiWorld;
  readonly host: Initiator;
  readonly device: MemoryDevice;
}

export function scene(options: { isReadOnly?: boolean; isWriteBack?: boolean } = {}): Scene {
  const world = new ScsiWorld();
  const device = world.makeDevice({ isWriteBack: options.isWriteBack ?? false });
  world.map(0, device, { isReadOnly: options.isReadOnly ?? false });
  return { world, host: world.open('host'), device };
}

/** What really lies on the device. */
export function stored({ device }: Scene, lba: number, blocks: number): Uint8Array {
  const target = new Uint8Array(blocks * block);
  const request = new IoRequest(() => {});
  request.kind = IoKind.read;
  request.offset = lba * block;
  request.length = target.length;
  request.target = target;
  device.submit(request);
  if (request.isHole) target.fill(0);
  return target;
}

export function put(value: number | bigint, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

/** CDBs with LBA and number of blocks, by width. */
export const forms = {
  6: (code: string, lba: number | bigint, blocks: number) =>
    `${code} ${put(lba, 6)} ${put(blocks & 0xff, 2)} 00`,
  10: (code: string, lba: number | bigint, blocks: number) =>
    `${code} 00 ${put(lba, 8)} 00 ${put(blocks, 4)} 00`,
  12: (code: string, lba: number | bigint, blocks: number) =>
    `${code} 00 ${put(lba, 8)} ${put(blocks, 8)} 00 00`,
  16: (code: string, lba: number | bigint, blocks: number) =>
    `${code} 00 ${put(lba, 16)} ${put(blocks, 8)} 00 00`,
} as const;
