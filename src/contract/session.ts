/** iSCSI sessions: initiators that are logged in. */
import { type Static, Type } from 'typebox';
import { Name, TimeMs } from './common.ts';

export const Session = Type.Object({
  /** The target's number for it (TSIH). */
  id: Type.Number(),
  /** Host that the initiator belongs to; absent when somebody unknown asks for targets. */
  host: Type.Optional(Type.String()),
  /** A discovery session only asks for targets. */
  kind: Type.Union([Type.Literal('normal'), Type.Literal('discovery')]),
  initiatorName: Type.String(),
  initiatorAlias: Type.Optional(Type.String()),
  /** The initiator's number for it: 12 hex digits. */
  isid: Type.String(),
  targetName: Type.String(),
  /** Where the initiator connects from. */
  address: Type.String(),
  /** The portal through which it came in. */
  portal: Type.String(),
  sinceMs: TimeMs,
  /** LUN numbers that it sees. */
  luns: Type.Array(Type.Number()),
  commandCount: Type.Number(),
  /** Read and written by the initiator. */
  bytesRead: Type.Number(),
  bytesWritten: Type.Number(),
});
export type Session = Static<typeof Session>;

export const SessionList = Type.Object({ sessions: Type.Array(Session) });
export type SessionList = Static<typeof SessionList>;

/** Only sessions of this host. */
export const SessionQuery = Type.Object(
  { host: Type.Optional(Name) },
  { additionalProperties: false },
);
export type SessionQuery = Static<typeof SessionQuery>;

export const SessionPath = Type.Object({ id: Type.String({ pattern: '^[0-9]{1,9}$' }) });
export type SessionPath = Static<typeof SessionPath>;

export const SessionsDropped = Type.Object({ droppedCount: Type.Number() });
export type SessionsDropped = Static<typeof SessionsDropped>;
