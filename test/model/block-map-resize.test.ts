/** The head map against the simplest map that can be right: one array entry per block. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockMap, holeValue, zeroValue } from '../../src/volume/map/block-map.ts';
import { LeafStore } from '../../src/volume/map/leaf-store.ts';

const blocksMax = 1600;

type Step =
  | { kind: 'set'; map: number; block: number; count: number; value: number }
  | { kind: 'fork'; map: number }
  | { kind: 'resize'; map: number; count: number }
  | { kind: 'release'; map: number };

const mapIndex = fc.nat(3);
/** Short runs fragment a leaf until it is full, long ones make it simple again. */
const count = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 4 }) },
  { weight: 2, arbitrary: fc.integer({ min: 100, max: 700 }) },
  { weight: 1, arbitrary: fc.constant(512) },
);
const value = fc.oneof(
  fc.constant(holeValue),
  fc.constant(zeroValue),
  fc.integer({ min: 1, max: 40 }).map((unit) => unit * 1000),
  fc.integer({ min: 1, max: 3000 }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constant('set' as const),
      map: mapIndex,
      block: fc.nat(blocksMax - 1),
      count,
      value,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('fork' as const), map: mapIndex }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('resize' as const),
      map: mapIndex,
      count: fc.integer({ min: 1, max: blocksMax }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), map: mapIndex }) },
);

interface Pair {
  readonly map: BlockMap;
  model: number[];
}

function apply(pairs: Pair[], one: Step): void {
  const index = one.map % pairs.length;
  const pair = pairs[index];
  if (pair === undefined) return;
  const { map, model } = pair;
  if (one.kind === 'set') {
    const block = Math.min(one.block, model.length - 1);
    const length = Math.min(one.count, model.length - block);
    map.set(block, length, one.value);
    for (let at = 0; at < length; at += 1) {
      model[block + at] = one.value > 0 ? one.value + at : one.value;
    }
  } else if (one.kind === 'fork') {
    pairs.push({ map: map.fork(), model: model.slice() });
  } else if (one.kind === 'resize') {
    map.resize(one.count);
    pair.model = Array.from({ length: one.count }, (_, at) => model[at] ?? holeValue);
  } else if (pairs.length > 1) {
    map.release();
    pairs.splice(index, 1);
  }
}

function contents(map: BlockMap, length: number): number[] {
  const found: number[] = [];
  map.visit(0, length, (run, first) => {
    for (let at = 0; at < run; at += 1) found.push(first > 0 ? first + at : first);
    return true;
  });
  return found;
}

describe('block map', () => {
  it('holds what was set, in every map that shares its leaves, whatever the order', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 150 }), (steps) => {
        const store = new LeafStore();
        const model = Array.from({ length: blocksMax }, () => holeValue);
        const pairs: Pair[] = [{ map: new BlockMap(store, blocksMax), model }];
        for (const one of steps) apply(pairs, one);
        for (const pair of pairs) {
          expect(contents(pair.map, pair.model.length)).toEqual(pair.model);
          expect(pair.model.map((_, block) => pair.map.lookup(block))).toEqual(pair.model);
          expect(pair.map.mappedBlocks).toBe(pair.model.filter((one) => one > 0).length);
        }
        for (const pair of pairs) pair.map.release();
        expect(store.usedBytes).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});
