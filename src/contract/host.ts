/** Hosts: who may log in over iSCSI, how they prove who they are, and what they see. */
import { type Static, Type } from 'typebox';
import { Name, TimeMs } from './common.ts';

/** The shape is checked by what knows the rules of iSCSI names; this only keeps nonsense out. */
const InitiatorName = Type.String({ minLength: 1, maxLength: 1024 });
const Initiators = Type.Array(InitiatorName, { maxItems: 256 });

const TargetName = Type.String({ minLength: 1, maxLength: 1024 });

/** A name and a secret of CHAP. Secrets go in only: no answer has one. */
const ChapAccount = Type.Object(
  { user: Type.String({ minLength: 1 }), secret: Type.String() },
  { additionalProperties: false },
);
export type ChapAccount = Static<typeof ChapAccount>;

export const Host = Type.Object({
  name: Type.String(),
  /** Names of its initiators, as they are compared: in lower case. */
  initiators: Type.Array(Type.String()),
  /** Whether it stands for every initiator that no host names. */
  isAnyInitiator: Type.Boolean(),
  /** Whether its sessions may come from this machine only. */
  isLoopbackOnly: Type.Boolean(),
  /** The target that its initiators log in to. */
  targetName: Type.String(),
  /** Whether that target is there for this host only. */
  hasOwnTarget: Type.Boolean(),
  /** User name of the initiator in CHAP; absent = it need not prove itself. */
  chapUserIn: Type.Optional(Type.String()),
  /** User name of the target in mutual CHAP. */
  chapUserOut: Type.Optional(Type.String()),
  createdMs: TimeMs,
  luns: Type.Array(
    Type.Object({ lun: Type.Number(), volume: Type.String(), isReadOnly: Type.Boolean() }),
  ),
  /** Sessions that are open now. */
  sessionCount: Type.Number(),
});
export type Host = Static<typeof Host>;

export const HostList = Type.Object({ hosts: Type.Array(Host) });
export type HostList = Static<typeof HostList>;

const settings = {
  isAnyInitiator: Type.Optional(Type.Boolean()),
  isLoopbackOnly: Type.Optional(Type.Boolean()),
  /**
   * True: a target of its own, under the name that it has, or one that is made for it unless `targetName` is there. False: the
   * pool's target, as for a new host of which nothing is said.
   */
  hasOwnTarget: Type.Optional(Type.Boolean()),
  targetName: Type.Optional(TargetName),
  chapIn: Type.Optional(ChapAccount),
  chapOut: Type.Optional(ChapAccount),
};

export const HostCreate = Type.Object(
  { name: Name, initiators: Type.Optional(Initiators), ...settings },
  { additionalProperties: false },
);
export type HostCreate = Static<typeof HostCreate>;

/** What is absent stays. Without `force` a change that would end sessions is refused. */
export const HostSet = Type.Object(
  {
    newName: Type.Optional(Name),
    addInitiators: Type.Optional(Initiators),
    removeInitiators: Type.Optional(Initiators),
    ...settings,
    /** in: nobody proves anything any more; out: only the target need not. */
    removeChap: Type.Optional(Type.Union([Type.Literal('in'), Type.Literal('out')])),
    force: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
export type HostSet = Static<typeof HostSet>;

export const HostPath = Type.Object({ name: Name });
export type HostPath = Static<typeof HostPath>;
