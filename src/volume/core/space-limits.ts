/**
 * Space limits: how the capacity of a pool is divided.
 *
 *     0 ───────────────── soft ─────────── hard ── thick ─── trims ──── cleaner ── runs ── capacity
 *     writes go on         │ and are slowed │        │ 0.25 % │ 2 %, or  │ 1 %     │ 0.25 %
 *                          │ down           │        │        │ 8 segm.  │         │ catalogue and deletes
 *                          └ relief begins  └ thin   └ thick
 *                                             volumes take no more up to there
 *
 * Invariants
 * 1. soft < hard <= thick < trims < cleaner < runs < capacity: what user writes may take never includes a reserve.
 * 2. Trims and zeros go on in a full pool until their own part is used up, never into the cleaner's: what they leave dead
 *    can always be cleaned.
 * 3. Deletes and what moves windows are never refused for lack of space; the last part is theirs. What makes something new
 *    (volumes, views, snapshots) is refused when trims are.
 */
import { ErrorCode, OperationError } from '../../base/errors.ts';

/** Parts of the capacity. */
export interface SpaceShares {
  readonly soft: number;
  readonly hard: number;
}

export interface SpaceLimits {
  readonly capacityBytes: number;
  /** From here on the pool makes room, and slows down writes. */
  readonly softBytes: number;
  /** Thin volumes take no new data from here on ... */
  readonly hardBytes: number;
  /** ... and again when so much more is free. */
  readonly marginBytes: number;
  /** Thick volumes take no new data from here on. */
  readonly thickBytes: number;
  /** Trims and zeros take nothing from here on, but for as much again while something else is beyond it for a moment. */
  readonly trimBytes: number;
  /** How much that is. */
  readonly trimReserveBytes: number;
  /** Cleaning may take space up to here, index runs up to the second. */
  readonly cleanerBytes: number;
  readonly runBytes: number;
}

const defaultShares: SpaceShares = { soft: 0.85, hard: 0.95 };
/** Above 95 % copying survivors costs ten blocks and more for each that is won; below 50 % most of the pool would be idle. */
const softShareMin = 0.5;
const hardShareMax = 0.96;
const shareGapMin = 0.02;

const cleanerShare = 0.02;
const cleanerSegmentsMin = 8;
/** A pool so small that 8 segments are more than this part of it gives the cleaner no more. */
const cleanerShareMax = 0.1;
const runShare = 0.01;
const trimShare = 0.0025;
const catalogueShare = 0.0025;
/** Writes are taken again when this part of the capacity is free: a pool at its limit does not flap. */
const marginShare = 0.01;

export function spaceLimits(
  capacityBytes: number,
  segmentBytes: number,
  shares: SpaceShares,
): SpaceLimits {
  const cleanerReserve = Math.min(
    Math.max(capacityBytes * cleanerShare, cleanerSegmentsMin * segmentBytes),
    capacityBytes * cleanerShareMax,
  );
  const runBytes = Math.floor(capacityBytes * (1 - catalogueShare));
  const cleanerBytes = Math.floor(capacityBytes * (1 - catalogueShare - runShare));
  const trimReserveBytes = Math.max(1, Math.floor(capacityBytes * trimShare));
  const trimBytes = Math.floor(cleanerBytes - cleanerReserve);
  const thickBytes = trimBytes - trimReserveBytes;
  const hardBytes = Math.min(Math.floor(capacityBytes * shares.hard), thickBytes);
  // Reserves that push the hard limit down push the soft one down with it.
  const softBytes = Math.floor((hardBytes * shares.soft) / shares.hard);
  const marginBytes = Math.min(capacityBytes * marginShare, (hardBytes - softBytes) / 2);
  return {
    capacityBytes,
    softBytes,
    hardBytes,
    marginBytes: Math.floor(marginBytes),
    thickBytes,
    trimBytes,
    trimReserveBytes,
    cleanerBytes,
    runBytes,
  };
}

/** How far use is from the soft to the hard limit: 0 at the one, 1 at the other and above. */
export function pressureAt(usedBytes: number, { softBytes, hardBytes }: SpaceLimits): number {
  return Math.min(1, Math.max(0, (usedBytes - softBytes) / (hardBytes - softBytes)));
}

/** Throws OperationError invalid for limits that no pool should have. */
export function checkShares({ soft, hard }: SpaceShares): void {
  const isSane = soft >= softShareMin && hard <= hardShareMax && hard - soft >= shareGapMin - 1e-9;
  if (isSane) return;
  throw new OperationError(
    ErrorCode.invalid,
    `limits of ${percent(soft)} (soft) and ${percent(hard)} (hard) do not do`,
    `Soft is at least ${percent(softShareMin)}, hard at most ${percent(hardShareMax)}, and ${percent(shareGapMin)} or more lie between them.`,
  );
}

function percent(share: number): string {
  return `${Math.round(share * 1000) / 10} %`;
}

/** Shares as the superblock has them: thousandths, 0 = default. */
export function sharesOf(superblock: {
  readonly softPermille: number;
  readonly hardPermille: number;
}): SpaceShares {
  const { softPermille, hardPermille } = superblock;
  return {
    soft: softPermille === 0 ? defaultShares.soft : softPermille / 1000,
    hard: hardPermille === 0 ? defaultShares.hard : hardPermille / 1000,
  };
}
