/**
 * Whether a request's desired state of iSCSI is one, down to the last field: what is not understood could be a rule that is not kept.
 */
import { iscsiName } from '../base/iscsi-name.ts';
import type { IscsiWanted } from './protocol.ts';
import {
  CHAP_SECRET_MAX_BYTES,
  HOSTS_MAX,
  ISCSI_PORTALS_MAX,
  LUN_MAX,
  LUNS_MAX,
  TEXT_PARAM_MAX_CHARS,
} from './rpc-limits.ts';

type Fields = Readonly<Record<string, unknown>>;
type Check = (value: unknown) => boolean;

const uuidPattern = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function isIscsiWanted(value: unknown): boolean {
  return (
    hasFields(value, {
      targetName: isNodeName,
      portals: listOf(isPortal, ISCSI_PORTALS_MAX),
      hosts: isHosts,
    }) && hasOwnTargets(value as IscsiWanted)
  );
}

/** No two hosts have the same target of their own, and none the pool's. Of what was checked already. */
function hasOwnTargets({ targetName, hosts }: IscsiWanted): boolean {
  const own = hosts.flatMap((host) => (host.targetName === undefined ? [] : [host.targetName]));
  return !own.includes(targetName) && new Set(own).size === own.length;
}

/** Ids of sessions. */
export function isIds(value: unknown): boolean {
  return listOf((id) => isNumber(id, 0, 0xffff_ffff), LUNS_MAX)(value);
}

function isHosts(value: unknown): boolean {
  if (!listOf(isHost, HOSTS_MAX)(value)) return false;
  // `isHost` has looked at every one.
  const hosts = value as readonly { initiators: unknown[]; isAnyInitiator: boolean }[];
  const initiators = hosts.flatMap((host) => host.initiators);
  const anyCount = hosts.filter((host) => host.isAnyInitiator).length;
  return anyCount <= 1 && new Set(initiators).size === initiators.length;
}

function isHost(value: unknown): boolean {
  return hasFields(value, {
    name: isText,
    initiators: listOf(isNodeName, LUNS_MAX),
    isAnyInitiator: isFlag,
    isLoopbackOnly: isFlag,
    targetName: (name) => name === undefined || isNodeName(name),
    chapIn: isOptionalChap,
    chapOut: isOptionalChap,
    luns: isLuns,
  });
}

function isLuns(value: unknown): boolean {
  if (!listOf(isLun, LUNS_MAX)(value)) return false;
  // `isLun` has looked at every one.
  const luns = value as readonly { lun: number; volumeUuid: string }[];
  return new Set(luns.map(({ lun }) => lun)).size === luns.length;
}

function isLun(value: unknown): boolean {
  return hasFields(value, {
    lun: (lun) => isNumber(lun, 0, LUN_MAX),
    volumeUuid: (uuid) => typeof uuid === 'string' && uuidPattern.test(uuid),
    isReadOnly: isFlag,
  });
}

function isPortal(value: unknown): boolean {
  return hasFields(value, {
    address: isText,
    port: (port) => isNumber(port, 0, 65_535),
    group: (group) => isNumber(group, 1, 65_535),
  });
}

function isOptionalChap(value: unknown): boolean {
  return value === undefined || hasFields(value, { user: isText, secret: isSecret });
}

function isSecret(value: unknown): boolean {
  if (typeof value !== 'string' || value.length > 2 * CHAP_SECRET_MAX_BYTES) return false;
  return /^(?:[0-9a-f]{2})+$/.test(value);
}

/** In the form in which names are compared, so that nobody is let in or kept out by the case of a letter. */
function isNodeName(value: unknown): boolean {
  return typeof value === 'string' && iscsiName(value) === value;
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && value.length <= TEXT_PARAM_MAX_CHARS;
}

function isFlag(value: unknown): boolean {
  return typeof value === 'boolean';
}

function isNumber(value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && Number(value) >= min && Number(value) <= max;
}

function listOf(isEntry: Check, max: number): Check {
  return (value) => Array.isArray(value) && value.length <= max && value.every(isEntry);
}

/** Whether `value` is an object with fields that pass their checks, and no others. */
function hasFields(value: unknown, checks: Readonly<Record<string, Check>>): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  // An object, as was just seen.
  const fields = value as Fields;
  return (
    Object.keys(fields).every((name) => Object.hasOwn(checks, name)) &&
    Object.entries(checks).every(([name, isFine]) => isFine(fields[name]))
  );
}
