/** What the bytes of the pool are there for. */
import { type Static, Type } from 'typebox';
import { Name, TimeMs } from './common.ts';

/** Most deletions that one question may suppose. */
const DELETED_MAX = 4096;

/**
 * `volume`: only this one, with its snapshots. What if: `deleted`, these (VOLUME@SNAPSHOT, or VOLUME) were deleted; `windowMs`,
 * windows, of that volume or of all, were this long.
 */
export const SpaceQuestion = Type.Object(
  {
    volume: Type.Optional(Name),
    deleted: Type.Optional(
      Type.Array(Type.String({ pattern: '^[A-Za-z0-9._-]{1,128}(@[A-Za-z0-9._-]{1,128})?$' }), {
        minItems: 1,
        maxItems: DELETED_MAX,
      }),
    ),
    windowMs: Type.Optional(Type.Integer({ minimum: 0 })),
  },
  { additionalProperties: false },
);
export type SpaceQuestion = Static<typeof SpaceQuestion>;

/** Each block is counted once, in the first of present, snapshots, undo and history that has it. */
const VolumeSpace = Type.Object({
  name: Type.String(),
  kind: Type.Union([Type.Literal('volume'), Type.Literal('view')]),
  uuid: Type.String(),
  sizeBytes: Type.Number(),
  /** Bytes of the present state that have data, each as often as it shows. */
  mappedBytes: Type.Number(),
  presentBytes: Type.Number(),
  snapshotBytes: Type.Number(),
  /** Where undoing the newest rollback or refresh goes back to. */
  undoBytes: Type.Number(),
  /** Only other past moments have it. */
  historyBytes: Type.Number(),
  /** Of the first three: no other volume or view has it; and others have it, too. */
  uniqueBytes: Type.Number(),
  sharedBytes: Type.Number(),
});

const SnapshotSpace = Type.Object({
  name: Type.String(),
  createdMs: TimeMs,
  mappedBytes: Type.Number(),
  /** Nothing else holds it: freed when this snapshot alone is deleted. */
  uniqueBytes: Type.Number(),
});

export const Space = Type.Object({
  /** The moment that all of it is exact for. */
  computedMs: TimeMs,
  /** End of the log that it covers, as an address. */
  end: Type.Number(),
  segmentCount: Type.Number(),
  /** Bytes of segment files without footers; held, history, dead, headers and unwritten add up to it. */
  segmentBytes: Type.Number(),
  /** Volumes, snapshots or undo have it; each block once, whoever shares it. */
  heldBytes: Type.Number(),
  historyBytes: Type.Number(),
  /** Nothing refers to it any more. */
  deadBytes: Type.Number(),
  headerBytes: Type.Number(),
  unwrittenBytes: Type.Number(),
  footerBytes: Type.Number(),
  volumes: Type.Array(VolumeSpace),
  /** Of the volume that was asked for, oldest first. */
  snapshots: Type.Array(SnapshotSpace),
  /** How much more is stored than an hour, a day and a week ago. */
  growth: Type.Array(
    Type.Object({
      periodMs: Type.Number(),
      /** Absent: the pool is younger than the period. */
      bytes: Type.Optional(Type.Number()),
      /** What was written in the period, for it is not known what was given back then. */
      isWritten: Type.Optional(Type.Literal(true)),
      /** When the limits of use are reached at that rate. */
      softMs: Type.Optional(TimeMs),
      hardMs: Type.Optional(TimeMs),
    }),
  ),
  whatIfWindow: Type.Optional(
    Type.Object({
      windowMs: Type.Number(),
      /** Held by the past that such windows leave out, and by nothing else. */
      freedBytes: Type.Number(),
    }),
  ),
  whatIf: Type.Optional(
    Type.Object({
      deleted: Type.Array(Type.String()),
      /** Nothing that would be left holds it. */
      freedBytes: Type.Number(),
      /** History of volumes that would be deleted. */
      historyBytes: Type.Number(),
    }),
  ),
});
export type Space = Static<typeof Space>;
