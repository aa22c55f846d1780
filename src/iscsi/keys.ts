/**
 * Text of login and text PDUs, RFC 7143 section 6.1: `key=value` pairs, each ended by a NUL, in one or more PDUs that the
 * C bit joins. A pair may be cut anywhere. Here texts are collected, parsed, written and split; what keys mean is
 * negotiation's.
 */
import {
  chapBinaryMaxBytes,
  keyNameMaxBytes,
  keyValueMaxBytes,
  textKeysMax,
  textMaxBytes,
} from './limits.ts';

export interface TextPair {
  readonly key: string;
  readonly value: string;
}

/** Values that are answers, never offers. Section 6.2. */
export const Answer = {
  notUnderstood: 'NotUnderstood',
  irrelevant: 'Irrelevant',
  reject: 'Reject',
} as const;

const answerValues: ReadonlySet<string> = new Set(Object.values(Answer));

/** Whether `value` answers an offer (which we never make) instead of being one. */
export function isAnswerValue(value: string): boolean {
  return answerValues.has(value);
}

/** A text that broke the rules: why, for the log. */
export interface TextProblem {
  readonly problem: string;
}

// ---- from the wire

/** Key names, vendors' `X-` and `X#` included. */
const keyPattern = /^[A-Za-z][A-Za-z0-9.\-+@_#]*$/;
/** Keys with large binary values: base64 or twice the bytes in hex, and the prefix. */
const largeKeys: ReadonlySet<string> = new Set(['CHAP_C', 'CHAP_R']);
const largeValueMaxBytes = 2 + 2 * chapBinaryMaxBytes;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

function parsePair(bytes: Uint8Array): TextPair | TextProblem {
  const equals = bytes.indexOf(0x3d);
  if (equals < 0) return { problem: 'text without =' };
  if (equals > keyNameMaxBytes) return { problem: 'key name too long' };
  const key = decodeUtf8(bytes.subarray(0, equals));
  if (key === undefined || !keyPattern.test(key)) return { problem: 'invalid key name' };
  const valueBytes = bytes.length - equals - 1;
  if (valueBytes > (largeKeys.has(key) ? largeValueMaxBytes : keyValueMaxBytes)) {
    return { problem: `value of ${key} too long` };
  }
  const value = decodeUtf8(bytes.subarray(equals + 1));
  return value === undefined ? { problem: `value of ${key} is not UTF-8` } : { key, value };
}

/**
 * Parses a whole text. NULs in excess (padding that was counted as data) are skipped.
 * @internal tests look at it
 */
export function parseText(text: Uint8Array): TextPair[] | TextProblem {
  const pairs: TextPair[] = [];
  for (let start = 0; start < text.length; ) {
    const nul = text.indexOf(0, start);
    const end = nul < 0 ? text.length : nul;
    if (end > start) {
      if (pairs.length === textKeysMax) return { problem: 'too many keys' };
      const pair = parsePair(text.subarray(start, end));
      if ('problem' in pair) return pair;
      pairs.push(pair);
    }
    start = end + 1;
  }
  return pairs;
}

/** Joins the texts of PDUs that the C bit marks as one. Holds at most `textMaxBytes`. */
export class TextCollector {
  #pieces: Uint8Array[] = [];
  #sizeBytes = 0;

  /** Whether the text goes on: PDUs came, and the last one had the C bit. */
  get isOpen(): boolean {
    return this.#pieces.length > 0;
  }

  /** Takes the data of one PDU, valid during the call. Returns the pairs once the text is whole, undefined before. */
  add(data: Uint8Array, isContinued: boolean): TextPair[] | TextProblem | undefined {
    if (this.#sizeBytes + data.length > textMaxBytes) return { problem: 'text too long' };
    if (!isContinued && !this.isOpen) return parseText(data);
    // An empty piece is kept, too: it opens the text. Not slice(): of a Buffer that is no copy.
    if (data.length > 0 || !this.isOpen) this.#pieces.push(new Uint8Array(data));
    this.#sizeBytes += data.length;
    if (isContinued) return undefined;
    const whole = this.#join();
    this.reset();
    return parseText(whole);
  }

  reset(): void {
    this.#pieces = [];
    this.#sizeBytes = 0;
  }

  #join(): Uint8Array {
    const whole = new Uint8Array(this.#sizeBytes);
    let at = 0;
    for (const piece of this.#pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }
}

// ---- to the wire

/**
 * The text of `pairs`; the caller owns the bytes.
 * @internal tests look at it
 */
export function encodeText(pairs: readonly TextPair[]): Uint8Array {
  return encoder.encode(pairs.map(({ key, value }) => `${key}=${value}\0`).join(''));
}

/** A text on its way out, in pieces that the peer can take. */
export class TextSender {
  #text: Uint8Array = new Uint8Array(0);

  /** Whether something has not been taken yet. */
  get isOpen(): boolean {
    return this.#text.length > 0;
  }

  /** Appends. */
  put(pairs: readonly TextPair[]): void {
    const added = encodeText(pairs);
    const whole = new Uint8Array(this.#text.length + added.length);
    whole.set(this.#text);
    whole.set(added, this.#text.length);
    this.#text = whole;
  }

  /** The next piece of at most `maxBytes`: a view, valid until the next `put`. */
  take(maxBytes: number): Uint8Array {
    const piece = this.#text.subarray(0, maxBytes);
    this.#text = this.#text.subarray(piece.length);
    return piece;
  }

  reset(): void {
    this.#text = new Uint8Array(0);
  }
}

// ---- values

const decimalPattern = /^\d{1,15}$/;
const hexNumberPattern = /^0[xX][0-9A-Fa-f]{1,13}$/;

/** A numerical value, decimal or hex; undefined when it is none (or far beyond every range). */
export function parseNumber(value: string): number | undefined {
  return decimalPattern.test(value) || hexNumberPattern.test(value) ? Number(value) : undefined;
}

export function parseBoolean(value: string): boolean | undefined {
  if (value === 'Yes') return true;
  return value === 'No' ? false : undefined;
}

const hexBinaryPattern = /^0[xX](?:[0-9A-Fa-f]{2})+$/;
const base64BinaryPattern =
  /^0[bB](?=.)(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const prefixLength = 2;

/** A large binary value in hex (`0x..`) or base64 (`0b..`) of 1 to `maxBytes` bytes; undefined when it is none. */
export function parseBinary(value: string, maxBytes: number): Uint8Array | undefined {
  const isHex = hexBinaryPattern.test(value);
  if (!isHex && !base64BinaryPattern.test(value)) return undefined;
  const bytes = new Uint8Array(Buffer.from(value.slice(prefixLength), isHex ? 'hex' : 'base64'));
  return bytes.length > maxBytes ? undefined : bytes;
}

export function formatBinary(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}`;
}
