/**
 * Line source: the index entries of one stretch of the log, line by line: first those that cover whole groups of leaves, then
 * those of single leaves, by leaf and position. From a run on disk, or from a segment that no run covers yet.
 */
import { type Disk, DiskError } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { type EntryKind, IndexEntry } from '../index/entry.ts';
import type { RunPlace } from '../index/run-format.ts';
import { type EntrySource, RunCursor } from '../index/run-merge.ts';
import { runPath } from '../index/run-path.ts';
import type { RunSegments } from '../index/run-segments.ts';
import type { RunTables } from '../index/run-tables.ts';

export interface LineSource {
  /** What is next in the line: valid while `leaf` is not Infinity. */
  readonly entry: IndexEntry;
  /** Leaf of `entry`; Infinity when the line has no more here. */
  readonly leaf: number;
  /** Calls `visit` with each entry of the line that covers whole groups of leaves; then `begin` has to be called again. */
  eachWide(line: number, visit: (entry: IndexEntry) => void): void;
  /** Goes to the first entry of the line that is of a single leaf. Lines come in ascending order. */
  begin(line: number): void;
  /** Goes to the next one. */
  next(): void;
  close(): void;
}

/** A run cannot be read: it has to be made again. */
export class BadRunError extends FormatError {
  readonly place: RunPlace;

  constructor(place: RunPlace, thrown: Error) {
    super(thrown.message);
    this.place = place;
  }
}

/** Throws what `thrown` means for a run: BadRunError, or `thrown` itself when it is of neither disk nor format. */
function badRun(place: RunPlace, thrown: unknown): never {
  const isTooNew = thrown instanceof FormatError && thrown.isTooNew;
  const isOfRun = thrown instanceof FormatError || thrown instanceof DiskError;
  if (isTooNew || !isOfRun) throw thrown;
  throw new BadRunError(place, thrown);
}

export class RunLineSource implements LineSource {
  readonly entry = new IndexEntry();
  leaf = Number.POSITIVE_INFINITY;
  readonly #place: RunPlace;
  readonly #cursor: RunCursor;
  #line = 0;

  /** Throws BadRunError. */
  constructor(disk: Disk, place: RunPlace, seeds: Seeds) {
    this.#place = place;
    try {
      this.#cursor = new RunCursor(disk.open(runPath(place), { create: false }), place, seeds);
    } catch (thrown) {
      badRun(place, thrown);
    }
  }

  get tables(): RunTables {
    return this.#cursor.tables;
  }

  eachWide(line: number, visit: (entry: IndexEntry) => void): void {
    if (this.tables.levels(line) <= 1) return;
    this.#seek(line, 1);
    while (this.#read() && this.entry.line <= line) {
      if (this.entry.line === line && this.entry.level > 0) visit(this.entry);
    }
  }

  begin(line: number): void {
    this.#line = line;
    this.leaf = Number.POSITIVE_INFINITY;
    if ((this.tables.levels(line) & 1) === 0) return;
    this.#seek(line, 0);
    while (this.#read()) {
      if (this.entry.line < line) continue;
      this.#settle();
      return;
    }
  }

  next(): void {
    if (this.#read()) this.#settle();
    else this.leaf = Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#cursor.close();
  }

  #settle(): void {
    const isOfLine = this.entry.line === this.#line && this.entry.level === 0;
    this.leaf = isOfLine ? this.entry.node : Number.POSITIVE_INFINITY;
  }

  /** The segments that the run was made of. Throws BadRunError. */
  segments(): RunSegments {
    try {
      return this.#cursor.segments();
    } catch (thrown) {
      return badRun(this.#place, thrown);
    }
  }

  /** To the block that has the first entry of the line and level, if there is any. */
  #seek(line: number, level: number): void {
    try {
      this.#cursor.seek({ line, level, node: 0 });
    } catch (thrown) {
      badRun(this.#place, thrown);
    }
  }

  #read(): boolean {
    try {
      return this.#cursor.next(this.entry);
    } catch (thrown) {
      return badRun(this.#place, thrown);
    }
  }
}

/** Where the entries of a line lie: [from, wide) of single leaves, [wide, to) of groups. */
interface LineRange {
  readonly from: number;
  readonly wide: number;
  readonly to: number;
}

/** Entries of a segment, in memory: about 33 bytes each. */
export class SegmentLineSource implements LineSource {
  readonly entry = new IndexEntry();
  leaf = Number.POSITIVE_INFINITY;
  readonly #levels: Uint8Array;
  readonly #nodes: Float64Array;
  readonly #positions: Float64Array;
  readonly #addresses: Float64Array;
  readonly #within: Uint16Array;
  readonly #blockCounts: Uint16Array;
  readonly #kinds: Uint8Array;
  readonly #lines = new Map<number, LineRange>();
  #at = 0;
  #end = 0;

  /** Takes all `count` entries of `source`. */
  constructor(source: EntrySource, count: number) {
    this.#levels = new Uint8Array(count);
    this.#nodes = new Float64Array(count);
    this.#positions = new Float64Array(count);
    this.#addresses = new Float64Array(count);
    this.#within = new Uint16Array(count);
    this.#blockCounts = new Uint16Array(count);
    this.#kinds = new Uint8Array(count);
    const { entry } = this;
    for (let at = 0; source.next(entry); at += 1) {
      const known = this.#lines.get(entry.line);
      const from = known?.from ?? at;
      const wide = entry.level === 0 ? at + 1 : (known?.wide ?? at);
      this.#lines.set(entry.line, { from, wide, to: at + 1 });
      this.#levels[at] = entry.level;
      this.#nodes[at] = entry.node;
      this.#positions[at] = entry.position;
      this.#addresses[at] = entry.address;
      this.#within[at] = entry.within;
      this.#blockCounts[at] = entry.blockCount;
      this.#kinds[at] = entry.kind;
    }
    source.close();
  }

  eachWide(line: number, visit: (entry: IndexEntry) => void): void {
    const range = this.#lines.get(line);
    for (let at = range?.wide ?? 0; at < (range?.to ?? 0); at += 1) {
      this.#load(at);
      visit(this.entry);
    }
  }

  begin(line: number): void {
    const range = this.#lines.get(line);
    this.#at = range?.from ?? 0;
    this.#end = range?.wide ?? 0;
    this.entry.line = line;
    this.#settle();
  }

  next(): void {
    this.#at += 1;
    this.#settle();
  }

  close(): void {
    this.#lines.clear();
  }

  #settle(): void {
    if (this.#at < this.#end) this.#load(this.#at);
    this.leaf = this.#at < this.#end ? this.entry.node : Number.POSITIVE_INFINITY;
  }

  #load(at: number): void {
    const { entry } = this;
    entry.level = this.#levels[at] ?? 0;
    entry.node = this.#nodes[at] ?? 0;
    entry.position = this.#positions[at] ?? 0;
    entry.address = this.#addresses[at] ?? 0;
    entry.within = this.#within[at] ?? 0;
    entry.blockCount = this.#blockCounts[at] ?? 0;
    // Only what the constructor stored.
    entry.kind = (this.#kinds[at] ?? 0) as EntryKind;
  }
}
