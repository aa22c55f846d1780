/**
 * Manifest: the catalogue as a SQLite database, for looking things up without replaying the log. It is a view: every row is
 * a function of the log up to `appliedPosition`, and it can be deleted and made again at any time.
 *
 * Invariants
 * 1. Only records at or below the durable end of the log are applied, each batch in one transaction with its position.
 * 2. A manifest that is ahead of the recovered log, of another pool or of another schema is thrown away.
 */
import Database from 'better-sqlite3';
import { unlimitedCdp } from '../../base/cdp-policy.ts';
import { toHex } from '../../base/uuid.ts';
import {
  type CatalogueRecord,
  type Fork,
  Provisioning,
  type Revert,
  type Snap,
  type View,
  type VolCreate,
} from '../catalogue/records.ts';
import { frameAddressOf, positionOf } from '../format/address.ts';
import type { RunPlace } from '../index/run-format.ts';
import type { RunSummary } from '../index/run-writer.ts';
import {
  applyRetention,
  changePolicy,
  deleteRetention,
  insertPolicy,
  retentionContents,
  retentionSchema,
  retentionTables,
} from './manifest-retention.ts';

const manifestSchemaVersion = 6;

export interface ManifestRecord {
  readonly record: CatalogueRecord;
  readonly position: number;
}

/** A sealed segment: its index entries are named by the digest of its footer's frames. */
export interface ManifestSegment {
  readonly segId: number;
  readonly epoch: number;
  readonly endSlot: number;
  readonly entryCount: number;
  readonly digest: Uint8Array;
}

const schema = `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS volume (
    uuid TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, line INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    naa TEXT NOT NULL, serial TEXT NOT NULL, ack INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    created_position INTEGER NOT NULL, view_source TEXT, view_label TEXT, lu_state TEXT,
    provisioning INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS line (
    id INTEGER PRIMARY KEY, volume TEXT NOT NULL, parent INTEGER NOT NULL, fork_position INTEGER NOT NULL,
    created_position INTEGER NOT NULL, size_bytes INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS pin (
    uuid TEXT PRIMARY KEY, volume TEXT NOT NULL, name TEXT NOT NULL, line INTEGER NOT NULL, cut INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, size_bytes INTEGER NOT NULL, moment_ticks INTEGER, label TEXT,
    UNIQUE (volume, name)) WITHOUT ROWID;
  ${retentionSchema}
  CREATE TABLE IF NOT EXISTS epoch (
    epoch INTEGER PRIMARY KEY, node TEXT NOT NULL, open_id TEXT NOT NULL, start_position INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS segment (
    id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, end_slot INTEGER NOT NULL, entries INTEGER NOT NULL,
    digest TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS run (
    level INTEGER NOT NULL, first_segment INTEGER NOT NULL, position_low INTEGER NOT NULL,
    position_high INTEGER NOT NULL, bytes INTEGER NOT NULL, entries INTEGER NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (level, first_segment)) WITHOUT ROWID;
`;

/**
 * Opens the manifest; a damaged one is removed (`removeFiles` deletes the database's files) and begun anew: the log is
 * the truth.
 */
export function openManifest(
  path: string,
  poolUuid: Uint8Array,
  removeFiles: () => void,
): Manifest {
  try {
    return new Manifest(path, poolUuid);
  } catch (thrown) {
    if (!(thrown instanceof Database.SqliteError)) throw thrown;
    removeFiles();
    return new Manifest(path, poolUuid);
  }
}

export class Manifest {
  readonly #database: Database.Database;

  /** Opens or makes the database at `path` (':memory:' = none on disk); empties it when it belongs to another pool or schema. */
  constructor(path: string, poolUuid: Uint8Array) {
    this.#database = prepareDatabase(path);
    const isOurs =
      this.#meta('poolUuid') === toHex(poolUuid) &&
      this.#meta('schemaVersion') === String(manifestSchemaVersion);
    if (!isOurs) this.reset(poolUuid);
  }

  /** Position of the newest record applied; 0 = empty. */
  get appliedPosition(): number {
    return Number(this.#meta('appliedPosition') ?? '0');
  }

  /** What the scrubber noted last: no part of the contents. */
  get scrubNote(): string | undefined {
    return this.#meta('scrub');
  }

  keepScrubNote(text: string): void {
    this.#database.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)').run('scrub', text);
  }

  /** Segments that it has as sealed. */
  sealedSegIds(): Set<number> {
    const ids = this.#database.prepare('SELECT id FROM segment').pluck().all();
    return new Set(ids.map(Number));
  }

  /** Forgets everything. */
  reset(poolUuid: Uint8Array): void {
    this.#database.transaction(() => {
      // Dropped, not emptied: those of another schema have other columns.
      for (const table of [
        'meta',
        'volume',
        'line',
        'pin',
        'epoch',
        'segment',
        'run',
        ...retentionTables,
      ]) {
        this.#database.exec(`DROP TABLE IF EXISTS ${table}`);
      }
      this.#database.exec(schema);
      const set = this.#database.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)');
      set.run('poolUuid', toHex(poolUuid));
      set.run('schemaVersion', String(manifestSchemaVersion));
      set.run('appliedPosition', '0');
    })();
  }

  /** Applies records in log order, and sealed segments, in one transaction. Records at or below appliedPosition are skipped. */
  apply(records: readonly ManifestRecord[], segments: readonly ManifestSegment[]): void {
    const applied = this.appliedPosition;
    this.#database.transaction(() => {
      let position = applied;
      for (const placed of records) {
        if (placed.position <= applied) continue;
        this.#applyRecord(placed.record, placed.position);
        position = placed.position;
      }
      const insert = this.#database.prepare(
        'INSERT OR REPLACE INTO segment VALUES (?, ?, ?, ?, ?)',
      );
      for (const segment of segments) {
        insert.run(
          segment.segId,
          segment.epoch,
          segment.endSlot,
          segment.entryCount,
          toHex(segment.digest),
        );
      }
      this.#database
        .prepare("UPDATE meta SET value = ? WHERE key = 'appliedPosition'")
        .run(String(position));
    })();
  }

  /** The index runs that it has. */
  runs(): RunPlace[] {
    const rows = this.#database.prepare('SELECT level, first_segment FROM run').all();
    return rows.map((row) => {
      const { level, first_segment: firstSegId } = row as { level: number; first_segment: number };
      return { level, firstSegId };
    });
  }

  addRun(run: RunSummary): void {
    this.#database
      .prepare('INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?, ?)')
      .run(
        run.level,
        run.firstSegId,
        run.positionLow,
        run.positionHigh,
        run.bytes,
        run.entryCount,
        toHex(run.digest),
      );
  }

  removeRun({ level, firstSegId }: RunPlace): void {
    this.#database
      .prepare('DELETE FROM run WHERE level = ? AND first_segment = ?')
      .run(level, firstSegId);
  }

  /** Everything in it as canonical text: equal contents give equal texts. */
  contents(): string {
    const all = (sql: string): unknown[] => this.#database.prepare(sql).all();
    return JSON.stringify({
      volumes: all('SELECT * FROM volume ORDER BY uuid'),
      lines: all('SELECT * FROM line ORDER BY id'),
      pins: all('SELECT * FROM pin ORDER BY uuid'),
      kept: retentionContents(this.#database),
      epochs: all('SELECT * FROM epoch ORDER BY epoch'),
      segments: all('SELECT * FROM segment ORDER BY id'),
      runs: all('SELECT * FROM run ORDER BY level, first_segment'),
    });
  }

  close(): void {
    this.#database.close();
  }

  #meta(key: string): string | undefined {
    const row = this.#database.prepare('SELECT value FROM meta WHERE key = ?').get(key) as
      | { value: string }
      | undefined;
    return row?.value;
  }

  #insertVolume(record: VolCreate | View, position: number): void {
    const isView = record.kind === 'view';
    this.#database
      .prepare('INSERT INTO volume VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)')
      .run(
        toHex(record.uuid),
        record.name,
        record.line,
        record.sizeBytes,
        toHex(record.naa),
        record.serial,
        record.ack,
        record.createdMs,
        position,
        isView ? toHex(record.sourceUuid) : null,
        isView ? record.label : null,
        (isView ? undefined : record.provisioning) ?? Provisioning.thin,
      );
    insertPolicy(this.#database, record.uuid, record.policy ?? unlimitedCdp);
    this.#insertLine(record, isView ? record : undefined, position);
  }

  #insertLine(record: VolCreate | View | Revert, fork: Fork | undefined, position: number): void {
    this.#database
      .prepare('INSERT INTO line VALUES (?, ?, ?, ?, ?, ?)')
      .run(
        record.line,
        toHex(record.uuid),
        fork?.parentLine ?? 0,
        fork === undefined ? 0 : (fork.forkPosition ?? position),
        position,
        record.sizeBytes,
      );
  }

  #insertPin(record: Snap, position: number): void {
    const { past } = record;
    this.#database
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

  #applyRecord(record: CatalogueRecord, position: number): void {
    const database = this.#database;
    switch (record.kind) {
      case 'vol-create':
      case 'view':
        this.#insertVolume(record, position);
        break;
      case 'promote':
        database
          .prepare('UPDATE volume SET view_source = NULL, view_label = NULL WHERE uuid = ?')
          .run(toHex(record.uuid));
        break;
      case 'revert':
        this.#insertLine(record, record, position);
        database
          .prepare('UPDATE volume SET line = ?, size_bytes = ? WHERE uuid = ?')
          .run(record.line, record.sizeBytes, toHex(record.uuid));
        database
          .prepare('UPDATE volume SET view_label = ? WHERE uuid = ? AND view_source IS NOT NULL')
          .run(record.label, toHex(record.uuid));
        break;
      case 'vol-set':
        database
          .prepare(
            'UPDATE volume SET name = COALESCE(?, name), ack = COALESCE(?, ack), ' +
              'provisioning = COALESCE(?, provisioning) WHERE uuid = ?',
          )
          .run(
            record.name ?? null,
            record.ack ?? null,
            record.provisioning ?? null,
            toHex(record.uuid),
          );
        if (record.policy !== undefined) changePolicy(database, record.uuid, record.policy);
        break;
      case 'vol-resize':
        database
          .prepare('UPDATE volume SET size_bytes = ? WHERE uuid = ?')
          .run(record.sizeBytes, toHex(record.uuid));
        break;
      case 'vol-delete':
        database.prepare('DELETE FROM pin WHERE volume = ?').run(toHex(record.uuid));
        deleteRetention(database, record.uuid);
        database.prepare('DELETE FROM volume WHERE uuid = ?').run(toHex(record.uuid));
        break;
      case 'snap':
        this.#insertPin(record, position);
        break;
      case 'snap-delete':
        database.prepare('DELETE FROM pin WHERE uuid = ?').run(toHex(record.uuid));
        break;
      case 'pin':
      case 'unpin':
      case 'horizon':
        applyRetention(database, record, position);
        break;
      case 'lu-state':
        database
          .prepare('UPDATE volume SET lu_state = ? WHERE uuid = ?')
          .run(toHex(record.state), toHex(record.uuid));
        break;
      case 'epoch':
        database
          .prepare('INSERT OR REPLACE INTO epoch VALUES (?, ?, ?, ?)')
          .run(record.epoch, toHex(record.nodeUuid), toHex(record.openId), record.startPosition);
        break;
      case 'checkpoint':
        break;
    }
  }
}

function prepareDatabase(path: string): Database.Database {
  const database = new Database(path);
  // WAL with NORMAL: a lost transaction only means that records are applied again.
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = NORMAL');
  database.exec(schema);
  return database;
}
