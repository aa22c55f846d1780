/** Reads an object of a checkpoint's text field by field: each must be there, be what it should be, and none may be left. */
import { FormatError } from '../format/format-error.ts';

export class ShapeReader {
  readonly #what: string;
  readonly #fields: Map<string, unknown>;

  /** Throws FormatError when `value` is no object. */
  constructor(value: unknown, what: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new FormatError(`checkpoint: ${what} is no object`);
    }
    this.#what = what;
    this.#fields = new Map(Object.entries(value));
  }

  has(name: string): boolean {
    return this.#fields.has(name);
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
    return Uint8Array.from({ length: text.length / 2 }, (_, index) =>
      Number.parseInt(text.slice(index * 2, index * 2 + 2), 16),
    );
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
    const value = this.#take(name);
    if (!Array.isArray(value)) throw this.#wrong(name);
    return value.map((item) => readShape(item, `${this.#what}.${name}`, read));
  }

  /** Integers from 0 to 2^53 - 1. */
  numbers(name: string): number[] {
    const value = this.#take(name);
    if (!Array.isArray(value)) throw this.#wrong(name);
    return value.map((number: unknown) => {
      if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0) return number;
      throw this.#wrong(name);
    });
  }

  /** An object or null; null = undefined. */
  optional<T>(name: string, read: (item: ShapeReader) => T): T | undefined {
    const value = this.#take(name);
    return value === null ? undefined : readShape(value, `${this.#what}.${name}`, read);
  }

  /** Throws FormatError when a field was not asked for: a newer version wrote it, and it may change what the rest means. */
  end(): void {
    const [unknown] = this.#fields.keys();
    if (unknown === undefined) return;
    throw new FormatError(`checkpoint: ${this.#what} has a field "${unknown}" that is not known`);
  }

  #take(name: string): unknown {
    if (!this.#fields.has(name)) throw this.#wrong(name);
    const value = this.#fields.get(name);
    this.#fields.delete(name);
    return value;
  }

  #wrong(name: string): FormatError {
    return new FormatError(`checkpoint: field "${name}" of ${this.#what} is missing or wrong`);
  }
}

/** `read` must ask for every field. Throws FormatError. */
export function readShape<T>(value: unknown, what: string, read: (item: ShapeReader) => T): T {
  const item = new ShapeReader(value, what);
  const made = read(item);
  item.end();
  return made;
}
