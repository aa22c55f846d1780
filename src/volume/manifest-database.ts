/** How the manifest's database is opened: the one thing of a pool that is not on its disk port. */
import Database from 'better-sqlite3';

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
