/** Files with certificates and keys, and the names under which this machine is reached. */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { dirname } from 'node:path';
import { OperationError, toError } from '../base/errors.ts';

/** Readable and writable by their owner only: all of these files are secrets, or lie beside them. */
const PRIVATE_FILE_MODE = 0o600;
const PRIVATE_FOLDER_MODE = 0o700;
const OTHERS_MODE_BITS = 0o077;
/** Certificates, keys and lists of shared keys are far smaller. */
const TEXT_FILE_MAX_BYTES = 1024 * 1024;

/** The text of a file; undefined when there is none. Throws OperationError for what cannot be read. */
export function readTextFile(path: string): string | undefined {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) return undefined;
  if (size > TEXT_FILE_MAX_BYTES) throw new OperationError('invalid', `${path} is too long`);
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    const message = `cannot read ${path}: ${toError(thrown).message}`;
    throw new OperationError('invalid', message, 'look at the rights of the file', thrown);
  }
}

/** Whether somebody else than its owner may read or change the file. */
export function isOpenToOthers(path: string): boolean {
  const mode = statSync(path, { throwIfNoEntry: false })?.mode ?? 0;
  return (mode & OTHERS_MODE_BITS) !== 0;
}

/** Writes a private file in one step: afterwards there is the old content or the new one, also after a power cut. */
export function replacePrivateFile(path: string, text: string): void {
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true, mode: PRIVATE_FOLDER_MODE });
  const draft = `${path}.new`;
  const file = openSync(draft, 'w', PRIVATE_FILE_MODE);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  const parent = openSync(folder, 'r');
  fsyncSync(parent);
  closeSync(parent);
}

/**
 * Makes a folder with private files in it. Throws OperationError `exists` when one of the files is there already, before
 * anything is written.
 */
export function makePrivateFolder(
  folder: string,
  textByName: Readonly<Record<string, string>>,
): void {
  for (const name of Object.keys(textByName)) {
    if (statSync(`${folder}/${name}`, { throwIfNoEntry: false }) === undefined) continue;
    const hint = 'give another folder with --out DIR, or remove that one';
    throw new OperationError('exists', `${folder}/${name} exists already`, hint);
  }
  mkdirSync(folder, { recursive: true, mode: PRIVATE_FOLDER_MODE });
  for (const [name, text] of Object.entries(textByName)) {
    const path = `${folder}/${name}`;
    writeFileSync(path, text, { mode: PRIVATE_FILE_MODE, flag: 'wx' });
    chmodSync(path, PRIVATE_FILE_MODE);
  }
}

/** Name of this machine, and all addresses that others may reach it by. */
export function machineNames(): { readonly host: string; readonly addresses: readonly string[] } {
  const addresses = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .map(({ address }) => address)
    // Link-local addresses mean something only together with an interface.
    .filter((address) => !address.startsWith('fe80:'));
  return { host: hostname(), addresses };
}
