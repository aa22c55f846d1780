/**
 * Nexus: one initiator port talking to one target port, that is one iSCSI session. NexusLun: what it sees at one LUN, with
 * the unit attentions that wait for it there.
 *
 *     Nexus 1 ──▶ n NexusLun ──▶ 1 LogicalUnit        (SAM-5: I_T nexus, I_T_L nexus)
 */
import type { Command } from './command.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { UnitAttentions } from './unit-attention.ts';

export interface NexusIdentity {
  readonly initiatorName: string;
  /** 6 bytes. */
  readonly isid: Uint8Array;
  readonly targetName: string;
  readonly portalGroupTag: number;
  /** Relative target port identifier, from 1. */
  readonly relativePort: number;
  /** Provenance id that is logged with every write of this nexus. */
  readonly writer: number;
}

export class NexusLun {
  readonly nexus: Nexus;
  readonly lun: number;
  readonly unit: LogicalUnit;
  /** The mapping says so; the unit itself may be writable for others. */
  isReadOnly: boolean;
  readonly attentions = new UnitAttentions();

  constructor(nexus: Nexus, lun: number, unit: LogicalUnit, isReadOnly: boolean) {
    this.nexus = nexus;
    this.lun = lun;
    this.unit = unit;
    this.isReadOnly = isReadOnly;
  }
}

/** Made by `ScsiTarget.openNexus`; the fields below the identity are this room's own. */
export class Nexus implements NexusIdentity {
  readonly initiatorName: string;
  readonly isid: Uint8Array;
  readonly targetName: string;
  readonly portalGroupTag: number;
  readonly relativePort: number;
  readonly writer: number;

  /** By LUN, ascending. */
  luns: ReadonlyMap<number, NexusLun> = new Map();
  isClosed = false;
  /** Bytes of staging that writes of this nexus hold. */
  stagedBytes = 0;
  /** Bytes of other memory that commands of this nexus hold: parameter lists, COMPARE AND WRITE. */
  claimedBytes = 0;
  /** What was unmapped while commands were under way. */
  readonly leaving = new Set<NexusLun>();
  /** Commands that wait because the nexus has its share. */
  readonly shareQueue: Command[] = [];

  constructor(identity: NexusIdentity) {
    this.initiatorName = identity.initiatorName;
    this.isid = identity.isid.slice();
    this.targetName = identity.targetName;
    this.portalGroupTag = identity.portalGroupTag;
    this.relativePort = identity.relativePort;
    this.writer = identity.writer;
  }
}
