/** BLOCK_STATUS for `base:allocation`: device extents as descriptors, NBD protocol "Metadata contexts". */
import { type Extent, ExtentState } from '../device/block-device.ts';
import {
  blockStatusBytes,
  blockStatusExtent,
  blockStatusExtentBytes,
  type Cookie,
  encodeBlockStatusHeader,
} from './wire/reply.ts';

const stateHole = 1;
const stateZero = 2;
/** HOLE without ZERO is never said: there are clients that skip such a range although it is not zero. */
const statusByState: Readonly<Record<ExtentState, number>> = {
  [ExtentState.data]: 0,
  [ExtentState.hole]: stateHole | stateZero,
  [ExtentState.zero]: stateZero,
};

/** Bytes that a reply with `extentCount` descriptors takes at most. */
export function blockStatusReplyBytes(extentCount: number): number {
  return blockStatusBytes + extentCount * blockStatusExtentBytes;
}

/** How many descriptors a reply of `sizeBytes` holds. */
export function extentsFitting(sizeBytes: number): number {
  return Math.floor((sizeBytes - blockStatusBytes) / blockStatusExtentBytes);
}

/**
 * Writes the whole reply at `at`: descriptors cover at most `length` bytes, neighbours of equal state are one.
 * Returns the byte after it. There is at least one extent.
 */
export function encodeBlockStatus(
  view: DataView,
  at: number,
  to: Cookie,
  what: {
    readonly contextId: number;
    readonly extents: readonly Extent[];
    readonly length: number;
  },
): number {
  const first = at + blockStatusBytes;
  let end = first;
  let left = what.length;
  let previousStatus = -1;
  for (const extent of what.extents) {
    const length = Math.min(extent.length, left);
    if (length === 0) continue;
    left -= length;
    const status = statusByState[extent.state];
    if (status === previousStatus) {
      const last = end - blockStatusExtentBytes;
      const merged = blockStatusExtent.length.get(view, last) + length;
      blockStatusExtent.length.set(view, last, merged);
      continue;
    }
    blockStatusExtent.length.set(view, end, length);
    blockStatusExtent.status.set(view, end, status);
    end += blockStatusExtentBytes;
    previousStatus = status;
  }
  const extentCount = (end - first) / blockStatusExtentBytes;
  encodeBlockStatusHeader(view, at, to, { contextId: what.contextId, extentCount });
  return end;
}
