/**
 * Parameter data of PERSISTENT RESERVE IN and OUT (SPC-4 6.15 and 6.16): bytes to commands, states to bytes.
 */
import { u8, u16be, u32be, viewOf } from '../base/fields.ts';
import { PrOutAction, type PrOutCommand } from './persistent-commands.ts';
import {
  isHolder,
  isPrType,
  type NexusName,
  nexusText,
  type PrState,
  PrType,
} from './persistent-state.ts';
import {
  decodeTransportId,
  encodeTransportId,
  type InitiatorPort,
  transportIdBytes,
} from './transport-id.ts';

/** Basic parameter list of PERSISTENT RESERVE OUT; the keys are at 0 and 8. */
const basicList = { flags: u8(20), transportIdsBytes: u32be(24) } as const;
export const basicListBytes = 24;
const transportIdsAt = 28;
const flagSpecifiesPorts = 0x08;
const flagAllTargetPorts = 0x04;
const flagPersistent = 0x01;

/** Parameter list of REGISTER AND MOVE; the keys are at 0 and 8. */
const moveList = { flags: u8(17), relativePort: u16be(18), transportIdBytes: u32be(20) } as const;
const moveTransportIdAt = 24;
const flagUnregister = 0x02;

/** What the parameter list is read against. */
export interface PrOutContext {
  readonly action: PrOutAction;
  /** CDB byte 2: scope and type. */
  readonly scopeType: number;
  readonly senderPort: number;
  /** Every target port, for ALL_TG_PT. */
  readonly relativePorts: readonly number[];
  /** Registrants are told apart by name alone. */
  readonly ignoresIsid: boolean;
}

export type PrOutDecoded =
  | { readonly command: PrOutCommand; readonly problem?: undefined }
  | { readonly command?: undefined; readonly problem: 'length' | 'field' };

/** Checks and reads a parameter list of at least `basicListBytes`. */
export function decodePrOut(list: Uint8Array, context: PrOutContext): PrOutDecoded {
  const view = viewOf(list);
  const isScopeKnown = context.scopeType >> 4 === 0;
  const type = context.scopeType & 0x0f;
  const common = {
    action: context.action,
    type: isScopeKnown && isPrType(type) ? type : undefined,
    key: view.getBigUint64(0),
    actionKey: view.getBigUint64(8),
  };
  if (context.action === PrOutAction.registerAndMove) return decodeMove(view, common, context);
  const flags = basicList.flags.get(view, 0);
  if ((flags & ~(flagSpecifiesPorts | flagAllTargetPorts | flagPersistent)) !== 0) {
    return { problem: 'field' };
  }
  const registers =
    context.action === PrOutAction.register || context.action === PrOutAction.registerAndIgnore;
  const isForAllPorts = registers && (flags & flagAllTargetPorts) !== 0;
  const command: PrOutCommand = {
    ...common,
    isPersistent: (flags & flagPersistent) !== 0,
    ports: undefined,
    relativePorts: isForAllPorts ? context.relativePorts : [context.senderPort],
    move: undefined,
  };
  if ((flags & flagSpecifiesPorts) === 0) {
    return list.length === basicListBytes ? { command } : { problem: 'length' };
  }
  if (context.action !== PrOutAction.register) return { problem: 'field' };
  if (list.length < transportIdsAt) return { problem: 'length' };
  if (list.length !== transportIdsAt + basicList.transportIdsBytes.get(view, 0)) {
    return { problem: 'length' };
  }
  const ports = decodePorts(view, transportIdsAt, context.ignoresIsid);
  return ports === undefined ? { problem: 'field' } : { command: { ...command, ports } };
}

function decodePorts(
  view: DataView,
  start: number,
  ignoresIsid: boolean,
): InitiatorPort[] | undefined {
  const ports: InitiatorPort[] = [];
  let at = start;
  while (at < view.byteLength) {
    const decoded = decodeTransportId(view, at, view.byteLength);
    const port = decoded === undefined ? undefined : usablePort(decoded.port, ignoresIsid);
    if (decoded === undefined || port === undefined) return undefined;
    ports.push(port);
    at += decoded.sizeBytes;
  }
  return ports;
}

/** A name without ISID is no initiator port, unless ISIDs do not count here. */
function usablePort(port: InitiatorPort, ignoresIsid: boolean): InitiatorPort | undefined {
  if (ignoresIsid) return { initiatorName: port.initiatorName, isid: '' };
  return port.isid === '' ? undefined : port;
}

function decodeMove(
  view: DataView,
  common: Pick<PrOutCommand, 'action' | 'type' | 'key' | 'actionKey'>,
  context: PrOutContext,
): PrOutDecoded {
  const flags = moveList.flags.get(view, 0);
  if ((flags & ~(flagUnregister | flagPersistent)) !== 0) return { problem: 'field' };
  if (view.byteLength !== moveTransportIdAt + moveList.transportIdBytes.get(view, 0)) {
    return { problem: 'length' };
  }
  const decoded = decodeTransportId(view, moveTransportIdAt, view.byteLength);
  const port = decoded === undefined ? undefined : usablePort(decoded.port, context.ignoresIsid);
  const relativePort = moveList.relativePort.get(view, 0);
  if (decoded === undefined || port === undefined) return { problem: 'field' };
  if (moveTransportIdAt + decoded.sizeBytes !== view.byteLength) return { problem: 'field' };
  if (!context.relativePorts.includes(relativePort)) return { problem: 'field' };
  const to: NexusName = { ...port, relativePort };
  const command: PrOutCommand = {
    ...common,
    isPersistent: (flags & flagPersistent) !== 0,
    ports: undefined,
    relativePorts: [context.senderPort],
    move: { to, unregisters: (flags & flagUnregister) !== 0 },
  };
  return { command };
}

// ---- PERSISTENT RESERVE IN

/** Header of READ KEYS, READ RESERVATION and READ FULL STATUS. */
const inHeader = { generation: u32be(0), additionalLength: u32be(4) } as const;
const inHeaderBytes = 8;
const keyBytes = 8;

/** READ KEYS (6.15.2). All of these return fresh arrays, not cut to the allocation length. */
export function encodeKeys(state: PrState): Uint8Array {
  const { data, view } = inData(state, state.registrants.length * keyBytes);
  for (const [index, { key }] of state.registrants.entries()) {
    view.setBigUint64(inHeaderBytes + index * keyBytes, key);
  }
  return data;
}

/** READ RESERVATION (6.15.3): the key is at 8. */
const reservationDescriptor = { scopeType: u8(21) } as const;
const reservationBytes = 16;

export function encodeReservation(state: PrState): Uint8Array {
  const { reservation } = state;
  const { data, view } = inData(state, reservation === undefined ? 0 : reservationBytes);
  if (reservation === undefined) return data;
  const holder = state.registrants.find((other) => nexusText(other) === reservation.holder);
  view.setBigUint64(inHeaderBytes, holder?.key ?? 0n);
  reservationDescriptor.scopeType.set(view, 0, reservation.type);
  return data;
}

/** REPORT CAPABILITIES (6.15.4). */
const capabilities = {
  length: u16be(0),
  can: u8(2),
  does: u8(3),
  types: u8(4),
  more: u8(5),
} as const;
const capabilitiesBytes = 8;
/** CRH, SIP_C, ATP_C, PTPL_C. */
const canDo = 0x10 | 0x08 | 0x04 | 0x01;
/** TMV; ALLOW COMMANDS 011b: what reservation-rules.ts lets through; PTPL_A when active. */
const typeMaskValid = 0x80;
const allowCommands = 3 << 4;

export function encodeCapabilities(state: PrState): Uint8Array {
  const data = new Uint8Array(capabilitiesBytes);
  const view = viewOf(data);
  capabilities.length.set(view, 0, capabilitiesBytes);
  capabilities.can.set(view, 0, canDo);
  const active = state.isPersistent ? flagPersistent : 0;
  capabilities.does.set(view, 0, typeMaskValid | allowCommands | active);
  let mask = 0;
  for (const type of Object.values(PrType)) mask |= 1 << type;
  // Byte 4 holds types 0 to 7, byte 5 types 8 to 15.
  capabilities.types.set(view, 0, mask & 0xff);
  capabilities.more.set(view, 0, mask >> 8);
  return data;
}

/** One descriptor of READ FULL STATUS (6.15.5); the key is at 0. */
const fullStatus = {
  flags: u8(12),
  scopeType: u8(13),
  relativePort: u16be(18),
  additionalLength: u32be(20),
} as const;
const fullStatusBytes = 24;
const flagHolds = 0x01;

export function encodeFullStatus(state: PrState): Uint8Array {
  const { registrants, reservation } = state;
  const size = registrants.reduce((sum, port) => sum + fullStatusBytes + transportIdBytes(port), 0);
  const { data, view } = inData(state, size);
  let at = inHeaderBytes;
  for (const registrant of registrants) {
    view.setBigUint64(at, registrant.key);
    if (reservation !== undefined && isHolder(state, nexusText(registrant))) {
      fullStatus.flags.set(view, at, flagHolds);
      fullStatus.scopeType.set(view, at, reservation.type);
    }
    fullStatus.relativePort.set(view, at, registrant.relativePort);
    const idBytes = encodeTransportId(view, at + fullStatusBytes, registrant);
    fullStatus.additionalLength.set(view, at, idBytes);
    at += fullStatusBytes + idBytes;
  }
  return data;
}

function inData(
  state: PrState,
  additionalBytes: number,
): { readonly data: Uint8Array; readonly view: DataView } {
  const data = new Uint8Array(inHeaderBytes + additionalBytes);
  const view = viewOf(data);
  inHeader.generation.set(view, 0, state.generation);
  inHeader.additionalLength.set(view, 0, additionalBytes);
  return { data, view };
}
