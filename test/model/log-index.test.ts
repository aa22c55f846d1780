/**
 * A property: what the index says of any line at any position is what replay of the log says. Random histories of volumes
 * with views, rollbacks, clones, trims, zeros and resizes, in small segments, with runs of several levels, some missing.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LogIndex } from '../../src/volume/index/log-index.ts';
import { BlockMap } from '../../src/volume/map/block-map.ts';
import { LeafStore } from '../../src/volume/map/leaf-store.ts';
import { type Look, looksAt, step, type World, worldOf } from '../unit/volume/index/index-world.ts';

function mapOf(index: LogIndex, { line, cut, expected }: Look): BlockMap {
  return new BlockMap(new LeafStore(), expected.blockCount, index.source(line, cut));
}

/** What `map` has in memory is what replay says, and that is all of it. */
function expectSame(map: BlockMap, expected: BlockMap, blockCount: number): void {
  let at = 0;
  map.visitKnown(0, blockCount, (count, value) => {
    for (let block = 0; block < count; block += 1) {
      const shown = value > 0 ? value + block : value;
      if (shown !== expected.lookup(at + block)) {
        expect({ block: at + block, value: shown }).toEqual({
          block: at + block,
          value: expected.lookup(at + block),
        });
      }
    }
    at += count;
    return true;
  });
  expect(at).toBe(blockCount);
  expect(map.mappedBlocks).toBe(expected.mappedBlocks);
}

async function fill(map: BlockMap, block: number): Promise<void> {
  await new Promise<void>((resolve) => {
    if (map.fillLater(block, resolve)) resolve();
  });
}

/** Blocks of `count` leaves in which two moments differ. */
function differing(left: Look, right: Look, leaf: number, count: number): number[] {
  const found: number[] = [];
  for (let block = leaf * 512; block < (leaf + count) * 512; block += 1) {
    if (left.expected.map.lookup(block) !== right.expected.map.lookup(block)) found.push(block);
  }
  return found;
}

const histories = fc.array(step, { minLength: 5, maxLength: 120 });
const looksArbitrary = fc.array(fc.tuple(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true })), {
  minLength: 1,
  maxLength: 4,
});

/** Random histories with runs in a folder. */
async function check(
  numRuns: number,
  body: (world: World, looks: readonly Look[], isRotten: boolean) => Promise<void> | void,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      histories,
      looksArbitrary,
      fc.integer({ min: 0, max: 3 }),
      fc.boolean(),
      async (steps, wanted, gaps, isRotten) => {
        const folder = mkdtempSync(path.join(tmpdir(), 'tidemark-index-'));
        try {
          const world = worldOf(folder, steps, gaps, isRotten);
          await body(world, looksAt(world.log, wanted), isRotten);
          world.reader.close();
        } finally {
          rmSync(folder, { recursive: true });
        }
      },
    ),
    { numRuns },
  );
}

describe('log index', () => {
  it('says of any line at any position what replay of the log says', async () => {
    await check(150, ({ index, bad }, looks, isRotten) => {
      for (const look of looks) {
        const map = mapOf(index, look);
        map.visit(0, look.expected.blockCount, () => true);
        expectSame(map, look.expected.map, look.expected.blockCount);
      }
      if (bad.length > 0) expect(isRotten).toBe(true);
    });
  }, 120_000);

  it('says the same when others look, change and drop leaves, and runs are given up, while it waits for the disk', async () => {
    await check(60, async ({ index, reader, runs }, looks) => {
      for (const look of looks) {
        const { line, cut, expected } = look;
        const map = mapOf(index, look);
        const changed = expected.map.fork();
        const filling: Promise<void>[] = [];
        for (let block = 0; block < expected.blockCount; block += 512) {
          filling.push(fill(map, block));
        }
        // In the middle of it: a write, then what it wrote is dropped and comes from another source.
        const other = { ...index.source(line, cut) };
        const written = Math.min(700, expected.blockCount - 1);
        map.changedAt = cut;
        map.set(written, 1, 5);
        changed.set(written, 1, 5);
        const later: typeof other = {
          ...other,
          load: () => undefined,
          loadLater: (leaf, done) => {
            const values = Float64Array.from({ length: 512 }, (_, at) =>
              changed.lookup(leaf * 512 + at),
            );
            setImmediate(() => {
              done(values);
            });
          },
          isEmpty: () => false,
        };
        map.drop({ position: cut + 1, source: later, page: 0 }, () => false);
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
        const [place] = [...runs.places()];
        if (place !== undefined) reader.forget(place);
        if (place !== undefined && place.level > 1) runs.remove(place);
        await Promise.all(filling);
        for (let block = 0; block < expected.blockCount; block += 512) await fill(map, block);
        expectSame(map, changed, expected.blockCount);
      }
    });
  }, 120_000);

  it('knows the leaves that are the same in two moments: never one that differs', async () => {
    let skipped = 0;
    await check(100, async ({ index }, looks) => {
      for (const left of looks) {
        for (const right of looks) {
          const window = index.changes(left, right).window();
          const leaves = Math.ceil(
            Math.min(left.expected.blockCount, right.expected.blockCount) / 512,
          );
          for (let leaf = 0; leaf < leaves; leaf += 1) {
            await new Promise<void>((resolve) => {
              if (window.prepare(leaf, resolve)) resolve();
            });
            const same = Math.min(window.same(leaf), leaves - leaf);
            skipped += same;
            expect(differing(left, right, leaf, same)).toEqual([]);
            leaf += Math.max(0, same - 1);
          }
        }
      }
    });
    expect(skipped).toBeGreaterThan(1000);
  }, 120_000);
});
