/**
 * Pool lock: an exclusive SQLite transaction on the file `lock` in the pool's folder. The kernel frees it when the process
 * dies, however it dies; nothing is left behind that could be stale.
 */
import Database from 'better-sqlite3';

export interface PoolLock {
  release(): void;
}

/** Takes the lock of the pool in `folder` (absolute path, existing); undefined when another process has it. */
export function lockPool(folder: string): PoolLock | undefined {
  const database = new Database(`${folder}/lock`, { timeout: 0 });
  try {
    database.pragma('locking_mode = EXCLUSIVE');
    database.exec('BEGIN EXCLUSIVE');
    return {
      release: () => {
        database.close();
      },
    };
  } catch (thrown) {
    database.close();
    const isTaken = thrown instanceof Database.SqliteError && thrown.code.startsWith('SQLITE_BUSY');
    if (isTaken) return undefined;
    throw thrown;
  }
}
