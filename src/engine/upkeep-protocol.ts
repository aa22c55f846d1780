/** What an engine says of space and of its scrubber: the shapes of those methods of `protocol.ts`. */

/** What the bytes of a volume are there for: each block once, in the first of these that has it. */
interface VolumeSpaceInfo {
  readonly name: string;
  readonly kind: 'volume' | 'view';
  readonly uuid: string;
  readonly sizeBytes: number;
  /** Bytes of the present state that have data, each as often as it shows. */
  readonly mappedBytes: number;
  readonly presentBytes: number;
  readonly snapshotBytes: number;
  /** Where undoing the newest rollback or refresh goes back to. */
  readonly undoBytes: number;
  /** Only other past moments have it. */
  readonly historyBytes: number;
  /** Of the first three: no other volume or view has it; and others have it, too. */
  readonly uniqueBytes: number;
  readonly sharedBytes: number;
}

interface SnapshotSpaceInfo {
  readonly name: string;
  readonly createdMs: number;
  readonly mappedBytes: number;
  /** Nothing else holds it: freed when this snapshot alone is deleted. */
  readonly uniqueBytes: number;
}

export interface SpaceInfo {
  readonly computedMs: number;
  /** End of the log that it covers, as an address. */
  readonly end: number;
  readonly segmentCount: number;
  /** Bytes of segment files without footers; held, history, dead, headers and unwritten add up to it. */
  readonly segmentBytes: number;
  readonly heldBytes: number;
  readonly historyBytes: number;
  readonly deadBytes: number;
  readonly headerBytes: number;
  readonly unwrittenBytes: number;
  readonly footerBytes: number;
  readonly volumes: readonly VolumeSpaceInfo[];
  /** Of the volume that was asked for, oldest first. */
  readonly snapshots: readonly SnapshotSpaceInfo[];
  /** Present when it was asked what deletions would free. */
  readonly whatIf?: {
    readonly deleted: readonly string[];
    /** Nothing that would be left holds it. */
    readonly freedBytes: number;
    /** History of volumes that would be deleted. */
    readonly historyBytes: number;
  };
}

/** Something that is not as it was written. */
interface ScrubFindingInfo {
  readonly foundMs: number;
  readonly text: string;
  /** 0 = no segment. */
  readonly segId: number;
  /** Present for data: the volume that it was written to, and where, in bytes. */
  readonly volume?: string;
  readonly offset?: number;
  readonly length?: number;
  /** Volumes and views whose present state has it; else only snapshots and history do. */
  readonly presentIn?: readonly string[];
}

export interface ScrubInfo {
  /** "off": it runs when it is started. */
  readonly state: 'running' | 'paused' | 'waiting' | 'off';
  readonly bytesPerSecond: number;
  /** Of the pass that runs or is paused. */
  readonly segmentsDone: number;
  readonly segmentCount: number;
  readonly passStartedMs?: number;
  /** While waiting: when the next pass begins. */
  readonly nextPassMs?: number;
  readonly lastPass?: {
    readonly startedMs: number;
    readonly finishedMs: number;
    readonly blocksChecked: number;
    readonly findingCount: number;
    /** False when the engine was started again during the pass. */
    readonly isManifestChecked: boolean;
  };
  readonly findingCount: number;
  /** The first thousand. */
  readonly findings: readonly ScrubFindingInfo[];
}
