/** Past moments of a volume, and what happened between them. */
import { type Static, Type } from 'typebox';
import { Moment, TimeMs } from './common.ts';

/** Where a moment lies. */
export const MomentPlace = Type.Object({
  /** Names the same moment whenever it is read. */
  at: Type.String(),
  /** Everything before it in the log belongs to the moment. */
  position: Type.Number(),
  /** The time that was asked for, or that of the newest record in it. */
  timeMs: TimeMs,
  line: Type.Number(),
  /** Size of the volume then. */
  sizeBytes: Type.Number(),
});
export type MomentPlace = Static<typeof MomentPlace>;

export const MomentOpen = Type.Object({ at: Moment }, { additionalProperties: false });
export type MomentOpen = Static<typeof MomentOpen>;

const Count = Type.String({ pattern: '^[0-9]{1,15}$' });

/** `offset`: byte to begin at, a multiple of 4096. `limit`: extents of one answer, at most 65,536. */
export const DiffQuery = Type.Object(
  { from: Moment, to: Moment, offset: Type.Optional(Count), limit: Type.Optional(Count) },
  { additionalProperties: false },
);
export type DiffQuery = Static<typeof DiffQuery>;

/** Bytes that differ between two moments: written, trimmed or zeroed. */
export const Diff = Type.Object({
  from: MomentPlace,
  to: MomentPlace,
  /** In order, apart from each other, whole 4 KiB blocks. */
  extents: Type.Array(Type.Object({ offset: Type.Number(), length: Type.Number() })),
  /** Absent: that was all. Else ask again from there, with the moments as they are named in `from` and `to`. */
  nextOffset: Type.Optional(Type.Number()),
});
export type Diff = Static<typeof Diff>;

export const ChangesQuery = Type.Object(
  { from: Moment, to: Moment },
  { additionalProperties: false },
);
export type ChangesQuery = Static<typeof ChangesQuery>;

/** How many changes there are between two moments, and the one in the middle (rounded up): for halving. */
export const Changes = Type.Object({
  from: MomentPlace,
  to: MomentPlace,
  changeCount: Type.Number(),
  middle: Type.Optional(
    Type.Object({
      position: Type.Number(),
      timeMs: TimeMs,
      kind: Type.Union([
        Type.Literal('write'),
        Type.Literal('zero'),
        Type.Literal('trim'),
        Type.Literal('clone'),
        Type.Literal('resize'),
        Type.Literal('revert'),
        /** Before the window: everything from one kept moment to the next counts as one. */
        Type.Literal('several'),
      ]),
      /** Bytes; both 0 for what concerns the volume as a whole. */
      offset: Type.Number(),
      length: Type.Number(),
    }),
  ),
});
export type Changes = Static<typeof Changes>;

/** Without `from` since the volume was made, without `to` until now; 60 buckets and 8 gaps unless told. */
export const RateQuery = Type.Object(
  {
    from: Type.Optional(Moment),
    to: Type.Optional(Moment),
    buckets: Type.Optional(Count),
    gaps: Type.Optional(Count),
  },
  { additionalProperties: false },
);
export type RateQuery = Static<typeof RateQuery>;

export const Rate = Type.Object({
  /** From where on every moment can be opened. */
  windowFromMs: TimeMs,
  fromMs: TimeMs,
  toMs: TimeMs,
  /** Of equal length, oldest first. */
  buckets: Type.Array(
    Type.Object({
      fromMs: TimeMs,
      writtenBytes: Type.Number(),
      /** Trimmed or zeroed. */
      clearedBytes: Type.Number(),
      changeCount: Type.Number(),
    }),
  ),
  /** When nothing changed, longest first; `position` names the state during the gap. */
  gaps: Type.Array(Type.Object({ fromMs: TimeMs, toMs: TimeMs, position: Type.Number() })),
});
export type Rate = Static<typeof Rate>;
