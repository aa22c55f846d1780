import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqlite } from '../../../src/volume/manifest-database.ts';
import { Manifest, type ManifestRecord } from '../../../src/volume/recovery/manifest.ts';

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
});
