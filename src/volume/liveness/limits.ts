/** Maxima of liveness and space accounting. */
export const livenessLimits = {
  /** The walk over moments compares this many leaves (2 MiB of a volume each) before it looks at the clock. */
  walkLeavesPerCall: 32,
  /** RAM of the table of holders, 32 KiB a segment: 256 GiB of log at once, more in several passes. */
  holderTableBytes: 256 * 2 ** 20,
} as const;
