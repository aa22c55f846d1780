/**
 * Superblock: what must be known before the log can be read. 4 KiB, four copies in two files of two copies each.
 *
 *     superblock-a  [copy 0][copy 1]        an update writes both copies of one file, flushes, then those of the other;
 *     superblock-b  [copy 2][copy 3]        which comes first alternates (`recovery/superblock-file.ts`)
 *
 * Valid = the newest generation that at least two copies agree on: a single newest copy may be a half-finished update,
 * and a single misdirected sector must neither hide nor forge the truth.
 */
import { crc32c } from '../../base/crc32c.ts';
import { bytes, u16, u32, u48, u64, viewOf } from '../../base/fields.ts';
import { FormatError } from './format-error.ts';
import { preamble, seal } from './preamble.ts';

export const superblockSizeBytes = 4096;
const superblockVersion = 1;
const magic = 0x4253_4d54; // "TMSB"
const nameBytesMax = 128;

const layout = {
  ...preamble,
  readOnlyCompatible: u32(16),
  compatible: u32(20),
  poolUuid: bytes(24, 16),
  nodeUuid: bytes(40, 16),
  generation: u64(56),
  epoch: u64(64),
  flags: u32(72),
  segmentSlots: u32(76),
  manifestAppliedPosition: u64(80),
  manifestDigest: bytes(88, 32),
  replayFromSegId: u64(120),
  segIdHighWater: u64(128),
  hlcCounterHighWater: u16(136),
  hlcMsHighWater: u48(138),
  capacityBytes: u64(144),
  createdMs: u64(152),
  durableThrough: u64(160),
  nameLength: u16(168),
  name: bytes(170, nameBytesMax),
  relogEpoch: u64(298),
  softPermille: u16(306),
  hardPermille: u16(308),
  ageMs: u48(310),
} as const;
const usedBytes = 316;

const flagClean = 1;

export interface Superblock {
  readonly poolUuid: Uint8Array;
  readonly nodeUuid: Uint8Array;
  readonly generation: number;
  /** Highest epoch ever accepted; every open raises it before its first frame. */
  readonly epoch: number;
  /** The pool was closed in order: nothing was in flight. */
  readonly isClean: boolean;
  readonly segmentSlots: number;
  readonly manifestAppliedPosition: number;
  readonly manifestDigest: Uint8Array;
  /** Segments from here on may be needed to rebuild state that no run holds yet. */
  readonly replayFromSegId: number;
  readonly segIdHighWater: number;
  readonly hlcMsHighWater: number;
  readonly capacityBytes: number;
  readonly createdMs: number;
  /** End address of the log that was durable when this was written: a log that ends before it has rotted. */
  readonly durableThrough: number;
  readonly name: string;
  /**
   * Not 0 while a tail is being logged again: segments of this and later epochs are void until the pool was opened, so
   * a crash meanwhile loses nothing of the tail.
   */
  readonly relogEpoch: number;
  /** Limits of use in thousandths of the capacity; 0 = as they are by default. */
  readonly softPermille: number;
  readonly hardPermille: number;
  /** The clock by which moments grow old had come so far when this was written; 0 = nobody has noted it yet. */
  readonly ageMs: number;
}

/** One copy, 4096 bytes, the same for all four places (the pool's name and id are inside; the address is its generation). */
export function encodeSuperblock(block: Superblock): Uint8Array {
  const out = new Uint8Array(superblockSizeBytes);
  const view = viewOf(out);
  const name = new TextEncoder().encode(block.name);
  layout.magic.set(view, 0, magic);
  layout.version.set(view, 0, superblockVersion);
  layout.length.set(view, 0, usedBytes);
  layout.poolUuid.set(out, 0, block.poolUuid);
  layout.nodeUuid.set(out, 0, block.nodeUuid);
  layout.generation.set(view, 0, block.generation);
  layout.epoch.set(view, 0, block.epoch);
  layout.flags.set(view, 0, block.isClean ? flagClean : 0);
  layout.segmentSlots.set(view, 0, block.segmentSlots);
  layout.manifestAppliedPosition.set(view, 0, block.manifestAppliedPosition);
  layout.manifestDigest.set(out, 0, block.manifestDigest);
  layout.replayFromSegId.set(view, 0, block.replayFromSegId);
  layout.segIdHighWater.set(view, 0, block.segIdHighWater);
  layout.hlcMsHighWater.set(view, 0, block.hlcMsHighWater);
  layout.capacityBytes.set(view, 0, block.capacityBytes);
  layout.createdMs.set(view, 0, block.createdMs);
  layout.durableThrough.set(view, 0, block.durableThrough);
  layout.nameLength.set(view, 0, Math.min(name.length, nameBytesMax));
  layout.name.set(out, 0, name);
  layout.relogEpoch.set(view, 0, block.relogEpoch);
  layout.softPermille.set(view, 0, block.softPermille);
  layout.hardPermille.set(view, 0, block.hardPermille);
  layout.ageMs.set(view, 0, block.ageMs);
  seal(out, 0);
  return out;
}

/** Throws FormatError when `copy` is not a superblock, is damaged, or is of a version that must not be touched. */
export function decodeSuperblock(copy: Uint8Array): Superblock {
  if (copy.length < superblockSizeBytes) throw new FormatError('superblock: too short');
  const view = viewOf(copy);
  if (layout.magic.get(view, 0) !== magic) throw new FormatError('superblock: no magic');
  if (layout.crc.get(view, 0) !== crc32c(copy.subarray(4, superblockSizeBytes), 0)) {
    throw new FormatError('superblock: checksum');
  }
  const version = layout.version.get(view, 0);
  const incompatible = layout.incompatible.get(view, 0);
  const readOnlyCompatible = layout.readOnlyCompatible.get(view, 0);
  if (version !== superblockVersion || incompatible !== 0 || readOnlyCompatible !== 0) {
    throw new FormatError(
      `superblock: written by a newer tidemark (version ${version}, features ${incompatible.toString(16)}/${readOnlyCompatible.toString(16)})`,
      { isTooNew: true },
    );
  }
  const nameLength = Math.min(layout.nameLength.get(view, 0), nameBytesMax);
  return {
    poolUuid: layout.poolUuid.get(copy, 0).slice(),
    nodeUuid: layout.nodeUuid.get(copy, 0).slice(),
    generation: layout.generation.get(view, 0),
    epoch: layout.epoch.get(view, 0),
    isClean: (layout.flags.get(view, 0) & flagClean) !== 0,
    segmentSlots: layout.segmentSlots.get(view, 0),
    manifestAppliedPosition: layout.manifestAppliedPosition.get(view, 0),
    manifestDigest: layout.manifestDigest.get(copy, 0).slice(),
    replayFromSegId: layout.replayFromSegId.get(view, 0),
    segIdHighWater: layout.segIdHighWater.get(view, 0),
    hlcMsHighWater: layout.hlcMsHighWater.get(view, 0),
    capacityBytes: layout.capacityBytes.get(view, 0),
    createdMs: layout.createdMs.get(view, 0),
    durableThrough: layout.durableThrough.get(view, 0),
    name: new TextDecoder().decode(layout.name.get(copy, 0).subarray(0, nameLength)),
    relogEpoch: layout.relogEpoch.get(view, 0),
    softPermille: layout.softPermille.get(view, 0),
    hardPermille: layout.hardPermille.get(view, 0),
    ageMs: layout.ageMs.get(view, 0),
  };
}

/**
 * The superblock that counts among the copies read (undefined = unreadable copy). Throws FormatError when no generation
 * has two equal copies, and passes on "too new" of any copy.
 */
export function chooseSuperblock(copies: readonly (Uint8Array | undefined)[]): Superblock {
  const counts = new Map<string, { block: Superblock; count: number }>();
  for (const copy of copies) {
    if (copy === undefined) continue;
    try {
      const block = decodeSuperblock(copy);
      const key = `${block.generation}:${layout.crc.get(viewOf(copy), 0)}`;
      const seen = counts.get(key);
      if (seen === undefined) counts.set(key, { block, count: 1 });
      else seen.count += 1;
    } catch (thrown) {
      if (thrown instanceof FormatError && thrown.isTooNew) throw thrown;
      if (!(thrown instanceof FormatError)) throw thrown;
    }
  }
  let best: Superblock | undefined;
  for (const { block, count } of counts.values()) {
    if (count >= 2 && (best === undefined || block.generation > best.generation)) best = block;
  }
  if (best === undefined) {
    throw new FormatError('superblock: fewer than two of the four copies agree');
  }
  return best;
}
