import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Seeds } from '../../../src/volume/format/checksum.ts';
import type { SegmentRow } from '../../../src/volume/format/segment-rows.ts';
import { openSqlite } from '../../../src/volume/manifest-database.ts';
import { Manifest, type ManifestRecord } from '../../../src/volume/recovery/manifest.ts';
import { ManifestSegments } from '../../../src/volume/recovery/manifest-segments.ts';
import { finish } from '../../../src/volume/steps.ts';

function rowOf(segId: number): SegmentRow {
  const tag = new Uint8Array(8).fill(segId % 251);
  const previousTag = new Uint8Array(8).fill((segId - 1) % 251);
  const numbers = { epoch: 1, hlcMs: 1000 + segId, endSlot: 64, entryCount: segId % 9 };
  return { segId, ...numbers, previousSegId: segId - 1, previousTag, tag };
}

const poolUuid = new Uint8Array(16).fill(7);

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-manifest-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const volume: ManifestRecord = {
  position: 9,
  record: {
    kind: 'vol-create',
    line: 1,
    uuid: new Uint8Array(16).fill(1),
    name: 'lun0',
    sizeBytes: 4096,
    naa: new Uint8Array(16).fill(2),
    serial: 'S',
    ack: 0,
    createdMs: 3,
  },
};

describe('manifest', () => {
  it('of another schema is thrown away, tables and all', () => {
    const path = join(folder, 'manifest.db');
    const old = new Database(path);
    old.exec(`
      CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE volume (uuid TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
      INSERT INTO meta VALUES ('poolUuid', '${'07'.repeat(16)}'), ('schemaVersion', '0');
      INSERT INTO meta VALUES ('appliedPosition', '100');
    `);
    old.close();
    const manifest = new Manifest(openSqlite(path), poolUuid);
    expect(manifest.appliedPosition).toBe(0);
    manifest.apply([volume], []);
    const contents = manifest.contents();
    manifest.close();
    const fresh = new Manifest(openSqlite(':memory:'), poolUuid);
    fresh.apply([volume], []);
    expect(contents).toBe(fresh.contents());
    fresh.close();
  });

  it('keeps what it has when it is opened again', () => {
    const path = join(folder, 'manifest.db');
    const first = new Manifest(openSqlite(path), poolUuid);
    first.apply([volume], []);
    const contents = first.contents();
    first.close();
    const second = new Manifest(openSqlite(path), poolUuid);
    expect(second.appliedPosition).toBe(volume.position);
    expect(second.contents()).toBe(contents);
    second.close();
  });

  it('knows the segments of a long log whatever groups their rows are in, and says the same of it', () => {
    const count = 10_000;
    const rows = Array.from({ length: count }, (_, index) => rowOf(index + 1));
    const path = join(folder, 'manifest.db');
    const grown = new Manifest(openSqlite(path), poolUuid);
    grown.apply([volume], []);
    const parts = [0, 1, 100, 4090, 4100, 4200, 8000, 8191, 8192, 9000, count];
    for (const [index, from] of parts.entries()) {
      grown.apply([], rows.slice(from, parts[index + 1] ?? from));
    }
    // Seals of another order, and again.
    grown.apply([], [rowOf(4095), rowOf(77), rowOf(count)]);
    const contents = grown.contents();
    const whole = new Manifest(openSqlite(':memory:'), poolUuid);
    whole.apply([volume], rows);
    expect(whole.contents()).toBe(contents);
    expect(groupsIn(path)).toBe(2 + Math.ceil((count + 1 - 2 * 4096) / 128));

    for (const cut of [9001, 8193, 8192, 5000, 4096, 129, 3]) {
      grown.cutSegments(cut);
      whole.cutSegments(cut);
      expect(grown.contents()).toBe(whole.contents());
      expect(segmentsIn(path)).toEqual(Array.from({ length: cut - 1 }, (_, index) => index + 1));
      const more = rows.slice(cut - 1, cut + 200);
      grown.apply([], more);
      whole.apply([], more);
      expect(segmentsIn(path)).toEqual(
        Array.from({ length: cut - 1 + more.length }, (_, index) => index + 1),
      );
    }
    grown.close();
    whole.close();
  });
});

function groupsIn(path: string): unknown {
  const database = new Database(path, { readonly: true });
  const count = database.prepare('SELECT COUNT(*) FROM segment_group').pluck().get();
  database.close();
  return count;
}

/** The segments that an opening reads. */
function segmentsIn(path: string): number[] {
  const database = new Database(path, { readonly: true });
  const packed = { find: () => undefined };
  const table = finish(new ManifestSegments(database, new Seeds(poolUuid)).read(64, packed));
  database.close();
  return [...(table?.keys() ?? [])];
}
