/** What the manifest has of windows: policy and horizon of each volume, whose are guaranteed, and automatic pins. */
import { createHash } from 'node:crypto';
import type Database from 'better-sqlite3';
import { formatCdpPolicy, unlimitedCdp } from '../../base/cdp-policy.ts';
import { toHex } from '../../base/uuid.ts';
import { pinAt } from '../catalogue/kept-moments.ts';
import type { CdpFields, Horizon, Pin, Unpin } from '../catalogue/retention-records.ts';

export const retentionSchema = `
  CREATE TABLE IF NOT EXISTS retention (
    volume TEXT PRIMARY KEY, policy TEXT NOT NULL, horizon INTEGER, horizon_ms INTEGER, horizon_reason INTEGER)
    WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS guarantee (volume TEXT PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS auto_pin (
    line INTEGER NOT NULL, cut INTEGER NOT NULL, moment_ms INTEGER NOT NULL, PRIMARY KEY (line, cut)) WITHOUT ROWID;
`;
export const retentionTables = ['retention', 'guarantee', 'auto_pin'];

/** Of a new volume. */
export function insertCdp(
  database: Database.Database,
  volume: Uint8Array,
  { policy = unlimitedCdp, isGuaranteed }: CdpFields,
): void {
  database
    .prepare('INSERT INTO retention VALUES (?, ?, NULL, NULL, NULL)')
    .run(toHex(volume), formatCdpPolicy(policy));
  changeCdp(database, volume, isGuaranteed === undefined ? {} : { isGuaranteed });
}

/** What is absent stays. */
export function changeCdp(
  database: Database.Database,
  volume: Uint8Array,
  { policy, isGuaranteed }: CdpFields,
): void {
  const uuid = toHex(volume);
  if (policy !== undefined) {
    database
      .prepare('UPDATE retention SET policy = ? WHERE volume = ?')
      .run(formatCdpPolicy(policy), uuid);
  }
  if (isGuaranteed === undefined) return;
  const change = isGuaranteed
    ? 'INSERT OR IGNORE INTO guarantee VALUES (?)'
    : 'DELETE FROM guarantee WHERE volume = ?';
  database.prepare(change).run(uuid);
}

/** With everything that is kept of it. */
export function deleteRetention(database: Database.Database, volume: Uint8Array): void {
  const uuid = toHex(volume);
  database
    .prepare('DELETE FROM auto_pin WHERE line IN (SELECT id FROM line WHERE volume = ?)')
    .run(uuid);
  database.prepare('DELETE FROM guarantee WHERE volume = ?').run(uuid);
  database.prepare('DELETE FROM retention WHERE volume = ?').run(uuid);
}

export function applyRetention(
  database: Database.Database,
  record: Pin | Unpin | Horizon,
  position: number,
): void {
  if (record.kind === 'pin') {
    const insert = database.prepare('INSERT INTO auto_pin VALUES (?, ?, ?)');
    const { cut, timeMs } = pinAt(record, position);
    for (const line of record.lines) insert.run(line, cut, timeMs);
    for (const past of record.past ?? []) insert.run(past.line, past.cut, past.timeMs);
  } else if (record.kind === 'unpin') {
    const remove = database.prepare('DELETE FROM auto_pin WHERE line = ? AND cut = ?');
    for (const { line, cut } of record.pins) remove.run(line, cut);
  } else {
    const move = database.prepare(
      'UPDATE retention SET horizon = ?, horizon_ms = ?, horizon_reason = ? ' +
        'WHERE volume = (SELECT volume FROM line WHERE id = ?)',
    );
    for (const { line, position: to, timeMs, reason } of record.moves) {
      move.run(to, timeMs, reason, line);
    }
  }
}

/** Rows in order, for comparisons. */
export function retentionContents(database: Database.Database): unknown {
  const all = (sql: string): unknown[] => database.prepare(sql).all();
  return {
    retention: all('SELECT * FROM retention ORDER BY volume'),
    guaranteed: all('SELECT * FROM guarantee ORDER BY volume'),
    autoPins: digestOf(database, 'SELECT * FROM auto_pin ORDER BY line, cut'),
  };
}

/** Of all rows, one after the other: there may be hundreds of thousands. */
function digestOf(database: Database.Database, sql: string): string {
  const hash = createHash('sha256');
  for (const row of database.prepare(sql).raw().iterate()) hash.update(JSON.stringify(row));
  return hash.digest('hex');
}
