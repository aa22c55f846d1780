/** Volumes. */
import { type Static, Type } from 'typebox';
import { Moment, Name, SizeBytes, TimeMs } from './common.ts';

/** When a write is answered: when it is durable, or when it is written (then flushes make it durable). */
const Ack = Type.Union([Type.Literal('durable'), Type.Literal('write-back')]);
export type Ack = Static<typeof Ack>;

/** Thick: the pool keeps space for the whole volume, so that its writes are not refused while that lasts. */
const Provisioning = Type.Union([Type.Literal('thin'), Type.Literal('thick')]);
export type Provisioning = Static<typeof Provisioning>;

/** How much of its past a volume keeps. */
const Cdp = Type.Object({
  /** "all:1h,1m:24h,1h:7d,1d:30d": every moment for 1 h, then one a minute up to 24 h, and so on. */
  policy: Type.String(),
  /** Every moment is to be kept until it is this old; absent = for ever. */
  requestedMs: Type.Optional(Type.Number()),
  /** ... of this many bytes written at most; absent = of however many. */
  budgetBytes: Type.Optional(Type.Number()),
  /** Every moment can be opened until it is this old, that is since `fromMs`. */
  effectiveMs: Type.Number(),
  fromMs: TimeMs,
  /**
   * Why the two differ. requested: they do not. young: nothing was old enough yet. idle: nothing was written since. growing: what is
   * missing was given up before. budget, pool-full: shortened.
   */
  reason: Type.Union([
    Type.Literal('unlimited'),
    Type.Literal('requested'),
    Type.Literal('young'),
    Type.Literal('idle'),
    Type.Literal('growing'),
    Type.Literal('budget'),
    Type.Literal('pool-full'),
  ]),
  /** A pool that is short of space takes nothing of the window and the pins. */
  isGuaranteed: Type.Boolean(),
  /** Automatic pins. */
  pinCount: Type.Number(),
});
export type Cdp = Static<typeof Cdp>;

/** A policy, its first term alone ("1h", "0", "unlimited", "1h/10G"), and whether it is guaranteed; what is absent stays. */
const cdpWanted = {
  cdpPolicy: Type.Optional(Type.String({ maxLength: 500 })),
  cdpWindow: Type.Optional(Type.String({ maxLength: 100 })),
  cdpGuarantee: Type.Optional(Type.Boolean()),
};

/** What a volume and a view have in common. */
export const volumeFields = {
  name: Type.String(),
  uuid: Type.String(),
  naa: Type.String(),
  serial: Type.String(),
  sizeBytes: Type.Number(),
  /** Bytes with data in the volume's present state. */
  mappedBytes: Type.Number(),
  /** Present: it is at least that; the map was not looked at in full since the pool was opened. */
  isMappedPartial: Type.Optional(Type.Literal(true)),
  ack: Ack,
  provisioning: Provisioning,
  cdp: Cdp,
  createdMs: TimeMs,
  snapshotCount: Type.Number(),
  /** NBD clients that have it open now. */
  connectionCount: Type.Number(),
  /** iSCSI sessions of initiators that see it as a LUN. */
  sessionCount: Type.Number(),
  /** Persistent reservations tell initiators apart by name alone, without the ISID. */
  prIgnoresIsid: Type.Boolean(),
  /** Where NBD clients reach it. */
  nbdUris: Type.Array(Type.String()),
  /** Hosts that see it, and where their initiators find it. */
  luns: Type.Array(
    Type.Object({
      host: Type.String(),
      lun: Type.Number(),
      isReadOnly: Type.Boolean(),
      iscsiUris: Type.Array(Type.String()),
    }),
  ),
};

export const Volume = Type.Object({
  ...volumeFields,
  /** A view is shown here, too: it can do what a volume can, and both share one space of names. */
  kind: Type.Union([Type.Literal('volume'), Type.Literal('view')]),
});
export type Volume = Static<typeof Volume>;

export const VolumeList = Type.Object({ volumes: Type.Array(Volume) });
export type VolumeList = Static<typeof VolumeList>;

export const VolumeCreate = Type.Object(
  {
    name: Name,
    sizeBytes: SizeBytes,
    ack: Type.Optional(Ack),
    provisioning: Type.Optional(Provisioning),
    ...cdpWanted,
  },
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

/** What is absent stays. A window that gives up moments which can be opened now is refused without `force`. */
export const VolumeSet = Type.Object(
  {
    ack: Type.Optional(Ack),
    prIgnoresIsid: Type.Optional(Type.Boolean()),
    provisioning: Type.Optional(Provisioning),
    ...cdpWanted,
    force: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false, minProperties: 1 },
);
export type VolumeSet = Static<typeof VolumeSet>;

/** Name of the new volume. */
export const VolumeClone = Type.Object({ name: Name }, { additionalProperties: false });
export type VolumeClone = Static<typeof VolumeClone>;

/** With clients connected this is refused without `disconnect`. */
export const VolumeRollback = Type.Object(
  { to: Moment, disconnect: Type.Optional(Type.Boolean()) },
  { additionalProperties: false },
);
export type VolumeRollback = Static<typeof VolumeRollback>;

export const VolumeUndoRollback = Type.Object(
  { disconnect: Type.Optional(Type.Boolean()) },
  { additionalProperties: false },
);
export type VolumeUndoRollback = Static<typeof VolumeUndoRollback>;

/** One stretch of a volume's history. The last one is the present. */
const Line = Type.Object({
  line: Type.Number(),
  startedMs: TimeMs,
  /** Position in the log where it begins, and where it was left; absent = it is the present. */
  fromPosition: Type.Number(),
  leftPosition: Type.Optional(Type.Number()),
  reason: Type.Union([
    Type.Literal('created'),
    Type.Literal('view'),
    Type.Literal('rollback'),
    Type.Literal('undo'),
    Type.Literal('refresh'),
  ]),
  /** The moment with which it began; empty when it began empty. */
  label: Type.String(),
  /** Snapshots that were taken in it and still exist, oldest first. */
  snapshots: Type.Array(Type.String()),
});
export type Line = Static<typeof Line>;

/** A moment that is kept although the window has passed it (an automatic pin or a snapshot), or where the window begins. */
const Kept = Type.Object({
  kind: Type.Union([Type.Literal('pin'), Type.Literal('snapshot'), Type.Literal('window')]),
  /** Names it. */
  at: Type.String(),
  position: Type.Number(),
  timeMs: TimeMs,
});
export type Kept = Static<typeof Kept>;

/** Oldest first. Nothing `kept`: every moment since the volume was made can be opened. */
export const VolumeHistory = Type.Object({ lines: Type.Array(Line), kept: Type.Array(Kept) });
export type VolumeHistory = Static<typeof VolumeHistory>;

export const VolumePath = Type.Object({ name: Name });
export type VolumePath = Static<typeof VolumePath>;

/** What was deleted. */
export const Deleted = Type.Object({ deleted: Type.String() });
export type Deleted = Static<typeof Deleted>;
