/**
 * What each service action of PERSISTENT RESERVE OUT makes of a state (SPC-4 5.9 and 6.16): pure, one function per action.
 *
 *     PrState + sender + command ──▶ refusal
 *                                └──▶ next PrState, unit attentions for others, nexuses that lost their registration
 *
 * The sender never gets a unit attention for its own command.
 */
import { unreachable } from '../base/assert.ts';
import { registrantsMax } from './limits.ts';
import {
  assertPrState,
  isAllRegistrants,
  isForRegistrants,
  isHolder,
  type NexusName,
  nexusText,
  type PrState,
  type PrType,
  type Registrant,
  registrantOf,
} from './persistent-state.ts';
import type { InitiatorPort } from './transport-id.ts';

export const PrOutAction = {
  register: 0,
  reserve: 1,
  release: 2,
  clear: 3,
  preempt: 4,
  preemptAndAbort: 5,
  registerAndIgnore: 6,
  registerAndMove: 7,
} as const;
export type PrOutAction = (typeof PrOutAction)[keyof typeof PrOutAction];

/** A checked parameter list with the CDB's action and type. */
export interface PrOutCommand {
  readonly action: PrOutAction;
  /** reserve, release, preempt. */
  readonly type: PrType | undefined;
  /** RESERVATION KEY. */
  readonly key: bigint;
  /** SERVICE ACTION RESERVATION KEY. */
  readonly actionKey: bigint;
  /** APTPL. */
  readonly isPersistent: boolean;
  /** SPEC_I_PT: more initiator ports to register. undefined = the bit is not set. */
  readonly ports: readonly InitiatorPort[] | undefined;
  /** Target ports to register at: the sender's, or with ALL_TG_PT every one. */
  readonly relativePorts: readonly number[];
  readonly move: { readonly to: NexusName; readonly unregisters: boolean } | undefined;
}

/** Why a command is refused; `reservations` answers with the status or sense. */
export type PrRefusal =
  | 'conflict'
  | 'invalidFieldInCdb'
  | 'invalidFieldInList'
  | 'invalidRelease'
  | 'noResources';

export type PrAttention =
  | 'reservationsPreempted'
  | 'reservationsReleased'
  | 'registrationsPreempted';

export interface PrChange {
  readonly state: PrState;
  /** By `nexusText`. */
  readonly attentions: ReadonlyMap<string, PrAttention>;
  /** Whose registrations were removed by a preempting command, without the sender: their tasks end with PREEMPT AND ABORT. */
  readonly preempted: readonly string[];
}

export type PrOutcome =
  | { readonly refusal: PrRefusal; readonly change?: undefined }
  | { readonly refusal?: undefined; readonly change: PrChange };

/** Applies a command of `sender`. Nothing but the result says what happened: `state` stays as it is. */
export function applyPrOut(state: PrState, sender: NexusName, command: PrOutCommand): PrOutcome {
  const outcome = apply(state, sender, command);
  if (outcome.change !== undefined) assertPrState(outcome.change.state);
  return outcome;
}

function apply(state: PrState, sender: NexusName, command: PrOutCommand): PrOutcome {
  if (command.action === PrOutAction.register) return register(state, sender, command);
  if (command.action === PrOutAction.registerAndIgnore) {
    return registerOrUnregister(state, sender, command);
  }
  const registrant = registrantOf(state, nexusText(sender));
  if (registrant === undefined || registrant.key !== command.key) return { refusal: 'conflict' };
  switch (command.action) {
    case PrOutAction.reserve:
      return reserve(state, registrant, command);
    case PrOutAction.release:
      return release(state, registrant, command);
    case PrOutAction.clear:
      return clear(state, registrant);
    case PrOutAction.preempt:
    case PrOutAction.preemptAndAbort:
      return preempt(state, registrant, command);
    case PrOutAction.registerAndMove:
      return move(state, registrant, command);
    default:
      return unreachable(command.action);
  }
}

// ---- REGISTER (SPC-4 5.9.7)

function register(state: PrState, sender: NexusName, command: PrOutCommand): PrOutcome {
  const registrant = registrantOf(state, nexusText(sender));
  if ((registrant?.key ?? 0n) !== command.key) return { refusal: 'conflict' };
  // More ports may be named only while registering for the first time.
  const isFirst = registrant === undefined && command.actionKey !== 0n;
  if (command.ports !== undefined && !isFirst) return { refusal: 'invalidFieldInList' };
  return registerOrUnregister(state, sender, command);
}

function registerOrUnregister(state: PrState, sender: NexusName, command: PrOutCommand): PrOutcome {
  const counted = { ...counting(state), isPersistent: command.isPersistent };
  if (command.actionKey === 0n) return unregister(counted, sender);
  const senders = command.relativePorts.map((relativePort) => ({ ...sender, relativePort }));
  const added: NexusName[] = [];
  for (const port of command.ports ?? []) {
    for (const relativePort of command.relativePorts) {
      const identity = { ...port, relativePort };
      const text = nexusText(identity);
      if (senders.some((own) => nexusText(own) === text)) continue;
      if (registrantOf(state, text) !== undefined) return { refusal: 'conflict' };
      if (!added.some((other) => nexusText(other) === text)) added.push(identity);
    }
  }
  let registrants = counted.registrants;
  for (const identity of [...senders, ...added]) {
    registrants = withRegistrant(registrants, identity, command.actionKey);
  }
  if (registrants.length > registrantsMax) return { refusal: 'noResources' };
  return changed({ ...counted, registrants });
}

/** The last action key of zero takes the sender's registration, and with it what the sender holds. */
function unregister(state: PrState, sender: NexusName): PrOutcome {
  const identity = nexusText(sender);
  const registrants = state.registrants.filter((other) => nexusText(other) !== identity);
  const { reservation } = state;
  if (reservation === undefined) return changed({ ...state, registrants });
  const isLost = isAllRegistrants(reservation.type)
    ? registrants.length === 0
    : reservation.holder === identity;
  if (!isLost) return changed({ ...state, registrants });
  const attentions = isForRegistrants(reservation.type)
    ? attentionFor(registrants, 'reservationsReleased')
    : undefined;
  return changed({ ...state, registrants, reservation: undefined }, attentions);
}

// ---- RESERVE, RELEASE, CLEAR (5.9.9, 5.9.11.2, 5.9.11.6)

function reserve(state: PrState, sender: Registrant, command: PrOutCommand): PrOutcome {
  const { type } = command;
  if (type === undefined) return { refusal: 'invalidFieldInCdb' };
  const { reservation } = state;
  if (reservation === undefined) return changed(reservedBy(state, sender, type));
  const isSame = reservation.type === type && isHolder(state, nexusText(sender));
  return isSame ? changed(state) : { refusal: 'conflict' };
}

function release(state: PrState, sender: Registrant, command: PrOutCommand): PrOutcome {
  const { reservation } = state;
  const identity = nexusText(sender);
  if (command.type === undefined) return { refusal: 'invalidFieldInCdb' };
  if (reservation === undefined || !isHolder(state, identity)) return changed(state);
  if (reservation.type !== command.type) return { refusal: 'invalidRelease' };
  const attentions = isForRegistrants(reservation.type)
    ? attentionFor(others(state.registrants, identity), 'reservationsReleased')
    : undefined;
  return changed({ ...state, reservation: undefined }, attentions);
}

function clear(state: PrState, sender: Registrant): PrOutcome {
  const lost = others(state.registrants, nexusText(sender));
  return changed(
    { ...counting(state), registrants: [], reservation: undefined },
    attentionFor(lost, 'reservationsPreempted'),
  );
}

// ---- PREEMPT, PREEMPT AND ABORT (5.9.11.4)

function preempt(state: PrState, sender: Registrant, command: PrOutCommand): PrOutcome {
  const { type, actionKey } = command;
  if (type === undefined) return { refusal: 'invalidFieldInCdb' };
  const { reservation } = state;
  if (reservation === undefined) return removeRegistrations(state, sender, actionKey);
  if (isAllRegistrants(reservation.type)) {
    return actionKey === 0n
      ? preemptReservation(state, sender, type, () => true)
      : removeRegistrations(state, sender, actionKey);
  }
  if (registrantOf(state, reservation.holder)?.key !== actionKey) {
    return removeRegistrations(state, sender, actionKey);
  }
  return preemptReservation(state, sender, type, ({ key }) => key === actionKey);
}

/** The sender takes the reservation over; registrants that `isLost` names, the sender apart, go. */
function preemptReservation(
  state: PrState,
  sender: Registrant,
  type: PrType,
  isLost: (registrant: Registrant) => boolean,
): PrOutcome {
  const rest = others(state.registrants, nexusText(sender));
  const lost = rest.filter(isLost);
  const kept = rest.filter((registrant) => !isLost(registrant));
  const attentions = attentionFor(lost, 'registrationsPreempted');
  if (state.reservation?.type !== type) {
    for (const registrant of kept) attentions.set(nexusText(registrant), 'reservationsReleased');
  }
  const registrants = state.registrants.filter((registrant) => !lost.includes(registrant));
  const next = reservedBy({ ...counting(state), registrants }, sender, type);
  return changed(next, attentions, lost);
}

/** Removes every registration with `key`, the sender's own too; the reservation stays unless nobody is left to hold it. */
function removeRegistrations(state: PrState, sender: Registrant, key: bigint): PrOutcome {
  if (key === 0n) return { refusal: 'invalidFieldInList' };
  const registrants = state.registrants.filter((registrant) => registrant.key !== key);
  if (registrants.length === state.registrants.length) return { refusal: 'conflict' };
  const lost = others(
    state.registrants.filter((registrant) => registrant.key === key),
    nexusText(sender),
  );
  const reservation = registrants.length === 0 ? undefined : state.reservation;
  const next = { ...counting(state), registrants, reservation };
  return changed(next, attentionFor(lost, 'registrationsPreempted'), lost);
}

// ---- REGISTER AND MOVE (5.9.8)

function move(state: PrState, sender: Registrant, command: PrOutCommand): PrOutcome {
  const { reservation } = state;
  if (reservation === undefined) return { refusal: 'invalidFieldInCdb' };
  if (isAllRegistrants(reservation.type)) return { refusal: 'conflict' };
  if (reservation.holder !== nexusText(sender)) return { refusal: 'conflict' };
  const { move: target, actionKey, isPersistent } = command;
  if (target === undefined || actionKey === 0n) return { refusal: 'invalidFieldInList' };
  const { to, unregisters } = target;
  const isOwnPort = to.initiatorName === sender.initiatorName && to.isid === sender.isid;
  if (isOwnPort) return { refusal: 'invalidFieldInList' };
  let registrants = withRegistrant(state.registrants, to, actionKey);
  if (unregisters) registrants = others(registrants, nexusText(sender));
  if (registrants.length > registrantsMax) return { refusal: 'noResources' };
  return changed({
    ...counting(state),
    isPersistent,
    registrants,
    reservation: { type: reservation.type, holder: nexusText(to) },
  });
}

// ---- helpers

function changed(
  state: PrState,
  attentions: ReadonlyMap<string, PrAttention> = new Map(),
  lost: readonly Registrant[] = [],
): PrOutcome {
  return { change: { state, attentions, preempted: lost.map(nexusText) } };
}

function counting(state: PrState): PrState {
  return { ...state, generation: (state.generation + 1) >>> 0 };
}

function reservedBy(state: PrState, sender: Registrant, type: PrType): PrState {
  const holder = isAllRegistrants(type) ? '' : nexusText(sender);
  return { ...state, reservation: { type, holder } };
}

function others(registrants: readonly Registrant[], identity: string): Registrant[] {
  return registrants.filter((registrant) => nexusText(registrant) !== identity);
}

function attentionFor(
  registrants: readonly Registrant[],
  attention: PrAttention,
): Map<string, PrAttention> {
  return new Map(registrants.map((registrant) => [nexusText(registrant), attention]));
}

/** Registers the nexus, or gives it a new key in its place. */
function withRegistrant(
  registrants: readonly Registrant[],
  identity: NexusName,
  key: bigint,
): readonly Registrant[] {
  const { initiatorName, isid, relativePort } = identity;
  const registrant = { initiatorName, isid, relativePort, key };
  const text = nexusText(identity);
  const at = registrants.findIndex((other) => nexusText(other) === text);
  return at < 0 ? [...registrants, registrant] : registrants.with(at, registrant);
}
