/**
 * Cleaning policy: which containers are packed next, and into which packs. Pure: numbers in, orders out.
 *
 *     containers, with what of them lives
 *        ├─ nothing of it lives ─────────────────────────────────────────────────▶ one small pack of empty members
 *        ├─ more garbage in the pool than its fill allows ─▶ best (1 - u) age / (1 + u) ─▶ their segments by age ─▶ packs
 *        └─ many small packs ────────────────────────────────────────────────────▶ one pack
 *
 * A container is a file: a segment's own, or a pack that holds what is left of several. u is the share of its bytes that a
 * copy of it would take, so headers of frames count as garbage, too. Age is the log that was written since the file was made:
 * what has lost little in a long time will lose little, so its garbage is worth a copy, while a file that was just made will be
 * emptier soon. (By the age of the data instead, the cleaner copied up to half as much again.) Survivors of all chosen
 * containers are sorted by the age of the data, so that packs hold what dies together; what clients write never shares a
 * file with them.
 *
 * Invariants
 * 1. A batch packs containers whole: all their segments or none, so every one of them can be removed afterwards.
 * 2. A batch takes at most `spareBytes` before anything of it is freed.
 * 3. A batch frees more than it takes, or (small packs) leaves fewer files.
 */
import { slotSizeBytes } from '../format/address.ts';
import { garbageShareAllowed, type Pressure } from './garbage-share.ts';
import { cleanerLimits } from './limits.ts';

/** What one container holds of one segment. */
export interface Member {
  readonly segId: number;
  /** Data blocks that somebody can reach. */
  readonly liveBlocks: number;
  /** Bytes of a pack that it takes whatever lives: header, footer, bitmap. */
  readonly fixedBytes: number;
}

export interface Container {
  /** Of its file. */
  readonly sizeBytes: number;
  /** By ascending segment id. */
  readonly members: readonly Member[];
  readonly isPack: boolean;
  /** The segment that was being written when the file was made. */
  readonly madeAtSegId: number;
}

/** What the pool takes of its capacity. */
interface PoolUse {
  readonly usedBytes: number;
  readonly softLimitBytes: number;
  readonly writeLimitBytes: number;
  /** What has to be given back so that writes are taken again; 0 = they are taken. */
  readonly shortBytes: number;
}

export interface PoolState {
  /** Those that may be worth it: see `isPromising`. */
  readonly containers: readonly Container[];
  /** Of all containers. */
  readonly liveBytes: number;
  readonly garbageBytes: number;
  /** The segment that is being written: from it on, age is counted. */
  readonly headSegId: number;
  readonly segmentBytes: number;
  readonly use: PoolUse;
  readonly pressure: Pressure;
  /** Bytes that copies may take before anything is freed. */
  readonly spareBytes: number;
}

/** What one pack is to hold. */
interface PackPlan {
  /** Ascending. */
  readonly segIds: readonly number[];
  readonly copyBytes: number;
}

export interface Batch {
  readonly reason: 'dead' | 'garbage' | 'small packs';
  readonly packs: readonly PackPlan[];
  /** Those that the packs replace. */
  readonly containers: readonly Container[];
  /** Bytes that the packs take, and bytes of the containers that they replace. */
  readonly copyBytes: number;
  readonly replacedBytes: number;
}

/** To a millionth of the garbage. */
const bisectionSteps = 20;

/** A container with the sums that everything is decided by. */
interface Candidate {
  readonly container: Container;
  readonly copyBytes: number;
  readonly gainBytes: number;
  readonly isDead: boolean;
  readonly score: number;
}

/** What is to be packed next; undefined when nothing is worth it now. Call it again when the batch is done. */
export function nextBatch(pool: PoolState): Batch | undefined {
  const candidates = pool.containers.map((each) => candidateOf(each, pool.headSegId));
  return (
    deadBatch(candidates, pool) ?? garbageBatch(candidates, pool) ?? smallBatch(candidates, pool)
  );
}

/** Fill of a pool as `garbageShareAllowed` counts it: its soft limit is at 0.85, its hard limit at 0.95, wherever they are. */
function fillOf({ usedBytes, softLimitBytes, writeLimitBytes }: PoolUse): number {
  const { soft, hard } = cleanerLimits.fillAt;
  if (usedBytes <= softLimitBytes) return (soft * usedBytes) / softLimitBytes;
  const way = (usedBytes - softLimitBytes) / (writeLimitBytes - softLimitBytes);
  return soft + (hard - soft) * Math.min(1, way);
}

/** Whether the container can be part of a batch at all. */
export function isPromising(container: Container, segmentBytes: number): boolean {
  const gainBytes = container.sizeBytes - copyBytesOf(container.members);
  return (
    gainBytes > container.sizeBytes * cleanerLimits.gainShareMin || isSmall(container, segmentBytes)
  );
}

/** The `count` containers that come first when something is chosen; those of which nothing lives before all others. */
export function mostPromising(
  containers: readonly Container[],
  headSegId: number,
  count: number,
): Container[] {
  return containers
    .map((container) => candidateOf(container, headSegId))
    .sort((left, right) => Number(right.isDead) - Number(left.isDead) || right.score - left.score)
    .slice(0, count)
    .map(({ container }) => container);
}

/** Bytes that a copy of the members takes. */
export function copyBytesOf(members: readonly Member[]): number {
  let bytes = 0;
  for (const { liveBlocks, fixedBytes } of members) {
    bytes += liveBlocks * slotSizeBytes + fixedBytes;
  }
  return bytes;
}

function candidateOf(container: Container, headSegId: number): Candidate {
  const { members, sizeBytes, madeAtSegId } = container;
  const copyBytes = copyBytesOf(members);
  const gainBytes = sizeBytes - copyBytes;
  const used = Math.min(1, copyBytes / sizeBytes);
  const age = Math.max(1, headSegId - madeAtSegId);
  return {
    container,
    copyBytes,
    gainBytes,
    isDead: members.every(({ liveBlocks }) => liveBlocks === 0),
    score: ((1 - used) * age) / (1 + used),
  };
}

function isWorthIt({ gainBytes, container }: Candidate): boolean {
  return gainBytes > container.sizeBytes * cleanerLimits.gainShareMin;
}

/** Containers of which nothing lives cost next to nothing to give back. */
function deadBatch(candidates: readonly Candidate[], pool: PoolState): Batch | undefined {
  const chosen: Candidate[] = [];
  let spareBytes = Math.min(pool.spareBytes, cleanerLimits.packSegmentsMax * pool.segmentBytes);
  let memberCount = 0;
  for (const candidate of candidates) {
    if (!candidate.isDead || !isWorthIt(candidate)) continue;
    memberCount += candidate.container.members.length;
    spareBytes -= candidate.copyBytes;
    const isFull = memberCount > cleanerLimits.deadMembersMax && chosen.length > 0;
    if (isFull || spareBytes < 0) break;
    chosen.push(candidate);
  }
  return chosen.length === 0 ? undefined : batchOf('dead', chosen, [membersOf(chosen)]);
}

/** Copies what lives out of the containers that are best cleaned, when there is more garbage than the fill allows. */
function garbageBatch(candidates: readonly Candidate[], pool: PoolState): Batch | undefined {
  const wantedBytes = Math.max(tooMuchGarbage(pool), pool.use.shortBytes);
  if (wantedBytes <= 0) return undefined;
  const worthy = candidates.filter(isWorthIt).sort((left, right) => right.score - left.score);
  const { batchSegmentsMax } = cleanerLimits;
  const copyBytesMax = Math.min(pool.spareBytes, batchSegmentsMax * pool.segmentBytes);
  const chosen: Candidate[] = [];
  let copyBytes = 0;
  let gainBytes = 0;
  for (const candidate of worthy) {
    // One that does not fit now may be in the way of others that do.
    if (copyBytes + candidate.copyBytes > copyBytesMax) continue;
    chosen.push(candidate);
    copyBytes += candidate.copyBytes;
    gainBytes += candidate.gainBytes;
    if (gainBytes >= wantedBytes) break;
  }
  if (chosen.length === 0) return undefined;
  return batchOf('garbage', chosen, packsByAge(membersOf(chosen), pool));
}

/**
 * How much has to be given back so that there is as much garbage as is allowed, less a margin. Every byte of it makes the pool
 * emptier, and an emptier pool bears more: so it ends where both meet, not at what the fullest moment would have asked for.
 */
function tooMuchGarbage({ liveBytes, garbageBytes, use, pressure }: PoolState): number {
  const allowedAfter = (gainBytes: number): number => {
    const fill = fillOf({ ...use, usedBytes: use.usedBytes - gainBytes });
    return garbageShareAllowed(fill, pressure) * liveBytes;
  };
  if (garbageBytes <= allowedAfter(0)) return 0;
  let [low, high] = [0, garbageBytes];
  for (let step = 0; step < bisectionSteps; step += 1) {
    const middle = (low + high) / 2;
    const allowed = allowedAfter(middle) * cleanerLimits.garbageShareAfter;
    if (garbageBytes - middle > allowed) low = middle;
    else high = middle;
  }
  return high;
}

/** Small packs (most of them of empty members) are merged, so that files stay few. */
function smallBatch(candidates: readonly Candidate[], pool: PoolState): Batch | undefined {
  const { smallPacksMin, packSegmentsMax } = cleanerLimits;
  const small = candidates
    .filter(({ container }) => isSmall(container, pool.segmentBytes))
    .sort((left, right) => left.copyBytes - right.copyBytes);
  let spareBytes = Math.min(pool.spareBytes, packSegmentsMax * pool.segmentBytes);
  const chosen: Candidate[] = [];
  for (const candidate of small) {
    spareBytes -= candidate.copyBytes;
    if (spareBytes < 0) break;
    chosen.push(candidate);
  }
  if (chosen.length < smallPacksMin) return undefined;
  return batchOf('small packs', chosen, [membersOf(chosen)]);
}

function isSmall({ isPack, sizeBytes }: Container, segmentBytes: number): boolean {
  return isPack && sizeBytes < segmentBytes / 2;
}

/** All segments of the containers, oldest first. */
function membersOf(chosen: readonly Candidate[]): Member[] {
  return chosen
    .flatMap(({ container }) => container.members)
    .sort((left, right) => left.segId - right.segId);
}

/** Cuts segments, oldest first, into packs: neighbours by age share one. */
function packsByAge(members: readonly Member[], pool: PoolState): Member[][] {
  const { packSegmentsMin, packSegmentsMax } = cleanerLimits;
  const packs: Member[][] = [];
  let pack: Member[] = [];
  let packBytes = 0;
  let packClass = 0;
  for (const member of members) {
    const age = pool.headSegId - member.segId;
    const bytes = copyBytesOf([member]);
    const isFull = packBytes + bytes > packSegmentsMax * pool.segmentBytes;
    const isEnough = packBytes >= packSegmentsMin * pool.segmentBytes;
    if (pack.length > 0 && (isFull || (isEnough && ageClassOf(age) !== packClass))) {
      packs.push(pack);
      pack = [];
      packBytes = 0;
    }
    pack.push(member);
    packBytes += bytes;
    packClass = ageClassOf(age);
  }
  if (pack.length > 0) packs.push(pack);
  return packs;
}

function ageClassOf(age: number): number {
  return Math.floor(Math.log(Math.max(1, age)) / Math.log(cleanerLimits.ageClassFactor));
}

function batchOf(
  reason: Batch['reason'],
  chosen: readonly Candidate[],
  packs: readonly (readonly Member[])[],
): Batch {
  let copyBytes = 0;
  let replacedBytes = 0;
  for (const candidate of chosen) {
    copyBytes += candidate.copyBytes;
    replacedBytes += candidate.container.sizeBytes;
  }
  return {
    reason,
    packs: packs.map((members) => ({
      segIds: members.map(({ segId }) => segId),
      copyBytes: copyBytesOf(members),
    })),
    containers: chosen.map(({ container }) => container),
    copyBytes,
    replacedBytes,
  };
}
