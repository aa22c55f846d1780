/** The pool and what may be asked of it. */
import { type Static, Type } from 'typebox';
import { Cleaner } from './cleaner.ts';
import { SizeBytes, TimeMs } from './common.ts';
import { ScrubSummary } from './scrub.ts';

export const Pool = Type.Object({
  name: Type.String(),
  uuid: Type.String(),
  state: Type.Union([Type.Literal('online'), Type.Literal('read-only')]),
  /** Why it is read-only, in a sentence. */
  stateReason: Type.Optional(Type.String()),
  /** As it was set. */
  capacityBytes: Type.Number(),
  /** What of it the file system has: all limits are parts of that. */
  effectiveCapacityBytes: Type.Number(),
  /** Bytes of the capacity that the pool takes on disk, with what waits to be written. */
  usedBytes: Type.Number(),
  /** What is written, by kind of file. */
  stored: Type.Object({
    segmentBytes: Type.Number(),
    packBytes: Type.Number(),
    runBytes: Type.Number(),
    manifestBytes: Type.Number(),
  }),
  /** Hosts are told that space is short, and writes are slowed down, from here on. */
  softLimitBytes: Type.Number(),
  /** Thin volumes take no new data from here on. */
  writeLimitBytes: Type.Number(),
  /** Kept for what thick volumes have not written yet. */
  reservedBytes: Type.Number(),
  /** What of that the file system does not have; else 0. */
  uncoveredBytes: Type.Number(),
  /** What was done about too little space, and what the file system has not, oldest first. */
  relief: Type.Array(
    Type.Object({
      step: Type.String(),
      text: Type.String(),
      beganMs: TimeMs,
      /** Absent: it still goes on. */
      endedMs: Type.Optional(TimeMs),
    }),
  ),
  /** Volumes and views of whose past that takes nothing, by name: their windows are guaranteed, or endless. */
  untouched: Type.Array(
    Type.Object({
      volume: Type.String(),
      because: Type.Union([Type.Literal('guaranteed'), Type.Literal('unlimited')]),
    }),
  ),
  /** Volumes and views whose writes are slowed down now, and to what. */
  throttled: Type.Array(
    Type.Object({
      volume: Type.String(),
      bytesPerSecond: Type.Number(),
      waitingCount: Type.Number(),
    }),
  ),
  /** Present while new writes are refused for lack of space. */
  fullReason: Type.Optional(Type.String()),
  fileSystemFreeBytes: Type.Number(),
  segmentCount: Type.Number(),
  readySegmentCount: Type.Number(),
  /** Without views. */
  volumeCount: Type.Number(),
  viewCount: Type.Number(),
  snapshotCount: Type.Number(),
  epoch: Type.Number(),
  /** End of the durable log, as an address. */
  durableThrough: Type.Number(),
  /** RAM that maps take. */
  mapBytes: Type.Number(),
  /** RAM that they may take: a quarter of the machine's. */
  mapBytesMax: Type.Number(),
  cleaner: Cleaner,
  scrub: ScrubSummary,
  recovery: Type.Object({
    durationMs: Type.Number(),
    logBytes: Type.Number(),
    tailFrames: Type.Number(),
    wasClean: Type.Boolean(),
  }),
  engine: Type.Object({
    pid: Type.Number(),
    startedMs: TimeMs,
    /** How often the daemon had to start the engine again since the daemon itself started. */
    restartCount: Type.Number(),
  }),
  nbd: Type.Object({
    tcp: Type.Optional(
      Type.Object({
        address: Type.String(),
        port: Type.Number(),
        /** Absent: in the clear. */
        tls: Type.Optional(Type.Literal('required')),
      }),
    ),
    socketPath: Type.Optional(Type.String()),
  }),
  iscsi: Type.Object({
    targetName: Type.String(),
    /** Those that are open. */
    portals: Type.Array(
      Type.Object({ address: Type.String(), port: Type.Number(), group: Type.Number() }),
    ),
  }),
});
export type Pool = Static<typeof Pool>;

export const PoolResize = Type.Object(
  { capacityBytes: SizeBytes },
  { additionalProperties: false },
);
export type PoolResize = Static<typeof PoolResize>;

/** Percent of the capacity. */
const Percent = Type.Number({ minimum: 0, maximum: 100 });

/** Limits of use. */
export const PoolSetLimits = Type.Object(
  { softPercent: Percent, hardPercent: Percent },
  { additionalProperties: false },
);
export type PoolSetLimits = Static<typeof PoolSetLimits>;

export const PoolVerifyResult = Type.Object({
  segmentsChecked: Type.Number(),
  blocksChecked: Type.Number(),
  packsChecked: Type.Number(),
  runsChecked: Type.Number(),
  /** The manifest was compared with the log: not when there is none, nor when some segment cannot be read. */
  isManifestChecked: Type.Boolean(),
  /** What can be reached was compared with what the cleaner may give back: only when all else is right. */
  isLivenessAudited: Type.Boolean(),
  /** What is wrong, in words; at most 100 places of `faultCount`. */
  faults: Type.Array(Type.String()),
  faultCount: Type.Number(),
  durationMs: Type.Number(),
});
export type PoolVerifyResult = Static<typeof PoolVerifyResult>;

export const PoolRebuildResult = Type.Object({
  recordsRead: Type.Number(),
  volumeCount: Type.Number(),
  snapshotCount: Type.Number(),
  entryCount: Type.Number(),
  /** Whether the manifest from before had the same content. */
  wasEqual: Type.Boolean(),
  durationMs: Type.Number(),
});
export type PoolRebuildResult = Static<typeof PoolRebuildResult>;
