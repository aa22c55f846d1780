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

export const SnapshotPath = Type.Object({ name: Name, snapshot: Name });
export type SnapshotPath = Static<typeof SnapshotPath>;
