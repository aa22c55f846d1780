/** BLOCK_STATUS: allocation and changes of a device as descriptors, NBD protocol "Metadata contexts". */
import { type Extent, ExtentState } from '../device/block-device.ts';
import type { NbdChangeRun } from './exports.ts';
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

const statusDirty = 1;

/** A run of bytes with one status in a context. */
export interface StatusRun {
  readonly length: number;
  readonly status: number;
}

/** What one context has to say. */
export interface StatusContext {
  readonly contextId: number;
  readonly runs: readonly StatusRun[];
}

export function allocationRuns(extents: readonly Extent[]): StatusRun[] {
  return extents.map(({ length, state }) => ({ length, status: statusByState[state] }));
}

export function dirtyRuns(runs: readonly NbdChangeRun[]): StatusRun[] {
  return runs.map(({ length, isChanged }) => ({ length, status: isChanged ? statusDirty : 0 }));
}

/** Bytes that a reply with these contexts takes at most. */
export function blockStatusReplyBytes(contexts: readonly StatusContext[]): number {
  return contexts.reduce(
    (sum, { runs }) => sum + blockStatusBytes + runs.length * blockStatusExtentBytes,
    0,
  );
}

/** As much of the contexts as a reply of `sizeBytes` holds. */
export function contextsFitting(
  contexts: readonly StatusContext[],
  sizeBytes: number,
): readonly StatusContext[] {
  if (blockStatusReplyBytes(contexts) <= sizeBytes) return contexts;
  const eachBytes = sizeBytes / contexts.length - blockStatusBytes;
  const runsMax = Math.floor(eachBytes / blockStatusExtentBytes);
  return contexts.map(({ contextId, runs }) => ({ contextId, runs: runs.slice(0, runsMax) }));
}

/** How many bytes all of the contexts tell about: clients add the lengths of one up and take them for those of all. */
export function coveredBytes(contexts: readonly StatusContext[]): number {
  return Math.min(...contexts.map(({ runs }) => runs.reduce((sum, { length }) => sum + length, 0)));
}

/**
 * Writes the reply of one context at `at`: its descriptors cover `length` bytes (or what the runs have), neighbours of
 * equal status are one. Returns the byte after it. There is at least one run.
 */
export function encodeBlockStatus(
  view: DataView,
  at: number,
  to: Cookie,
  what: StatusContext & { readonly length: number; readonly isLast: boolean },
): number {
  const first = at + blockStatusBytes;
  let end = first;
  let left = what.length;
  let previousStatus = -1;
  for (const run of what.runs) {
    const length = Math.min(run.length, left);
    if (length === 0) continue;
    left -= length;
    const { status } = run;
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
  const { contextId, isLast } = what;
  encodeBlockStatusHeader(view, at, to, { contextId, extentCount, isLast });
  return end;
}
