/**
 * JSON in steps: reads a text of tens of megabytes a window at a time, so that whoever reads it can do something else in between.
 *
 *     {"a":1,"list":[ │ item,item,item, │ item,item, │ item ],"b":2}       items of a window are parsed together
 *                       └──── 8 KiB ────┘
 *
 * What does not fit into a window is entered, and its items are read the same way. Whatever it accepts, it reads as `JSON.parse`
 * does; it accepts no white space around what is entered.
 */
import { FormatError } from '../format/format-error.ts';
import type { Steps } from '../steps.ts';

/** About 50 us each. */
const windowChars = 8192;
/** What is entered lies in this many others at most; a catalogue's text is 5 deep. */
const depthMax = 16;

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const backslash = 0x5c;
const brackets = {
  list: { open: 0x5b, close: 0x5d },
  object: { open: 0x7b, close: 0x7d },
} as const;

/** What the text says. Throws FormatError when it is no JSON. */
export function* parseJson(text: string): Steps<unknown> {
  const reader = new JsonReader(text);
  const value = yield* reader.value(0);
  if (!reader.isAtEnd) throw noJson();
  return value;
}

function noJson(): FormatError {
  return new FormatError('checkpoint: no JSON');
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw noJson();
  }
}

class JsonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#text.length;
  }

  *value(depth: number): Steps<unknown> {
    if (depth > depthMax) throw noJson();
    const code = this.#text.charCodeAt(this.#at);
    if (code === brackets.list.open) return yield* this.#list(depth);
    if (code === brackets.object.open) return yield* this.#object(depth);
    return this.#scalar();
  }

  *#list(depth: number): Steps<unknown[]> {
    const items: unknown[] = [];
    this.#at += 1;
    do {
      const found = this.#window(items.length > 0);
      if (found === undefined) items.push(yield* this.value(depth + 1));
      else for (const item of parsed(`[${found}]`) as unknown[]) items.push(item);
      yield;
    } while (this.#goesOn(brackets.list.close));
    return items;
  }

  *#object(depth: number): Steps<object> {
    const fields: [string, unknown][] = [];
    this.#at += 1;
    do {
      const found = this.#window(fields.length > 0);
      if (found === undefined) fields.push([this.#name(), yield* this.value(depth + 1)]);
      else for (const field of Object.entries(parsed(`{${found}}`) as object)) fields.push(field);
      yield;
    } while (this.#goesOn(brackets.object.close));
    return Object.fromEntries(fields);
  }

  /** Goes behind what ends an item; false when that was the last one. */
  #goesOn(close: number): boolean {
    const code = this.#text.charCodeAt(this.#at);
    this.#at += 1;
    if (code === comma) return true;
    if (code === close) return false;
    throw noJson();
  }

  /** The whole items of the next window, which it goes behind; undefined when there is none. Of none at all when it must be `some`: an error. */
  #window(isSome: boolean): string | undefined {
    const end = this.#endOfItems();
    if (end < 0) return undefined;
    if (end === this.#at && isSome) throw noJson();
    const found = this.#text.slice(this.#at, end);
    this.#at = end;
    return found;
  }

  /** Where the last whole item of the window ends; -1 when there is none. */
  #endOfItems(): number {
    const text = this.#text;
    const limit = Math.min(text.length, this.#at + windowChars);
    let depth = 0;
    let end = -1;
    for (let at = this.#at; at < limit; at += 1) {
      const code = text.charCodeAt(at);
      if (code === quote) {
        at = this.#endOfString(at);
      } else if (code === brackets.list.open || code === brackets.object.open) {
        depth += 1;
      } else if (code === brackets.list.close || code === brackets.object.close) {
        if (depth === 0) return at;
        depth -= 1;
      } else if (code === comma && depth === 0) {
        end = at;
      }
    }
    return end;
  }

  /** The index of the quote that ends the string whose first one is at `start`. */
  #endOfString(start: number): number {
    for (let at = start + 1; ; at += 1) {
      at = this.#text.indexOf('"', at);
      if (at < 0) throw noJson();
      let backslashes = 0;
      while (this.#text.charCodeAt(at - 1 - backslashes) === backslash) backslashes += 1;
      if (backslashes % 2 === 0) return at;
    }
  }

  /** The name of a field, and its colon. */
  #name(): string {
    if (this.#text.charCodeAt(this.#at) !== quote) throw noJson();
    const name = this.#scalar();
    if (this.#text.charCodeAt(this.#at) !== colon) throw noJson();
    this.#at += 1;
    return String(name);
  }

  /** What is neither a list nor an object. */
  #scalar(): unknown {
    const start = this.#at;
    if (this.#text.charCodeAt(start) === quote) this.#at = this.#endOfString(start) + 1;
    else while (this.#at < this.#text.length && !this.#isMark()) this.#at += 1;
    return parsed(this.#text.slice(start, this.#at));
  }

  #isMark(): boolean {
    const code = this.#text.charCodeAt(this.#at);
    return code === comma || code === brackets.list.close || code === brackets.object.close;
  }
}
