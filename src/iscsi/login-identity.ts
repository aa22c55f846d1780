/** Who logs in, and where to: the keys of a login's first text, RFC 7143 section 6.3.1. */
import { foldIscsiName } from '../base/iscsi-name.ts';
import type { ChapCredentials, InitiatorIdentity, IscsiHosts, TargetAccess } from './hosts.ts';
import { iscsiNameMaxBytes } from './limits.ts';
import { LoginStatus } from './pdu/login-response.ts';

export type SessionKind = 'normal' | 'discovery';

export interface LoginIdentity {
  readonly kind: SessionKind;
  /** Folded. */
  readonly initiatorName: string;
  /** Empty when none was given. */
  readonly initiatorAlias: string;
  /** Folded; empty in a discovery session. */
  readonly targetName: string;
  /** Name of the host object; empty in a discovery session. */
  readonly host: string;
  /** What must be proven; undefined = nothing. */
  readonly chap: ChapCredentials | undefined;
}

/** Why a login ends. `reason` is for our log, never for the wire. */
export interface Refusal {
  readonly status: LoginStatus;
  readonly reason: string;
}

/** A refusal, and whom it concerns: what the initiator calls itself, proven or not; empty when it gave no name. */
export interface RefusedLogin extends Refusal {
  readonly initiatorName: string;
}

/** The name that an initiator claims, fit for a line of a log: cut to the length of a name, nothing in it that moves a cursor. */
export function claimedName(keys: ReadonlyMap<string, string>): string {
  const given = keys.get('InitiatorName') ?? '';
  return given.slice(0, iscsiNameMaxBytes).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '?');
}

/** Keys that say who logs in. libiscsi says them again in its next stage: the same value twice is no contradiction. */
export const identityKeys: ReadonlySet<string> = new Set([
  'InitiatorName',
  'InitiatorAlias',
  'TargetName',
  'SessionType',
]);

const encoder = new TextEncoder();

/**
 * Folded name; undefined when it is empty, too long, or has characters that no name has (a comma ends names in TransportIDs and
 * in what is kept of persistent reservations). Stricter forms are not asked for.
 */
function nameOf(value: string): string | undefined {
  const name = foldIscsiName(value);
  const isSound = name !== '' && !/[\s,\p{Cc}]/u.test(name);
  return isSound && encoder.encode(name).length <= iscsiNameMaxBytes ? name : undefined;
}

const statusByAccess: Readonly<Record<Exclude<TargetAccess['kind'], 'ok'>, LoginStatus>> = {
  notFound: LoginStatus.notFound,
  forbidden: LoginStatus.authorizationFailure,
  unavailable: LoginStatus.serviceUnavailable,
};

function refusal(status: LoginStatus, reason: string): Refusal {
  return { status, reason };
}

function accessText(access: Exclude<TargetAccess, { kind: 'ok' }>, targetName: string): string {
  if (access.kind === 'forbidden') return `it may not use target ${targetName}: ${access.reason}`;
  const isKnown = access.kind === 'unavailable';
  return isKnown ? `target ${targetName} is not served now` : `there is no target ${targetName}`;
}

/** Name of the initiator in `keys`; everything else depends on it. */
export function initiatorNameOf(keys: ReadonlyMap<string, string>): string | Refusal {
  const given = keys.get('InitiatorName');
  if (given === undefined) return refusal(LoginStatus.missingParameter, 'no InitiatorName');
  return nameOf(given) ?? refusal(LoginStatus.initiatorError, 'invalid InitiatorName');
}

/** Judges the first text of `initiator`. */
export function identify(
  keys: ReadonlyMap<string, string>,
  initiator: InitiatorIdentity,
  hosts: IscsiHosts,
): LoginIdentity | Refusal {
  const type = keys.get('SessionType') ?? 'Normal';
  const initiatorAlias = keys.get('InitiatorAlias') ?? '';
  const common = { initiatorName: initiator.name, initiatorAlias };
  if (type === 'Discovery') {
    const chap = hosts.discoveryChap(initiator);
    return { ...common, kind: 'discovery', targetName: '', host: '', chap };
  }
  if (type !== 'Normal') {
    return refusal(LoginStatus.sessionTypeNotSupported, `SessionType ${type}`);
  }
  const given = keys.get('TargetName');
  if (given === undefined) return refusal(LoginStatus.missingParameter, 'no TargetName');
  const targetName = nameOf(given);
  if (targetName === undefined) return refusal(LoginStatus.notFound, 'invalid TargetName');
  const access = hosts.access(initiator, targetName);
  if (access.kind !== 'ok') {
    return refusal(statusByAccess[access.kind], accessText(access, targetName));
  }
  return { ...common, kind: 'normal', targetName, host: access.host, chap: access.chap };
}
