/** A map of blocks beside an array. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockMap, holeValue, zeroValue } from '../../src/volume/map/block-map.ts';
import { compareMaps } from '../../src/volume/map/compare-maps.ts';
import { LeafStore } from '../../src/volume/map/leaf-store.ts';

const blocks = 3 * 512;

interface Step {
  readonly at: number;
  readonly count: number;
  readonly value: number;
  readonly map: number;
}

const stepArbitrary = fc.record({
  at: fc.nat(blocks - 1),
  count: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: blocks })),
  value: fc.oneof(
    fc.constant(holeValue),
    fc.constant(zeroValue),
    fc.integer({ min: 1, max: 2 ** 30 }),
  ),
  map: fc.nat(2),
});

function paint(model: number[], step: Step): void {
  for (let index = 0; index < step.count && step.at + index < blocks; index += 1) {
    model[step.at + index] = step.value > 0 ? step.value + index : step.value;
  }
}

function contents(map: BlockMap): number[] {
  return Array.from({ length: blocks }, (_, block) => map.lookup(block));
}

function visited(map: BlockMap, at: number, count: number): number[] {
  const out: number[] = [];
  map.visit(at, count, (length, value) => {
    for (let index = 0; index < length; index += 1) out.push(value > 0 ? value + index : value);
    return true;
  });
  return out;
}

/** The blocks from `at` on that are told to differ, as one list of yes and no. */
function compared(map: BlockMap, other: BlockMap, at: number, count: number): boolean[] {
  const out: boolean[] = [];
  const range = { block: at, count, leavesMax: blocks };
  const told = compareMaps(map, other, range, (length, isDifferent) => {
    for (let index = 0; index < length; index += 1) out.push(isDifferent);
    return true;
  });
  expect(told).toBe(count);
  return out;
}

function stretch(of: readonly boolean[]): readonly boolean[] {
  return of.slice(3, blocks - 4);
}

describe('BlockMap', () => {
  it('answers like an array, forks included, and gives all memory back', () => {
    fc.assert(
      fc.property(fc.array(stepArbitrary, { maxLength: 120 }), (steps) => {
        const store = new LeafStore();
        const maps = [new BlockMap(store, blocks)];
        const models: number[][] = [new Array<number>(blocks).fill(0)];
        steps.forEach((step, index) => {
          if (index % 40 === 20) {
            const map = maps[0]?.fork();
            const model = models[0];
            if (map !== undefined && model !== undefined) {
              maps.push(map);
              models.push([...model]);
            }
          }
          const which = step.map % maps.length;
          maps[which]?.set(step.at, Math.min(step.count, blocks - step.at), step.value);
          paint(models[which] ?? [], step);
        });
        maps.forEach((map, index) => {
          expect(contents(map)).toEqual(models[index]);
          expect(visited(map, 3, blocks - 7)).toEqual(models[index]?.slice(3, blocks - 4));
          expect(map.mappedBlocks).toBe(models[index]?.filter((value) => value > 0).length);
          const differs = models[0]?.map((value, block) => value !== models[index]?.[block]) ?? [];
          const first = maps[0] ?? map;
          expect(compared(first, map, 3, blocks - 7)).toEqual(stretch(differs));
          const values = new Float64Array(512);
          map.peekLeaf(1, values);
          expect([...values]).toEqual(models[index]?.slice(512, 1024));
        });
        for (const map of maps) map.release();
        expect(store.usedBytes).toBe(0);
        // What another map left behind is not seen in the memory that it gave back.
        const next = new BlockMap(store, blocks);
        next.set(700, 2, 5);
        expect(contents(next)).toEqual(
          models[0]?.map((_, at) => (at === 700 || at === 701 ? at - 695 : 0)),
        );
        expect(next.mappedBlocks).toBe(2);
        next.release();
      }),
      { numRuns: 300 },
    );
  });
});
