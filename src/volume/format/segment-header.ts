/**
 * Segment header: slot 0 of every segment file.
 *
 *     segments/0000002a.seg
 *     [slot 0: this header][frame][frame]...[unused]   segmentSlots * 4 KiB      [footer, once sealed]
 *
 * `previousEnd` is the truth about where the log went on: everything in the previous segment at or above it is void for ever,
 * whatever a disk may hand back from there later.
 */
import { bytes, u16, u32, u48, u64, viewOf } from '../../base/fields.ts';
import { addressOf, slotSizeBytes } from './address.ts';
import type { Seeds } from './checksum.ts';
import { isSealed, preamble, refuseNewer, seal } from './preamble.ts';

const segmentHeaderVersion = 1;
const magic = 0x4753_4d54; // "TMSG"

const layout = {
  ...preamble,
  compatible: u32(16),
  streamClass: u16(20),
  hlcCounter: u16(22),
  hlcMs: u48(24),
  segmentSlots: u16(30),
  segId: u64(32),
  epoch: u64(40),
  previousSegId: u64(48),
  previousEnd: u64(56),
  durableThrough: u64(64),
  poolUuid: bytes(72, 16),
  previousDigest: bytes(88, 32),
} as const;
const usedBytes = 120;

export interface SegmentHeader {
  readonly segId: number;
  readonly epoch: number;
  /** 0 for the first segment of a pool. */
  readonly previousSegId: number;
  /** Address in the previous segment where the log leaves it. */
  readonly previousEnd: number;
  /** SHA-256 over the header blocks of the previous segment and of its frames, up to `previousEnd`. */
  readonly previousDigest: Uint8Array;
  /** End address of what was durable when this was written. */
  readonly durableThrough: number;
  readonly hlcMs: number;
  readonly hlcCounter: number;
  /** 0 = foreground writes; other streams are for the cleaner. */
  readonly streamClass: number;
  readonly segmentSlots: number;
}

/** Writes everything but previousDigest, durableThrough and the checksum, which the commit side knows (`finishSegmentHeader`). */
export function encodeSegmentHeader(
  out: Uint8Array,
  header: Omit<SegmentHeader, 'previousDigest' | 'durableThrough'>,
  poolUuid: Uint8Array,
): void {
  out.fill(0, 0, slotSizeBytes);
  const view = viewOf(out);
  layout.magic.set(view, 0, magic);
  layout.version.set(view, 0, segmentHeaderVersion);
  layout.length.set(view, 0, usedBytes);
  layout.streamClass.set(view, 0, header.streamClass);
  layout.hlcCounter.set(view, 0, header.hlcCounter);
  layout.hlcMs.set(view, 0, header.hlcMs);
  layout.segmentSlots.set(view, 0, header.segmentSlots);
  layout.segId.set(view, 0, header.segId);
  layout.epoch.set(view, 0, header.epoch);
  layout.previousSegId.set(view, 0, header.previousSegId);
  layout.previousEnd.set(view, 0, header.previousEnd);
  layout.poolUuid.set(out, 0, poolUuid);
}

/** Completes the header in place and returns its checksum, from which the chain of frame checksums starts. */
export function finishSegmentHeader(
  out: Uint8Array,
  previousDigest: Uint8Array,
  durableThrough: number,
  seeds: Seeds,
): number {
  const view = viewOf(out);
  layout.previousDigest.set(out, 0, previousDigest);
  layout.durableThrough.set(view, 0, durableThrough);
  const segId = layout.segId.get(view, 0);
  const epoch = layout.epoch.get(view, 0);
  return seal(out.subarray(0, slotSizeBytes), seeds.structure(addressOf(segId, 0), epoch));
}

/**
 * Reads slot 0 of the file named for `segId`; `crc` is the header's checksum. Undefined when there is no header
 * (never used, or torn). Throws FormatError only for a valid header of a newer version.
 */
export function decodeSegmentHeader(
  slot: Uint8Array,
  segId: number,
  seeds: Seeds,
): (SegmentHeader & { readonly crc: number }) | undefined {
  if (slot.length < slotSizeBytes) return undefined;
  const view = viewOf(slot);
  if (layout.segId.get(view, 0) !== segId) return undefined;
  const epoch = layout.epoch.get(view, 0);
  const seed = seeds.structure(addressOf(segId, 0), epoch);
  if (!isSealed(slot.subarray(0, slotSizeBytes), magic, seed)) return undefined;
  refuseNewer(view, segmentHeaderVersion, `segment ${segId}`);
  return {
    segId,
    epoch,
    previousSegId: layout.previousSegId.get(view, 0),
    previousEnd: layout.previousEnd.get(view, 0),
    previousDigest: layout.previousDigest.get(slot, 0).slice(),
    durableThrough: layout.durableThrough.get(view, 0),
    hlcMs: layout.hlcMs.get(view, 0),
    hlcCounter: layout.hlcCounter.get(view, 0),
    streamClass: layout.streamClass.get(view, 0),
    segmentSlots: layout.segmentSlots.get(view, 0),
    crc: layout.crc.get(view, 0),
  };
}
