/** The file of shared keys, as psktool of GnuTLS writes it: one "identity:hexkey" per line. */
import { OperationError } from '../base/errors.ts';
import { isOpenToOthers, readTextFile } from '../host/tls-files.ts';
import { SHARED_KEYS_MAX } from './limits.ts';

/** Shorter keys can be guessed from one recorded handshake. */
const KEY_MIN_HEX = 32;
const KEY_MAX_HEX = 256;
const IDENTITY_MAX_CHARS = 128;

/** Keys in hex by identity. Throws OperationError that names the line at fault, never a key. */
export function readSharedKeys(path: string): Readonly<Record<string, string>> {
  const text = readTextFile(path);
  if (text === undefined) throw new OperationError('invalid', `there is no file ${path}`);
  if (isOpenToOthers(path)) {
    const message = `${path} holds secrets, and others than its owner may read or change it`;
    throw new OperationError('invalid', message, `chmod 600 ${path}`);
  }
  const keyByIdentity = new Map<string, string>();
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [identity, key] = parseLine(line.trim(), `${path}, line ${index + 1}`);
    if (keyByIdentity.has(identity))
      throw fault(`${path}, line ${index + 1}`, 'the identity was there before');
    keyByIdentity.set(identity, key);
  }
  if (keyByIdentity.size === 0) throw fault(path, 'there is no key in it');
  if (keyByIdentity.size > SHARED_KEYS_MAX)
    throw fault(path, `it has more than ${SHARED_KEYS_MAX} keys`);
  return Object.fromEntries(keyByIdentity);
}

function parseLine(line: string, where: string): readonly [identity: string, key: string] {
  const match = /^([^:\s]+):([0-9a-fA-F]+)$/.exec(line);
  const [, identity = '', key = ''] = match ?? [];
  if (match === null || key.length % 2 !== 0) throw fault(where, 'it is not identity:hexkey');
  if (identity.length > IDENTITY_MAX_CHARS) throw fault(where, 'the identity is too long');
  if (key.length < KEY_MIN_HEX)
    throw fault(where, `the key has less than ${KEY_MIN_HEX} hex digits`);
  if (key.length > KEY_MAX_HEX)
    throw fault(where, `the key has more than ${KEY_MAX_HEX} hex digits`);
  return [identity, key];
}

function fault(where: string, what: string): OperationError {
  return new OperationError(
    'invalid',
    `${where}: ${what}`,
    'make a key with: psktool, or openssl rand -hex 32',
  );
}
