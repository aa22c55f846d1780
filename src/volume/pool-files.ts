/**
 * Pool files: which segments and index runs have files, as numbers. Of a log of 10 TiB their names take 0.2 s, and strings of 30 MiB:
 * they are read beside the main thread, where nothing of them is left.
 */
import { NumberList } from '../base/number-list.ts';
import { type Disk, DiskError } from '../base/ports.ts';
import { type RunList, RunListBuilder } from './index/run-list.ts';
import { runFolder, runPlaceOf } from './index/run-path.ts';
import { segIdOfName, segmentFolder } from './log/segment-path.ts';

/** Typed arrays only: it goes from one thread to another. */
export interface PoolFiles {
  /** Segments with a file of their own, ascending. */
  readonly segIds: Uint32Array;
  /** Those of index runs, in any order. */
  readonly runs: RunList;
}

/** Why they could not be read: what `DiskError` says. */
export interface FilesRefused {
  readonly code: string;
  readonly message: string;
}

/** Reads the folders. A part of a pool that is not there yet has no files. */
export function findPoolFiles(disk: Pick<Disk, 'names'>): PoolFiles | FilesRefused {
  const segIds = new NumberList();
  const runs = new RunListBuilder();
  try {
    for (const name of disk.names(segmentFolder)) {
      const segId = segIdOfName(name);
      if (segId !== undefined) segIds.add(segId);
    }
    for (const name of disk.names(runFolder)) {
      const place = runPlaceOf(name);
      if (place !== undefined) runs.add(place);
    }
  } catch (thrown) {
    if (!(thrown instanceof DiskError)) throw thrown;
    return { code: thrown.code, message: thrown.message };
  }
  return { segIds: segIds.values().sort(), runs: runs.list() };
}
