/** What CHAP accounts must be like (RFC 7143 sections 9.2.1 and 12.1.3). No message names a secret. */
import { OperationError } from '../base/errors.ts';
import type { ChapAccount, ChapAccounts } from '../catalog/catalog.ts';

/** 96 bits: what RFC 7143 section 9.2.1 wants of a secret on a line that is not encrypted. */
const SECRET_MIN_BYTES = 12;
const SECRET_MAX_BYTES = 255;
const USER_MAX_BYTES = 255;

const encoder = new TextEncoder();

/** The account as it is kept. Throws OperationError `invalid`. */
export function chapAccount(given: {
  readonly user: string;
  readonly secret: string;
}): ChapAccount {
  const { user } = given;
  // A control character cannot be typed at the other end, and a NUL ends a value of iSCSI.
  if (!isPrintable(user) || encoder.encode(user).length > USER_MAX_BYTES) {
    const message = `a CHAP user name has 1 to ${USER_MAX_BYTES} bytes and no control characters`;
    throw new OperationError('invalid', message);
  }
  const secret = encoder.encode(given.secret);
  if (secret.length < SECRET_MIN_BYTES) {
    const message = `the CHAP secret of ${user} is too weak: it has ${secret.length} bytes, and less than ${SECRET_MIN_BYTES} can be guessed from one recorded login`;
    const hint = `take ${SECRET_MIN_BYTES} to 16 random characters (Windows takes no more than 16), for example: openssl rand -hex 8`;
    throw new OperationError('invalid', message, hint);
  }
  if (secret.length > SECRET_MAX_BYTES) {
    const message = `the CHAP secret of ${user} has ${secret.length} bytes; ${SECRET_MAX_BYTES} is the most`;
    throw new OperationError('invalid', message);
  }
  if (!isPrintable(given.secret)) {
    const message = `the CHAP secret of ${user} has control characters in it`;
    const hint = 'it must be one line of text: that is what initiators let you type';
    throw new OperationError('invalid', message, hint);
  }
  return { user, secret };
}

/** Throws OperationError `invalid` when the two accounts of one host do not go together. */
export function checkChapAccounts(chap: ChapAccounts): void {
  if (chap.out === undefined) return;
  if (chap.in === undefined) {
    const message = 'a target proves itself only to initiators that prove themselves';
    const hint = 'give --chap-user and its secret, too';
    throw new OperationError('invalid', message, hint);
  }
  if (!isSame(chap.in.secret, chap.out.secret)) return;
  const message = 'the secrets of initiator and target are the same';
  const hint = 'who knows one could then pose as the other: take two secrets';
  throw new OperationError('invalid', message, hint);
}

function isPrintable(text: string): boolean {
  return text !== '' && !/\p{Cc}/u.test(text);
}

function isSame(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}
