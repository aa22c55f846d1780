/**
 * Merges entries of several sources, each in order, into a run, a bounded number of entries at a time.
 *
 *     level 1: segment indexes, one for each segment        level k: the runs of level k - 1 in the range
 */
import type { DiskFile } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import { compareEntries, IndexEntry } from './entry.ts';
import { EntryBlockReader, isRunBlock } from './entry-block.ts';
import { runNow } from './lookup-steps.ts';
import { describeRun, runBlockBytes } from './run-format.ts';
import type { RunSegments } from './run-segments.ts';
import {
  type Nodes,
  type RunTables,
  readRunSegments,
  readRunTables,
  runBlockSteps,
} from './run-tables.ts';
import type { RunWriter } from './run-writer.ts';

export interface EntrySource {
  /** The next entry into `entry`, which is as the call before left it; false at the end. Throws DiskError, FormatError. */
  next(entry: IndexEntry): boolean;
  close(): void;
}

/** Blocks that are read at once from a run. */
const readBlocks = 16;

/** All entries of a run, in order. */
export class RunCursor implements EntrySource {
  readonly tables: RunTables;
  readonly #file: DiskFile;
  readonly #seeds: Seeds;
  readonly #reader: EntryBlockReader;
  readonly #bytes = new Uint8Array(readBlocks * runBlockBytes);
  /** Blocks in `#bytes`: from this one on, so many. */
  #first = 1;
  #count = 0;
  #next = 1;
  #isOpen = false;
  #isClosed = false;

  /** Takes the file over, also when it throws: DiskError, and FormatError when the run is not whole. */
  constructor(file: DiskFile, place: { level: number; firstSegId: number }, seeds: Seeds) {
    this.#file = file;
    this.#seeds = seeds;
    try {
      this.tables = readRunTables(file, place, seeds);
    } catch (thrown) {
      file.close();
      throw thrown;
    }
    this.#reader = new EntryBlockReader(this.tables.header);
  }

  next(entry: IndexEntry): boolean {
    for (;;) {
      if (this.#isOpen && this.#reader.next(entry)) return true;
      if (this.#next > this.tables.header.blockCount) return false;
      const isRead = this.#next >= this.#first && this.#next < this.#first + this.#count;
      if (!isRead) this.#fill();
      const at = (this.#next - this.#first) * runBlockBytes;
      this.#reader.open(this.#bytes.subarray(at, at + runBlockBytes));
      this.#isOpen = true;
      this.#next += 1;
    }
  }

  /** The segments that the run was made of. Throws DiskError, FormatError. */
  segments(): RunSegments {
    return readRunSegments(this.#file, this.tables, this.#seeds);
  }

  /** Goes on with the block that has the first entry of the node, if any has; else with the first one. Throws as `next`. */
  seek(node: Nodes): void {
    const { header } = this.tables;
    const range = runNow(
      this.tables.blocksOf(node, (block) => runBlockSteps(this.#file, header, block, this.#seeds)),
    );
    this.#next = range?.first ?? 1;
    this.#isOpen = false;
  }

  #fill(): void {
    const { header } = this.tables;
    const count = Math.min(readBlocks, header.blockCount + 1 - this.#next);
    const bytes = this.#bytes.subarray(0, count * runBlockBytes);
    const bytesRead = this.#file.read(bytes, this.#next * runBlockBytes);
    for (let index = 0; index < count; index += 1) {
      const block = bytes.subarray(index * runBlockBytes, (index + 1) * runBlockBytes);
      const isThere = (index + 1) * runBlockBytes <= bytesRead;
      if (isThere && isRunBlock(block, header, this.#next + index, this.#seeds)) continue;
      throw new FormatError(`run ${describeRun(header)}: damaged block ${this.#next + index}`);
    }
    this.#first = this.#next;
    this.#count = count;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#file.close();
  }
}

interface Input {
  readonly source: EntrySource;
  readonly entry: IndexEntry;
}

export class RunMerge {
  readonly #inputs: Input[] = [];
  readonly #writer: RunWriter;

  /** Takes the sources over. Throws DiskError, FormatError. */
  constructor(sources: readonly EntrySource[], writer: RunWriter) {
    this.#writer = writer;
    for (const source of sources) {
      const entry = new IndexEntry();
      if (source.next(entry)) this.#inputs.push({ source, entry });
      else source.close();
    }
  }

  /** Merges up to `countMax` entries; true = that was all. Throws DiskError, FormatError. */
  step(countMax: number): boolean {
    for (let count = 0; count < countMax; count += 1) {
      const [first] = this.#inputs;
      if (first === undefined) return true;
      let least = first;
      for (const input of this.#inputs) {
        if (compareEntries(input.entry, least.entry) < 0) least = input;
      }
      this.#writer.add(least.entry);
      if (!least.source.next(least.entry)) {
        least.source.close();
        this.#inputs.splice(this.#inputs.indexOf(least), 1);
      }
    }
    return this.#inputs.length === 0;
  }

  close(): void {
    for (const { source } of this.#inputs) source.close();
    this.#inputs.length = 0;
  }
}
