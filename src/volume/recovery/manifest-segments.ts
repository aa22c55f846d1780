/** The manifest's rows of sealed segments: kept in groups that vouch for themselves (`format/segment-rows.ts`). */
import type Database from 'better-sqlite3';
import { toHex } from '../../base/uuid.ts';
import type { Seeds } from '../format/checksum.ts';
import {
  decodeRowGroup,
  encodeRowGroup,
  groupSegments,
  type RowGroup,
  rowGroupOf,
  type SegmentRow,
  wideGroupOf,
  wideGroups,
} from '../format/segment-rows.ts';
import type { Steps } from '../steps.ts';
import { SegmentTable } from './segment-table.ts';

export const segmentSchema = `
  CREATE TABLE IF NOT EXISTS segment_group (id INTEGER PRIMARY KEY, rows BLOB NOT NULL);
`;

/** Room for so many segments more than are known, and for at most so many (32 TiB): the table grows by doubling after that. */
const spareSegments = 4096;
const capacityMax = 2 ** 20;

/** Rows of one group, and which it is. */
interface RowsFound {
  readonly group: number;
  readonly isWide: boolean;
  readonly rows: readonly SegmentRow[];
}

interface Group {
  readonly id: number;
  readonly rows: Uint8Array;
}

/**
 * What a column of blobs holds; a plain array, of which parts are cheaper than those of a Buffer. SQLite looks at no checksums: in
 * a damaged page one bit makes text of it, or nothing.
 */
function blobOf(found: unknown): Uint8Array {
  if (!(found instanceof Uint8Array)) return new Uint8Array(0);
  return new Uint8Array(found.buffer, found.byteOffset, found.length);
}

export class ManifestSegments {
  readonly #database: Database.Database;
  readonly #seeds: Seeds;

  /** The caller makes the table, and a transaction around what belongs together. */
  constructor(database: Database.Database, seeds: Seeds) {
    this.#database = database;
    this.#seeds = seeds;
  }

  /** Adds rows, in the place of those of the same segments. What is damaged is given up: opening notices that it is missing. */
  put(rows: readonly SegmentRow[]): void {
    const byGroup = groupsOf(rows);
    for (const [group, added] of byGroup) {
      const known = this.#rowsAround(group);
      const bySegId = new Map(known.rows.map((row) => [row.segId, row]));
      for (const row of added) bySegId.set(row.segId, row);
      this.#write(known, [...bySegId.values()]);
    }
    // What one call adds is soon all: nothing waits for the groups of a long log.
    for (let count = 0; count < byGroup.size && this.#widen(); count += 1);
  }

  /** Removes the rows of `segId` and all segments behind it. */
  cutAt(segId: number): void {
    const { group, rows } = this.#rowsAround(rowGroupOf(segId));
    const kept = rows.filter((row) => row.segId < segId);
    this.#database.prepare('DELETE FROM segment_group WHERE id >= ?').run(group);
    for (const [each, left] of groupsOf(kept)) this.#write({ group: each, isWide: false }, left);
  }

  /** Canonical text of all rows, whichever groups they are in. */
  contents(): string {
    const parts: string[] = [];
    for (const { id, rows } of this.#groups()) {
      const found = decodeRowGroup(id, rows, this.#seeds);
      for (const [group, each] of groupsOf(found?.rows() ?? [])) {
        parts.push(
          `${group}:${toHex(encodeRowGroup({ group, isWide: false }, each, this.#seeds))}`,
        );
      }
      if (found === undefined) parts.push(`${id}:${toHex(rows)}`);
    }
    return parts.join();
  }

  /**
   * The segments from the first of the log on, as far as each follows the one before it; undefined when there are none.
   * Throws FormatError for rows of a newer version, SqliteError for a damaged database.
   */
  *read(segmentSlots: number, packed: SegmentTable['packed']): Steps<SegmentTable | undefined> {
    const last = this.#database.prepare('SELECT MAX(id) FROM segment_group').pluck().get();
    yield;
    // Ids have few gaps, and what is not used takes no memory. A damaged row says anything.
    const capacity = Math.min(Number(last ?? 0) * groupSegments + spareSegments, capacityMax);
    const table = new SegmentTable(segmentSlots, packed, Math.max(0, capacity));
    for (const { id, rows } of this.#groups()) {
      const found = decodeRowGroup(id, rows, this.#seeds);
      if (found === undefined || !table.addRows(found)) break;
      yield;
    }
    return table.size === 0 ? undefined : table;
  }

  /** One after the other: all of a large log are tens of megabytes. */
  *#groups(): Generator<Group> {
    const found = this.#database.prepare(
      'SELECT id, rows FROM segment_group WHERE id >= 0 ORDER BY id',
    );
    for (const row of found.iterate()) {
      const { id, rows } = row as { id: number; rows: unknown };
      yield { id, rows: blobOf(rows) };
    }
  }

  /** The rows that are in one with those of `group`: a wide group, or itself. */
  #rowsAround(group: number): RowsFound {
    const wide = wideGroupOf(group);
    const around = this.#rowsOf(wide);
    if (around?.isWide === true) return { group: wide, isWide: true, rows: around.rows() };
    const own = group === wide ? around : this.#rowsOf(group);
    return { group, isWide: false, rows: own?.rows() ?? [] };
  }

  #rowsOf(group: number): RowGroup | undefined {
    const found = this.#database
      .prepare('SELECT rows FROM segment_group WHERE id = ?')
      .pluck()
      .get(group);
    return decodeRowGroup(group, blobOf(found), this.#seeds);
  }

  /** Makes a wide group of the first others that the log has left behind; false when there are none. */
  #widen(): boolean {
    const last = Number(this.#database.prepare('SELECT MAX(id) FROM segment_group').pluck().get());
    const first = this.#database
      .prepare(`SELECT id FROM segment_group WHERE id % ${wideGroups} <> 0 AND id < ? LIMIT 1`)
      .pluck()
      .get(wideGroupOf(last));
    if (typeof first !== 'number') return false;
    const wide = wideGroupOf(first);
    const groups = Array.from({ length: wideGroups }, (_, index) => wide + index);
    const rows = groups.flatMap((group) => this.#rowsOf(group)?.rows() ?? []);
    this.#database
      .prepare('DELETE FROM segment_group WHERE id >= ? AND id < ?')
      .run(wide, wide + wideGroups);
    this.#write({ group: wide, isWide: true }, rows);
    return true;
  }

  #write(place: Pick<RowsFound, 'group' | 'isWide'>, rows: SegmentRow[]): void {
    rows.sort((left, right) => left.segId - right.segId);
    this.#database
      .prepare('INSERT OR REPLACE INTO segment_group VALUES (?, ?)')
      .run(place.group, encodeRowGroup(place, rows, this.#seeds));
  }
}

/** Rows by the group that they are in. */
function groupsOf(rows: readonly SegmentRow[]): Map<number, SegmentRow[]> {
  const byGroup = new Map<number, SegmentRow[]>();
  for (const row of rows) {
    const group = rowGroupOf(row.segId);
    const others = byGroup.get(group);
    if (others === undefined) byGroup.set(group, [row]);
    else others.push(row);
  }
  return byGroup;
}
