/**
 * Catalog: what the operator declared, in DIR/catalog.db. The engine is told all of it whenever it changes (desired state); nothing here
 * knows whether an engine runs.
 *
 *     host 1 ─┬─ n initiator      an initiator name belongs to one host; at most one host takes any initiator
 *             ├─ 0..2 chap        in: the initiator proves itself; out: the target does
 *             └─ n lun_map        LUN number ─▶ volume uuid; a number stays for the life of its map
 *
 * Invariants
 * 1. Every method is one transaction: afterwards all of it is durable, or none.
 * 2. CHAP secrets leave by `hostSecrets` only, which is for the engine. The file's mode (0600) is the caller's to set.
 * 3. Volumes are named by uuid: a rename changes nothing here.
 */
import Database from 'better-sqlite3';
import { OperationError } from '../base/errors.ts';
import { HOSTS_MAX, INITIATORS_MAX, LUN_MAPS_MAX, LUN_MAX, PORTALS_MAX } from './limits.ts';
import { migrate } from './migrations.ts';

/** What one side of CHAP knows. */
export interface ChapAccount {
  readonly user: string;
  readonly secret: Uint8Array;
}

export interface ChapAccounts {
  /** The initiator proves itself with this. */
  readonly in?: ChapAccount;
  /** The target proves itself with this. */
  readonly out?: ChapAccount;
}

export interface HostRecord {
  readonly name: string;
  /** Every initiator that no other host names. */
  readonly isAnyInitiator: boolean;
  /** Sessions may come from loopback addresses only. */
  readonly isLoopbackOnly: boolean;
  /** Normalised names, sorted. */
  readonly initiators: readonly string[];
  /** The target that it logs in to, and nobody else; undefined = the pool's. */
  readonly targetName: string | undefined;
  /** Names of the CHAP accounts, without secrets. */
  readonly chapUserIn: string | undefined;
  readonly chapUserOut: string | undefined;
  readonly createdMs: number;
}

export interface NewHost {
  readonly name: string;
  readonly isAnyInitiator: boolean;
  readonly isLoopbackOnly: boolean;
  readonly initiators: readonly string[];
  /** A target of its own. */
  readonly targetName?: string;
  readonly chap: ChapAccounts;
  readonly createdMs: number;
}

/** What is absent stays as it is. */
export interface HostChange {
  readonly newName?: string;
  readonly isAnyInitiator?: boolean;
  readonly isLoopbackOnly?: boolean;
  /** All of them. */
  readonly initiators?: readonly string[];
  /** Its own target, or with `name` undefined the pool's. */
  readonly target?: { readonly name: string | undefined };
  /** All of them: an account that is not there is removed. */
  readonly chap?: ChapAccounts;
}

export interface LunMapRecord {
  readonly host: string;
  readonly lun: number;
  /** The pool that has the volume: the catalog outlives a pool that is replaced by another. */
  readonly poolUuid: string;
  readonly volumeUuid: string;
  readonly isReadOnly: boolean;
  readonly createdMs: number;
}

/** Work of a daemon that was under way. */
export interface OperationRecord {
  readonly id: string;
  readonly kind: string;
  readonly startedMs: number;
}

export interface PortalRecord {
  readonly address: string;
  readonly port: number;
  readonly group: number;
}

interface HostRow {
  readonly id: number;
  readonly name: string;
  readonly is_any_initiator: number;
  readonly is_loopback_only: number;
  readonly target_name: string | null;
  readonly created_ms: number;
}

interface ChapRow {
  readonly direction: 'in' | 'out';
  readonly user: string;
  readonly secret: Uint8Array;
}

export class Catalog {
  readonly #database: Database.Database;

  /** Opens or makes the database at `path` (':memory:' = none on disk). Throws OperationError when it cannot be used. */
  constructor(path: string) {
    this.#database = openDatabase(path);
  }

  close(): void {
    this.#database.close();
  }

  /** The name under which the pool's target is known; `make` gives it the first time. */
  targetName(poolUuid: string, make: () => string): string {
    return this.#transaction(() => {
      const [known] = this.#all<{ name: string }>('SELECT name FROM target WHERE pool_uuid = ?', [
        poolUuid,
      ]);
      if (known !== undefined) return known.name;
      const name = make();
      this.#run('INSERT INTO target (pool_uuid, name) VALUES (?, ?)', [poolUuid, name]);
      return name;
    });
  }

  /** True once for each `what` in the life of the catalog: for what is set up at the first start and may be undone for good. */
  seedOnce(what: string): boolean {
    return this.#run('INSERT OR IGNORE INTO seeding (what) VALUES (?)', [what]) === 1;
  }

  portalList(): PortalRecord[] {
    return this.#all<PortalRecord>(
      'SELECT address, port, portal_group AS "group" FROM portal ORDER BY address, port',
      [],
    );
  }

  /** Throws OperationError `exists`, or `conflict` when there are as many as there may be. */
  portalAdd(portal: PortalRecord): void {
    this.#transaction(() => {
      this.#checkRoom('portal', PORTALS_MAX);
      const added = this.#run(
        'INSERT OR IGNORE INTO portal (address, port, portal_group) VALUES (?, ?, ?)',
        [portal.address, portal.port, portal.group],
      );
      if (added === 1) return;
      const message = `there is a portal ${portal.address} port ${portal.port} already`;
      throw new OperationError('exists', message);
    });
  }

  /** False when there is none. */
  portalRemove(address: string, port: number): boolean {
    return this.#run('DELETE FROM portal WHERE address = ? AND port = ?', [address, port]) === 1;
  }

  /** By name. */
  hostList(): HostRecord[] {
    return this.#all<HostRow>('SELECT * FROM host ORDER BY name', []).map((row) => this.#host(row));
  }

  /** Throws OperationError `not-found`. */
  hostShow(name: string): HostRecord {
    return this.#host(this.#hostRow(name));
  }

  /** For the engine, which has to check them. Throws OperationError `not-found`. */
  hostSecrets(name: string): ChapAccounts {
    const rows = this.#all<ChapRow>('SELECT direction, user, secret FROM chap WHERE host = ?', [
      this.#hostRow(name).id,
    ]);
    return Object.fromEntries(
      rows.map(({ direction, user, secret }) => [
        direction,
        { user, secret: new Uint8Array(secret) },
      ]),
    );
  }

  /** The target of a host's own; undefined when it has none, or there is no such host. */
  hostTarget(name: string): string | undefined {
    const sql = 'SELECT target_name AS target FROM host WHERE name = ?';
    return this.#all<{ target: string | null }>(sql, [name])[0]?.target ?? undefined;
  }

  /** Throws OperationError `exists` (the name) or `conflict` (an initiator, the target or "any" is another host's). */
  hostCreate(host: NewHost): HostRecord {
    return this.#transaction(() => {
      this.#checkRoom('host', HOSTS_MAX);
      this.#checkNewName(host.name);
      if (host.isAnyInitiator) this.#checkAnyIsFree(host.name);
      this.#run(
        'INSERT INTO host (name, is_any_initiator, is_loopback_only, created_ms) VALUES (?, ?, ?, ?)',
        [host.name, Number(host.isAnyInitiator), Number(host.isLoopbackOnly), host.createdMs],
      );
      const { id } = this.#hostRow(host.name);
      this.#setTarget(id, host.targetName);
      this.#setInitiators(id, host.name, host.initiators);
      this.#setChap(id, host.chap);
      return this.hostShow(host.name);
    });
  }

  /** Throws OperationError `not-found`, and as `hostCreate`. */
  hostSet(name: string, change: HostChange): HostRecord {
    return this.#transaction(() => {
      const row = this.#hostRow(name);
      const next = {
        name: change.newName ?? name,
        isAnyInitiator: change.isAnyInitiator ?? row.is_any_initiator === 1,
        isLoopbackOnly: change.isLoopbackOnly ?? row.is_loopback_only === 1,
      };
      if (next.name !== name) this.#checkNewName(next.name);
      if (next.isAnyInitiator && row.is_any_initiator === 0) this.#checkAnyIsFree(next.name);
      this.#run(
        'UPDATE host SET name = ?, is_any_initiator = ?, is_loopback_only = ? WHERE id = ?',
        [next.name, Number(next.isAnyInitiator), Number(next.isLoopbackOnly), row.id],
      );
      if (change.initiators !== undefined)
        this.#setInitiators(row.id, next.name, change.initiators);
      if (change.target !== undefined) this.#setTarget(row.id, change.target.name);
      if (change.chap !== undefined) this.#setChap(row.id, change.chap);
      return this.hostShow(next.name);
    });
  }

  /** With its initiators, CHAP accounts and maps. Throws OperationError `not-found`. */
  hostDelete(name: string): void {
    this.#run('DELETE FROM host WHERE id = ?', [this.#hostRow(name).id]);
  }

  /** By host and number. */
  lunList(): LunMapRecord[] {
    return this.#luns('1 = 1', []);
  }

  /** The maps of one volume, by host. */
  volumeLuns(volumeUuid: string): LunMapRecord[] {
    return this.#luns('volume_uuid = ?', [volumeUuid]);
  }

  /**
   * Maps a volume. Without a number it gets the one that it has at every other host (hosts that share a volume must see one number),
   * when that is free, else the lowest free one. Throws OperationError `not-found`, or `exists` when volume or number is taken there.
   */
  lunMap(wanted: Omit<LunMapRecord, 'lun'> & { readonly lun?: number }): LunMapRecord {
    return this.#transaction(() => {
      this.#checkRoom('lun_map', LUN_MAPS_MAX);
      const { id } = this.#hostRow(wanted.host);
      const all = this.lunList();
      const mine = all.filter((each) => each.host === wanted.host);
      this.#checkNotMapped(mine, wanted);
      const taken = new Set(mine.map((each) => each.lun));
      const lun = wanted.lun ?? usualNumber(all, wanted.volumeUuid, taken) ?? lowestFree(taken);
      this.#run(
        `INSERT INTO lun_map (host, lun, pool_uuid, volume_uuid, is_read_only, created_ms)
         VALUES (?, ?, ?, ?, ?, ?)`,
        [id, lun, wanted.poolUuid, wanted.volumeUuid, Number(wanted.isReadOnly), wanted.createdMs],
      );
      return { ...wanted, lun };
    });
  }

  /** The map that was removed. Throws OperationError `not-found`. */
  lunUnmap(host: string, volumeUuid: string): LunMapRecord | undefined {
    return this.#transaction(() => {
      const { id } = this.#hostRow(host);
      const map = this.lunList().find(
        (each) => each.host === host && each.volumeUuid === volumeUuid,
      );
      this.#run('DELETE FROM lun_map WHERE host = ? AND volume_uuid = ?', [id, volumeUuid]);
      return map;
    });
  }

  /** Removes every map of a volume that is gone; how many there were. */
  volumeUnmap(volumeUuid: string): number {
    return this.#run('DELETE FROM lun_map WHERE volume_uuid = ?', [volumeUuid]);
  }

  /** Work begins; `operationEnded` follows, unless this daemon ends first. */
  operationBegun({ id, kind, startedMs }: OperationRecord): void {
    this.#run('INSERT INTO operation (id, kind, started_ms) VALUES (?, ?, ?)', [
      id,
      kind,
      startedMs,
    ]);
  }

  operationEnded(id: string): void {
    this.#run('DELETE FROM operation WHERE id = ?', [id]);
  }

  /** What earlier daemons did not see the end of, the oldest first; told once. */
  operationsLeft(): OperationRecord[] {
    return this.#transaction(() => {
      const left = this.#all<OperationRecord>(
        'SELECT id, kind, started_ms AS startedMs FROM operation ORDER BY started_ms',
        [],
      );
      this.#run('DELETE FROM operation', []);
      return left;
    });
  }

  #luns(condition: string, values: readonly unknown[]): LunMapRecord[] {
    return this.#all<Omit<LunMapRecord, 'isReadOnly'> & { readonly isReadOnly: number }>(
      `SELECT host.name AS host, lun, pool_uuid AS poolUuid, volume_uuid AS volumeUuid,
         is_read_only AS isReadOnly, lun_map.created_ms AS createdMs
       FROM lun_map JOIN host ON host.id = lun_map.host WHERE ${condition} ORDER BY host.name, lun`,
      values,
    ).map((row) => ({ ...row, isReadOnly: row.isReadOnly === 1 }));
  }

  #host(row: HostRow): HostRecord {
    const initiators = this.#all<{ name: string }>(
      'SELECT name FROM initiator WHERE host = ? ORDER BY name',
      [row.id],
    );
    const users = this.#all<Omit<ChapRow, 'secret'>>(
      'SELECT direction, user FROM chap WHERE host = ?',
      [row.id],
    );
    const userOf = (direction: 'in' | 'out'): string | undefined =>
      users.find((each) => each.direction === direction)?.user;
    return {
      name: row.name,
      isAnyInitiator: row.is_any_initiator === 1,
      isLoopbackOnly: row.is_loopback_only === 1,
      initiators: initiators.map(({ name }) => name),
      targetName: row.target_name ?? undefined,
      chapUserIn: userOf('in'),
      chapUserOut: userOf('out'),
      createdMs: row.created_ms,
    };
  }

  #hostRow(name: string): HostRow {
    const [row] = this.#all<HostRow>('SELECT * FROM host WHERE name = ?', [name]);
    if (row !== undefined) return row;
    const hint = 'tidemark host list shows those there are';
    throw new OperationError('not-found', `there is no host ${name}`, hint);
  }

  #checkNewName(name: string): void {
    if (this.#all('SELECT 1 FROM host WHERE name = ?', [name]).length === 0) return;
    const hint = 'choose another name, or change that one with: tidemark host set';
    throw new OperationError('exists', `there is a host ${name} already`, hint);
  }

  #checkAnyIsFree(name: string): void {
    const [other] = this.#all<{ name: string }>(
      'SELECT name FROM host WHERE is_any_initiator = 1',
      [],
    );
    if (other === undefined || other.name === name) return;
    const message = `host ${other.name} takes any initiator already, and only one host can`;
    const hint = `name the initiators, or first: tidemark host set ${other.name} --no-any-initiator, or tidemark host delete ${other.name}`;
    throw new OperationError('conflict', message, hint);
  }

  #setTarget(host: number, targetName: string | undefined): void {
    if (targetName !== undefined) this.#checkTargetIsFree(host, targetName);
    this.#run('UPDATE host SET target_name = ? WHERE id = ?', [targetName ?? null, host]);
  }

  #checkTargetIsFree(host: number, targetName: string): void {
    const [other] = this.#all<{ owner: string }>(
      `SELECT 'the pool' AS owner FROM target WHERE name = ?
       UNION ALL SELECT 'host ' || name FROM host WHERE target_name = ? AND id <> ?`,
      [targetName, targetName, host],
    );
    if (other === undefined) return;
    const message = `the target name ${targetName} belongs to ${other.owner}`;
    throw new OperationError('conflict', message, 'give another one with --target');
  }

  #setInitiators(host: number, hostName: string, names: readonly string[]): void {
    this.#run('DELETE FROM initiator WHERE host = ?', [host]);
    for (const name of names) {
      const [owner] = this.#all<{ name: string }>(
        'SELECT host.name FROM initiator JOIN host ON host.id = initiator.host WHERE initiator.name = ?',
        [name],
      );
      if (owner !== undefined) throw initiatorTaken(name, hostName, owner.name);
      this.#checkRoom('initiator', INITIATORS_MAX);
      this.#run('INSERT INTO initiator (name, host) VALUES (?, ?)', [name, host]);
    }
  }

  #setChap(host: number, chap: ChapAccounts): void {
    this.#run('DELETE FROM chap WHERE host = ?', [host]);
    for (const direction of ['in', 'out'] as const) {
      const account = chap[direction];
      if (account === undefined) continue;
      this.#run('INSERT INTO chap (host, direction, user, secret) VALUES (?, ?, ?, ?)', [
        host,
        direction,
        account.user,
        account.secret,
      ]);
    }
  }

  #checkNotMapped(
    mine: readonly LunMapRecord[],
    wanted: { readonly host: string; readonly volumeUuid: string; readonly lun?: number },
  ): void {
    const { host, volumeUuid, lun } = wanted;
    const same = mine.find((each) => each.volumeUuid === volumeUuid);
    if (same !== undefined) {
      const message = `host ${host} has this volume already, as LUN ${same.lun}`;
      throw new OperationError('exists', message, 'unmap it first to give it another number');
    }
    if (!mine.some((each) => each.lun === lun)) return;
    const message = `host ${host} has another volume as LUN ${lun} already`;
    throw new OperationError('exists', message, 'choose another number, or leave --lun out');
  }

  #checkRoom(table: 'host' | 'initiator' | 'lun_map' | 'portal', max: number): void {
    const [count] = this.#all<{ count: number }>(`SELECT count(*) AS count FROM ${table}`, []);
    if ((count?.count ?? 0) < max) return;
    const what = { host: 'hosts', initiator: 'initiators', lun_map: 'LUN maps', portal: 'portals' };
    const message = `there are ${max} ${what[table]} already, and there may be no more`;
    throw new OperationError('conflict', message);
  }

  #transaction<T>(work: () => T): T {
    return this.#database.transaction(work).immediate();
  }

  // Rows have the columns that the statement names; the schema gives their types.

  #all<T>(sql: string, values: readonly unknown[]): T[] {
    return this.#database.prepare(sql).all(...values) as T[];
  }

  /** How many rows changed. */
  #run(sql: string, values: readonly unknown[]): number {
    return this.#database.prepare(sql).run(...values).changes;
  }
}

function openDatabase(path: string): Database.Database {
  let database: Database.Database | undefined;
  try {
    database = new Database(path);
    database.pragma('journal_mode = DELETE');
    database.pragma('synchronous = EXTRA');
    database.pragma('foreign_keys = ON');
    // A secret that was replaced does not stay behind in a free page.
    database.pragma('secure_delete = ON');
    migrate(database, path);
    return database;
  } catch (thrown) {
    database?.close();
    if (!(thrown instanceof Database.SqliteError)) throw thrown;
    const message = `${path} cannot be used: ${thrown.message}`;
    const hint =
      'put a good copy of it back, or move it away: hosts and LUN maps must then be made again';
    throw new OperationError('unavailable', message, hint, thrown);
  }
}

/** The number that all other hosts know the volume by; undefined when there is no such number, or it is taken. */
function usualNumber(
  all: readonly LunMapRecord[],
  volumeUuid: string,
  taken: ReadonlySet<number>,
): number | undefined {
  const [first, ...others] = new Set(
    all.filter((each) => each.volumeUuid === volumeUuid).map((each) => each.lun),
  );
  return first === undefined || others.length > 0 || taken.has(first) ? undefined : first;
}

function lowestFree(taken: ReadonlySet<number>): number {
  for (let lun = 0; lun <= LUN_MAX; lun += 1) if (!taken.has(lun)) return lun;
  throw new OperationError('conflict', 'this host has every LUN number in use');
}

function initiatorTaken(name: string, host: string, owner: string): OperationError {
  if (owner === host) {
    return new OperationError('invalid', `the initiator ${name} is named twice`);
  }
  const message = `the initiator ${name} belongs to host ${owner}`;
  const hint = `an initiator belongs to one host; first: tidemark host set ${owner} --remove-initiator ${name}`;
  return new OperationError('conflict', message, hint);
}
