/** Volumes. */
import { type Static, Type } from 'typebox';
import { Name, SizeBytes, TimeMs } from './common.ts';

export const Volume = Type.Object({
  name: Type.String(),
  uuid: Type.String(),
  naa: Type.String(),
  serial: Type.String(),
  sizeBytes: Type.Number(),
  /** Bytes with data in the volume's present state. */
  mappedBytes: Type.Number(),
  ack: Type.Union([Type.Literal('durable'), Type.Literal('write-back')]),
  createdMs: TimeMs,
  snapshotCount: Type.Number(),
  /** Clients that have it open now. */
  connectionCount: Type.Number(),
  /** Where NBD clients reach it. */
  nbdUris: Type.Array(Type.String()),
});
export type Volume = Static<typeof Volume>;

export const VolumeList = Type.Object({ volumes: Type.Array(Volume) });
export type VolumeList = Static<typeof VolumeList>;

export const VolumeCreate = Type.Object(
  { name: Name, sizeBytes: SizeBytes },
  { additionalProperties: false },
);
export type VolumeCreate = Static<typeof VolumeCreate>;

export const VolumeRename = Type.Object({ newName: Name }, { additionalProperties: false });
export type VolumeRename = Static<typeof VolumeRename>;

/** Smaller than now is refused without `force`; the refusal says what would be cut. */
export const VolumeResize = Type.Object(
  { sizeBytes: SizeBytes, force: Type.Optional(Type.Boolean()) },
  { additionalProperties: false },
);
export type VolumeResize = Static<typeof VolumeResize>;

export const VolumePath = Type.Object({ name: Name });
export type VolumePath = Static<typeof VolumePath>;

/** What was deleted. */
export const Deleted = Type.Object({ deleted: Type.String() });
export type Deleted = Static<typeof Deleted>;
