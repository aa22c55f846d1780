/** Maxima and tuned constants of the cleaner. Sizes of packs and steps are in segments: tests and simulator have small ones. */
export const cleanerLimits = {
  /** Nothing that lives is copied while garbage is at most this share of what lives: by the fill of the pool, in between by line.
   *  Copying costs writes, so there is more garbage where there is more room. A pool comes to rest where its fill allows what
   *  garbage it has: with 0.8 of the log's space alive at a fill of 0.89, with 0.9 at 0.93. (`bench cleaner`, uniform writes, 0.9: written
   *  for each that clients wrote 7.0; 7.0, too, with 0.16 at 0.88 and 0.08 at 0.94. 16.2 when all pressure asked for the last point.) */
  garbageShares: [
    { fill: 0.5, share: 1 },
    { fill: 0.85, share: 0.25 },
    { fill: 0.92, share: 0.12 },
    { fill: 0.95, share: 0.02 },
  ],
  /** What a batch cleans down to, as a share of the above: else every mark would find a little to do. (0.9 and 0.97 cost the same: 4.2
   *  and 4.2, 9.8 and 9.7 in `bench cleaner --blocks 32768`, uniform, 0.8 and 0.9.) */
  garbageShareAfter: 0.9,
  /** What counts as the fill at the limits of space, wherever they are; in between and below by line. */
  fillAt: { soft: 0.85, hard: 0.95 },
  /** The fill that counts at least, by pressure. How fast and how often it is cleaned follows the pressure, how far only the fill: with 0.95
   *  for `hard` a pool was cleaned to the last garbage whenever it was half-way between its limits (one pass copied 242 MB to win
   *  47 MB; uniform writes, 0.8: 6.0 instead of 3.7). */
  fillAtLeast: { none: 0, soft: 0.85, hard: 0.85 },
  /** A container that would give less than this share of itself back is left as it is. (The best ones come first, so it counts only
   *  when nothing better is there: leaving those out that give less than half the average back changed nothing, in 80/20 at 0.9
   *  5.6 and 5.6, Zipf at 0.8 2.7 and 2.7.) */
  gainShareMin: 0.02,
  /** Sizes of a pack, in segments. A smaller one comes only from what is left over. */
  packSegmentsMin: 1,
  packSegmentsMax: 8,
  /** Age classes, in segments of log: each reaches to this many times the one before. */
  ageClassFactor: 4,
  /** One batch copies at most so much, in segments; then it is looked again. (4 instead: 4.2 and 4.2, 9.8 and 9.6 as above.) */
  batchSegmentsMax: 16,
  /** Empty members in one pack. */
  deadMembersMax: 1024,
  /** The log is judged again after so much of it was written or trimmed: segments, or a share of what is used, whichever is
   *  more; and not before a pause after the pass before, which is at least so many times what that mark took. */
  markAfter: {
    none: { logSegments: 8, logShare: 0.05, pauseMs: 10_000, pauseFactor: 20 },
    soft: { logSegments: 4, logShare: 0.02, pauseMs: 2000, pauseFactor: 4 },
    hard: { logSegments: 1, logShare: 0.005, pauseMs: 250, pauseFactor: 1 },
  },
  /** A mark after which nothing was packed doubles that, up to so many times. */
  idleDoublingsMax: 4,
  /** How often it is looked whether a mark is due. */
  lookEveryMs: 1000,
  /** A pool that was just opened has other things to do. */
  firstLookAfterMs: 10_000,
  /** Copies: bytes a second, and how many times fewer while clients write. */
  rates: {
    none: { bytesPerSecond: 32 * 2 ** 20, busyFactor: 4 },
    soft: { bytesPerSecond: 128 * 2 ** 20, busyFactor: 2 },
    hard: { bytesPerSecond: 512 * 2 ** 20, busyFactor: 1 },
  },
  /** An index run is thinned when at most this share of its entries is needed and so many are not: then what is written is
   *  less than what is given back; under pressure sooner. */
  thinWhen: {
    none: { keptShareMax: 0.5, entriesMin: 8192 },
    soft: { keptShareMax: 0.75, entriesMin: 2048 },
    hard: { keptShareMax: 0.9, entriesMin: 512 },
  },
  /** Runs that one mark thins: 300 KiB each while it lasts. */
  thinRunsPerMark: 16,
  /** Containers that a pass chooses from: enough for 64 GiB. */
  containersMax: 2048,
  /** What a member takes of a pack beside blocks and footer: its row of the table, header, bitmap, padding. */
  memberBytes: 8192,
  memberTableBytes: 1400,
  /** A thinned footer without records, padded, and at most so much for each live block: record, frame, checksum. */
  thinnedBytes: 4096,
  recordBytes: 68,
  /** This many packs below half a segment are merged into one. */
  smallPacksMin: 16,
} as const;
