import { expect, it } from 'vitest';
import { type Piece, RunSet } from '../../../../src/volume/index/run-set.ts';
import { SeededRandom } from '../../../sim/random.ts';

const lastSegId = 700;

/** Runs of all levels of segments 1 to `lastSegId`, but for some. */
function runsOf(random: SeededRandom, share: number): RunSet {
  const runs = new RunSet(8);
  for (let level = 1; runs.span(level) <= lastSegId; level += 1) {
    const span = runs.span(level);
    for (let firstSegId = 0; firstSegId + span <= lastSegId; firstSegId += span) {
      if (random.chance(share)) runs.add({ level, firstSegId });
    }
  }
  return runs;
}

function segmentsOf(runs: RunSet, pieces: readonly Piece[]): number[] {
  return pieces.flatMap((piece) => {
    if (piece.kind === 'segment') return [piece.segId];
    const { firstSegId, level } = piece.place;
    return Array.from({ length: runs.span(level) }, (_, at) => firstSegId + at);
  });
}

function has(segId: number): boolean {
  return segId >= 1 && segId <= lastSegId;
}

it('what holds a line is a stretch of the log without gaps or overlaps, in no more pieces than from its first segment on', () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = new SeededRandom(seed);
    const runs = runsOf(random, random.pick([0.3, 0.9, 1]));
    const first = random.between(1, lastSegId);
    const pieces = runs.piecesOfLine(first, lastSegId, has);
    const segIds = segmentsOf(runs, pieces);
    const begin = segIds[0] ?? -1;
    expect(begin).toBeLessThanOrEqual(first);
    expect(segIds).toEqual(Array.from({ length: lastSegId - begin + 1 }, (_, at) => begin + at));
    const fewest = runs.pieces(first, lastSegId, has).length;
    expect(pieces.length, `seed ${seed}`).toBeLessThanOrEqual(fewest);
  }
  // To the end of its run of level 2: six of level 1; to the end of level 3: five of level 2.
  const whole = runsOf(new SeededRandom(1), 1);
  expect(whole.pieces(150, 511, has)).toHaveLength(6 + 5);
  expect(whole.piecesOfLine(150, 511, has)).toHaveLength(1);
});
