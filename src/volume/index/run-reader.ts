/**
 * Run reader: looks up leaves in runs. Tables of runs and blocks of entries are kept in memory as far as their budgets go;
 * a bounded number of files is open.
 *
 * Lookups are made in steps: between two of them others run, and a run may get another file. So what was read is only used
 * when no run changed since it was asked for; else RunsChanged is thrown, and the lookup begins again.
 *
 * Every block is verified when it is read. What does not verify is thrown as FormatError: the caller does without the run.
 */
import type { Disk } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { entryValue, IndexEntry, leavesOf, nodeOf } from './entry.ts';
import { EntryBlockReader } from './entry-block.ts';
import { type Stretch, setBits } from './leaf-changes.ts';
import type { LeafPainter } from './leaf-painter.ts';
import type { LookupSteps } from './lookup-steps.ts';
import { RunFiles } from './run-files.ts';
import { describeRun, pageLeavesOfBitmap, type RunPlace, runBlockBytes } from './run-format.ts';
import { runName } from './run-path.ts';
import { type Nodes, type RunTables, runBlockSteps, runTableSteps } from './run-tables.ts';

export interface RunReaderOptions {
  readonly disk: Disk;
  readonly seeds: Seeds;
  /** Whether a run is of the pool's own segments; one of another history of the pool is not used. */
  readonly isOurs: (tables: RunTables) => boolean;
  /** RAM of tables, and of blocks. */
  readonly tableBytes: number;
  readonly blockBytes: number;
  readonly openFiles: number;
}

interface Found {
  readonly node: number;
  readonly position: number;
  readonly within: number;
  readonly blockCount: number;
  readonly value: number;
}

/** A run got another file, or was given up, while a lookup waited for the disk: it must begin again. */
export class RunsChanged extends Error {
  override readonly name = 'RunsChanged';
}

export class RunReader {
  readonly #options: RunReaderOptions;
  /** By name; in order of use, oldest first. */
  readonly #tables = new Map<string, RunTables>();
  #tableBytes = 0;
  readonly #files: RunFiles;
  /** Grows when a run is forgotten. */
  #version = 0;
  /** By name and number. */
  readonly #blocks = new Map<string, Uint8Array>();
  readonly #entry = new IndexEntry();

  constructor(options: RunReaderOptions) {
    this.#options = options;
    this.#files = new RunFiles(options.disk, options.openFiles);
  }

  /** RAM of tables and blocks. */
  get bytes(): number {
    return this.#tableBytes + this.#blocks.size * runBlockBytes;
  }

  /** The tables of a run when they are in memory. */
  knownTables(place: RunPlace): RunTables | undefined {
    const name = runName(place);
    const known = this.#tables.get(name);
    if (known === undefined) return undefined;
    this.#tables.delete(name);
    this.#tables.set(name, known);
    return known;
  }

  /** Throws DiskError, FormatError when the run is not whole or of other segments, RunsChanged. */
  *tables(place: RunPlace): LookupSteps<RunTables> {
    return this.knownTables(place) ?? (yield* this.#readTables(place));
  }

  *#readTables(place: RunPlace): LookupSteps<RunTables> {
    const name = runName(place);
    const version = this.#version;
    const open = this.#files.acquire(place);
    let tables: RunTables;
    try {
      tables = yield* runTableSteps(open.file, place, this.#options.seeds);
    } finally {
      this.#files.release(open);
      this.#requireVersion(version);
    }
    // Somebody else may have waited for them, too.
    const known = this.knownTables(place);
    if (known !== undefined) return known;
    if (!this.#options.isOurs(tables)) {
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

  #requireVersion(version: number): void {
    if (this.#version !== version) throw new RunsChanged();
  }

  /**
   * Paints what records of a line before `before` did to a leaf, newest first. Throws as `tables`; a lookup that begins again
   * after RunsChanged begins with an empty painter.
   */
  *paint(
    place: RunPlace,
    { line, leaf, before }: { readonly line: number; readonly leaf: number; before: number },
    painter: LeafPainter,
  ): LookupSteps<void> {
    const tables = yield* this.tables(place);
    const levels = tables.levels(line);
    if (levels === 0) return;
    const wide = levels > 1 ? yield* this.#wideEntries(tables, line, leaf) : [];
    const nodes = { line, level: 0, node: leaf };
    const range = tables.hasLeaf(line, leaf) ? yield* this.#blocksOf(tables, nodes) : undefined;
    const first = range?.first ?? 1;
    for (let block = range?.last ?? 0; block >= first && !painter.isDone; block -= 1) {
      const found = yield* this.#entriesOf(tables, block, nodes);
      for (const entry of found.toReversed()) {
        if (entry.position >= before) continue;
        if (wide.length > 0) paintWide(painter, wide, { downTo: entry.position, before });
        paintFound(painter, entry);
      }
    }
    paintWide(painter, wide, { downTo: 0, before });
  }

  /** Entries that cover the whole leaf with others, oldest first. */
  *#wideEntries(tables: RunTables, line: number, leaf: number): LookupSteps<Found[]> {
    const wide: Found[] = [];
    const levels = tables.levels(line);
    for (let level = 1; levels >>> level !== 0; level += 1) {
      if ((levels & (1 << level)) === 0) continue;
      const nodes = { line, level, node: nodeOf(leaf, level) };
      const range = yield* this.#blocksOf(tables, nodes);
      for (let block = range?.first ?? 1; block <= (range?.last ?? 0); block += 1) {
        wide.push(...(yield* this.#entriesOf(tables, block, nodes)));
      }
    }
    return wide.sort((left, right) => left.position - right.position);
  }

  /** Sets the bits of leaves of a bitmap page that records of a stretch may have touched. Throws as `tables`. */
  *touched(
    place: RunPlace,
    { line, from, to }: Stretch,
    page: number,
    bits: Uint8Array,
  ): LookupSteps<void> {
    const tables = yield* this.tables(place);
    tables.addLeaves(line, page, bits);
    const levels = tables.levels(line);
    const firstLeaf = page * pageLeavesOfBitmap;
    for (let level = 1; levels >>> level !== 0; level += 1) {
      if ((levels & (1 << level)) === 0) continue;
      const lastNode = nodeOf(firstLeaf + pageLeavesOfBitmap - 1, level);
      const nodes = { line, level, node: nodeOf(firstLeaf, level), lastNode };
      const range = yield* this.#blocksOf(tables, nodes);
      for (let block = range?.first ?? 1; block <= (range?.last ?? 0); block += 1) {
        const entries = yield* this.#entriesOf(tables, block, nodes);
        const inside = entries.filter(({ position }) => position >= from && position < to);
        for (const { node } of inside) {
          const { leaf, count } = leavesOf(level, node);
          setBits(bits, leaf - firstLeaf, leaf - firstLeaf + count);
        }
      }
    }
  }

  #blocksOf(tables: RunTables, nodes: Nodes): ReturnType<RunTables['blocksOf']> {
    return tables.blocksOf(nodes, (block) => this.#block(tables, block));
  }

  /** Entries of nodes in one block, in order: those of one node oldest first. */
  *#entriesOf(tables: RunTables, block: number, wanted: Nodes): LookupSteps<Found[]> {
    const reader = new EntryBlockReader(tables.header);
    reader.open(yield* this.#block(tables, block));
    const entry = this.#entry;
    const found: Found[] = [];
    while (reader.next(entry)) {
      const order = entry.line - wanted.line || entry.level - wanted.level;
      if (order > 0 || (order === 0 && entry.node > (wanted.lastNode ?? wanted.node))) break;
      if (order < 0 || entry.node < wanted.node) continue;
      const { node, position, within, blockCount } = entry;
      const value = entryValue(entry.kind, entry.address);
      found.push({ node, position, within, blockCount, value });
    }
    return found;
  }

  *#block(tables: RunTables, block: number): LookupSteps<Uint8Array> {
    return this.#knownBlock(tables, block) ?? (yield* this.#readBlock(tables, block));
  }

  #knownBlock({ header }: RunTables, block: number): Uint8Array | undefined {
    const key = `${runName(header)}/${block}`;
    const known = this.#blocks.get(key);
    if (known === undefined) return undefined;
    this.#blocks.delete(key);
    this.#blocks.set(key, known);
    return known;
  }

  *#readBlock({ header }: RunTables, block: number): LookupSteps<Uint8Array> {
    const version = this.#version;
    const open = this.#files.acquire(header);
    let bytes: Uint8Array;
    try {
      bytes = yield* runBlockSteps(open.file, header, block, this.#options.seeds);
    } finally {
      this.#files.release(open);
      // Before anything is said of the block: the file may be another one's by now.
      this.#requireVersion(version);
    }
    this.#blocks.set(`${runName(header)}/${block}`, bytes);
    if (this.#blocks.size * runBlockBytes > this.#options.blockBytes) {
      const oldest = this.#blocks.keys().next();
      if (oldest.done !== true) this.#blocks.delete(oldest.value);
    }
    return bytes;
  }

  /** Forgets a run: it is gone, or another file has its name. */
  forget(place: RunPlace): void {
    const name = runName(place);
    this.#version += 1;
    this.#tableBytes -= this.#tables.get(name)?.bytes ?? 0;
    this.#tables.delete(name);
    this.#files.forget(place);
    for (const key of this.#blocks.keys()) if (key.startsWith(`${name}/`)) this.#blocks.delete(key);
  }

  close(): void {
    this.#files.close();
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
