/** What the commands of one engine share. */
import type { Clock, Timers } from '../base/ports.ts';
import type { StagingDoor } from '../device/staging-door.ts';
import type { Claims } from './claims.ts';
import type { CommandTable } from './command-table.ts';
import type { CopyDesk } from './copy-desk.ts';
import type { PartPool } from './part.ts';
import type { ScratchPool } from './scratch.ts';
import type { LunMap } from './target.ts';
import type { TargetGroups } from './target-groups.ts';

export interface Services {
  readonly lunMap: LunMap;
  readonly staging: StagingDoor;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly targetGroups: TargetGroups;
  readonly parts: PartPool;
  readonly scratch: ScratchPool;
  readonly table: CommandTable;
  readonly copies: CopyDesk;
  readonly claims: Claims;
}
