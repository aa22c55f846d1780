/** What long operations on a pool report. */

export interface VerifyReport {
  readonly segmentsChecked: number;
  readonly blocksChecked: number;
  readonly packsChecked: number;
  readonly runsChecked: number;
  /** Whether the manifest was compared with the log: not when there is none, nor when some segment cannot be read. */
  readonly isManifestChecked: boolean;
  /** Whether every block that somebody can reach was asked for in what the cleaner may give back: only when all else is right. */
  readonly isLivenessAudited: boolean;
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
  /** Where undoing the newest rollback or refresh goes back to. */
  readonly undoBytes: number;
  /** Only other past moments have it. */
  readonly historyBytes: number;
  /** Of the first three: no other volume or view has it; and others have it, too. */
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
  /** Segment files without their footers, and blocks that packs keep: the sum of what follows up to `unwrittenBytes`. */
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
  /** Over the last hour, day and week. */
  readonly growth: readonly Growth[];
  /** Present when it was asked what a shorter window would free. */
  readonly whatIfWindow?: WindowWhatIf;
  /** Present when it was asked what deletions would free. */
  readonly whatIf?: WhatIf;
}

/** What the pool takes on disk, by kind of file. */
export interface StoredBytes {
  readonly segmentBytes: number;
  readonly packBytes: number;
  readonly runBytes: number;
  readonly manifestBytes: number;
}

/** What a pool that fills up does; and (the first two) what the file system below it does not have. */
export type ReliefStep =
  | 'file-system'
  | 'reserves'
  | 'cleaner'
  | 'windows'
  | 'pins'
  | 'throttle'
  | 'refuse';

/** A step that was taken. */
export interface ReliefEvent {
  readonly step: ReliefStep;
  readonly text: string;
  readonly beganMs: number;
  /** Absent: it still goes on. */
  endedMs?: number;
}

/** How much more is stored than a while ago, and when the pool is full at that rate. */
export interface Growth {
  readonly periodMs: number;
  /** Absent: the pool is younger than the period. */
  readonly bytes?: number;
  /** What was written in the period, for it is not known what was given back then. */
  readonly isWritten?: true;
  /** When the limits are reached at that rate; absent when they are not, or not within ten years. */
  readonly softMs?: number;
  readonly hardMs?: number;
}

/** What would be free if windows were this long. */
export interface WindowWhatIf {
  readonly windowMs: number;
  readonly freedBytes: number;
}

export interface SpaceQuestion {
  /** Only this volume, with its snapshots. */
  readonly volume: string | undefined;
  /** What if these (VOL@SNAPSHOT, VOL) were deleted; empty = no such question. */
  readonly deleted: readonly string[];
  /** What if windows, of that volume or of all, were this long; undefined = no such question. */
  readonly windowMs?: number | undefined;
}

/** Something that is not as it was written. */
export interface ScrubFault {
  readonly text: string;
  readonly segId: number;
  /** Present for data blocks: where they lie, and as which blocks of which line they were written. */
  readonly bad:
    | {
        readonly address: number;
        readonly blockCount: number;
        readonly line: number;
        readonly lba: number;
      }
    | undefined;
}

/** A fault with what it means for volumes. */
export interface ScrubFinding {
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

export interface ScrubStatus {
  /** "off": it runs when it is started. */
  readonly state: 'running' | 'paused' | 'waiting' | 'off';
  readonly bytesPerSecond: number;
  /** Of the pass that runs or is paused. */
  readonly segmentsDone: number;
  readonly segmentCount: number;
  readonly passStartedMs?: number;
  /** While waiting: when the next pass begins. */
  readonly nextPassMs?: number;
  readonly lastPass?: ScrubPass;
  readonly findingCount: number;
  /** The first thousand. */
  readonly findings: readonly ScrubFinding[];
}

/** A pass over everything. */
export interface ScrubPass {
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly blocksChecked: number;
  readonly findingCount: number;
  /** False when the engine was started again during the pass: then the next one compares the manifest. */
  readonly isManifestChecked: boolean;
}

/** What one pass of the cleaner did. */
export interface CleanerPass {
  /** Why it began, in words. */
  readonly reason: string;
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly packCount: number;
  /** Older packs among the files that they replace. */
  readonly packsReplaced: number;
  /** Bytes of the packs, and how much less they are than the files that they replace. */
  readonly copiedBytes: number;
  readonly reclaimedBytes: number;
  /** Why it was given up; absent: it was not. */
  readonly fault?: string;
}

export interface CleanerStatus {
  readonly state: 'idle' | 'marking' | 'packing';
  /** False: it cleans only when it is asked to. */
  readonly isAutomatic: boolean;
  readonly pressure: 'none' | 'soft' | 'hard';
  /** As the last mark found it, less what was packed since. Absent before the first one since the pool was opened. */
  readonly content?: {
    readonly liveBytes: number;
    readonly garbageBytes: number;
    readonly judgedMs: number;
  };
  readonly packCount: number;
  readonly packBytes: number;
  readonly lastPass?: CleanerPass;
  /** Since the pool was opened: bytes of the log, of packs, and given back. */
  readonly loggedBytes: number;
  readonly copiedBytes: number;
  readonly reclaimedBytes: number;
}

/** `done` of `total` steps. */
export type Progress = (done: number, total: number) => void;

/**
 * unlimited: everything is kept. requested: as the policy says. young: nothing was old enough to be given up yet. idle: nothing was
 * written since, so there is more than that. growing: what is missing was given up before. budget, pool-full: shortened.
 */
type WindowReason =
  | 'unlimited'
  | 'requested'
  | 'young'
  | 'idle'
  | 'growing'
  | 'budget'
  | 'pool-full';

export interface WindowReport {
  /** Every moment since then can be opened. */
  readonly fromMs: number;
  readonly reason: WindowReason;
}
