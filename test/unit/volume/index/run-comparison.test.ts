import { expect, it } from 'vitest';
import { compareRuns } from '../../../../src/volume/index/run-comparison.ts';
import type { RunPlace } from '../../../../src/volume/index/run-format.ts';
import { runName, stemOf } from '../../../../src/volume/index/run-path.ts';
import { SeededRandom } from '../../../sim/random.ts';

function placeOf(index: number, generation: number): RunPlace {
  const place = { level: 1 + (index % 3), firstSegId: index * 512 };
  return generation === 0 ? place : { ...place, generation };
}

/** A folder and a manifest: places with files of some generations, and rows of some generation, or none. */
function world(random: SeededRandom): { files: RunPlace[]; rows: RunPlace[] } {
  const files: RunPlace[] = [];
  const rows: RunPlace[] = [];
  for (let index = 0; index < 40; index += 1) {
    for (let generation = 0; generation < 4; generation += 1) {
      if (random.chance(0.3)) files.push(placeOf(index, generation));
    }
    if (random.chance(0.6)) rows.push(placeOf(index, random.below(4)));
  }
  return { files, rows };
}

it('places are doubtful where the newest file is not the one that the manifest has', () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = new SeededRandom(seed);
    const { files, rows } = world(random);
    const names = [...files.map(runName), '1-00000000.run.new', 'else'];
    const { doubtful, unfinished } = compareRuns({ names: () => names }, rows);
    const expected = new Set<string>();
    for (let index = 0; index < 40; index += 1) {
      const stem = stemOf(placeOf(index, 0));
      const generations = files.filter((file) => stemOf(file) === stem);
      const newest = Math.max(-1, ...generations.map(({ generation = 0 }) => generation));
      const row = rows.find((each) => stemOf(each) === stem);
      const inForce = row === undefined ? -1 : (row.generation ?? 0);
      if (newest !== inForce) expected.add(stem);
    }
    expect([...doubtful.keys()].sort(), `seed ${seed}`).toEqual([...expected].sort());
    expect(unfinished).toEqual(['1-00000000.run.new']);
  }
});
