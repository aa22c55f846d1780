/** Maxima of retention. */
export const retentionLimits = {
  /** A window moves in steps of this part of its length: each is a record, and a little more is kept meanwhile. */
  windowSteps: 32,
  /** Records of one frame may be later than its header says by 0.66 s, and the wall clock is ahead of the pool's by 2 ms at most. */
  anchorMarginMs: 5,
  /** How old history is is written this often: after a crash it grows old ten times faster for the tenth part of that. */
  ageNotedEveryMs: 3_600_000,
  segmentMarginMs: 700,
  /** Pins that are looked through at once (40 ns each, twice), and removed. Those of other volumes wait for the next look. */
  pinsLookedAtMax: 20_000,
  unpinsAtOnceMax: 8000,
  /** Pins of the past that a volume gets with its first tiers: a minute tier of a day has 1,440. */
  pastPinsMax: 20_000,
  /** Segments whose records are read before it is looked whether a budget of bytes reaches further back. */
  pastSegmentsAtOnce: 32,
  /** So finely the past of a budget of bytes is looked at: in parts of the budget. */
  pastBytesSamples: 128,
  /** Of a lock: a hundred years. */
  lockMsMax: 100 * 366 * 86_400_000,
} as const;
