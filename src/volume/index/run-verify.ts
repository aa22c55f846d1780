/** Reads a run whole and compares it with everything that it says of itself. */
import { createHash } from 'node:crypto';
import type { Disk, DiskFile } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { MediumFile } from '../scrub/medium-file.ts';
import type { CheckOptions } from '../scrub/segment-check.ts';
import { isRunBlock } from './entry-block.ts';
import {
  describeRun,
  type RunPlace,
  runBlockBytes,
  runBlocksOf,
  runTrailerBytes,
} from './run-format.ts';
import { runPath } from './run-path.ts';
import { readRunTables } from './run-tables.ts';

const pieceBlocks = 64;

/** What a whole run is known by. */
export interface VerifiedRun {
  readonly digest: Uint8Array;
  /** Of its blocks of entries. */
  readonly entriesDigest: Uint8Array;
  readonly isPaged: boolean;
}

/** Throws FormatError when the run is not whole, and DiskError. */
export function verifyRun(disk: Disk, place: RunPlace, seeds: Seeds): VerifiedRun {
  const file = disk.open(runPath(place), { create: false });
  try {
    return digestOf(file, place, seeds);
  } finally {
    file.close();
  }
}

/**
 * The same of the run in the file at `path`, read from the medium: what the page cache has vouches for nothing. `window` as in
 * MediumFile.
 */
export function verifyRunOnMedium(
  { disk, seeds, window }: Pick<CheckOptions, 'disk' | 'seeds' | 'window'>,
  place: RunPlace,
  path: string,
): VerifiedRun {
  const medium = new MediumFile(disk, path, window);
  try {
    const file = {
      read: (target: Uint8Array, position: number) => medium.read(target, position),
      size: () => disk.sizeOf(path),
    };
    return digestOf(file, place, seeds);
  } finally {
    medium.close();
  }
}

function digestOf(
  file: Pick<DiskFile, 'read' | 'size'>,
  place: RunPlace,
  seeds: Seeds,
): VerifiedRun {
  const { header, digest } = readRunTables(file, place, seeds);
  const { isPaged } = header;
  const hash = createHash('sha256');
  const entriesEnd = (1 + header.blockCount) * runBlockBytes;
  const blocksEnd = (1 + runBlocksOf(header)) * runBlockBytes;
  const hashed = (from: number, to: number): void => {
    for (let at = from; at < to; at += pieceBlocks * runBlockBytes) {
      const bytes = new Uint8Array(Math.min(pieceBlocks * runBlockBytes, to - at));
      if (file.read(bytes, at) !== bytes.length) {
        throw new FormatError(`run ${describeRun(place)}: cut short`);
      }
      hash.update(bytes);
      if (at < blocksEnd) verifyBlocks(bytes, { place, first: at / runBlockBytes, seeds });
    }
  };
  hashed(runBlockBytes, entriesEnd);
  const entriesDigest = hash.copy().digest();
  hashed(entriesEnd, blocksEnd);
  hashed(blocksEnd, file.size() - runTrailerBytes);
  const head = new Uint8Array(runBlockBytes);
  file.read(head, 0);
  if (Buffer.compare(hash.update(head).digest(), digest) !== 0) {
    throw new FormatError(`run ${describeRun(place)}: digest differs`);
  }
  return { digest, entriesDigest, isPaged };
}

/** Throws FormatError when one of the blocks from number `first` on is not what it must be. */
function verifyBlocks(
  bytes: Uint8Array,
  { place, first, seeds }: { readonly place: RunPlace; readonly first: number; seeds: Seeds },
): void {
  for (let at = 0; at < bytes.length; at += runBlockBytes) {
    const block = first + at / runBlockBytes;
    if (isRunBlock(bytes.subarray(at, at + runBlockBytes), place, block, seeds)) continue;
    throw new FormatError(`run ${describeRun(place)}: damaged block ${block}`);
  }
}
