/** Whole reads and writes of one initiator, of bytes that tell their place. */
import { assert } from '../../src/base/assert.ts';
import type { IscsiInitiator, Result } from './iscsi-initiator.ts';
import { read16, write16 } from './scsi-cdb.ts';

const blockBytes = 512;
/** Bytes that tell their place. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index += 1) {
    bytes[index] = (index * 31 + (index >> 9) * 7 + seed) & 0xff;
  }
  return bytes;
}

export function writeAll(initiator: IscsiInitiator, lba: number, bytes: Uint8Array): Result {
  const cdb = write16(lba, bytes.length / blockBytes);
  return initiator.execute({ cdb, writeBytes: bytes.length }, bytes);
}

export function readAll(initiator: IscsiInitiator, lba: number, length: number): Uint8Array {
  const result = initiator.execute({ cdb: read16(lba, length / blockBytes), readBytes: length });
  assert(result.status === 0, `a read ended with status ${result.status}`);
  return result.data;
}
