/**
 * Manifest: the catalogue as a SQLite database, for looking things up without replaying the log. It is a view: every row is
 * a function of the log up to `appliedPosition`, and it can be deleted and made again at any time.
 *
 * Invariants
 * 1. Only records at or below the durable end of the log are applied, each batch in one transaction with its position.
 * 2. A manifest that is ahead of the recovered log, of another pool or of another schema is thrown away.
 */

import Database from 'better-sqlite3';
import { unreachable } from '../../base/assert.ts';
import { toHex } from '../../base/uuid.ts';
import { CheckpointCollector } from '../catalogue/checkpoint.ts';
import {
  type CatalogueRecord,
  type Fork,
  Provisioning,
  type Revert,
  type View,
  type VolCreate,
} from '../catalogue/records.ts';
import { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import type { SegmentRow } from '../format/segment-rows.ts';
import type { RunPlace } from '../index/run-format.ts';
import { runName, runPlaceOf } from '../index/run-path.ts';
import type { RunSummary } from '../index/run-writer.ts';
import type { OpenDatabase } from '../manifest-database.ts';
import type { Steps } from '../steps.ts';
import {
  applyRetention,
  changeCdp,
  deleteRetention,
  insertCdp,
  retentionContents,
  retentionSchema,
  retentionTables,
} from './manifest-retention.ts';
import { ManifestSegments, segmentSchema } from './manifest-segments.ts';
import {
  applySnapshot,
  deleteSnapshots,
  snapshotContents,
  snapshotSchema,
  snapshotTables,
} from './manifest-snapshots.ts';
import type { SegmentTable } from './segment-table.ts';

const manifestSchemaVersion = 8;

export interface ManifestRecord {
  readonly record: CatalogueRecord;
  readonly position: number;
}

/** An opening of the pool, as an EPOCH record of the log names it: histories of one pool differ in these. */
export interface ManifestEpoch {
  readonly epoch: number;
  readonly openId: Uint8Array;
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
  ${snapshotSchema}
  ${retentionSchema}
  CREATE TABLE IF NOT EXISTS epoch (
    epoch INTEGER PRIMARY KEY, node TEXT NOT NULL, open_id TEXT NOT NULL, start_position INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS run (
    level INTEGER NOT NULL, first_segment INTEGER NOT NULL, generation INTEGER NOT NULL, position_low INTEGER NOT NULL,
    position_high INTEGER NOT NULL, bytes INTEGER NOT NULL, entries INTEGER NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (level, first_segment)) WITHOUT ROWID;
  ${segmentSchema}
`;
/** Of this schema and of those before. */
const tables = [
  'meta',
  'volume',
  'line',
  'epoch',
  'segment',
  'segment_group',
  'run',
  ...retentionTables,
  ...snapshotTables,
];

/**
 * Opens the manifest; a damaged one is removed (`removeFiles` deletes the database's files) and begun anew: the log is
 * the truth.
 */
export function openManifest(
  path: string,
  poolUuid: Uint8Array,
  { open, removeFiles }: { readonly open: OpenDatabase; readonly removeFiles: () => void },
): Manifest {
  try {
    return new Manifest(open(path), poolUuid);
  } catch (thrown) {
    if (!(thrown instanceof Database.SqliteError)) throw thrown;
    removeFiles();
    return new Manifest(open(path), poolUuid);
  }
}

/** What opening asks of a manifest before the log is read. */
export interface KnownLog {
  /** Position of the newest record applied. */
  readonly appliedPosition: number;
  /** Position of the first part of the newest checkpoint. */
  readonly checkpointPosition: number;
  /** From the first segment of the log on, each following the one before. */
  readonly segments: SegmentTable;
  readonly epochs: readonly ManifestEpoch[];
}

interface KnownPool {
  readonly poolUuid: Uint8Array;
  readonly segmentSlots: number;
  readonly packed: SegmentTable['packed'];
}

/**
 * What the manifest at `path` knows of the log, without changing it; undefined when it is missing, damaged, of another pool
 * or schema, not whole, or from before the first checkpoint.
 */
export function* readKnownLog(
  open: OpenDatabase,
  path: string,
  pool: KnownPool,
): Steps<KnownLog | undefined> {
  let database: Database.Database | undefined;
  try {
    database = open(path, { isReadOnly: true });
    yield;
    return yield* knownLogOf(database, pool);
  } catch (thrown) {
    if (thrown instanceof Database.SqliteError || thrown instanceof FormatError) return undefined;
    throw thrown;
  } finally {
    database?.close();
  }
}

function* knownLogOf(
  database: Database.Database,
  { poolUuid, segmentSlots, packed }: KnownPool,
): Steps<KnownLog | undefined> {
  const meta = new Map(
    database
      .prepare('SELECT key, value FROM meta')
      .all()
      .map((row) => {
        const { key, value } = row as { key: string; value: string };
        return [key, value];
      }),
  );
  const isOurs =
    meta.get('poolUuid') === toHex(poolUuid) &&
    meta.get('schemaVersion') === String(manifestSchemaVersion) &&
    !meta.has('isPartial');
  if (!isOurs) return undefined;
  const appliedPosition = Number(meta.get('appliedPosition'));
  const checkpointPosition = Number(meta.get('checkpointPosition') ?? '0');
  if (!(checkpointPosition > 0 && checkpointPosition <= appliedPosition)) return undefined;
  const rows = new ManifestSegments(database, new Seeds(poolUuid));
  const segments = yield* rows.read(segmentSlots, packed);
  return segments && { appliedPosition, checkpointPosition, segments, epochs: epochsIn(database) };
}

function epochsIn(database: Database.Database): ManifestEpoch[] {
  return database
    .prepare('SELECT epoch, open_id FROM epoch ORDER BY epoch')
    .all()
    .map((row) => {
      const { epoch, open_id: openId } = row as { epoch: number; open_id: unknown };
      return { epoch, openId: Buffer.from(String(openId), 'hex') }; // Damaged pages say anything.
    });
}

/** Whether every opening that the manifest knows is one of `ours`: then it is of this history, or of the part before. */
export function isOfHistory(
  epochs: readonly ManifestEpoch[],
  ours: readonly ManifestEpoch[],
): boolean {
  const known = new Set(ours.map(({ epoch, openId }) => `${epoch}:${toHex(openId)}`));
  return epochs.every(({ epoch, openId }) => known.has(`${epoch}:${toHex(openId)}`));
}

const volumeChanges = [
  'promote',
  'revert',
  'vol-set',
  'vol-resize',
  'vol-delete',
  'lu-state',
] as const;

/** Records that change a row of a volume. */
type VolumeChange = Extract<CatalogueRecord, { kind: (typeof volumeChanges)[number] }>;

function isVolumeChange(record: CatalogueRecord): record is VolumeChange {
  return volumeChanges.some((kind) => kind === record.kind);
}

export class Manifest {
  readonly #database: Database.Database;
  readonly #segments: ManifestSegments;
  /** Across batches: a checkpoint may be cut by them. */
  readonly #checkpoints = new CheckpointCollector();

  /** Takes the database over; empties it when it belongs to another pool or schema. Throws SqliteError, and closes it then. */
  constructor(database: Database.Database, poolUuid: Uint8Array) {
    this.#database = database;
    this.#segments = new ManifestSegments(database, new Seeds(poolUuid));
    try {
      this.#begin(poolUuid);
    } catch (thrown) {
      database.close();
      throw thrown;
    }
  }

  #begin(poolUuid: Uint8Array): void {
    prepareDatabase(this.#database);
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
    this.#setMeta('scrub', text);
  }

  /** Openings of the pool that it knows. */
  epochs(): ManifestEpoch[] {
    return epochsIn(this.#database);
  }

  /** It was begun anew and did not get all of the log: opening must not believe it before it has. */
  get isPartial(): boolean {
    return this.#meta('isPartial') !== undefined;
  }

  /** Forgets everything. `isPartial`: what it gets from now on is not all. */
  reset(poolUuid: Uint8Array, isPartial = false): void {
    this.#database.transaction(() => {
      // Dropped, not emptied: those of another schema have other columns.
      for (const table of tables) this.#database.exec(`DROP TABLE IF EXISTS ${table}`);
      this.#database.exec(schema);
      this.#setMeta('poolUuid', toHex(poolUuid));
      this.#setMeta('schemaVersion', String(manifestSchemaVersion));
      this.#setMeta('appliedPosition', '0');
      if (isPartial) this.#setMeta('isPartial', '1');
    })();
  }

  /** Forgets the segments from `segId` on. */
  cutSegments(segId: number): void {
    this.#database.transaction(() => {
      this.#segments.cutAt(segId);
    })();
  }

  /** Applies records in log order, and sealed segments, in one transaction. Records at or below appliedPosition are skipped. */
  apply(records: readonly ManifestRecord[], segments: readonly SegmentRow[]): void {
    const applied = this.appliedPosition;
    this.#database.transaction(() => {
      let position = applied;
      for (const placed of records) {
        if (this.#checkpoints.add(placed.record, placed.position) !== undefined) {
          this.#setMeta('checkpointPosition', String(this.#checkpoints.firstPosition));
        }
        if (placed.position <= applied) continue;
        this.#applyRecord(placed.record, placed.position);
        position = placed.position;
      }
      this.#segments.put(segments);
      this.#setMeta('appliedPosition', String(position));
    })();
  }

  /**
   * The index runs that it has, one after the other: nothing else may be asked of it meanwhile. What damage has made of a row names
   * none, and is left to a comparison with the log.
   */
  *runs(): Generator<RunPlace> {
    const rows = this.#database.prepare('SELECT level, first_segment, generation FROM run');
    for (const row of rows.iterate()) {
      const found = row as Readonly<Record<string, unknown>>;
      const [level, firstSegId, generation] = [
        Number(found['level'] ?? -1),
        Number(found['first_segment'] ?? -1),
        Number(found['generation'] ?? -1),
      ];
      const place = runPlaceOf(runName({ level, firstSegId, generation }));
      if (place !== undefined && (place.generation ?? 0) === generation) yield place;
    }
  }

  addRun(run: RunSummary): void {
    this.#database
      .prepare('INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        run.level,
        run.firstSegId,
        run.generation ?? 0,
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
      ...snapshotContents(this.#database),
      kept: retentionContents(this.#database),
      epochs: all('SELECT * FROM epoch ORDER BY epoch'),
      segments: this.#segments.contents(),
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

  #setMeta(key: string, value: string): void {
    this.#database.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)').run(key, value);
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
    insertCdp(this.#database, record.uuid, record);
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

  #applyRecord(record: CatalogueRecord, position: number): void {
    const database = this.#database;
    if (isVolumeChange(record)) {
      this.#changeVolume(record, position);
      return;
    }
    switch (record.kind) {
      case 'vol-create':
      case 'view':
        this.#insertVolume(record, position);
        break;
      case 'snap':
      case 'snap-set':
      case 'snap-delete':
        applySnapshot(database, record, position);
        break;
      case 'pin':
      case 'unpin':
      case 'horizon':
        applyRetention(database, record, position);
        break;
      case 'epoch':
        database
          .prepare('INSERT OR REPLACE INTO epoch VALUES (?, ?, ?, ?)')
          .run(record.epoch, toHex(record.nodeUuid), toHex(record.openId), record.startPosition);
        break;
      case 'checkpoint':
        break;
      default:
        unreachable(record);
    }
  }

  #changeVolume(record: VolumeChange, position: number): void {
    const database = this.#database;
    switch (record.kind) {
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
        changeCdp(database, record.uuid, record);
        break;
      case 'vol-resize':
        database
          .prepare('UPDATE volume SET size_bytes = ? WHERE uuid = ?')
          .run(record.sizeBytes, toHex(record.uuid));
        break;
      case 'vol-delete':
        deleteSnapshots(database, record.uuid);
        deleteRetention(database, record.uuid);
        database.prepare('DELETE FROM volume WHERE uuid = ?').run(toHex(record.uuid));
        break;
      case 'lu-state':
        database
          .prepare('UPDATE volume SET lu_state = ? WHERE uuid = ?')
          .run(toHex(record.state), toHex(record.uuid));
        break;
      default:
        unreachable(record);
    }
  }
}

function prepareDatabase(database: Database.Database): void {
  // WAL with NORMAL: a lost transaction only means that records are applied again.
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = NORMAL');
  database.exec(schema);
}
