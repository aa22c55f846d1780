/**
 * CHAP, RFC 7143 section 12.1.3 and RFC 1994: the initiator proves itself, and we do when it asks.
 *
 *     initiator                              target
 *     AuthMethod=CHAP,None             ─▶
 *                                      ◀─    AuthMethod=CHAP
 *     CHAP_A=5,7                       ─▶
 *                                      ◀─    CHAP_A=5 CHAP_I=23 CHAP_C=0x..        fresh for every attempt
 *     CHAP_N=user CHAP_R=0x..          ─▶
 *       [CHAP_I=7 CHAP_C=0x..]         ◀─    [CHAP_N=ours CHAP_R=0x..]
 *
 * A response is hash(identifier, secret, challenge).
 *
 * Invariants
 * 1. A challenge of ours is answered by nobody but the one it was made for: an initiator that gives us one back, on this
 *    connection or another, would have us compute its own answer (the reflection attack), and is refused.
 * 2. Secrets are compared in constant time, and whether name or secret was wrong is not told.
 * 3. One attempt per login.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { unreachable } from '../base/assert.ts';
import type { Random } from '../base/ports.ts';
import type { ChapCredentials } from './hosts.ts';
import { formatBinary, parseBinary, parseNumber, type TextPair } from './keys.ts';
import { chapBinaryMaxBytes, listValuesMax } from './limits.ts';

interface Algorithm {
  readonly hash: string;
  readonly sizeBytes: number;
}

/** Section 12.1.3; numbers as IANA assigned them. */
const algorithmByNumber: ReadonlyMap<string, Algorithm> = new Map([
  ['5', { hash: 'md5', sizeBytes: 16 }],
  ['6', { hash: 'sha1', sizeBytes: 20 }],
  ['7', { hash: 'sha256', sizeBytes: 32 }],
  ['8', { hash: 'sha3-256', sizeBytes: 32 }],
]);

const challengeBytes = 16;
const identifierMax = 255;

/** Challenges that were given out in logins which still go on, of all connections. */
export class ChallengeLedger {
  readonly #open = new Set<string>();

  /** A new challenge, open until `close`. */
  issue(random: Random): Uint8Array {
    const challenge = new Uint8Array(challengeBytes);
    random.fill(challenge);
    this.#open.add(formatBinary(challenge));
    return challenge;
  }

  /** Whether `challenge` is one of ours and open. */
  has(challenge: Uint8Array): boolean {
    return this.#open.has(formatBinary(challenge));
  }

  close(challenge: Uint8Array): void {
    this.#open.delete(formatBinary(challenge));
  }

  get openCount(): number {
    return this.#open.size;
  }
}

export type ChapStep =
  | { readonly kind: 'continue' | 'proven'; readonly answers: readonly TextPair[] }
  | { readonly kind: 'failed'; readonly reason: string };

function failed(reason: string): ChapStep {
  return { kind: 'failed', reason };
}

function responseOf(
  algorithm: Algorithm,
  identifier: number,
  secret: Uint8Array,
  challenge: Uint8Array,
): Uint8Array {
  const hash = createHash(algorithm.hash);
  hash.update(Uint8Array.of(identifier)).update(secret).update(challenge);
  return hash.digest();
}

const encoder = new TextEncoder();

function hashOf(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest();
}

/** Compares in a time that tells nothing about where two values differ, or how long the right one is. */
function isSame(left: Uint8Array, right: Uint8Array): boolean {
  return timingSafeEqual(hashOf(left), hashOf(right));
}

/** Whether who has proven one has proven the other. */
export function isSameProof(left: ChapCredentials, right: ChapCredentials): boolean {
  return left.userName === right.userName && isSame(left.secret, right.secret);
}

export interface ChapOptions {
  readonly credentials: ChapCredentials;
  readonly challenges: ChallengeLedger;
  readonly random: Random;
}

/** One attempt. `close` must be called when the login is over, however it went. */
export class ChapExchange {
  readonly #options: ChapOptions;
  #state: 'algorithm' | 'response' | 'over' = 'algorithm';
  #algorithm: Algorithm | undefined;
  #identifier = 0;
  #challenge: Uint8Array | undefined;

  constructor(options: ChapOptions) {
    this.#options = options;
  }

  /** The next text of the initiator: its CHAP keys, each at most once. */
  step(keys: ReadonlyMap<string, string>): ChapStep {
    switch (this.#state) {
      case 'algorithm':
        return this.#chooseAlgorithm(keys);
      case 'response':
        return this.#judge(keys);
      case 'over':
        return failed('CHAP keys after CHAP was over');
      default:
        return unreachable(this.#state);
    }
  }

  close(): void {
    this.#state = 'over';
    if (this.#challenge !== undefined) this.#options.challenges.close(this.#challenge);
    this.#challenge = undefined;
  }

  #chooseAlgorithm(keys: ReadonlyMap<string, string>): ChapStep {
    const offer = keys.get('CHAP_A');
    if (offer === undefined || keys.size !== 1) return failed('CHAP_A alone was expected');
    const numbers = offer.split(',', listValuesMax);
    const chosen = numbers.find((number) => algorithmByNumber.has(number));
    if (chosen === undefined) return failed('no CHAP algorithm in common');
    this.#algorithm = algorithmByNumber.get(chosen);
    const { challenges, random } = this.#options;
    const identifier = new Uint8Array(1);
    random.fill(identifier);
    this.#identifier = identifier[0] ?? 0;
    this.#challenge = challenges.issue(random);
    this.#state = 'response';
    return {
      kind: 'continue',
      answers: [
        { key: 'CHAP_A', value: chosen },
        { key: 'CHAP_I', value: String(this.#identifier) },
        { key: 'CHAP_C', value: formatBinary(this.#challenge) },
      ],
    };
  }

  #judge(keys: ReadonlyMap<string, string>): ChapStep {
    const { credentials } = this.#options;
    const name = keys.get('CHAP_N');
    const given = keys.get('CHAP_R');
    if (name === undefined || given === undefined || keys.has('CHAP_A')) {
      return failed('CHAP_N and CHAP_R were expected');
    }
    this.#state = 'over';
    if (this.#algorithm === undefined || this.#challenge === undefined)
      return failed('no challenge');
    const response = parseBinary(given, this.#algorithm.sizeBytes);
    if (response === undefined || response.length !== this.#algorithm.sizeBytes) {
      return failed('CHAP_R is not a response of its algorithm');
    }
    const expected = responseOf(
      this.#algorithm,
      this.#identifier,
      credentials.secret,
      this.#challenge,
    );
    // Both are compared, whatever the first says: the time must not tell which one was wrong.
    const isNameRight = isSame(encoder.encode(name), encoder.encode(credentials.userName));
    const isResponseRight = timingSafeEqual(response, expected);
    if (!isNameRight || !isResponseRight) return failed('wrong CHAP name or secret');
    return this.#proveOurselves(keys, this.#algorithm);
  }

  #proveOurselves(keys: ReadonlyMap<string, string>, algorithm: Algorithm): ChapStep {
    const identifierText = keys.get('CHAP_I');
    const challengeText = keys.get('CHAP_C');
    if (identifierText === undefined && challengeText === undefined) {
      return { kind: 'proven', answers: [] };
    }
    const identifier = parseNumber(identifierText ?? '');
    const challenge = parseBinary(challengeText ?? '', chapBinaryMaxBytes);
    if (identifier === undefined || identifier > identifierMax || challenge === undefined) {
      return failed('CHAP_I or CHAP_C is invalid');
    }
    const { credentials, challenges } = this.#options;
    if (challenges.has(challenge)) return failed('a challenge of ours was reflected');
    const { outName, outSecret } = credentials;
    if (outName === undefined || outSecret === undefined) {
      return failed('the initiator wants us to prove ourselves, and we have no secret for it');
    }
    if (isSame(outSecret, credentials.secret)) {
      return failed('both directions have the same secret, which the standard forbids');
    }
    const response = responseOf(algorithm, identifier, outSecret, challenge);
    return {
      kind: 'proven',
      answers: [
        { key: 'CHAP_N', value: outName },
        { key: 'CHAP_R', value: formatBinary(response) },
      ],
    };
  }
}
