/** What a pass of the liveness mark works from: plain data, sent to the keeper; the bitmaps are memory that both see. */
import type { RunPlace } from '../index/run-format.ts';
import type { RunSummary } from '../index/run-writer.ts';

/** A stretch of the log, in the order of the log. */
export type MarkPiece =
  | { readonly kind: 'run'; readonly place: RunPlace }
  | { readonly kind: 'segment'; readonly segId: number; readonly epoch: number }
  /** Not sealed: its frames are read up to where the log was durable. */
  | { readonly kind: 'open-segment'; readonly segId: number; readonly endAddress: number };

/** What is kept of a line, and how its volume's size changed. */
export interface MarkLine {
  readonly line: number;
  /** Ascending cuts. */
  readonly pins: Float64Array;
  readonly windowFrom: number;
  readonly windowTo: number;
  /** In log order, two numbers each: position, and blocks of the volume from there on. */
  readonly resizes: Float64Array;
}

/** Sealed segments, ascending; three parallel lists. */
export interface MarkSegments {
  readonly segIds: Float64Array;
  readonly epochs: Float64Array;
  /** First address behind the last frame of each. */
  readonly endAddresses: Float64Array;
  /** The first bytes of each, `digestTagBytes` of them. */
  readonly digests: Uint8Array;
}

export interface MarkPlan {
  /** All sealed segments of the log: a run is believed when it was made of exactly those in its range. */
  readonly sealed: MarkSegments;
  readonly segmentSlots: number;
  /** What holds the records of the whole log. */
  readonly pieces: readonly MarkPiece[];
  /** Lines of which something is kept, by id. */
  readonly lines: readonly MarkLine[];
  /** The log was durable up to this position: what is kept behind it says nothing of what lies before. */
  readonly endPosition: number;
  /** Runs among the pieces that are written again without what no kept state can see. */
  readonly thin: readonly RunPlace[];
  /** Only those of which at most this share of entries stays. */
  readonly keptShareMax: number;
  /** Sealed segments that are judged, by their place in `sealed`. */
  readonly first: number;
  readonly count: number;
  /** Zeros at first; filled by the pass: `bitmapBytesOf(segmentSlots)` bytes for each segment that is judged. */
  readonly bitmaps: Uint8Array;
  /** Zeros at first; filled by the pass: live blocks of each. */
  readonly liveBlocks: Uint32Array;
}

export interface MarkStepped {
  /** Post the job again, without a plan: it goes on where it is. */
  readonly isUnfinished: boolean;
  /** Nothing may be called dead. */
  readonly error?: { readonly code: string; readonly message: string };
  /** The error is this run's: it has to be made again. */
  readonly badRun?: RunPlace;
  /** With the last step: what of each run can be seen by states that are kept. */
  readonly counts?: readonly RunCount[];
  /** With the last step: thinned runs, durable under their names and read back from the medium. */
  readonly thinned?: readonly RunSummary[];
  /** Why runs were not thinned: nothing is wrong with the mark itself. */
  readonly thinError?: string;
}

/** How much of a run is needed. */
export interface RunCount {
  readonly place: RunPlace;
  readonly entryCount: number;
  readonly keptCount: number;
}

/** Bytes of a bitmap with one bit for each slot: slot s is bit s % 8 of byte s / 8. */
export function bitmapBytesOf(segmentSlots: number): number {
  return Math.ceil(segmentSlots / 8);
}
