/**
 * What an engine begins with, before most of its code is loaded: the pool's lock, and a thread that looks for the pool's files meanwhile.
 */
import { SystemDisk } from '../host/disk.ts';
import { lockPool, type PoolLock } from '../volume/pool-lock.ts';
import { type CommitThread, startCommitThread } from './commit-start.ts';

export interface PoolClaim {
  /** The pool's. */
  readonly folder: string;
  /** Undefined: another process has the pool. */
  readonly lock: PoolLock | undefined;
  readonly commit: CommitThread;
}

/** Makes the folder when there is none. Throws DiskError. */
export function claimPool(folder: string): PoolClaim {
  const commit = startCommitThread();
  new SystemDisk(folder).makeFolder('');
  const lock = lockPool(folder);
  // Not before: whoever has the pool makes and removes files.
  if (lock !== undefined) commit.findFiles(folder);
  return { folder, lock, commit };
}
