/** The index of an open pool: its runs, and what they and the segments behind them say of any line at any position. */
import { type Disk, DiskError, type Log } from '../../base/ports.ts';
import { frameAddressOf, positionOf } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { LogIndex } from '../index/log-index.ts';
import {
  decodeRunHeader,
  isThinned,
  type RunHeader,
  type RunPlace,
  runBlockBytes,
} from '../index/run-format.ts';
import { runAt } from '../index/run-list.ts';
import { runFolder, runPath } from '../index/run-path.ts';
import { RunReader } from '../index/run-reader.ts';
import { RunSet } from '../index/run-set.ts';
import type { RunTables } from '../index/run-tables.ts';
import { limits } from '../limits.ts';
import type { PoolFiles } from '../pool-files.ts';
import type { SegmentTable } from '../recovery/segment-table.ts';
import type { Steps } from '../steps.ts';
import type { PoolParts } from './parts.ts';
import type { SegmentReading } from './segment-contents.ts';
import { durableEndOf, isReached, wasDurable } from './segment-end.ts';
import { fetchSegment } from './segment-fetch.ts';

export interface PoolIndex {
  readonly runs: RunSet;
  readonly reader: RunReader;
  readonly log: LogIndex;
}

export interface FindRunsOptions {
  readonly disk: Disk;
  readonly files: Pick<PoolFiles, 'runs'>;
  readonly fanOut: number;
  readonly seeds: Seeds;
  /** As it was recovered, before anything is logged. */
  readonly segments: SegmentTable;
  /** Then nothing in the folder changes. */
  readonly isReadOnly: boolean;
  readonly log: Log;
}

/**
 * The runs of the folder, without thinned ones of a log that went on where this one has ended: those are removed now, because
 * once this one has come as far nobody can tell. Throws DiskError.
 */
export function* findRuns({ disk, files, log, ...options }: FindRunsOptions): Steps<RunSet> {
  const runs = new RunSet(options.fanOut);
  const foreign: RunPlace[] = [];
  for (let index = 0; ; index += 1) {
    const place = runAt(files.runs, index);
    if (place === undefined) break;
    if (isThinned(place) && mayBeAhead({ disk, ...options }, place)) foreign.push(place);
    else runs.add(place);
    if (index % limits.namesPerStep === 0) yield;
  }
  for (const place of foreign) {
    log.warn('a run is of a log that this one is not, or cannot be read', { run: runPath(place) });
    if (!options.isReadOnly) disk.remove(runPath(place));
  }
  if (foreign.length > 0 && !options.isReadOnly) disk.flushFolder(runFolder);
  return runs;
}

/**
 * Whether a thinned run was judged by more of the log than there is, or nobody can tell because it cannot be read: what it says is
 * in footers, too. A damaged one, or one of a newer version, is for whoever looks into it.
 */
function mayBeAhead(
  { disk, seeds, segments }: Pick<FindRunsOptions, 'disk' | 'seeds' | 'segments'>,
  place: RunPlace,
): boolean {
  try {
    const header = headerOf(disk, place, seeds);
    const end = frameAddressOf(header?.keptThrough ?? 0);
    return !isReached(end, (segId) => segments.get(segId)?.endAddress ?? 0);
  } catch (thrown) {
    if (thrown instanceof DiskError) return true;
    if (thrown instanceof FormatError) return false;
    throw thrown;
  }
}

/** Undefined when there is none. Throws DiskError, and FormatError for one of a newer version. */
function headerOf(disk: Disk, place: RunPlace, seeds: Seeds): RunHeader | undefined {
  const file = disk.open(runPath(place), { create: false });
  try {
    const head = new Uint8Array(runBlockBytes);
    const bytesRead = file.read(head, 0);
    return decodeRunHeader(head.subarray(0, bytesRead), place, seeds);
  } finally {
    file.close();
  }
}

/** `onBadRun`: a run cannot be read and is not used any more. */
export function openPoolIndex(
  parts: PoolParts,
  { runs, reading }: { readonly runs: RunSet; readonly reading: SegmentReading },
  onBadRun: (place: RunPlace) => void,
): PoolIndex {
  const { host, seeds, segmentById, catalogue } = parts;
  const reader = new RunReader({
    disk: host.disk,
    seeds,
    isOurs: (tables) => isOfSegments(parts, tables),
    tableBytes: limits.runTableBytes,
    blockBytes: limits.runBlockBytes,
    openFiles: limits.runFilesOpenMax,
  });
  const log = new LogIndex({
    catalogue,
    runs,
    reader,
    records: {
      has: (segId) => segmentById.has(segId),
      through: (segId) => {
        // Nothing is added to a segment that has an end, sealed or not.
        const isFinished = (segmentById.get(segId)?.endAddress ?? 0) > 0;
        return isFinished ? Number.POSITIVE_INFINITY : positionOf(durableEndOf(parts, segId), 0);
      },
      visit: (segId, visit) => {
        reading.visit(segId, visit);
      },
      fetch: (segId) => fetchSegment(parts, reading, segId),
    },
    log: host.log,
    segmentIndexBytes: limits.segmentIndexBytes,
    lookupsMax: limits.leafLookupsMax,
    onBadRun,
  });
  return { runs, reader, log };
}

/** Whether a run was made of exactly the segments that the pool has in its range. */
function isOfSegments(parts: PoolParts, tables: RunTables): boolean {
  const { segmentById, settings } = parts;
  const { header } = tables;
  const span = settings.runFanOut ** header.level;
  if (!wasDurable(parts, frameAddressOf(header.keptThrough))) return false;
  if (header.endSegId - header.firstSegId !== span) return false;
  const ours = segmentById.sealedIn(header.firstSegId, header.endSegId);
  return ours !== undefined && tables.isOf(ours);
}
