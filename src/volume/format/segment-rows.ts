/**
 * Segment rows: what opening must know of a sealed segment without touching its file. The manifest keeps them in groups, so
 * that all of a large log are read in a moment, and each group vouches for itself: SQLite does not checksum its pages.
 *
 *     group of segment ids [first, first + 128):   [preamble 16 B][u64 first][u16 count][u16 span][zeros to 32 B][row, 40 B each]
 *
 * Once the log has gone on, 32 groups become one, which is hardly written again: a log of 10 TiB is 81 of those, and each row of its last
 * segments costs 5 KiB to write and not 160.
 *
 * Rows are in log order. A row names the segment before it and, by the first bytes of its digest, what that one held: rows that
 * follow each other so are the log of one history, and the first segment's header behind them says whether it is ours.
 */
import { bytes, u16, u32, u48, u64, viewOf } from '../../base/fields.ts';
import type { Seeds } from './checksum.ts';
import { isSealed, preamble, refuseNewer, seal } from './preamble.ts';
import type { SegmentHeader } from './segment-header.ts';

const rowsVersion = 2;
const magic = 0x5253_4d54; // "TMSR"
const headBytes = 32;
const rowBytes = 40;
const segIdEnd = 2 ** 29;
/** Ids of a group. */
export const groupSegments = 128;
/** Groups of a wide one. */
export const wideGroups = 32;

/** Bytes of a digest that tell histories apart. */
export const digestTagBytes = 8;

const headLayout = { ...preamble, first: u64(16), count: u16(24), span: u16(26) } as const;

const rowLayout = {
  segId: u32(0),
  epoch: u32(4),
  hlcMs: u48(8),
  endSlot: u16(14),
  entryCount: u32(16),
  previousSegId: u32(20),
  previousTag: bytes(24, digestTagBytes),
  tag: bytes(32, digestTagBytes),
} as const;

export interface SegmentRow {
  readonly segId: number;
  readonly epoch: number;
  /** Time of its header. */
  readonly hlcMs: number;
  /** First slot behind its last frame. */
  readonly endSlot: number;
  readonly entryCount: number;
  /** 0 = it is the first of the log. */
  readonly previousSegId: number;
  /** The first bytes of the digest of the segment before. */
  readonly previousTag: Uint8Array;
  /** Those of its own. */
  readonly tag: Uint8Array;
}

/** What a footer says of its segment. */
interface SegmentSums extends Pick<SegmentRow, 'endSlot' | 'entryCount'> {
  readonly digest: Uint8Array;
}

/** The row of a sealed segment: its header, and what its footer says. */
export function segmentRowOf(
  header: SegmentHeader,
  { endSlot, entryCount, digest }: SegmentSums,
): SegmentRow {
  const { segId, epoch, hlcMs, previousSegId, previousDigest } = header;
  const previousTag = previousDigest.subarray(0, digestTagBytes);
  const tag = digest.subarray(0, digestTagBytes);
  return { segId, epoch, hlcMs, endSlot, entryCount, previousSegId, previousTag, tag };
}

/** The group that a segment's row is in. */
export function rowGroupOf(segId: number): number {
  return Math.floor(segId / groupSegments);
}

/** The first group of the wide one that `group` is, or will be, a part of. */
export function wideGroupOf(group: number): number {
  return group - (group % wideGroups);
}

/** Where rows are: the group, the first one of a wide group. */
interface RowsPlace {
  readonly group: number;
  readonly isWide: boolean;
}

/** `rows`: all of the group, in log order. */
export function encodeRowGroup(
  { group, isWide }: RowsPlace,
  rows: readonly SegmentRow[],
  seeds: Seeds,
): Uint8Array {
  const out = new Uint8Array(headBytes + rows.length * rowBytes);
  const view = viewOf(out);
  headLayout.magic.set(view, 0, magic);
  headLayout.version.set(view, 0, rowsVersion);
  headLayout.length.set(view, 0, headBytes);
  headLayout.first.set(view, 0, group * groupSegments);
  headLayout.count.set(view, 0, rows.length);
  headLayout.span.set(view, 0, isWide ? wideGroups : 0);
  rows.forEach((row, index) => {
    const at = headBytes + index * rowBytes;
    rowLayout.segId.set(view, at, row.segId);
    rowLayout.epoch.set(view, at, row.epoch);
    rowLayout.hlcMs.set(view, at, row.hlcMs);
    rowLayout.endSlot.set(view, at, row.endSlot);
    rowLayout.entryCount.set(view, at, row.entryCount);
    rowLayout.previousSegId.set(view, at, row.previousSegId);
    rowLayout.previousTag.set(out, at, row.previousTag);
    rowLayout.tag.set(out, at, row.tag);
  });
  seal(out, seeds.rows(group));
  return out;
}

/**
 * Rows of a group, in log order; undefined when the bytes are not what was written. It keeps `group`'s bytes. Throws FormatError for
 * a newer version.
 */
export function decodeRowGroup(
  group: number,
  found: Uint8Array,
  seeds: Seeds,
): RowGroup | undefined {
  if (found.length < headBytes || !isSealed(found, magic, seeds.rows(group))) return undefined;
  const view = viewOf(found);
  refuseNewer(view, rowsVersion, 'segments of the manifest');
  const first = headLayout.first.get(view, 0);
  const count = headLayout.count.get(view, 0);
  const isWide = headLayout.span.get(view, 0) === wideGroups;
  const isWhole = found.length === headBytes + count * rowBytes;
  if (!isWhole || first !== group * groupSegments) return undefined;
  const rows = new RowGroup(found, count, isWide);
  const end = Math.min(segIdEnd, first + groupSegments * (isWide ? wideGroups : 1));
  let before = first - 1;
  for (let index = 0; index < count; index += 1) {
    const segId = rows.segId(index);
    if (segId <= before || segId >= end) return undefined;
    before = segId;
  }
  return rows;
}

/** Rows where they lie, decoded as they are asked for: opening reads hundreds of thousands, and makes no object of any. */
export class RowGroup {
  readonly count: number;
  readonly isWide: boolean;
  /** With the tags of all rows. */
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(group: Uint8Array, count: number, isWide: boolean) {
    this.bytes = group;
    this.count = count;
    this.isWide = isWide;
    this.#view = viewOf(group);
  }

  segId(index: number): number {
    return rowLayout.segId.get(this.#view, headBytes + index * rowBytes);
  }

  epoch(index: number): number {
    return rowLayout.epoch.get(this.#view, headBytes + index * rowBytes);
  }

  hlcMs(index: number): number {
    return rowLayout.hlcMs.get(this.#view, headBytes + index * rowBytes);
  }

  endSlot(index: number): number {
    return rowLayout.endSlot.get(this.#view, headBytes + index * rowBytes);
  }

  entryCount(index: number): number {
    return rowLayout.entryCount.get(this.#view, headBytes + index * rowBytes);
  }

  previousSegId(index: number): number {
    return rowLayout.previousSegId.get(this.#view, headBytes + index * rowBytes);
  }

  /** Where the first bytes of the digest of the segment before lie in `bytes`. */
  previousTagAt(index: number): number {
    return headBytes + index * rowBytes + rowLayout.previousTag.offset;
  }

  /** Where the first bytes of its own digest lie in `bytes`. */
  tagAt(index: number): number {
    return headBytes + index * rowBytes + rowLayout.tag.offset;
  }

  /** All rows; their tags are views of `bytes`. */
  rows(): SegmentRow[] {
    return Array.from({ length: this.count }, (_, index) => this.#row(index));
  }

  #row(index: number): SegmentRow {
    const at = headBytes + index * rowBytes;
    return {
      segId: this.segId(index),
      epoch: this.epoch(index),
      hlcMs: this.hlcMs(index),
      endSlot: this.endSlot(index),
      entryCount: this.entryCount(index),
      previousSegId: this.previousSegId(index),
      previousTag: rowLayout.previousTag.get(this.bytes, at),
      tag: rowLayout.tag.get(this.bytes, at),
    };
  }
}
