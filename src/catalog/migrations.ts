/**
 * The schema of catalog.db, one step after the other. `user_version` counts the steps that were taken: a step is never changed
 * once it was released, the list only grows, and it is the change log of the format.
 */
import type Database from 'better-sqlite3';
import { OperationError } from '../base/errors.ts';

/** 1: hosts, their initiators and CHAP accounts, LUN maps, portals, names of targets. */
const hostsAndMaps = `
  CREATE TABLE target (
    pool_uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE portal (
    address TEXT NOT NULL,
    port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    portal_group INTEGER NOT NULL CHECK (portal_group BETWEEN 1 AND 65535),
    PRIMARY KEY (address, port)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE host (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    is_any_initiator INTEGER NOT NULL CHECK (is_any_initiator IN (0, 1)),
    is_loopback_only INTEGER NOT NULL CHECK (is_loopback_only IN (0, 1)),
    created_ms REAL NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX host_any_initiator ON host (is_any_initiator) WHERE is_any_initiator = 1;
  CREATE TABLE initiator (
    name TEXT PRIMARY KEY,
    host INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX initiator_host ON initiator (host);
  CREATE TABLE chap (
    host INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    direction TEXT NOT NULL CHECK (direction IN ('in', 'out')),
    user TEXT NOT NULL,
    secret BLOB NOT NULL CHECK (length (secret) BETWEEN 12 AND 255),
    PRIMARY KEY (host, direction)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE lun_map (
    host INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    lun INTEGER NOT NULL CHECK (lun BETWEEN 0 AND 16383),
    pool_uuid TEXT NOT NULL,
    volume_uuid TEXT NOT NULL,
    is_read_only INTEGER NOT NULL CHECK (is_read_only IN (0, 1)),
    created_ms REAL NOT NULL,
    PRIMARY KEY (host, lun),
    UNIQUE (host, volume_uuid)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX lun_map_volume ON lun_map (volume_uuid);
  CREATE TABLE seeding (what TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
`;

/** 2: a host may have a target of its own. */
const hostTargets = `
  ALTER TABLE host ADD COLUMN target_name TEXT;
  CREATE UNIQUE INDEX host_target_name ON host (target_name) WHERE target_name IS NOT NULL;
`;

/** 3: work of the daemon that is under way, so that the next daemon knows what was lost with this one. */
const operations = `
  CREATE TABLE operation (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    started_ms REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

const steps = [hostsAndMaps, hostTargets, operations] as const;

/** Brings the schema up to date, each step in one transaction. Throws OperationError for a file of a newer version. */
export function migrate(database: Database.Database, path: string): void {
  const taken = Number(database.pragma('user_version', { simple: true }));
  if (taken > steps.length) {
    const message = `${path} was written by a newer tidemark (schema ${taken}; this one knows ${steps.length})`;
    throw new OperationError('unavailable', message, 'start that version; nothing was changed');
  }
  steps.slice(taken).forEach((step, index) => {
    database.transaction(() => {
      database.exec(step);
      database.pragma(`user_version = ${taken + index + 1}`);
    })();
  });
}
