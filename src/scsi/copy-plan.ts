/**
 * What an EXTENDED COPY comes down to: ranges between logical units of the initiator, and the pieces of a range.
 *
 *     CSCD descriptor ─ NAA ─▶ one of the initiator's own LUNs, or COPY ABORTED
 *     segment ─▶ range ─▶ pieces:  ragged edge (moved) │ whole blocks (cloned) │ ragged edge (moved)
 *
 * Every segment is checked before the first byte moves: a list with one bad segment copies nothing.
 */
import { blockSizeBytes } from '../device/block-device.ts';
import type { CopyList, CopyProblem, CopySegment, CopyTarget } from './copy-parameters.ts';
import { isWriteProtected } from './execute.ts';
import { clonePieceBytes, logicalBlockBytes, scratchBytes } from './limits.ts';
import type { Nexus, NexusLun } from './nexus.ts';
import { ReservationRule } from './reservation-rules.ts';
import { SenseCode } from './sense.ts';

/** One segment; offsets and length in bytes. */
export interface CopyRange {
  readonly source: NexusLun;
  readonly target: NexusLun;
  readonly sourceOffset: number;
  readonly targetOffset: number;
  readonly length: number;
}

export type CopyPlan =
  | { readonly ranges: readonly CopyRange[]; readonly problem?: undefined }
  | { readonly ranges?: undefined; readonly problem: CopyProblem };

/** Finds the units and checks every segment. Only what `nexus` itself sees can be named (CVE-2020-28374). */
export function planCopy(nexus: Nexus, list: CopyList): CopyPlan {
  const ranges: CopyRange[] = [];
  for (const [index, segment] of list.segments.entries()) {
    const range = planSegment(nexus, list.targets, segment);
    const code = typeof range === 'number' ? range : copyRefusal(nexus, range);
    if (typeof range === 'number' || code !== undefined) {
      const problem = { code: code ?? SenseCode.copyAborted, detail: { commandSpecific: index } };
      return { problem };
    }
    ranges.push(range);
  }
  return { ranges };
}

/** Why the range may not be copied now: asked before each piece, because reservations and LUN maps come and go. */
export function copyRefusal(nexus: Nexus, { source, target }: CopyRange): SenseCode | undefined {
  if (!isSeen(nexus, source) || !isSeen(nexus, target)) return SenseCode.copyTargetNotReachable;
  const isRefused =
    source.unit.reservations.refuses(nexus, ReservationRule.read, noCdb) ||
    target.unit.reservations.refuses(nexus, ReservationRule.write, noCdb) ||
    isWriteProtected(target) ||
    source.unit.isStateDamaged ||
    target.unit.isStateDamaged;
  return isRefused ? SenseCode.copyThirdPartyFailure : undefined;
}

function isSeen(nexus: Nexus, place: NexusLun): boolean {
  return nexus.luns.get(place.lun) === place && !place.unit.isClosed;
}

/** The rules `read` and `write` do not look at it. */
const noCdb = new Uint8Array(0);

function planSegment(
  nexus: Nexus,
  targets: readonly CopyTarget[],
  segment: CopySegment,
): CopyRange | SenseCode {
  const source = findUnit(nexus, targets[segment.source]);
  if (typeof source === 'number') return source;
  const target = findUnit(nexus, targets[segment.target]);
  if (typeof target === 'number') return target;
  const { sourceLba, sourceSkip, targetLba, targetSkip, byteCount: length } = segment;
  if (!isInside(source, sourceLba, sourceSkip + length)) return SenseCode.copyAborted;
  if (!isInside(target, targetLba, targetSkip + length)) return SenseCode.copyAborted;
  return {
    source,
    target,
    sourceOffset: sourceLba * logicalBlockBytes + sourceSkip,
    targetOffset: targetLba * logicalBlockBytes + targetSkip,
    length,
  };
}

function findUnit(nexus: Nexus, named: CopyTarget | undefined): NexusLun | SenseCode {
  if (named === undefined) return SenseCode.copyTargetUnreachable;
  const { naa, isNull, peripheralType } = named;
  if (isNull || naa === undefined) return SenseCode.copyTargetNotReachable;
  for (const place of nexus.luns.values()) {
    const own = place.unit.device.identity.naa;
    if (!own.every((byte, index) => byte === naa[index])) continue;
    return peripheralType === 0 ? place : SenseCode.copyWrongDeviceType;
  }
  return SenseCode.copyTargetNotReachable;
}

/** In blocks, so that no LBA can overflow. */
function isInside(place: NexusLun, lba: number, byteCount: number): boolean {
  const capacity = Math.floor(place.unit.device.sizeBytes / logicalBlockBytes);
  const blockCount = Math.ceil(byteCount / logicalBlockBytes);
  return blockCount <= capacity && lba <= capacity - blockCount;
}

/** How a range lies. */
export interface RangeShape {
  readonly sourceOffset: number;
  readonly targetOffset: number;
  readonly length: number;
  readonly isOneDevice: boolean;
  readonly canClone: boolean;
}

export interface CopyPiece {
  /** Bytes from the start of the range. */
  readonly at: number;
  readonly length: number;
  readonly isClone: boolean;
}

/**
 * The piece after `done` bytes (fewer than the length). Pieces go from the start to the end, but the other way where the
 * target overlaps the source behind it: the result is that of reading everything first.
 */
export function nextPiece(shape: RangeShape, done: number): CopyPiece {
  const { sourceOffset, targetOffset, length } = shape;
  const distance = Math.abs(targetOffset - sourceOffset);
  const overlaps = shape.isOneDevice && distance < length;
  const isBackward = overlaps && targetOffset > sourceOffset;
  const isCongruent = shape.canClone && distance % blockSizeBytes === 0;
  const left = length - done;
  // Where the next piece has its fixed end: its start going forward, its end going backward.
  const edge = targetOffset + (isBackward ? left : done);
  const ragged = isBackward
    ? edge % blockSizeBytes
    : (blockSizeBytes - (edge % blockSizeBytes)) % blockSizeBytes;
  const whole = left - (left % blockSizeBytes);
  if (isCongruent && ragged === 0 && whole > 0) {
    // A clone may not overlap itself.
    const most = overlaps ? Math.min(clonePieceBytes, distance) : clonePieceBytes;
    const size = Math.min(whole, most);
    return { at: isBackward ? left - size : done, length: size, isClone: true };
  }
  const most = isCongruent && ragged > 0 ? ragged : scratchBytes - blockSizeBytes + ragged;
  const size = Math.min(left, most);
  return { at: isBackward ? left - size : done, length: size, isClone: false };
}
