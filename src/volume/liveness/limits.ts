/** Maxima of liveness and space accounting. */
export const livenessLimits = {
  /** The walk over moments compares this many leaves (2 MiB of a volume each) before it looks at the clock. */
  walkLeavesPerCall: 8,
  /** RAM of the table of holders, 32 KiB a segment: 256 GiB of log at once, more in several passes. */
  holderTableBytes: 256 * 2 ** 20,
  /** Looking at a segment's records costs about as much as comparing so many leaves that must be made from the index. */
  leavesPerSegment: 24,
  /** Segments whose records are remembered from one pair of neighbours to the next: 256 KiB each. */
  segmentsRemembered: 32,
  /** Leaves between two neighbours, and stretches of leaves, that are remembered: with more of them everything is compared. */
  touchedLeavesMax: 2 ** 20,
  /** Index entries that a pass of the mark looks at before the keeper looks for other work: about 10 ms. */
  markEntriesPerStep: 50_000,
  /** So many blocks take as long as an entry: 18 ns each, the entry 200 to 300. */
  markBlocksPerEntry: 16,
  /** Entries of one leaf of which it is not known yet whether somebody can see them, 33 bytes each: room for so many at first, and
   *  at most; with more of them all stay. */
  sieveEntriesMin: 8192,
  sieveEntriesMax: 65_536,
  /** RAM of the mark's bitmaps, 1 KiB a segment: 4 TiB of log in one pass over the index, more in several. */
  markBitmapBytes: 128 * 2 ** 20,
  /** Index entries of segments that no run covers yet, 33 bytes each: usually those of fewer than ten segments. */
  markSegmentEntriesMax: 8 * 2 ** 20,
  /** Trims of 16 MiB and more of one line, 16 bytes each; what others overwrote seems to live on. */
  wideKillsMax: 2 ** 22,
  /** States of each window that the audit looks at, both ends among them; and faults that it tells. */
  auditStatesPerWindow: 5,
  auditFaultsListedMax: 100,
} as const;
