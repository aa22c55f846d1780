import { afterEach, describe, expect, it } from 'vitest';
import { livenessLimits } from '../../../../src/volume/liveness/limits.ts';
import { TouchedLeaves } from '../../../../src/volume/liveness/touched-leaves.ts';
import { leafBlocks } from '../../../../src/volume/map/leaf-store.ts';
import { Dice } from './random-history.ts';

const { touchedLeavesMax } = livenessLimits;

afterEach(() => {
  Object.assign(livenessLimits, { touchedLeavesMax });
});

/** Ranges from a plain list of all leaves. */
function rangesOf(isTouched: readonly boolean[], blockCount: number): unknown {
  const ranges: { block: number; count: number }[] = [];
  isTouched.forEach((is, leaf) => {
    if (!is) return;
    const block = leaf * leafBlocks;
    const count = Math.min(leafBlocks, blockCount - block);
    const last = ranges.at(-1);
    if (last !== undefined && last.block + last.count === block) last.count += count;
    else ranges.push({ block, count });
  });
  return ranges;
}

describe('touched leaves', () => {
  it.each([1, 2, 3, 4, 5, 6])('are those of a plain list (seed %i)', (seed) => {
    const dice = new Dice(seed);
    for (let round = 0; round < 200; round += 1) {
      const blockCount = 1 + dice.below(60 * leafBlocks);
      const sizeMin = dice.below(3) === 0 ? dice.below(blockCount) : blockCount;
      const leaves = new TouchedLeaves(blockCount, sizeMin);
      const isTouched = Array.from(
        { length: Math.ceil(blockCount / leafBlocks) },
        (_, leaf) => sizeMin < blockCount && leaf >= Math.floor(sizeMin / leafBlocks),
      );
      for (let left = dice.below(8); left > 0; left -= 1) {
        const block = dice.below(blockCount);
        const most = dice.of([1, leafBlocks, blockCount]);
        const count = 1 + dice.below(Math.min(most, blockCount - block));
        leaves.add(block, count);
        const last = Math.floor((block + count - 1) / leafBlocks);
        isTouched.fill(true, Math.floor(block / leafBlocks), last + 1);
      }
      expect(leaves.ranges()).toEqual(rangesOf(isTouched, blockCount));
    }
  });

  it('of the largest volume, grown from a small one, are one range', () => {
    const blockCount = 2 ** 38;
    const leaves = new TouchedLeaves(blockCount, 1100);
    leaves.add(3, 1);
    expect(leaves.ranges()).toEqual([
      { block: 0, count: leafBlocks },
      { block: 2 * leafBlocks, count: blockCount - 2 * leafBlocks },
    ]);
  });

  it('of the largest volume, trimmed in pieces, are one range', () => {
    const blockCount = 2 ** 38;
    const leaves = new TouchedLeaves(blockCount, blockCount);
    for (let block = 0; block < blockCount; block += 2 ** 20) leaves.add(block, 2 ** 20);
    expect(leaves.ranges()).toEqual([{ block: 0, count: blockCount }]);
  });

  it('are not known when there are too many', () => {
    Object.assign(livenessLimits, { touchedLeavesMax: 3 });
    const leaves = new TouchedLeaves(100 * leafBlocks, 100 * leafBlocks);
    for (const leaf of [7, 1, 5]) leaves.add(leaf * leafBlocks, 1);
    expect(leaves.ranges()).toHaveLength(3);
    leaves.add(20 * leafBlocks, 1);
    expect(leaves.isTooMany).toBe(true);
    expect(leaves.ranges()).toBeUndefined();
  });
});
