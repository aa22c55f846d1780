/** Maxima of the scrubber. */
export const scrubLimits = {
  /** While clients write, so many times slower. */
  busyFactor: 4,
  /** Bytes of log written between two steps from which on clients count as busy. */
  busyBytes: 2 ** 20,
  /** At least so much at once: less costs more in messages than in reading. */
  stepBytesMin: 2 ** 16,
  /** At most so much at once: the keeper does nothing else meanwhile. */
  stepBytesMax: 2 ** 20,
  /** Steps a second, as far as the two above allow. */
  stepsPerSecond: 20,
  /** From the start of a pass to that of the next. */
  passEveryMs: 24 * 3_600_000,
  /** A pool that was just opened has other things to do. */
  firstStepAfterMs: 10_000,
  /** Segments between two notes of where it is. */
  segmentsPerNote: 16,
  findingsMax: 1000,
} as const;
