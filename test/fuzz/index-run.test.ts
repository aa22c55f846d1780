/**
 * Hostile bytes for the decoders of index runs. They may refuse (undefined, FormatError); they may never throw anything
 * else, hang, or ask for memory that the file cannot justify. What they accept unchanged is what was written.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../src/base/crc32c.ts';
import { viewOf } from '../../src/base/fields.ts';
import type { DiskFile } from '../../src/base/ports.ts';
import { positionOf } from '../../src/volume/format/address.ts';
import { Seeds } from '../../src/volume/format/checksum.ts';
import { FormatError } from '../../src/volume/format/format-error.ts';
import { EntryKind, IndexEntry } from '../../src/volume/index/entry.ts';
import { EntryBlockReader, isRunBlock } from '../../src/volume/index/entry-block.ts';
import { type LookupSteps, runNow } from '../../src/volume/index/lookup-steps.ts';
import {
  decodeRunHeader,
  fenceBlocksOf,
  type RunPlace,
  runBlockBytes,
} from '../../src/volume/index/run-format.ts';
import { RunCursor } from '../../src/volume/index/run-merge.ts';
import { RunSegments } from '../../src/volume/index/run-segments.ts';
import { type RunTables, readRunTables, runBlockSteps } from '../../src/volume/index/run-tables.ts';
import { RunWriter } from '../../src/volume/index/run-writer.ts';
import { unpagedRun } from '../support/unpaged-run.ts';

const poolUuid = Uint8Array.from({ length: 16 }, (_, index) => index * 3 + 1);
const seeds = new Seeds(poolUuid);
const place = { level: 1, firstSegId: 8 };
const baseTicks = 170_000_000_000_000;

/** A file in memory. */
class MemoryFile implements DiskFile {
  readonly path = 'runs/1-00000008.run';
  bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  read(target: Uint8Array, position: number): number {
    const part = this.bytes.subarray(position, position + target.length);
    target.set(part);
    return part.length;
  }

  readLater(): void {
    throw new Error('not used');
  }

  write(pieces: readonly Uint8Array[], position: number): void {
    let at = position;
    for (const piece of pieces) {
      const end = at + piece.length;
      if (end > this.bytes.length) {
        const grown = new Uint8Array(end);
        grown.set(this.bytes);
        this.bytes = grown;
      }
      this.bytes.set(piece, at);
      at = end;
    }
  }

  flush(): void {}

  size(): number {
    return this.bytes.length;
  }

  truncate(): void {
    throw new Error('not used');
  }

  close(): void {}
}

type Row = Pick<
  IndexEntry,
  'line' | 'level' | 'node' | 'within' | 'blockCount' | 'position' | 'address' | 'kind' | 'ticks'
>;

/** Entries in order, as a segment could have them. */
const rowsOf = fc
  .array(
    fc.record({
      line: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.constant(2 ** 32 - 1)),
      level: fc.constantFrom(0, 0, 0, 1, 9),
      node: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 2 ** 29 - 1 })),
      within: fc.integer({ min: 0, max: 511 }),
      count: fc.integer({ min: 1, max: 512 }),
      frame: fc.integer({ min: 1, max: 8 * 8191 }),
      ahead: fc.integer({ min: 1, max: 1000 }),
      kind: fc.constantFrom(0, 1, 2, 3, 4),
      later: fc.integer({ min: 0, max: 10 ** 12 }),
    }),
    { minLength: 0, maxLength: 900 },
  )
  .map((drafts): Row[] => {
    const low = 8 * 8192;
    const rows = drafts.map((draft): Row => {
      const kind = draft.level > 0 ? EntryKind.trim : draft.kind;
      const frame = low + draft.frame;
      const isWrite = kind === EntryKind.write;
      const address = isWrite ? frame + draft.ahead : kind === EntryKind.clone ? draft.frame : 0;
      return {
        line: draft.line,
        level: draft.level,
        node: draft.level > 0 ? draft.node % 4 : draft.node,
        within: draft.level > 0 ? 0 : draft.within,
        blockCount: draft.level > 0 ? 512 : Math.min(draft.count, 512 - draft.within),
        position: positionOf(frame, draft.ahead),
        address,
        kind,
        ticks: baseTicks + draft.later,
      };
    });
    return rows.sort(
      (left, right) =>
        left.line - right.line ||
        left.level - right.level ||
        left.node - right.node ||
        left.position - right.position,
    );
  });

function written(rows: readonly Row[], runPlace: RunPlace = place): Uint8Array {
  const file = new MemoryFile(new Uint8Array(0));
  const listed = [8, 9].map((segId) => ({
    segId,
    epoch: 1,
    endSlot: 8192,
    entryCount: rows.length,
    digest: new Uint8Array(32).fill(segId),
    minHlcMs: 5,
    maxHlcMs: 9,
  }));
  const segments = RunSegments.of(listed);
  const shape = { ...runPlace, fanOut: 8, endSegId: 16, segments, baseTicks, keptThrough: 77 };
  const writer = new RunWriter(file, shape, seeds);
  for (const row of rows) writer.add(Object.assign(new IndexEntry(), row));
  writer.finish(poolUuid);
  return file.bytes;
}

function rowOf(entry: IndexEntry): Row {
  const { line, level, node, within, blockCount, position, address, kind, ticks } = entry;
  return { line, level, node, within, blockCount, position, address, kind, ticks };
}

/** Looks at every byte of the run. */
function readAll(bytes: Uint8Array, runPlace: RunPlace = place): Row[] {
  const cursor = new RunCursor(new MemoryFile(bytes), runPlace, seeds);
  const entry = new IndexEntry();
  const rows: Row[] = [];
  while (cursor.next(entry)) rows.push(rowOf(entry));
  for (const row of rows) cursor.seek(row);
  cursor.segments();
  // A run of one block is searched without them.
  const { header } = cursor.tables;
  for (let fences = 1; header.isPaged && fences <= fenceBlocksOf(header); fences += 1) {
    runNow(runBlockSteps(new MemoryFile(bytes), header, header.blockCount + fences, seeds));
  }
  return rows;
}

/** As a run that is not paged. */
function unpaged(bytes: Uint8Array, runPlace: RunPlace = place): Uint8Array {
  return unpagedRun(bytes, runPlace, { poolUuid, seeds });
}

/** Blocks of a run, as a lookup reads them. */
function blockOf(bytes: Uint8Array): (block: number) => LookupSteps<Uint8Array> {
  return function* read(block) {
    const target = new Uint8Array(runBlockBytes);
    yield { file: new MemoryFile(bytes), target, position: block * runBlockBytes };
    if (!isRunBlock(target, place, block, seeds)) throw new FormatError('damaged block');
    return target;
  };
}

/** Undefined when it threw FormatError; anything else it throws fails the test. */
function tolerated<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (thrown) {
    if (thrown instanceof FormatError) return undefined;
    throw thrown;
  }
}

function lookAround(tables: RunTables, bytes: Uint8Array): void {
  for (const leaf of [0, 1, 511, 2 ** 29 - 1]) {
    tables.hasLeaf(1, leaf);
    tables.hasLeaves(1, leaf, 1024);
    for (const [line, level] of [
      [1, 0],
      [2 ** 32 - 1, 9],
    ] as const) {
      tolerated(() => runNow(tables.blocksOf({ line, level, node: leaf }, blockOf(bytes))));
    }
  }
}

describe('index run', () => {
  it('gives back the entries that were written, and knows every leaf that they touch', () => {
    fc.assert(
      fc.property(rowsOf, (rows) => {
        const paged = written(rows);
        for (const bytes of [paged, unpaged(paged)]) {
          expect(readAll(bytes)).toEqual(rows);
          const cursor = new RunCursor(new MemoryFile(bytes), place, seeds);
          expect(cursor.segments().count).toBe(2);
          const tables = readRunTables(new MemoryFile(bytes), place, seeds);
          for (const row of rows) {
            const { line, level, node } = row;
            expect(level > 0 || tables.hasLeaf(line, node)).toBe(true);
            expect(tables.levels(line) & (1 << level)).not.toBe(0);
            expect(runNow(tables.blocksOf(row, blockOf(bytes)))).toBeDefined();
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it('is refused when any byte was changed, at another place, in another pool, cut short', () => {
    const change = fc.tuple(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 255 }),
    );
    fc.assert(
      fc.property(rowsOf, change, fc.boolean(), (rows, [share, flip], isPaged) => {
        const bytes = isPaged ? written(rows) : unpaged(written(rows));
        const at = Math.floor(share * (bytes.length - 1));
        const changed = bytes.slice();
        changed[at] = (changed[at] ?? 0) ^ flip;
        expect(tolerated(() => readAll(changed))).toBeUndefined();
        expect(tolerated(() => readAll(bytes.subarray(0, at)))).toBeUndefined();
        const elsewhere = { level: 1, firstSegId: 16 };
        expect(decodeRunHeader(bytes, elsewhere, seeds)).toBeUndefined();
        const stranger = new Seeds(new Uint8Array(16));
        expect(decodeRunHeader(bytes, place, stranger)).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });

  it('answers any header with a valid checksum by what fits the file, or refuses', () => {
    const changes = fc.array(
      fc.tuple(fc.integer({ min: 4, max: 120 }), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)),
      { minLength: 1, maxLength: 6 },
    );
    fc.assert(
      fc.property(rowsOf, changes, fc.boolean(), (rows, list, isPaged) => {
        const bytes = isPaged ? written(rows) : unpaged(written(rows));
        for (const [at, value] of list) bytes[at] = value;
        const seed = seeds.run(place.level, place.firstSegId, 0, 0);
        viewOf(bytes).setUint32(0, crc32c(bytes.subarray(4, runBlockBytes), seed), true);
        const tables = tolerated(() => readRunTables(new MemoryFile(bytes), place, seeds));
        if (tables !== undefined) lookAround(tables, bytes);
        tolerated(() => readAll(bytes));
      }),
      { numRuns: 300 },
    );
  });

  it('that was thinned is refused when any byte was changed, and none of its parts is taken for one of another file', () => {
    const thinned = { ...place, generation: 3 };
    const change = fc.tuple(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 255 }),
    );
    fc.assert(
      fc.property(rowsOf, change, fc.boolean(), (rows, [share, flip], isPaged) => {
        const paged = written(rows, thinned);
        const bytes = isPaged ? paged : unpaged(paged, thinned);
        expect(readAll(bytes, thinned)).toEqual(rows);
        const { header } = readRunTables(new MemoryFile(bytes), thinned, seeds);
        expect([header.generation, header.keptThrough]).toEqual([3, 77]);
        const changed = bytes.slice();
        const at = Math.floor(share * (bytes.length - 1));
        changed[at] = (changed[at] ?? 0) ^ flip;
        expect(tolerated(() => readAll(changed, thinned))).toBeUndefined();
        for (const other of [place, { ...place, generation: 2 }, { ...place, generation: 4 }]) {
          expect(decodeRunHeader(bytes, other, seeds)).toBeUndefined();
          const block = bytes.subarray(runBlockBytes, 2 * runBlockBytes);
          expect(rows.length > 0 && isRunBlock(block, other, 1, seeds)).toBe(false);
          // Its head before blocks of another file.
          const mixed = written(rows, other);
          mixed.set(bytes.subarray(0, runBlockBytes));
          expect(tolerated(() => readAll(mixed, thinned))).toBeUndefined();
        }
      }),
      { numRuns: 100 },
    );
  });

  it('with an unknown incompatible flag needs a newer version', () => {
    const bytes = written([]);
    bytes[12] = 4;
    const seed = seeds.run(place.level, place.firstSegId, 0, 0);
    viewOf(bytes).setUint32(0, crc32c(bytes.subarray(4, runBlockBytes), seed), true);
    expect(() => decodeRunHeader(bytes, place, seeds)).toThrow(/newer tidemark/u);
  });

  it('any bytes as a block of entries end, or are refused', () => {
    const anyBlock = fc.uint8Array({ minLength: runBlockBytes, maxLength: runBlockBytes });
    fc.assert(
      fc.property(
        anyBlock,
        fc.nat({ max: 65_535 }),
        fc.nat({ max: 5000 }),
        (bytes, count, used) => {
          viewOf(bytes).setUint16(4, count, true);
          viewOf(bytes).setUint16(6, used, true);
          const reader = new EntryBlockReader({ ...place, positionLow: 0, baseTicks });
          const entry = new IndexEntry();
          tolerated(() => {
            reader.open(bytes);
            while (reader.next(entry)) {
              expect(entry.within + entry.blockCount).toBeLessThanOrEqual(512);
            }
          });
        },
      ),
      { numRuns: 500 },
    );
  });
});
