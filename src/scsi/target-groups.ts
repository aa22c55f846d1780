/**
 * Target port groups: which target ports there are, and how good a way to the logical units each group is (ALUA, SPC-4
 * 5.15). Implicit only: the appliance decides, hosts look with REPORT TARGET PORT GROUPS.
 *
 * Every logical unit of the engine has the same groups: there is one pool behind them.
 */
import { u8, u16be, u32be, viewOf } from '../base/fields.ts';
import { byteAt, u32At } from './bytes.ts';
import type { Command } from './command.ts';
import { transitionSeconds } from './limits.ts';
import { cdbField, SenseCode } from './sense.ts';

/** ASYMMETRIC ACCESS STATE, SPC-4 table 294. */
export const AluaState = {
  optimized: 0x0,
  nonOptimized: 0x1,
  standby: 0x2,
  unavailable: 0x3,
  transitioning: 0xf,
} as const;
export type AluaState = (typeof AluaState)[keyof typeof AluaState];

export interface TargetGroup {
  /** 1 to 65535. */
  readonly id: number;
  readonly state: AluaState;
  readonly isPreferred: boolean;
  /** Relative target port identifiers. */
  readonly ports: readonly number[];
}

export class TargetGroups {
  #groups: readonly TargetGroup[] = [];
  #relativePorts: readonly number[] = [];
  #hasChanged = false;
  #isRestricted = false;
  #onChange: () => void = () => {};

  constructor(groups: readonly TargetGroup[]) {
    this.#take(groups);
  }

  get groups(): readonly TargetGroup[] {
    return this.#groups;
  }

  /** Every target port. */
  get relativePorts(): readonly number[] {
    return this.#relativePorts;
  }

  /** Whether a state was ever changed by us: the status code that goes with the states. */
  get hasChanged(): boolean {
    return this.#hasChanged;
  }

  /** Some group does not serve every command: ask `refusal`. */
  get isRestricted(): boolean {
    return this.#isRestricted;
  }

  /** Id of the group of a port; a port that was just removed counts to the first group. */
  groupOf(relativePort: number): number {
    return (this.#find(relativePort) ?? this.#groups[0])?.id ?? 1;
  }

  /** Says whom to tell when hosts must look again (unit attention ASYMMETRIC ACCESS STATE CHANGED). */
  watch(onChange: () => void): void {
    this.#onChange = onChange;
  }

  /** New ports or states; hosts are told when the state of a group changed. */
  update(groups: readonly TargetGroup[]): void {
    const stateById = new Map(this.#groups.map((group) => [group.id, group.state]));
    this.#take(groups);
    const isMoved = groups.some(({ id, state }) => (stateById.get(id) ?? state) !== state);
    if (!isMoved) return;
    this.#hasChanged = true;
    this.#onChange();
  }

  /** Why a command that came in on that port is not served there now; undefined = it is. */
  refusal(relativePort: number, cdb: Uint8Array): SenseCode | undefined {
    const state = this.#find(relativePort)?.state ?? AluaState.optimized;
    if (state <= AluaState.nonOptimized) return undefined;
    const opcode = byteAt(cdb, 0);
    if (servedAlways.has(opcode)) return undefined;
    if (state === AluaState.transitioning) return SenseCode.asymmetricTransition;
    if (state === AluaState.unavailable) return SenseCode.targetPortUnavailable;
    const isReadCapacity16 = opcode === serviceActionIn && (byteAt(cdb, 1) & 0x1f) === 0x10;
    const isServed = servedInStandby.has(opcode) || isReadCapacity16;
    return isServed ? undefined : SenseCode.targetPortInStandby;
  }

  #find(relativePort: number): TargetGroup | undefined {
    return this.#groups.find(({ ports }) => ports.includes(relativePort));
  }

  #take(groups: readonly TargetGroup[]): void {
    this.#groups = groups;
    this.#relativePorts = groups.flatMap(({ ports }) => ports).sort((a, b) => a - b);
    this.#isRestricted = groups.some(({ state }) => state > AluaState.nonOptimized);
  }
}

/** REQUEST SENSE, INQUIRY, REPORT LUNS, MAINTENANCE IN: how a host finds out. */
const servedAlways: ReadonlySet<number> = new Set([0x03, 0x12, 0xa0, 0xa3]);
/** TEST UNIT READY, MODE SELECT and SENSE, RESERVE, RELEASE, SEND DIAGNOSTIC, READ CAPACITY, LOG SENSE, PERSISTENT RESERVE. */
const servedInStandby: ReadonlySet<number> = new Set([
  0x00, 0x15, 0x1a, 0x55, 0x5a, 0x16, 0x17, 0x1d, 0x25, 0x4d, 0x5e, 0x5f,
]);
const serviceActionIn = 0x9e;

// ---- REPORT TARGET PORT GROUPS (SPC-4 6.37)

const basicHeader = { dataBytes: u32be(0) } as const;
const basicHeaderBytes = 4;
const extendedHeader = { dataBytes: u32be(0), format: u8(4), transitionSeconds: u8(5) } as const;
const extendedHeaderBytes = 8;
const formatExtended = 1;
const formatShift = 5;

const groupDescriptor = {
  state: u8(0),
  supported: u8(1),
  id: u16be(2),
  statusCode: u8(5),
  portCount: u8(7),
} as const;
const groupDescriptorBytes = 8;
const flagPreferred = 0x80;
/** T_SUP, U_SUP, S_SUP, AN_SUP, AO_SUP. */
const supportedStates = 0x80 | 0x08 | 0x04 | 0x02 | 0x01;
const statusImplicit = 2;

const portDescriptor = { relativePort: u16be(2) } as const;
const portDescriptorBytes = 4;

export function reportTargetPortGroups(command: Command): void {
  const format = byteAt(command.cdb, 1) >> formatShift;
  if (format > formatExtended) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(1, 7) });
    return;
  }
  const data = encodeTargetGroups(command.services.targetGroups, format === formatExtended);
  command.sendParameters(data, u32At(command.cdb, 6));
}

/**
 * A fresh array, not cut to the allocation length.
 * @internal tests look at it
 */
export function encodeTargetGroups(target: TargetGroups, isExtended: boolean): Uint8Array {
  const headerBytes = isExtended ? extendedHeaderBytes : basicHeaderBytes;
  const size = target.groups.reduce(
    (sum, { ports }) => sum + groupDescriptorBytes + ports.length * portDescriptorBytes,
    headerBytes,
  );
  const data = new Uint8Array(size);
  const view = viewOf(data);
  basicHeader.dataBytes.set(view, 0, size - basicHeaderBytes);
  if (isExtended) {
    extendedHeader.format.set(view, 0, formatExtended << 4);
    extendedHeader.transitionSeconds.set(view, 0, transitionSeconds);
  }
  let at = headerBytes;
  for (const { id, state, isPreferred, ports } of target.groups) {
    groupDescriptor.state.set(view, at, state | (isPreferred ? flagPreferred : 0));
    groupDescriptor.supported.set(view, at, supportedStates);
    groupDescriptor.id.set(view, at, id);
    groupDescriptor.statusCode.set(view, at, target.hasChanged ? statusImplicit : 0);
    groupDescriptor.portCount.set(view, at, ports.length);
    at += groupDescriptorBytes;
    for (const port of ports) {
      portDescriptor.relativePort.set(view, at, port);
      at += portDescriptorBytes;
    }
  }
  return data;
}
