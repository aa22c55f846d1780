/** Where the durable log ends in a segment. */
import { addressOf, positionOf, segIdOf } from '../format/address.ts';
import type { SegmentEnds } from '../keeper-jobs.ts';
import type { PoolParts } from './parts.ts';

/**
 * End address of what is durable in the segment; 0 = nothing. The log leaves a segment when it builds the first frame of the
 * next one: until that frame is durable the segment is neither the log's place nor finished, and the log's durable end
 * lies in it.
 */
export function durableEndOf(parts: PoolParts, segId: number): number {
  const finished = parts.segmentById.get(segId)?.endAddress ?? 0;
  if (finished > 0 || parts.writer === undefined) return finished;
  const { durableThrough } = parts.writer.log;
  return segIdOf(durableThrough - 1) === segId ? durableThrough : 0;
}

/** All segments of which something is durable. 5 ns each. */
export function durableEnds(parts: PoolParts): SegmentEnds {
  const { segmentById } = parts;
  const { size } = segmentById;
  const segIds = new Float64Array(size);
  const endAddresses = new Float64Array(size);
  const sealed = new Uint8Array(size);
  let count = 0;
  for (let index = 0; index < size; index += 1) {
    const segId = segmentById.segIdAt(index);
    const endSlot = segmentById.slotsAt(index);
    const end = endSlot > 0 ? addressOf(segId, endSlot) : durableEndOf(parts, segId);
    if (end <= addressOf(segId, 0)) continue;
    segIds[count] = segId;
    endAddresses[count] = end;
    sealed[count] = segmentById.isSealedAt(index) ? 1 : 0;
    count += 1;
  }
  return {
    segIds: segIds.slice(0, count),
    endAddresses: endAddresses.slice(0, count),
    sealed: sealed.slice(0, count),
  };
}

/** Everything durable lies before it. */
export function endPositionOf({ writer, segmentById }: PoolParts): number {
  if (writer !== undefined) return positionOf(writer.log.durableThrough, 0);
  return positionOf(segmentById.last()?.endAddress ?? 0, 0);
}

/**
 * Whether the log ever reached to `endAddress`, where it once was said to end. It did not when its last frames were lost since:
 * later segments begin elsewhere, so it never will. In another copy of the pool it may: see findRuns.
 */
export function wasDurable(parts: PoolParts, endAddress: number): boolean {
  return isReached(endAddress, (segId) => durableEndOf(parts, segId));
}

/** The same of a log that ends at `endOf` in each segment; 0 = there is no such segment. */
export function isReached(endAddress: number, endOf: (segId: number) => number): boolean {
  return endAddress === 0 || endAddress <= endOf(segIdOf(endAddress - 1));
}
