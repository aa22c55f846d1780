/**
 * The persistent reservation of one logical unit as a value: registrants, at most one reservation, generation.
 *
 *     PrState ──changed by persistent-commands.ts──▶ next PrState ──stored when persistent──▶ in force
 *
 * A state never changes: PERSISTENT RESERVE OUT makes the next one, which takes effect only when it is durable.
 *
 * Invariants
 * 1. Identities of registrants are unique; keys are not zero.
 * 2. A reservation's holder is a registrant; of an all registrants type every registrant holds, and there is one.
 */
import { assert } from '../base/assert.ts';
import type { InitiatorPort } from './transport-id.ts';

/** SPC-4 table 214. */
export const PrType = {
  writeExclusive: 1,
  exclusiveAccess: 3,
  writeExclusiveRegistrantsOnly: 5,
  exclusiveAccessRegistrantsOnly: 6,
  writeExclusiveAllRegistrants: 7,
  exclusiveAccessAllRegistrants: 8,
} as const;
export type PrType = (typeof PrType)[keyof typeof PrType];

/** An initiator port seen through one target port: one I_T nexus. */
export interface NexusName extends InitiatorPort {
  /** Names the target port; 1 and up. */
  readonly relativePort: number;
}

export interface Registrant extends NexusName {
  readonly key: bigint;
}

export interface PrReservation {
  readonly type: PrType;
  /** `nexusText` of the holder; empty for the all registrants types. */
  readonly holder: string;
}

export interface PrState {
  /** PRGENERATION, 32 bits. */
  readonly generation: number;
  /** APTPL of the latest registration: kept over a restart. */
  readonly isPersistent: boolean;
  readonly registrants: readonly Registrant[];
  readonly reservation: PrReservation | undefined;
}

export const emptyPrState: PrState = {
  generation: 0,
  isPersistent: false,
  registrants: [],
  reservation: undefined,
};

export function isPrType(type: number): type is PrType {
  return Object.values(PrType).some((known) => known === type);
}

export function isAllRegistrants(type: PrType): boolean {
  return (
    type === PrType.writeExclusiveAllRegistrants || type === PrType.exclusiveAccessAllRegistrants
  );
}

/** Registrants only and all registrants types: whoever is registered has access. */
export function isForRegistrants(type: PrType): boolean {
  return type >= PrType.writeExclusiveRegistrantsOnly;
}

/** Write exclusive types let everybody read. */
export function isWriteExclusive(type: PrType): boolean {
  return (
    type === PrType.writeExclusive ||
    type === PrType.writeExclusiveRegistrantsOnly ||
    type === PrType.writeExclusiveAllRegistrants
  );
}

/** Unique text of an I_T nexus; neither a name nor an ISID holds a comma. */
export function nexusText({ initiatorName, isid, relativePort }: NexusName): string {
  return `${initiatorName},${isid},${relativePort}`;
}

export function registrantOf(state: PrState, identity: string): Registrant | undefined {
  return state.registrants.find((registrant) => nexusText(registrant) === identity);
}

/** Whether the nexus is the holder, or one of the holders. */
export function isHolder(state: PrState, identity: string): boolean {
  const { reservation } = state;
  if (reservation === undefined) return false;
  if (!isAllRegistrants(reservation.type)) return reservation.holder === identity;
  return registrantOf(state, identity) !== undefined;
}

/**
 * The state with registrants told apart by initiator name and target port alone. Several ports of one initiator become one
 * registrant: the holder if it is among them, else the one that registered first.
 */
export function withoutIsids(state: PrState): PrState {
  const { reservation } = state;
  const holder = state.registrants.find((each) => nexusText(each) === reservation?.holder);
  const byName = new Map<string, Registrant>();
  for (const each of holder === undefined ? state.registrants : [holder, ...state.registrants]) {
    const named = { ...each, isid: '' };
    if (!byName.has(nexusText(named))) byName.set(nexusText(named), named);
  }
  const registrants = [...byName.values()];
  if (reservation === undefined || holder === undefined) return { ...state, registrants };
  const next = { ...reservation, holder: nexusText({ ...holder, isid: '' }) };
  return { ...state, registrants, reservation: next };
}

/** Checks the invariants of a state that was made here. */
export function assertPrState(state: PrState): void {
  const identities = new Set(state.registrants.map(nexusText));
  assert(identities.size === state.registrants.length, 'registered once per nexus');
  assert(
    state.registrants.every(({ key }) => key !== 0n),
    'registered keys are not zero',
  );
  const { reservation } = state;
  if (reservation === undefined) return;
  const isHeld = isAllRegistrants(reservation.type)
    ? reservation.holder === '' && identities.size > 0
    : identities.has(reservation.holder);
  assert(isHeld, 'a persistent reservation is held by a registrant');
}
