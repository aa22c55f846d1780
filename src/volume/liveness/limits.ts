/** Maxima of liveness and space accounting. */
export const livenessLimits = {
  /** The walk over moments compares this many leaves (2 MiB of a volume each) before it looks at the clock. */
  walkLeavesPerCall: 32,
  /** RAM of the table of holders, 32 KiB a segment: 256 GiB of log at once, more in several passes. */
  holderTableBytes: 256 * 2 ** 20,
  /** Looking at a segment's records costs about as much as comparing so many leaves that must be made from the index. */
  leavesPerSegment: 24,
  /** Segments whose records are remembered from one pair of neighbours to the next: 256 KiB each. */
  segmentsRemembered: 32,
} as const;
