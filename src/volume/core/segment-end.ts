/** Where the durable log ends in a segment. */
import { segIdOf } from '../format/address.ts';
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
