/** The manifest's rows of sealed segments: kept in groups that vouch for themselves (`format/segment-rows.ts`). */
import type Database from 'better-sqlite3';
import { toHex } from '../../base/uuid.ts';
import type { Seeds } from '../format/checksum.ts';
import {
  decodeRowGroup,
  encodeRowGroup,
  rowGroupOf,
  type SegmentRow,
} from '../format/segment-rows.ts';
import type { Steps } from '../steps.ts';
import { SegmentTable } from './segment-table.ts';

export const segmentSchema = `
  CREATE TABLE IF NOT EXISTS segment_group (id INTEGER PRIMARY KEY, rows BLOB NOT NULL);
`;

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
    const byGroup = new Map<number, SegmentRow[]>();
    for (const row of rows) {
      const group = rowGroupOf(row.segId);
      const others = byGroup.get(group);
      if (others === undefined) byGroup.set(group, [row]);
      else others.push(row);
    }
    for (const [group, added] of byGroup) {
      const bySegId = new Map(this.#rows(group).map((row) => [row.segId, row]));
      for (const row of added) bySegId.set(row.segId, row);
      this.#write(group, [...bySegId.values()]);
    }
  }

  /** Removes the rows of `segId` and all segments behind it. */
  cutAt(segId: number): void {
    const group = rowGroupOf(segId);
    const kept = this.#rows(group).filter((row) => row.segId < segId);
    this.#database.prepare('DELETE FROM segment_group WHERE id >= ?').run(group);
    if (kept.length > 0) this.#write(group, kept);
  }

  /** Canonical text of all rows. */
  contents(): string {
    return Array.from(this.#groups(), ({ id, rows }) => `${id}:${toHex(rows)}`).join();
  }

  /**
   * The segments from the first of the log on, as far as each follows the one before it; undefined when there are none.
   * Throws FormatError for rows of a newer version, SqliteError for a damaged database.
   */
  *read(segmentSlots: number, packed: SegmentTable['packed']): Steps<SegmentTable | undefined> {
    const count = this.#database.prepare('SELECT COUNT(*) FROM segment_group').pluck().get();
    yield;
    const table = new SegmentTable(segmentSlots, packed, Number(count) * 128);
    for (const { id, rows } of this.#groups()) {
      const found = decodeRowGroup(id, rows, this.#seeds);
      if (found === undefined || !table.addRows(found)) break;
      yield;
    }
    return table.size === 0 ? undefined : table;
  }

  /** One after the other: all of a large log are tens of megabytes. */
  *#groups(): Generator<Group> {
    const found = this.#database.prepare('SELECT id, rows FROM segment_group ORDER BY id');
    for (const row of found.iterate()) {
      const { id, rows } = row as { id: number; rows: unknown };
      yield { id, rows: blobOf(rows) };
    }
  }

  #rows(group: number): readonly SegmentRow[] {
    const found = this.#database
      .prepare('SELECT rows FROM segment_group WHERE id = ?')
      .pluck()
      .get(group);
    return decodeRowGroup(group, blobOf(found), this.#seeds)?.rows() ?? [];
  }

  #write(group: number, rows: SegmentRow[]): void {
    rows.sort((left, right) => left.segId - right.segId);
    this.#database
      .prepare('INSERT OR REPLACE INTO segment_group VALUES (?, ?)')
      .run(group, encodeRowGroup(group, rows, this.#seeds));
  }
}
