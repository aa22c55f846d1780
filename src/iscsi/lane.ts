/** What the parts of one session's full feature phase share. */
import type { OutputPool } from '../base/output-pool.ts';
import type { Nexus } from '../scsi/nexus.ts';
import type { ScsiTarget } from '../scsi/target.ts';
import type { IscsiTaskPool } from './iscsi-task.ts';
import type { SessionParameters } from './parameters.ts';
import type { PduWriter } from './pdu-writer.ts';
import type { Responses } from './responses.ts';
import type { SequenceNumbers } from './sequence-numbers.ts';
import type { IscsiLimits } from './server-limits.ts';

/** What all connections of a server share. */
export interface Shared {
  readonly limits: IscsiLimits;
  readonly pool: OutputPool;
  readonly tasks: IscsiTaskPool;
  readonly target: ScsiTarget;
}

/** Counted for `session list`. */
export interface SessionCounters {
  commandCount: number;
  bytesRead: number;
  bytesWritten: number;
}

export interface Lane extends Shared {
  readonly parameters: SessionParameters;
  /** Undefined in a discovery session. */
  readonly nexus: Nexus | undefined;
  readonly numbers: SequenceNumbers;
  readonly writer: PduWriter;
  readonly responses: Responses;
  readonly counters: SessionCounters;
  /** Something can go on: `endTurn` must be called at the end of the turn. */
  markTurn(): void;
}
