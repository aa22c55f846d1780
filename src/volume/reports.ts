/** What long operations on a pool report. */

export interface VerifyReport {
  readonly segmentsChecked: number;
  readonly blocksChecked: number;
  /** The first hundred faults in words. */
  readonly faults: readonly string[];
  readonly faultCount: number;
}

export interface RebuildReport {
  readonly recordsRead: number;
  readonly entryCount: number;
  /** Nothing had to be replaced. */
  readonly wasEqual: boolean;
}

/** What the blocks of a volume are there for: each once, in the first of present, snapshots, undo and history that has it. */
export interface VolumeSpace {
  readonly name: string;
  readonly kind: 'volume' | 'view';
  readonly uuid: string;
  readonly sizeBytes: number;
  /** Bytes of the present state that have data, each as often as it shows. */
  readonly mappedBytes: number;
  readonly presentBytes: number;
  readonly snapshotBytes: number;
  readonly undoBytes: number;
  readonly historyBytes: number;
  readonly uniqueBytes: number;
  readonly sharedBytes: number;
}

export interface SnapshotSpace {
  readonly name: string;
  readonly createdMs: number;
  readonly mappedBytes: number;
  /** Only this snapshot has it: freed when it alone is deleted. */
  readonly uniqueBytes: number;
}

export interface WhatIf {
  readonly deleted: readonly string[];
  /** Nothing that would be left holds it. */
  readonly freedBytes: number;
  /** Past of volumes that would be deleted. */
  readonly historyBytes: number;
}

export interface PoolSpace {
  readonly computedMs: number;
  /** End address of the log that it covers. */
  readonly end: number;
  readonly segmentCount: number;
  /** Segment files without their footers: the sum of what follows up to `unwrittenBytes`. */
  readonly segmentBytes: number;
  readonly heldBytes: number;
  readonly historyBytes: number;
  readonly deadBytes: number;
  readonly headerBytes: number;
  readonly unwrittenBytes: number;
  readonly footerBytes: number;
  readonly volumes: readonly VolumeSpace[];
  /** Of the volume that was asked for, oldest first. */
  readonly snapshots: readonly SnapshotSpace[];
  readonly whatIf: WhatIf | undefined;
}

export interface SpaceQuestion {
  /** Only this volume, with its snapshots. */
  readonly volume: string | undefined;
  /** What if these (VOL@SNAPSHOT, VOL) were deleted; empty = no such question. */
  readonly deleted: readonly string[];
}

/** `done` of `total` steps. */
export type Progress = (done: number, total: number) => void;
