/** Portals: the addresses under which initiators find the target. */
import { type Static, Type } from 'typebox';

const Address = Type.String({ minLength: 1, maxLength: 64 });
const Port = Type.Integer({ minimum: 1, maximum: 65_535 });

export const Portal = Type.Object({
  address: Type.String(),
  port: Type.Number(),
  /** Portal group tag. */
  group: Type.Number(),
  /** settings: the daemon's --listen and --iscsi-port; added: by an operator. */
  origin: Type.Union([Type.Literal('settings'), Type.Literal('added')]),
  /** Why nobody can come in there; absent = it is open. */
  fault: Type.Optional(Type.String()),
});
export type Portal = Static<typeof Portal>;

export const PortalList = Type.Object({ targetName: Type.String(), portals: Type.Array(Portal) });
export type PortalList = Static<typeof PortalList>;

/** Without `port` 3260, without `group` 1. */
export const PortalAdd = Type.Object(
  {
    address: Address,
    port: Type.Optional(Port),
    group: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535 })),
  },
  { additionalProperties: false },
);
export type PortalAdd = Static<typeof PortalAdd>;

export const PortalPath = Type.Object({
  address: Address,
  port: Type.String({ pattern: '^[0-9]{1,5}$' }),
});
export type PortalPath = Static<typeof PortalPath>;
