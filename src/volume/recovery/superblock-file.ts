/** Reading and writing the superblock's four copies in their two files. */
import { type Disk, DiskError } from '../../base/ports.ts';
import {
  chooseSuperblock,
  encodeSuperblock,
  type Superblock,
  superblockSizeBytes,
} from '../format/superblock.ts';

const fileNames = ['superblock-a', 'superblock-b'] as const;
const copiesPerFile = 2;

/** The superblock that counts. Throws FormatError when none does, DiskError ENOENT when there is no pool here. */
export function readSuperblock(disk: Disk): Superblock {
  const copies: (Uint8Array | undefined)[] = [];
  let missing = 0;
  for (const name of fileNames) {
    try {
      const file = disk.open(name, { create: false });
      for (let copy = 0; copy < copiesPerFile; copy += 1) copies.push(readCopy(file, copy));
      file.close();
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      if (thrown.code !== 'ENOENT') throw thrown;
      missing += 1;
    }
  }
  if (missing === fileNames.length) throw new DiskError('ENOENT', 'no superblock');
  return chooseSuperblock(copies);
}

function readCopy(
  file: { read(target: Uint8Array, position: number): number },
  copy: number,
): Uint8Array | undefined {
  const bytes = new Uint8Array(superblockSizeBytes);
  try {
    const bytesRead = file.read(bytes, copy * superblockSizeBytes);
    return bytesRead === superblockSizeBytes ? bytes : undefined;
  } catch (thrown) {
    if (thrown instanceof DiskError) return undefined;
    throw thrown;
  }
}

/**
 * Writes both copies of one file, flushes, then the other: at every instant one file holds two equal copies.
 * Durable when it returns. Throws DiskError.
 */
export function writeSuperblock(disk: Disk, superblock: Superblock): void {
  const copy = encodeSuperblock(superblock);
  for (const name of fileNames) {
    const file = disk.open(name, { create: true });
    try {
      file.write(Array<Uint8Array>(copiesPerFile).fill(copy), 0);
      file.flush();
    } finally {
      file.close();
    }
  }
  disk.flushFolder('');
}
