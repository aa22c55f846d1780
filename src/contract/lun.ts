/** LUN maps: which volume a host sees under which number. */
import { type Static, Type } from 'typebox';
import { Name, TimeMs } from './common.ts';

/** Numbers that SCSI's flat addressing has. */
const LunNumber = Type.Integer({ minimum: 0, maximum: 16_383 });

export const Lun = Type.Object({
  host: Type.String(),
  lun: Type.Number(),
  /** Name of the volume or view; its uuid when there is no such volume any more. */
  volume: Type.String(),
  volumeUuid: Type.String(),
  isReadOnly: Type.Boolean(),
  createdMs: TimeMs,
  /** The following are absent when there is no such volume any more. */
  sizeBytes: Type.Optional(Type.Number()),
  naa: Type.Optional(Type.String()),
  ack: Type.Optional(Type.Union([Type.Literal('durable'), Type.Literal('write-back')])),
  /** Where initiators find it. */
  iscsiUris: Type.Array(Type.String()),
});
export type Lun = Static<typeof Lun>;

export const LunList = Type.Object({ luns: Type.Array(Lun) });
export type LunList = Static<typeof LunList>;

/** Only maps of this host, or of this volume. */
export const LunQuery = Type.Object(
  { host: Type.Optional(Name), volume: Type.Optional(Name) },
  { additionalProperties: false },
);
export type LunQuery = Static<typeof LunQuery>;

/** Without `lun`: the number that other hosts know the volume by, else the lowest free one. */
export const LunMap = Type.Object(
  {
    volume: Name,
    host: Name,
    lun: Type.Optional(LunNumber),
    isReadOnly: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
export type LunMap = Static<typeof LunMap>;

export const LunPath = Type.Object({ name: Name, volume: Name });
export type LunPath = Static<typeof LunPath>;

export const LunUnmapped = Type.Object({
  host: Type.String(),
  volume: Type.String(),
  lun: Type.Number(),
});
export type LunUnmapped = Static<typeof LunUnmapped>;
