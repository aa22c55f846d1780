/** How the manifest's database is opened: the one thing of a pool that is not on its disk port. */
import Database from 'better-sqlite3';
import type { Disk } from '../base/ports.ts';

/** Files of the database in the pool's folder. */
export const manifestFiles = ['manifest.db', 'manifest.db-wal', 'manifest.db-shm'];

/** Opens the database at `path`; the simulator has its own. Throws SqliteError. */
export type OpenDatabase = (
  path: string,
  options?: { readonly isReadOnly: boolean },
) => Database.Database;

/** Opens or makes the file at `path` (':memory:' = none); `isReadOnly`: only one that is there. Throws SqliteError. */
export function openSqlite(
  path: string,
  options?: { readonly isReadOnly: boolean },
): Database.Database {
  const isReadOnly = options?.isReadOnly === true;
  return new Database(path, { readonly: isReadOnly, fileMustExist: isReadOnly });
}

/** Removes the database's files from the pool's folder. Throws DiskError. */
export function removeManifest(disk: Pick<Disk, 'remove'>): void {
  for (const name of manifestFiles) disk.remove(name);
}
