/** Snapshots of one volume. */
import { type Static, Type } from 'typebox';
import { Moment, Name, TimeMs } from './common.ts';

export const Snapshot = Type.Object({
  volume: Type.String(),
  name: Type.String(),
  uuid: Type.String(),
  /** Position in the log: everything before it is in the snapshot. */
  position: Type.Number(),
  createdMs: TimeMs,
  /** Present when the moment was past already when it was named: its time, and what it was called. */
  momentMs: Type.Optional(TimeMs),
  at: Type.Optional(Type.String()),
  /** Size of the volume at that moment. */
  sizeBytes: Type.Number(),
  /** Present while it is locked: neither it nor its volume can be deleted until then. */
  lockedUntilMs: Type.Optional(TimeMs),
  consistency: Type.Literal('crash'),
  /** Read-only export under which NBD clients find it. */
  exportName: Type.String(),
});
export type Snapshot = Static<typeof Snapshot>;

export const SnapshotList = Type.Object({ snapshots: Type.Array(Snapshot) });
export type SnapshotList = Static<typeof SnapshotList>;

/** Without `at` of now. */
export const SnapshotCreate = Type.Object(
  { name: Name, at: Type.Optional(Moment) },
  { additionalProperties: false },
);
export type SnapshotCreate = Static<typeof SnapshotCreate>;

/** 0 = it can be deleted. A lock that is to end earlier than it did is refused without `force`. */
export const SnapshotSet = Type.Object(
  { lockedUntilMs: TimeMs, force: Type.Optional(Type.Boolean()) },
  { additionalProperties: false },
);
export type SnapshotSet = Static<typeof SnapshotSet>;

export const SnapshotPath = Type.Object({ name: Name, snapshot: Name });
export type SnapshotPath = Static<typeof SnapshotPath>;
