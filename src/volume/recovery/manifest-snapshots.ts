/** What the manifest has of snapshots, and which of them are locked. */
import type Database from 'better-sqlite3';
import { toHex } from '../../base/uuid.ts';
import type { Snap, SnapDelete, SnapSet } from '../catalogue/snapshot-records.ts';
import { frameAddressOf, positionOf } from '../format/address.ts';

export const snapshotSchema = `
  CREATE TABLE IF NOT EXISTS pin (
    uuid TEXT PRIMARY KEY, volume TEXT NOT NULL, name TEXT NOT NULL, line INTEGER NOT NULL, cut INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, size_bytes INTEGER NOT NULL, moment_ticks INTEGER, label TEXT,
    UNIQUE (volume, name)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS pin_lock (uuid TEXT PRIMARY KEY, until_ms INTEGER NOT NULL) WITHOUT ROWID;
`;
export const snapshotTables = ['pin', 'pin_lock'];

export function applySnapshot(
  database: Database.Database,
  record: Snap | SnapSet | SnapDelete,
  position: number,
): void {
  const uuid = toHex(record.uuid);
  if (record.kind === 'snap') {
    insertPin(database, record, position);
    return;
  }
  database.prepare('DELETE FROM pin_lock WHERE uuid = ?').run(uuid);
  if (record.kind === 'snap-delete') {
    database.prepare('DELETE FROM pin WHERE uuid = ?').run(uuid);
  } else if (record.lockedUntilMs > 0) {
    database.prepare('INSERT INTO pin_lock VALUES (?, ?)').run(uuid, record.lockedUntilMs);
  }
}

/** Those of a volume, with their locks. */
export function deleteSnapshots(database: Database.Database, volume: Uint8Array): void {
  const uuid = toHex(volume);
  database
    .prepare('DELETE FROM pin_lock WHERE uuid IN (SELECT uuid FROM pin WHERE volume = ?)')
    .run(uuid);
  database.prepare('DELETE FROM pin WHERE volume = ?').run(uuid);
}

/** Rows in order, for comparisons. */
export function snapshotContents(database: Database.Database): object {
  const all = (sql: string): unknown[] => database.prepare(sql).all();
  return {
    pins: all('SELECT * FROM pin ORDER BY uuid'),
    locks: all('SELECT * FROM pin_lock ORDER BY uuid'),
  };
}

function insertPin(database: Database.Database, record: Snap, position: number): void {
  const { past } = record;
  database
    .prepare(
      'INSERT INTO pin SELECT ?, ?, ?, ?, ?, ?, COALESCE(?, size_bytes), ?, ? FROM volume WHERE uuid = ?',
    )
    .run(
      toHex(record.uuid),
      toHex(record.volumeUuid),
      record.name,
      record.line,
      past?.cut ?? positionOf(frameAddressOf(position), 0),
      record.createdMs,
      past?.sizeBytes ?? null,
      past?.ticks ?? null,
      past?.label ?? null,
      toHex(record.volumeUuid),
    );
}
