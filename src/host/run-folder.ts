/** The folder DIR/run of a daemon: made, locked against a second daemon, and read for the last words of an engine. */
import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { OperationError } from '../base/errors.ts';

/** A log file is set aside when it has grown beyond this; one older one is kept. */
const LOG_FILE_MAX_BYTES = 16 * 1024 * 1024;

export interface FileLock {
  release(): void;
}

/** Makes a folder with its parents and proves that files can be made in it. Throws OperationError with a hint. */
export function prepareFolder(folder: string): void {
  const probe = `${folder}/.probe-${process.pid}`;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(probe, '');
    rmSync(probe);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OperationError(
      'invalid',
      `cannot use the folder ${folder}: ${reason}`,
      'give a folder you may write to with --data DIR',
      cause,
    );
  }
}

/**
 * Takes the exclusive lock on a file, or returns undefined when another process has it. The kernel frees it when
 * this process dies, however it dies, so there is no stale lock and no race about removing one.
 */
export function tryLockFile(path: string): FileLock | undefined {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (thrown) {
    database.close();
    if (thrown instanceof Error && 'errcode' in thrown && thrown.errcode === SQLITE_BUSY)
      return undefined;
    throw thrown;
  }
  return {
    release: () => {
      database.close();
    },
  };
}

const SQLITE_BUSY = 5;

/** Replaces a small file. */
export function writeSmallFile(path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o600 });
}

/** Makes an empty file when there is none; afterwards only its owner may read or write it. */
export function ensurePrivateFile(path: string): void {
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
}

/** Removes a file; fine when it is missing. */
export function removeFile(path: string): void {
  rmSync(path, { force: true });
}

/** Sets a log file aside as `path.1` when it has become long. */
export function rotateLog(path: string): void {
  const sizeBytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (sizeBytes > LOG_FILE_MAX_BYTES) renameSync(path, `${path}.1`);
}

/** Whether there is a file or folder. */
export function exists(path: string): boolean {
  return existsSync(path);
}

/** Bytes in a file; 0 when it is missing. */
export function fileSize(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** The text of a file from byte `from` on, at most its last `maxBytes`; empty when the file is missing. */
export function readTail(path: string, from: number, maxBytes: number): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    // No file, no last words: the caller says what it knows without them.
    return '';
  }
  try {
    const end = fstatSync(file).size;
    const start = Math.max(from, end - maxBytes, 0);
    const bytes = new Uint8Array(Math.max(0, end - start));
    const count = readSync(file, bytes, 0, bytes.length, start);
    return new TextDecoder().decode(bytes.subarray(0, count));
  } finally {
    closeSync(file);
  }
}
