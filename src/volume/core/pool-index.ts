/** The index of an open pool: its runs, and what they and the segments behind them say of any line at any position. */
import type { Disk } from '../../base/ports.ts';
import { frameAddressOf, positionOf } from '../format/address.ts';
import { LogIndex } from '../index/log-index.ts';
import type { RunPlace } from '../index/run-format.ts';
import { runFolder, runPlaceOf } from '../index/run-path.ts';
import { RunReader } from '../index/run-reader.ts';
import { RunSet } from '../index/run-set.ts';
import type { RunTables } from '../index/run-tables.ts';
import { limits } from '../limits.ts';
import type { Steps } from '../steps.ts';
import type { PoolParts } from './parts.ts';
import type { SegmentReading } from './segment-contents.ts';
import { durableEndOf, wasDurable } from './segment-end.ts';
import { fetchSegment } from './segment-fetch.ts';

export interface PoolIndex {
  readonly runs: RunSet;
  readonly reader: RunReader;
  readonly log: LogIndex;
}

/** The runs of the folder. Throws DiskError. */
export function* findRuns(disk: Disk, fanOut: number): Steps<RunSet> {
  const runs = new RunSet(fanOut);
  let count = 0;
  for (const name of disk.names(runFolder)) {
    const place = runPlaceOf(name);
    if (place !== undefined) runs.add(place);
    count += 1;
    if (count % limits.namesPerStep === 0) yield;
  }
  return runs;
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
