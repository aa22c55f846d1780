/** Making a pool: its superblock, and the folder of its segments. */
import { DiskError } from '../base/ports.ts';
import { makeUuid } from '../base/uuid.ts';
import { FormatError } from './format/format-error.ts';
import type { Superblock } from './format/superblock.ts';
import { limits, type StoreSettings } from './limits.ts';
import { segmentFolder } from './log/segment-path.ts';
import type { PoolHost } from './ports.ts';
import { readSuperblock, writeSuperblock } from './recovery/superblock-file.ts';

interface NewPool {
  readonly name: string;
  readonly settings: Pick<StoreSettings, 'segmentSlots'>;
  /** Default: 90 % of what the file system has free. */
  readonly capacityBytes: number | undefined;
}

/** Reads the superblock; makes a pool when the folder holds nothing of one. Throws DiskError, FormatError. */
export function superblockOf(
  host: PoolHost,
  options: NewPool,
): { readonly superblock: Superblock; readonly isNew: boolean } {
  const { disk } = host;
  try {
    return { superblock: readSuperblock(disk), isNew: false };
  } catch (thrown) {
    const isAbsent = thrown instanceof DiskError && thrown.code === 'ENOENT';
    // A machine lost while the pool was being made leaves a torn superblock, but never a segment.
    const isUnfinished =
      thrown instanceof FormatError && !thrown.isTooNew && disk.list(segmentFolder).length === 0;
    if (!isAbsent && !isUnfinished) throw thrown;
    if (isAbsent && disk.list(segmentFolder).length > 0) {
      throw new FormatError('there are segments but no superblock');
    }
  }
  return { superblock: create(host, options), isNew: true };
}

function create(host: PoolHost, { name, settings, capacityBytes }: NewPool): Superblock {
  const { disk, random, clock, logClock } = host;
  const superblock: Superblock = {
    poolUuid: makeUuid(random),
    nodeUuid: makeUuid(random),
    generation: 1,
    epoch: 0,
    isClean: true,
    segmentSlots: settings.segmentSlots,
    manifestAppliedPosition: 0,
    manifestDigest: new Uint8Array(32),
    replayFromSegId: 0,
    segIdHighWater: 0,
    hlcMsHighWater: 0,
    capacityBytes: capacityBytes ?? Math.floor(disk.freeBytes() * limits.defaultCapacityShare),
    createdMs: Math.floor(clock.wallMs()),
    durableThrough: 0,
    name,
    relogEpoch: 0,
    softPermille: 0,
    hardPermille: 0,
    ageMs: Math.floor(logClock.wallMs()),
  };
  writeSuperblock(disk, superblock);
  disk.makeFolder(segmentFolder);
  disk.flushFolder('');
  return superblock;
}
