/**
 * Makes durable what is only known to be readable: bytes of segments are written again where they lie, and flushed. A flush
 * alone is not enough: one that failed in an earlier process has marked them clean.
 */
import { type Disk, DiskError } from '../../base/ports.ts';
import { segmentPath } from '../log/segment-path.ts';

const stepBytes = 2 ** 22;

/** Bytes of a segment's own file. */
export interface SegmentBytes {
  readonly segId: number;
  readonly fromByte: number;
  readonly endByte: number;
}

/** Throws DiskError. The folder is flushed by the caller. */
export function rewrite(disk: Disk, { segId, fromByte, endByte }: SegmentBytes): void {
  const file = disk.open(segmentPath(segId), { create: false });
  try {
    for (let at = fromByte; at < endByte; at += stepBytes) {
      const bytes = new Uint8Array(Math.min(stepBytes, endByte - at));
      if (file.read(bytes, at) !== bytes.length) {
        throw new DiskError('EIO', `segment ${segId} became shorter during recovery`);
      }
      file.write([bytes], at);
    }
    file.flush();
  } finally {
    file.close();
  }
}

/** The same for several, each by itself; answers the segments for which the disk refused it. */
export function rewriteEach(disk: Disk, all: readonly SegmentBytes[]): number[] {
  const refused: number[] = [];
  for (const bytes of all) {
    try {
      rewrite(disk, bytes);
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      refused.push(bytes.segId);
    }
  }
  return refused;
}
