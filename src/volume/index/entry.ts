/**
 * Index entry: what one data record of the log did to one leaf of a map (2 MiB of a volume), or to an aligned group of
 * whole leaves. No entry crosses the bounds of its node, so finding what touched a leaf never needs overlaps of ranges.
 *
 *     level 0: node = leaf           blocks [within, within + blockCount) of it
 *     level k: node = leaf / 8^k     all leaves of the node: a TRIM of a whole volume is a handful of entries, not a list
 *
 * Order of entries: line, level, node, position.
 */
import type { FooterEntry } from '../format/footer.ts';
import { FormatError } from '../format/format-error.ts';
import { flagNoHole, isDataType, RecordType } from '../format/frame.ts';
import { holeValue, zeroValue } from '../map/block-map.ts';
import { leafBlocks } from '../map/leaf-store.ts';

/** Leaves of a node of level k are 8^k. */
const levelFanOut = 8;
/** 8^9 leaves are 256 TiB; a volume of 1 PiB has four such nodes. */
const levelsMax = 10;
/** Volumes have at most 2^50 bytes. */
const leavesMax = 2 ** 29;

export const EntryKind = { write: 0, zero: 1, allocatedZero: 2, trim: 3, clone: 4 } as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

/** Filled again for each entry that is read: copy what must stay. */
export class IndexEntry {
  line = 0;
  level = 0;
  node = 0;
  /** Level 0: first block within the leaf, and how many. Above: 0 and 512. */
  within = 0;
  blockCount = 0;
  position = 0;
  /** WRITE and CLONE: address of the first block; else 0. */
  address = 0;
  kind: EntryKind = EntryKind.write;
  /** Time of the record, in ticks of 10 us since 1970. */
  ticks = 0;
}

/** What an entry puts into a map: for addresses, that of its first block. */
export function entryValue(kind: EntryKind, address: number): number {
  if (kind === EntryKind.write || kind === EntryKind.clone) return address;
  return kind === EntryKind.allocatedZero ? zeroValue : holeValue;
}

/** Node of `level` that a leaf lies in. */
export function nodeOf(leaf: number, level: number): number {
  return Math.floor(leaf / levelFanOut ** level);
}

/** The leaves of a node: the first one, and how many. */
export function leavesOf(level: number, node: number): { readonly leaf: number; count: number } {
  const count = levelFanOut ** level;
  return { leaf: node * count, count };
}

/** Throws FormatError for data records that this version does not know. */
function kindOf(type: number, flags: number): EntryKind {
  switch (type) {
    case RecordType.write:
      return EntryKind.write;
    case RecordType.clone:
      return EntryKind.clone;
    case RecordType.trim:
      return EntryKind.trim;
    case RecordType.zero:
      return (flags & flagNoHole) === 0 ? EntryKind.zero : EntryKind.allocatedZero;
    default:
      throw new FormatError(`record type ${type} needs a newer tidemark`, { isTooNew: true });
  }
}

/**
 * Calls `visit` with each index entry that a record of the log becomes (none for catalogue records), in order of blocks.
 * `scratch` is what it calls it with. Throws FormatError for what no volume can hold, and for unknown data records.
 */
export function eachIndexEntry(
  record: FooterEntry,
  ticks: number,
  scratch: IndexEntry,
  visit: (entry: IndexEntry) => void,
): void {
  if (!isDataType(record.type)) return;
  const kind = kindOf(record.type, record.flags);
  const end = record.lba + record.blockCount;
  if (end > leavesMax * leafBlocks) {
    throw new FormatError(`record at ${record.position} lies outside every volume`);
  }
  const hasAddress = kind === EntryKind.write || kind === EntryKind.clone;
  scratch.line = record.line;
  scratch.position = record.position;
  scratch.kind = kind;
  scratch.ticks = ticks;
  for (let block = record.lba; block < end; ) {
    const leaf = Math.floor(block / leafBlocks);
    const within = block - leaf * leafBlocks;
    const level = hasAddress || within > 0 ? 0 : widestLevel(leaf, Math.floor(end / leafBlocks));
    const blocks =
      level > 0 ? leafBlocks * levelFanOut ** level : Math.min(end - block, leafBlocks - within);
    scratch.level = level;
    scratch.node = level > 0 ? nodeOf(leaf, level) : leaf;
    scratch.within = within;
    scratch.blockCount = Math.min(blocks, leafBlocks);
    scratch.address = hasAddress ? record.address + block - record.lba : 0;
    visit(scratch);
    block += blocks;
  }
}

/** The greatest level whose node begins at `leaf` and ends at or below `endLeaf`. */
function widestLevel(leaf: number, endLeaf: number): number {
  let level = 0;
  for (let leaves = levelFanOut; level + 1 < levelsMax; leaves *= levelFanOut) {
    if (leaf % leaves !== 0 || leaf + leaves > endLeaf) break;
    level += 1;
  }
  return level;
}

/** Order of entries. */
export function compareEntries(left: IndexEntry, right: IndexEntry): number {
  return (
    left.line - right.line ||
    left.level - right.level ||
    left.node - right.node ||
    left.position - right.position
  );
}
