/**
 * Run reader: looks up leaves in runs. Tables of runs and blocks of entries are kept in memory as far as their budgets go;
 * files are open only while they are used.
 *
 * Every block is verified when it is read. What does not verify is thrown as FormatError: the caller does without the run.
 */
import type { Disk, DiskFile } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { entryValue, IndexEntry, nodeOf } from './entry.ts';
import { EntryBlockReader, isEntryBlock } from './entry-block.ts';
import type { LeafPainter } from './leaf-painter.ts';
import {
  describeRun,
  type RunHeader,
  type RunPlace,
  type RunSegment,
  runBlockBytes,
} from './run-format.ts';
import { runName, runPath } from './run-path.ts';
import { type RunTables, readRunTables } from './run-tables.ts';

export interface RunReaderOptions {
  readonly disk: Disk;
  readonly seeds: Seeds;
  /** Whether a run is of these very segments; one of another history of the pool is not used. */
  readonly isOurs: (header: RunHeader, segments: readonly RunSegment[]) => boolean;
  /** RAM of tables, and of blocks. */
  readonly tableBytes: number;
  readonly blockBytes: number;
  readonly openFiles: number;
}

interface Found {
  readonly position: number;
  readonly within: number;
  readonly blockCount: number;
  readonly value: number;
}

export class RunReader {
  readonly #options: RunReaderOptions;
  /** By name; in order of use, oldest first. */
  readonly #tables = new Map<string, RunTables>();
  #tableBytes = 0;
  readonly #files = new Map<string, DiskFile>();
  /** By name and number. */
  readonly #blocks = new Map<string, Uint8Array>();
  readonly #entry = new IndexEntry();

  constructor(options: RunReaderOptions) {
    this.#options = options;
  }

  /** RAM of tables and blocks. */
  get bytes(): number {
    return this.#tableBytes + this.#blocks.size * runBlockBytes;
  }

  /** Throws DiskError, and FormatError when the run is not whole. */
  tables(place: RunPlace): RunTables {
    const name = runName(place);
    const known = this.#tables.get(name);
    if (known !== undefined) {
      this.#tables.delete(name);
      this.#tables.set(name, known);
      return known;
    }
    const tables = readRunTables(this.#file(place), place, this.#options.seeds);
    if (!this.#options.isOurs(tables.header, tables.segments)) {
      throw new FormatError(`run ${describeRun(place)}: of other segments`);
    }
    this.#tables.set(name, tables);
    this.#tableBytes += tables.bytes;
    for (const [oldest, { bytes }] of this.#tables) {
      if (this.#tableBytes <= this.#options.tableBytes || oldest === name) break;
      this.#tables.delete(oldest);
      this.#tableBytes -= bytes;
    }
    return tables;
  }

  /** Paints what records of a line before `before` did to a leaf, newest first. Throws DiskError, FormatError. */
  paint(
    place: RunPlace,
    { line, leaf, before }: { readonly line: number; readonly leaf: number; before: number },
    painter: LeafPainter,
  ): void {
    const tables = this.tables(place);
    const levels = tables.levels(line);
    if (levels === 0) return;
    const wide = this.#wideEntries(tables, line, leaf);
    const range = tables.hasLeaf(line, leaf) ? tables.blocksOf(line, 0, leaf) : undefined;
    const first = range?.first ?? 1;
    for (let block = range?.last ?? 0; block >= first && !painter.isDone; block -= 1) {
      const found = this.#entriesOf(tables, block, { line, level: 0, node: leaf });
      for (const entry of found.toReversed()) {
        if (entry.position >= before) continue;
        if (wide.length > 0) paintWide(painter, wide, { downTo: entry.position, before });
        paintFound(painter, entry);
      }
    }
    paintWide(painter, wide, { downTo: 0, before });
  }

  /** Entries that cover the whole leaf with others, oldest first. */
  #wideEntries(tables: RunTables, line: number, leaf: number): Found[] {
    const wide: Found[] = [];
    const levels = tables.levels(line);
    for (let level = 1; levels >>> level !== 0; level += 1) {
      const node = nodeOf(leaf, level);
      const range = (levels & (1 << level)) === 0 ? undefined : tables.blocksOf(line, level, node);
      for (let block = range?.first ?? 1; block <= (range?.last ?? 0); block += 1) {
        wide.push(...this.#entriesOf(tables, block, { line, level, node }));
      }
    }
    return wide.sort((left, right) => left.position - right.position);
  }

  /** Entries of a node in one block, oldest first. */
  #entriesOf(
    tables: RunTables,
    block: number,
    wanted: { readonly line: number; readonly level: number; readonly node: number },
  ): Found[] {
    const reader = new EntryBlockReader(tables.header);
    reader.open(this.#block(tables, block));
    const entry = this.#entry;
    const found: Found[] = [];
    while (reader.next(entry)) {
      const order =
        entry.line - wanted.line || entry.level - wanted.level || entry.node - wanted.node;
      if (order > 0) break;
      if (order < 0) continue;
      const { position, within, blockCount } = entry;
      found.push({ position, within, blockCount, value: entryValue(entry.kind, entry.address) });
    }
    return found;
  }

  #block(tables: RunTables, block: number): Uint8Array {
    const { header } = tables;
    const name = runName(header);
    const key = `${name}/${block}`;
    const known = this.#blocks.get(key);
    if (known !== undefined) {
      this.#blocks.delete(key);
      this.#blocks.set(key, known);
      return known;
    }
    const bytes = new Uint8Array(runBlockBytes);
    const bytesRead = this.#file(header).read(bytes, block * runBlockBytes);
    if (bytesRead < runBlockBytes || !isEntryBlock(bytes, header, block, this.#options.seeds)) {
      throw new FormatError(`run ${describeRun(header)}: damaged block ${block}`);
    }
    this.#blocks.set(key, bytes);
    if (this.#blocks.size * runBlockBytes > this.#options.blockBytes) {
      const oldest = this.#blocks.keys().next();
      if (oldest.done !== true) this.#blocks.delete(oldest.value);
    }
    return bytes;
  }

  #file(place: RunPlace): DiskFile {
    const name = runName(place);
    const known = this.#files.get(name);
    if (known !== undefined) return known;
    const file = this.#options.disk.open(runPath(place), { create: false });
    this.#files.set(name, file);
    if (this.#files.size > this.#options.openFiles) {
      const oldest = this.#files.entries().next();
      if (oldest.done !== true) {
        this.#files.delete(oldest.value[0]);
        oldest.value[1].close();
      }
    }
    return file;
  }

  /** Forgets a run: it is gone, or another file has its name. */
  forget(place: RunPlace): void {
    const name = runName(place);
    this.#tableBytes -= this.#tables.get(name)?.bytes ?? 0;
    this.#tables.delete(name);
    this.#files.get(name)?.close();
    this.#files.delete(name);
    for (const key of this.#blocks.keys()) if (key.startsWith(`${name}/`)) this.#blocks.delete(key);
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }
}

/** Takes what is not older than `downTo` from `wide` (oldest first) and paints it, newest first. */
function paintWide(
  painter: LeafPainter,
  wide: Found[],
  { downTo, before }: { readonly downTo: number; readonly before: number },
): void {
  for (let newest = wide.at(-1); newest !== undefined; newest = wide.at(-1)) {
    if (newest.position < downTo) return;
    wide.pop();
    if (newest.position < before) paintFound(painter, newest);
  }
}

function paintFound(painter: LeafPainter, { position, within, blockCount, value }: Found): void {
  painter.paint(position, within, blockCount, value);
}
