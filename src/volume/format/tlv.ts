/**
 * TLV: the payload of catalogue records. `u16 version`, then items `u16 tag, u16 length, value`.
 *
 * A reader skips unknown tags from 0x8000 on and refuses the pool for any other unknown tag, so a later version can add
 * both kinds of field. Numbers are u64 little-endian (at most 2^53 - 1), texts UTF-8, ids 16 raw bytes.
 */
import { u64, viewOf } from '../../base/fields.ts';
import { FormatError } from './format-error.ts';

const tlvVersion = 1;
const tlvBytesMax = 65536;
const optionalTagMin = 0x8000;
const numberField = u64(0);
const decoder = new TextDecoder();

export class TlvWriter {
  readonly #items: { tag: number; value: Uint8Array }[] = [];

  number(tag: number, value: number): this {
    const bytes = new Uint8Array(8);
    numberField.set(viewOf(bytes), 0, value);
    return this.bytes(tag, bytes);
  }

  text(tag: number, value: string): this {
    return this.bytes(tag, new TextEncoder().encode(value));
  }

  /** `value` is copied when `finish` runs. */
  bytes(tag: number, value: Uint8Array): this {
    this.#items.push({ tag, value });
    return this;
  }

  /** The payload. Throws FormatError when it exceeds 64 KiB. */
  finish(): Uint8Array {
    let length = 2;
    for (const item of this.#items) length += 4 + item.value.length;
    if (length > tlvBytesMax) throw new FormatError(`record of ${length} bytes exceeds 64 KiB`);
    const out = new Uint8Array(length);
    const view = viewOf(out);
    view.setUint16(0, tlvVersion, true);
    let at = 2;
    for (const { tag, value } of this.#items) {
      view.setUint16(at, tag, true);
      view.setUint16(at + 2, value.length, true);
      out.set(value, at + 4);
      at += 4 + value.length;
    }
    return out;
  }
}

/** Fields are read where they lie, when they are asked for: opening a pool may read tens of thousands of records. */
export class TlvReader {
  readonly #payload: Uint8Array;
  readonly #view: DataView;
  /** By tag: where the value begins. */
  readonly #starts = new Map<number, number>();
  readonly #what: string;

  /** Throws FormatError when `payload` is malformed, of a newer version, or has a tag that is neither in `known` nor optional. */
  constructor(payload: Uint8Array, what: string, known: readonly number[]) {
    this.#payload = payload;
    this.#view = viewOf(payload);
    this.#what = what;
    if (payload.length < 2) throw new FormatError(`${what}: too short`);
    const version = this.#view.getUint16(0, true);
    if (version !== tlvVersion) {
      throw new FormatError(`${what}: newer version ${version}`, { isTooNew: true });
    }
    let at = 2;
    while (at < payload.length) {
      if (at + 4 > payload.length) throw new FormatError(`${what}: cut short`);
      const tag = this.#view.getUint16(at, true);
      const end = at + 4 + this.#view.getUint16(at + 2, true);
      if (end > payload.length) throw new FormatError(`${what}: cut short`);
      if (!known.includes(tag) && tag < optionalTagMin) {
        throw new FormatError(`${what}: unknown field ${tag}`, { isTooNew: true });
      }
      this.#starts.set(tag, at + 4);
      at = end;
    }
  }

  has(tag: number): boolean {
    return this.#starts.has(tag);
  }

  number(tag: number): number {
    const start = this.#start(tag);
    if (this.#end(start) - start !== 8) {
      throw new FormatError(`${this.#what}: field ${tag} is no number`);
    }
    return numberField.get(this.#view, start);
  }

  text(tag: number): string {
    const start = this.#start(tag);
    return decoder.decode(this.#payload.subarray(start, this.#end(start)));
  }

  /** A copy. */
  bytes(tag: number): Uint8Array {
    const start = this.#start(tag);
    return this.#payload.slice(start, this.#end(start));
  }

  #start(tag: number): number {
    const start = this.#starts.get(tag);
    if (start === undefined) throw new FormatError(`${this.#what}: field ${tag} is missing`);
    return start;
  }

  #end(start: number): number {
    return start + this.#view.getUint16(start - 2, true);
  }
}
