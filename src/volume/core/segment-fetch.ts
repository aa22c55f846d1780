/** Brings what is recorded in a segment into the page cache, so that reading it in place holds nobody up. */
import { DiskError } from '../../base/ports.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import { type LookupSteps, runLater } from '../index/lookup-steps.ts';
import { limits } from '../limits.ts';
import { segmentPath } from '../log/segment-path.ts';
import type { PoolParts } from './parts.ts';
import type { SegmentReading } from './segment-contents.ts';
import { durableEndOf } from './segment-end.ts';

/** Read at once: what it costs to have it in memory for a moment. */
const pieceBytes = 2 ** 20;

/**
 * The footer of a sealed segment, else its frames as far as they are durable and not remembered. What cannot be read is left
 * out: whoever reads in place finds out why.
 */
export function* fetchSegment(
  parts: PoolParts,
  reading: SegmentReading,
  segId: number,
): LookupSteps<void> {
  const { host, settings, segmentById } = parts;
  const isSealed = segmentById.get(segId)?.crcPlace !== undefined;
  const footerAt = settings.segmentSlots * slotSizeBytes;
  const path = segmentPath(segId);
  try {
    const file = host.disk.open(path, { create: false });
    try {
      const framesEnd = slotBytes(segId, durableEndOf(parts, segId));
      let at = isSealed ? footerAt : slotBytes(segId, reading.readThrough(segId));
      const end = isSealed ? file.size() : framesEnd;
      const scratch = new Uint8Array(Math.max(0, Math.min(end - at, pieceBytes)));
      for (; at < end; at += scratch.length) {
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
