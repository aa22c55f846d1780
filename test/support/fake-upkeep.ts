/** What an engine without a store says of windows, of space, of its cleaner and of its scrubber. */
import type { CdpInfo, DiffInfo, PoolStatus } from '../../src/engine/protocol.ts';
import type { Rate } from '../../src/volume/history.ts';
import type { PoolSpace, ScrubStatus, SpaceQuestion } from '../../src/volume/reports.ts';
import type { FakeState } from './fake-pool.ts';

export const fakeScrub: ScrubStatus = {
  state: 'waiting',
  bytesPerSecond: 20 * 2 ** 20,
  segmentsDone: 1,
  segmentCount: 4,
  nextPassMs: Date.UTC(2026, 10, 23),
  findingCount: 0,
  findings: [],
};

export function scrubSummary({
  findings: _findings,
  ...summary
}: ScrubStatus): PoolStatus['scrub'] {
  return summary;
}

export const fakeCleaner: PoolStatus['cleaner'] = {
  state: 'idle',
  isAutomatic: true,
  pressure: 'none',
  packCount: 0,
  packBytes: 0,
  loggedBytes: 0,
  copiedBytes: 0,
  reclaimedBytes: 0,
};

/** After a pass that gave 64 MiB back. */
export function cleanedBy(momentMs: number): PoolStatus['cleaner'] {
  return {
    ...fakeCleaner,
    content: { liveBytes: 96 * 2 ** 20, garbageBytes: 32 * 2 ** 20, judgedMs: momentMs },
    packCount: 2,
    packBytes: 32 * 2 ** 20,
    lastPass: {
      reason: 'asked',
      startedMs: momentMs,
      finishedMs: momentMs + 1500,
      packCount: 2,
      packsReplaced: 0,
      copiedBytes: 32 * 2 ** 20,
      reclaimedBytes: 64 * 2 ** 20,
    },
    loggedBytes: 128 * 2 ** 20,
    copiedBytes: 32 * 2 ** 20,
    reclaimedBytes: 64 * 2 ** 20,
    writeAmplification: 1.25,
  };
}

/** Of a volume that was made at `fromMs`, of which everything is kept. */
export function fakeCdp(fromMs: number): CdpInfo {
  return {
    policy: 'all:unlimited',
    effectiveMs: 0,
    fromMs,
    reason: 'unlimited',
    isGuaranteed: false,
    pinCount: 0,
  };
}

/** The change in the middle between two moments, but for its time. */
export const fakeChange = { position: 4096, kind: 'write' as const, offset: 8192, length: 4096 };

/** A page of what differs between two moments: three extents. */
export function fakeDifference(
  offset: number,
  extentsMax: number,
): Pick<DiffInfo, 'extents' | 'nextOffset'> {
  const extents = [4096, 16_384, 65_536].filter((at) => at >= offset);
  const page = extents.slice(0, extentsMax).map((at) => ({ offset: at, length: 4096 }));
  const next = extents[extentsMax];
  return { extents: page, ...(next === undefined ? {} : { nextOffset: next }) };
}

type UseField =
  | 'capacityBytes'
  | 'effectiveCapacityBytes'
  | 'usedBytes'
  | 'stored'
  | 'softLimitBytes'
  | 'writeLimitBytes'
  | 'reservedBytes'
  | 'uncoveredBytes'
  | 'relief'
  | 'untouched'
  | 'throttled'
  | 'fileSystemFreeBytes';

/** What is used of the pool, and its limits. */
export function fakeUse({ capacityBytes, limits, volumes }: FakeState): Pick<PoolStatus, UseField> {
  return {
    capacityBytes,
    effectiveCapacityBytes: capacityBytes,
    usedBytes: 32 * 1024 ** 2,
    stored: { segmentBytes: 33_554_432, packBytes: 0, runBytes: 4096, manifestBytes: 8192 },
    softLimitBytes: Math.trunc((capacityBytes * limits.softPermille) / 1000),
    writeLimitBytes: Math.trunc((capacityBytes * limits.hardPermille) / 1000),
    reservedBytes: 0,
    uncoveredBytes: 0,
    relief: [],
    untouched: volumes.map(({ name, cdp }) => ({
      volume: name,
      because: cdp.isGuaranteed ? 'guaranteed' : 'unlimited',
    })),
    throttled: [],
    fileSystemFreeBytes: 200 * 1024 ** 3,
  };
}

/** Of volumes in which 8 KiB are mapped, as this engine's are, and snapshots that share half of them. */
export function fakeSpace(
  state: FakeState,
  momentMs: number,
  { volume, deleted, windowMs }: SpaceQuestion,
): PoolSpace {
  const volumes = state.volumes.filter((each) => volume === undefined || each.name === volume);
  const snapshots = state.snapshots.filter((each) => each.volume === volume);
  const freedBytes = deleted.length * 4096;
  return {
    computedMs: momentMs,
    end: 100,
    segmentCount: 2,
    segmentBytes: 262_144,
    heldBytes: 65_536,
    historyBytes: 32_768,
    deadBytes: 16_384,
    headerBytes: 16_384,
    unwrittenBytes: 131_072,
    footerBytes: 1000,
    growth: [
      { periodMs: 3_600_000, bytes: 2 ** 30, softMs: momentMs + 7_200_000, hardMs: momentMs + 9e6 },
      { periodMs: 86_400_000, bytes: -4096, isWritten: true },
      { periodMs: 604_800_000 },
    ],
    volumes: volumes.map(({ name, kind, uuid, sizeBytes, mappedBytes, snapshotCount }) => ({
      name,
      kind,
      uuid,
      sizeBytes,
      mappedBytes,
      presentBytes: mappedBytes,
      snapshotBytes: snapshotCount * 4096,
      undoBytes: 0,
      historyBytes: 12_288,
      uniqueBytes: mappedBytes,
      sharedBytes: snapshotCount * 4096,
    })),
    snapshots: snapshots.map(({ name, createdMs }) => ({
      name,
      createdMs,
      mappedBytes: 8192,
      uniqueBytes: 4096,
    })),
    ...(deleted.length === 0 ? {} : { whatIf: { deleted, freedBytes, historyBytes: 0 } }),
    ...(windowMs === undefined
      ? {}
      : { whatIfWindow: { windowMs, freedBytes: windowMs === 0 ? 32_768 : 0 } }),
  };
}

/** A volume that is written more and more. */
export function fakeRate(createdMs: number, bucketCount: number): Rate {
  const toMs = createdMs + bucketCount * 1000;
  const buckets = Array.from({ length: bucketCount }, (_, index) => ({
    fromMs: createdMs + index * 1000,
    writtenBytes: index * 4096,
    clearedBytes: index === 1 ? 8192 : 0,
    changeCount: index,
  }));
  const gaps = [{ fromMs: createdMs + 1000, toMs: createdMs + 3000, position: 77 }];
  return { windowFromMs: createdMs, fromMs: createdMs, toMs, buckets, gaps };
}
