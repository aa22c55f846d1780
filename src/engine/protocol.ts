/**
 * What the daemon asks of an engine over its control socket, and what comes back: types only.
 * One JSON object per line. Request {id, method, params}; answer {id, result} or {id, error}; `event` lines come unasked.
 * Sizes are bytes, times are milliseconds since 1970.
 */
import type { ErrorCode } from '../base/errors.ts';
import type { Changes, Rate } from '../volume/history.ts';
import type {
  CleanerPass,
  CleanerStatus,
  PoolSpace,
  RebuildReport,
  ReliefEvent,
  ScrubStatus,
  StoredBytes,
  VerifyReport,
  WindowReport,
} from '../volume/reports.ts';

/** When a write is answered: after the flush, or after the write (then FLUSH and FUA wait for the flush). */
export type AckName = 'durable' | 'write-back';

/** How much of its past a volume keeps. */
export interface CdpInfo {
  /** As base/cdp-policy.ts writes it: "all:1h,1m:24h,1h:7d,1d:30d". */
  readonly policy: string;
  /** Every moment is to be kept until it is this old; absent = for ever. */
  readonly requestedMs?: number;
  /** ... of this many bytes written at most; absent = of however many. */
  readonly budgetBytes?: number;
  /** Every moment can be opened until it is this old, that is since `fromMs`. */
  readonly effectiveMs: number;
  readonly fromMs: number;
  /** Why the two differ; "requested": they do not. */
  readonly reason: WindowReport['reason'];
  /** A pool that is short of space takes nothing of it. */
  readonly isGuaranteed: boolean;
  /** Automatic pins. */
  readonly pinCount: number;
}

/** A policy as text, its first term alone, and whether it is guaranteed; what is absent stays. */
export interface CdpWanted {
  readonly cdpPolicy?: string;
  readonly cdpWindow?: string;
  readonly cdpGuarantee?: boolean;
}

/** A moment that is kept although the window has passed it, or where the window begins. */
export interface KeptInfo {
  readonly kind: 'pin' | 'snapshot' | 'window';
  readonly at: string;
  readonly position: number;
  readonly timeMs: number;
}

/** Thick: the pool keeps space for the whole volume. */
export type ProvisioningName = 'thin' | 'thick';

export interface VolumeInfo {
  readonly name: string;
  /** Views share the names of volumes; methods that fit both take both. */
  readonly kind: 'volume' | 'view';
  readonly uuid: string;
  /** 32 hex digits, NAA type 6. */
  readonly naa: string;
  readonly serial: string;
  readonly sizeBytes: number;
  /** Bytes with data in the volume's present state. */
  readonly mappedBytes: number;
  /** Present: it is at least `mappedBytes`; the map was not looked at in full since the pool was opened. */
  readonly isMappedPartial?: true;
  readonly ack: AckName;
  readonly provisioning: ProvisioningName;
  readonly cdp: CdpInfo;
  readonly createdMs: number;
  readonly snapshotCount: number;
  /** NBD connections that have it open now. */
  readonly connectionCount: number;
  /** iSCSI sessions of initiators that see it as a LUN. */
  readonly sessionCount: number;
  /** Persistent reservations tell initiators apart by name alone, without the ISID. */
  readonly prIgnoresIsid: boolean;
}

/** A TimeView: a writable volume over a moment of another. */
export interface ViewInfo extends VolumeInfo {
  /** Name of the volume it is a view of; absent when that was deleted. */
  readonly source?: string;
  readonly sourceUuid: string;
  /** The moment: "snapshot:NAME", a time, "position:N" or "now" (when it was made or refreshed). */
  readonly at: string;
}

/** Where a moment lies. */
export interface MomentInfo {
  /** Names the same moment whenever it is read. */
  readonly at: string;
  /** Everything before it in the log belongs to the moment. */
  readonly position: number;
  /** The time that was asked for, or that of the newest record in it. */
  readonly timeMs: number;
  readonly line: number;
  readonly sizeBytes: number;
}

export interface DiffInfo {
  readonly from: MomentInfo;
  readonly to: MomentInfo;
  /** In order, apart from each other. */
  readonly extents: readonly { readonly offset: number; readonly length: number }[];
  /** Absent: that was all. Else ask again from there, with the moments as they are named here. */
  readonly nextOffset?: number;
}

export interface ChangesInfo {
  readonly from: MomentInfo;
  readonly to: MomentInfo;
  readonly changeCount: number;
  /** The change in the middle, rounded up; absent when there is none. */
  readonly middle?: NonNullable<Changes['middle']>;
}

/** One stretch of a volume's history. The last one is the present. */
export interface LineInfo {
  readonly line: number;
  readonly startedMs: number;
  /** Position in the log where the stretch begins, and where it was left; absent = the present. */
  readonly fromPosition: number;
  readonly leftPosition?: number;
  /** How it began. */
  readonly reason: 'created' | 'view' | 'rollback' | 'undo' | 'refresh';
  /** To which moment it went, where it did not begin empty. */
  readonly label: string;
  /** Snapshots taken in it that still exist, oldest first. */
  readonly snapshots: readonly string[];
}

export interface SnapshotInfo {
  readonly volume: string;
  readonly name: string;
  readonly uuid: string;
  /** Position in the log: everything before it is in the snapshot. */
  readonly position: number;
  readonly createdMs: number;
  /** Present when the moment was past already at `createdMs`: its time, and what it was called. */
  readonly momentMs?: number;
  readonly at?: string;
  /** Size of the volume at that moment. */
  readonly sizeBytes: number;
  /** Present while it is locked: it cannot be deleted until then. */
  readonly lockedUntilMs?: number;
  /** Until guest agents exist every snapshot is crash-consistent, and says so. */
  readonly consistency: 'crash';
}

export interface PoolStatus {
  readonly name: string;
  readonly uuid: string;
  readonly state: 'online' | 'read-only';
  /** Why it is read-only, in a sentence; absent when online. */
  readonly stateReason?: string;
  /** As it was set. */
  readonly capacityBytes: number;
  /** What of it the file system has: all limits are parts of that. */
  readonly effectiveCapacityBytes: number;
  /** Bytes of the capacity that the pool takes on disk, with what waits to be written; `stored` is what is written. */
  readonly usedBytes: number;
  readonly stored: StoredBytes;
  /** Hosts are told that space is short, and writes are slowed down, from here on. */
  readonly softLimitBytes: number;
  /** Thin volumes take no new data from here on. */
  readonly writeLimitBytes: number;
  /** Kept for what thick volumes have not written yet. */
  readonly reservedBytes: number;
  /** What of that the file system does not have; else 0. */
  readonly uncoveredBytes: number;
  /** What was done about too little space, and what the file system has not, oldest first. */
  readonly relief: readonly ReliefEvent[];
  /** Volumes and views of whose past relief takes nothing, by name, and why: their windows are guaranteed, or endless. */
  readonly untouched: readonly {
    readonly volume: string;
    readonly because: 'guaranteed' | 'unlimited';
  }[];
  /** Volumes and views whose writes are slowed down now. */
  readonly throttled: readonly {
    readonly volume: string;
    readonly bytesPerSecond: number;
    readonly waitingCount: number;
  }[];
  /** Present while new writes are refused for lack of space. */
  readonly fullReason?: string;
  readonly fileSystemFreeBytes: number;
  readonly segmentCount: number;
  readonly readySegmentCount: number;
  /** Without views. */
  readonly volumeCount: number;
  readonly viewCount: number;
  readonly snapshotCount: number;
  readonly epoch: number;
  /** End of the durable log. */
  readonly durableThrough: number;
  /** RAM of all maps. */
  readonly mapBytes: number;
  /** RAM that they may take. */
  readonly mapBytesMax: number;
  readonly cleaner: CleanerInfo;
  readonly scrub: Omit<ScrubStatus, 'findings'>;
  readonly recovery: {
    readonly durationMs: number;
    readonly logBytes: number;
    readonly tailFrames: number;
    readonly wasClean: boolean;
  };
}

/** Of the cleaner. */
export interface CleanerInfo extends CleanerStatus {
  /** Bytes logged and copied for each that was logged; absent while nothing was. */
  readonly writeAmplification?: number;
}

export interface VerifyResult extends VerifyReport {
  readonly durationMs: number;
}

export interface RebuildResult extends RebuildReport {
  readonly volumeCount: number;
  readonly snapshotCount: number;
  readonly durationMs: number;
}

/** How TCP is secured. Secrets travel in this direction only, over the private socket; no answer holds them. */
export interface NbdTls {
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Present: clients need a certificate that one of these authorities signed. */
  readonly clientAuthorityPem?: string;
  /** Present: shared keys in hex by identity; clients need one of them, or a certificate where those are asked for. */
  readonly keyByIdentity?: Readonly<Record<string, string>>;
}

/** Listeners that are wanted. */
export interface NbdListen {
  /** Address and port of the TCP listener; absent = no TCP. Port 0 picks a free one. Without `tls` it is in the clear. */
  readonly tcp?: { readonly address: string; readonly port: number; readonly tls?: NbdTls };
  /** Path of the unix socket; absent = none. */
  readonly socketPath?: string;
}

/** Listeners that are open. */
export interface NbdListening {
  readonly tcp?: {
    readonly address: string;
    readonly port: number;
    /** Absent: in the clear. */
    readonly tls?: 'required';
  };
  readonly socketPath?: string;
}

export interface IscsiPortal {
  readonly address: string;
  readonly port: number;
  /** Portal group tag. */
  readonly group: number;
}

/** What one side of CHAP knows. */
export interface IscsiChap {
  readonly user: string;
  /** Hex digits. */
  readonly secret: string;
}

export interface IscsiLun {
  readonly lun: number;
  /** A volume that does not exist is no LUN. */
  readonly volumeUuid: string;
  readonly isReadOnly: boolean;
}

/** Who may log in, and what they see. */
export interface IscsiHost {
  readonly name: string;
  /** Names as they are compared. */
  readonly initiators: readonly string[];
  /** Every initiator that no host names; true for at most one host. */
  readonly isAnyInitiator: boolean;
  /** Sessions may come from loopback addresses only. */
  readonly isLoopbackOnly: boolean;
  /** Its own target: it sees this one only, and nobody else does; absent: the pool's. */
  readonly targetName?: string;
  /** The initiator proves itself with this; absent: it need not. */
  readonly chapIn?: IscsiChap;
  /** The target proves itself with this, when it is asked to. */
  readonly chapOut?: IscsiChap;
  readonly luns: readonly IscsiLun[];
}

/** All that there is of iSCSI: what is not in it ends. */
export interface IscsiWanted {
  readonly targetName: string;
  /** Port 0 picks a free one. */
  readonly portals: readonly IscsiPortal[];
  readonly hosts: readonly IscsiHost[];
}

/** What is open: one entry for each portal that was wanted, in that order. */
export interface IscsiListening {
  readonly targetName: string;
  readonly portals: readonly (IscsiPortal & {
    /** Why nobody can come in there; absent: it is open. */
    readonly fault?: string;
  })[];
}

export interface IscsiSession {
  /** TSIH: the target's number for the session. */
  readonly id: number;
  /** Name of the host that the initiator belongs to; absent for a discovery session of somebody unknown. */
  readonly host?: string;
  readonly kind: 'normal' | 'discovery';
  readonly initiatorName: string;
  readonly initiatorAlias?: string;
  /** 12 hex digits. */
  readonly isid: string;
  readonly targetName: string;
  /** Where the initiator connects from. */
  readonly address: string;
  /** Where it came in. */
  readonly portal: string;
  readonly sinceMs: number;
  /** LUN numbers that it sees. */
  readonly luns: readonly number[];
  readonly commandCount: number;
  /** Bytes read by the initiator, and written. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** Every method: its parameters and its result. */
export interface EngineMethods {
  hello: {
    params: Record<string, never>;
    result: {
      pool: string;
      pid: number;
      startedMs: number;
      version: string;
      nbd: NbdListening;
      /** Absent until it was configured. */
      iscsi?: IscsiListening;
    };
  };
  /** Desired NBD listeners; the engine opens and closes until it matches and answers what is open. */
  listen: { params: { nbd: NbdListen }; result: { nbd: NbdListening } };
  /** Desired state of iSCSI; LUNs are there before a portal opens. Sessions that may not be there any more end. */
  iscsiConfigure: { params: { iscsi: IscsiWanted }; result: { iscsi: IscsiListening } };
  sessionList: { params: Record<string, never>; result: readonly IscsiSession[] };
  /** Ends sessions by id; the initiators may come back at once. */
  sessionDrop: { params: { ids: readonly number[] }; result: { droppedCount: number } };
  poolStatus: { params: Record<string, never>; result: PoolStatus };
  poolResize: { params: { capacityBytes: number }; result: PoolStatus };
  /** Limits of use in thousandths of the capacity. */
  poolSetLimits: {
    params: { softPermille: number; hardPermille: number };
    result: PoolStatus;
  };
  /** Long: progress comes as `progress` events with the request's id. */
  poolVerify: { params: Record<string, never>; result: VerifyResult };
  /** Long. `deleted`: what if these (VOL@SNAPSHOT, or VOL) were deleted; `windowMs`: what if windows were so long. */
  poolSpace: {
    params: { volume?: string; deleted: readonly string[]; windowMs?: number };
    result: PoolSpace;
  };
  poolRebuild: { params: Record<string, never>; result: RebuildResult };
  /** Long: a pass of the cleaner from now on. */
  poolClean: { params: Record<string, never>; result: CleanerPass };
  scrubStatus: { params: Record<string, never>; result: ScrubStatus };
  /** Goes on with a pass, or begins one now; the rate is kept. */
  scrubStart: { params: { bytesPerSecond?: number }; result: ScrubStatus };
  scrubPause: { params: Record<string, never>; result: ScrubStatus };
  volumeList: { params: Record<string, never>; result: readonly VolumeInfo[] };
  volumeShow: { params: { name: string }; result: VolumeInfo };
  volumeCreate: {
    params: {
      name: string;
      sizeBytes: number;
      ack?: AckName;
      provisioning?: ProvisioningName;
    } & CdpWanted;
    result: VolumeInfo;
  };
  /**
   * What is absent stays. A change of `ack` waits for what is in flight; everything written before is durable when it answers.
   * `prIgnoresIsid` false is a conflict while somebody is registered without ISID. A window that gives up moments which can be
   * opened now needs `force`.
   */
  volumeSet: {
    params: {
      name: string;
      ack?: AckName;
      prIgnoresIsid?: boolean;
      provisioning?: ProvisioningName;
      force?: boolean;
    } & CdpWanted;
    result: VolumeInfo;
  };
  /** An independent volume with the present content of `source`; copies nothing. */
  volumeClone: { params: { source: string; name: string }; result: VolumeInfo };
  /** With clients needs `disconnect`: NBD connections are dropped; iSCSI sessions stay and are told. The state before stays reachable: volumeUndoRollback, volumeHistory. */
  volumeRollback: {
    params: { name: string; to: string; disconnect: boolean };
    result: VolumeInfo;
  };
  volumeUndoRollback: { params: { name: string; disconnect: boolean }; result: VolumeInfo };
  volumeHistory: { params: { name: string }; result: readonly LineInfo[] };
  /** In order; empty when everything is kept. */
  volumeKept: { params: { name: string }; result: readonly KeptInfo[] };
  viewList: { params: Record<string, never>; result: readonly ViewInfo[] };
  viewShow: { params: { name: string }; result: ViewInfo };
  /** `at`: a moment (base/moment.ts), here and in all that follows. */
  viewCreate: { params: { source: string; name: string; at: string }; result: ViewInfo };
  /** Several views at one cut, all of them or none. */
  viewsCreate: {
    params: { views: readonly { source: string; name: string }[]; at: string };
    result: readonly ViewInfo[];
  };
  /** Keeps name, id and NAA. With open connections needs `disconnect`. */
  viewRefresh: { params: { name: string; at: string; disconnect: boolean }; result: ViewInfo };
  viewPromote: { params: { name: string }; result: VolumeInfo };
  /** When something was written to it since it was made, or with snapshots, open connections or LUN maps, needs `force`. */
  viewDelete: { params: { name: string; force: boolean }; result: { name: string } };
  volumeRename: { params: { name: string; newName: string }; result: VolumeInfo };
  /** Smaller than now needs `force`; error `needs-force` says what would be cut. */
  volumeResize: {
    params: { name: string; sizeBytes: number; force: boolean };
    result: VolumeInfo;
  };
  /** With data, snapshots, open connections or LUN maps needs `force`; error `needs-force` says what would be lost. */
  volumeDelete: { params: { name: string; force: boolean }; result: { name: string } };
  snapshotList: { params: { volume: string }; result: readonly SnapshotInfo[] };
  snapshotCreate: {
    params: { volume: string; name: string; at?: string };
    result: SnapshotInfo;
  };
  /** Makes the map of a moment, so that what is opened there next is there at once. Long: progress comes as events. */
  momentOpen: { params: { volume: string; at: string }; result: MomentInfo };
  /** One page of the extents in which two moments differ. */
  volumeDiff: {
    params: { name: string; from: string; to: string; offset: number; extentsMax: number };
    result: DiffInfo;
  };
  /** Long. */
  volumeChanges: { params: { name: string; from: string; to: string }; result: ChangesInfo };
  /** Long. Absent times: since it was made, until now. */
  volumeRate: {
    params: { name: string; from?: string; to?: string; bucketCount: number; gapsMax: number };
    result: Rate;
  };
  /** 0 = it can be deleted. A lock that is to end earlier than it did needs `force`. */
  snapshotSet: {
    params: { volume: string; name: string; lockedUntilMs: number; force: boolean };
    result: SnapshotInfo;
  };
  snapshotDelete: {
    params: { volume: string; name: string; force: boolean };
    result: { name: string };
  };
  /** Drains, seals, closes and exits with code 0 within `withinMs`. */
  stop: { params: { withinMs: number }; result: Record<string, never> };
}

export type EngineMethod = keyof EngineMethods;

export interface EngineRequestLine {
  readonly id: number;
  readonly method: EngineMethod;
  readonly params: unknown;
}

export interface EngineErrorShape {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
}

export type EngineAnswerLine =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: EngineErrorShape };

/** Progress of a long request. `done` of `total` in `unit`. */
export interface EngineProgressLine {
  readonly event: 'progress';
  readonly id: number;
  readonly done: number;
  readonly total: number;
  readonly unit: 'segments';
}
