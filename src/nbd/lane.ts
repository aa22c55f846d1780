/** What the parts of one connection's transmission phase share. */

import type { Output } from '../base/output.ts';
import type { OutputPool } from '../base/output-pool.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { StagingDoor } from '../device/staging-door.ts';
import type { NbdDirtyBitmap } from './exports.ts';
import type { NbdLimits } from './limits.ts';
import type { Replies } from './replies.ts';
import type { Task, TaskPool } from './task.ts';

/** What the handshake settled about the connection. */
export interface Agreement {
  readonly device: BlockDevice;
  /** Bytes the client was told; fixed as long as it stays. */
  readonly sizeBytes: number;
  readonly isStructured: boolean;
  readonly hasAllocationContext: boolean;
  /** Present when the client selected its context. */
  readonly dirtyBitmap: NbdDirtyBitmap | undefined;
}

export interface Lane extends Agreement {
  /** Id of the connection, logged with each write. */
  readonly writer: number;
  readonly limits: NbdLimits;
  readonly output: Output;
  readonly replies: Replies;
  readonly pool: OutputPool;
  readonly staging: StagingDoor;
  readonly tasks: TaskPool;
  /** The task was answered, or its connection is gone. The task is given back by this call. */
  finish(task: Task): void;
  /** Something can go on: `endTurn` must be called at the end of the turn. */
  markTurn(): void;
  /** The connection waits for memory that others hold. */
  onCrowded(): void;
}
