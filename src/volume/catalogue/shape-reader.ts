/** Reads an object of a checkpoint's text field by field: each must be there, be what it should be, and none may be left. */
import { FormatError } from '../format/format-error.ts';
import type { Steps } from '../steps.ts';

export class ShapeReader {
  readonly #what: string;
  readonly #fields: Readonly<Record<string, unknown>>;
  /** Names of those that were asked for. */
  readonly #taken: string[] = [];

  /** Throws FormatError when `value` is no object. */
  constructor(value: unknown, what: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new FormatError(`checkpoint: ${what} is no object`);
    }
    this.#what = what;
    this.#fields = value as Readonly<Record<string, unknown>>;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#fields, name);
  }

  /** An integer from 0 to 2^53 - 1. */
  number(name: string): number {
    const value = this.#take(name);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw this.#wrong(name);
  }

  text(name: string): string {
    const value = this.#take(name);
    if (typeof value === 'string') return value;
    throw this.#wrong(name);
  }

  /** Bytes, written in hexadecimal. */
  bytes(name: string): Uint8Array {
    const text = this.text(name);
    if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) throw this.#wrong(name);
    return Uint8Array.fromHex(text);
  }

  /** Sixteen bytes. */
  uuid(name: string): Uint8Array {
    const value = this.bytes(name);
    if (value.length !== 16) throw this.#wrong(name);
    return value;
  }

  choice<T extends string | number>(name: string, known: readonly T[]): T {
    const value = this.#take(name);
    const found = known.find((each) => each === value);
    if (found === undefined) throw this.#wrong(name);
    return found;
  }

  list<T>(name: string, read: (item: ShapeReader) => T): T[] {
    const what = `${this.#what}.${name}`;
    return this.#items(name).map((item) => readShape(item, what, read));
  }

  /** The same of a list that may be long. */
  *listInSteps<T>(name: string, read: (item: ShapeReader) => T): Steps<T[]> {
    return yield* this.eachInSteps(name, function* readAtOnce(item): Steps<T> {
      yield;
      return read(item);
    });
  }

  /** The same, of items that may be large. */
  *eachInSteps<T>(name: string, read: (item: ShapeReader) => Steps<T>): Steps<T[]> {
    const what = `${this.#what}.${name}`;
    const made: T[] = [];
    for (const value of this.#items(name)) {
      const item = new ShapeReader(value, what);
      made.push(yield* read(item));
      item.end();
    }
    return made;
  }

  /** Integers from 0 to 2^53 - 1: as many as there are, none of them read yet. */
  numbers(name: string): { readonly length: number; readonly at: (index: number) => number } {
    const items = this.#items(name);
    const at = (index: number): number => {
      const number = items[index];
      if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0) return number;
      throw this.#wrong(name);
    };
    return { length: items.length, at };
  }

  #items(name: string): readonly unknown[] {
    const value = this.#take(name);
    if (Array.isArray(value)) return value;
    throw this.#wrong(name);
  }

  /** An object or null; null = undefined. */
  optional<T>(name: string, read: (item: ShapeReader) => T): T | undefined {
    const value = this.#take(name);
    return value === null ? undefined : readShape(value, `${this.#what}.${name}`, read);
  }

  /** Throws FormatError when a field was not asked for: a newer version wrote it, and it may change what the rest means. */
  end(): void {
    const names = Object.keys(this.#fields);
    if (names.length === this.#taken.length) return;
    const unknown = names.find((name) => !this.#taken.includes(name));
    throw new FormatError(`checkpoint: ${this.#what} has a field "${unknown}" that is not known`);
  }

  #take(name: string): unknown {
    if (!this.has(name)) throw this.#wrong(name);
    this.#taken.push(name);
    return this.#fields[name];
  }

  #wrong(name: string): FormatError {
    return new FormatError(`checkpoint: field "${name}" of ${this.#what} is missing or wrong`);
  }
}

/** `read` must ask for every field. Throws FormatError. */
function readShape<T>(value: unknown, what: string, read: (item: ShapeReader) => T): T {
  const item = new ShapeReader(value, what);
  const made = read(item);
  item.end();
  return made;
}
