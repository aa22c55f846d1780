/** Brings what is recorded in a segment into the page cache, so that reading it in place holds nobody up. */
import { DiskError } from '../../base/ports.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import { packMetaBytes } from '../format/pack.ts';
import { type LookupSteps, runLater } from '../index/lookup-steps.ts';
import { limits } from '../limits.ts';
import { segmentPath } from '../log/segment-path.ts';
import { packPath } from '../pack/pack-path.ts';
import type { PoolParts } from './parts.ts';
import type { SegmentReading } from './segment-contents.ts';
import { durableEndOf } from './segment-end.ts';

/** Read at once: what it costs to have it in memory for a moment. */
const pieceBytes = 2 ** 20;

/**
 * The footer of a sealed segment, also of a packed one, else its frames as far as they are durable and not remembered. What cannot be read is left
 * out: whoever reads in place finds out why.
 */
export function* fetchSegment(
  parts: PoolParts,
  reading: SegmentReading,
  segId: number,
): LookupSteps<void> {
  try {
    const { path, from, to } = placeOf(parts, reading, segId);
    const file = parts.host.disk.open(path, { create: false });
    try {
      const end = Math.min(to, file.size());
      const scratch = new Uint8Array(Math.max(0, Math.min(end - from, pieceBytes)));
      for (let at = from; at < end; at += scratch.length) {
        const target = scratch.subarray(0, Math.min(end - at, scratch.length));
        yield { file, target, position: at };
      }
    } finally {
      file.close();
    }
  } catch (thrown) {
    if (!(thrown instanceof DiskError)) throw thrown;
  }
}

/** What tells of a segment's records, in the file that has it. */
interface Place {
  readonly path: string;
  readonly from: number;
  /** Or the end of the file, when that comes first. */
  readonly to: number;
}

function placeOf(parts: PoolParts, reading: SegmentReading, segId: number): Place {
  const footerAt = parts.settings.segmentSlots * slotSizeBytes;
  const packed = parts.containers.find(segId);
  if (packed !== undefined) {
    const length = packMetaBytes(packed.member);
    const from = packed.offsetOf(footerAt, length);
    return { path: packPath(packed.packId), from, to: from + length };
  }
  const path = segmentPath(segId);
  if (parts.segmentById.get(segId)?.crcPlace !== undefined) {
    return { path, from: footerAt, to: Number.POSITIVE_INFINITY };
  }
  const from = slotBytes(segId, reading.readThrough(segId));
  return { path, from, to: slotBytes(segId, durableEndOf(parts, segId)) };
}

/**
 * Has at hand what is durable of a segment now: its bytes off the main thread, its frames (when it has no footer) in slices.
 * Reading it in place then takes as long as what was added meanwhile. May call `done` inside the call.
 */
export function prepareSegment(
  parts: PoolParts,
  reading: SegmentReading,
  segId: number,
  done: () => void,
): void {
  const { clock, timers } = parts.host;
  const slice = (): void => {
    const startedMs = clock.monotonicMs();
    const isOver = (): boolean => clock.monotonicMs() - startedMs > limits.sliceMs;
    if (reading.readSome(segId, isOver)) done();
    else timers.defer(slice);
  };
  runLater(fetchSegment(parts, reading, segId), slice);
}

function slotBytes(segId: number, address: number): number {
  return Math.max(0, address - addressOf(segId, 0)) * slotSizeBytes;
}
