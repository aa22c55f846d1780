/** Reads a run whole and compares it with everything that it says of itself. */
import { createHash } from 'node:crypto';
import type { Disk } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { isEntryBlock } from './entry-block.ts';
import { describeRun, type RunPlace, runBlockBytes, runTrailerBytes } from './run-format.ts';
import { runPath } from './run-path.ts';
import { readRunTables } from './run-tables.ts';

const pieceBlocks = 64;

/** Digest of a run that is whole. Throws FormatError when it is not, and DiskError. */
export function verifyRun(disk: Disk, place: RunPlace, seeds: Seeds): Uint8Array {
  const file = disk.open(runPath(place), { create: false });
  try {
    const { header, digest } = readRunTables(file, place, seeds);
    const hash = createHash('sha256');
    const end = file.size() - runTrailerBytes;
    for (let at = runBlockBytes; at < end; at += pieceBlocks * runBlockBytes) {
      const bytes = new Uint8Array(Math.min(pieceBlocks * runBlockBytes, end - at));
      if (file.read(bytes, at) !== bytes.length) {
        throw new FormatError(`run ${describeRun(place)}: cut short`);
      }
      hash.update(bytes);
      const first = at / runBlockBytes;
      const count = Math.min(pieceBlocks, header.blockCount + 1 - first);
      verifyBlocks(bytes.subarray(0, Math.max(0, count) * runBlockBytes), { place, first, seeds });
    }
    const head = new Uint8Array(runBlockBytes);
    file.read(head, 0);
    if (Buffer.compare(hash.update(head).digest(), digest) !== 0) {
      throw new FormatError(`run ${describeRun(place)}: digest differs`);
    }
    return digest;
  } finally {
    file.close();
  }
}

/** Throws FormatError when one of the blocks from number `first` on is not what it must be. */
function verifyBlocks(
  bytes: Uint8Array,
  { place, first, seeds }: { readonly place: RunPlace; readonly first: number; seeds: Seeds },
): void {
  for (let at = 0; at < bytes.length; at += runBlockBytes) {
    const block = first + at / runBlockBytes;
    if (isEntryBlock(bytes.subarray(at, at + runBlockBytes), place, block, seeds)) continue;
    throw new FormatError(`run ${describeRun(place)}: damaged block ${block}`);
  }
}
