/** How much of the exhaustive exploration `npm test` does; by hand, `--stride 1` does all of it. */
import { type ExploreResult, explore } from './explore.ts';
import { programs } from './programs.ts';

/** Every sixth point of each recovery is crashed, another one in each recovery. */
const recoveryStride = 6;
/** Of programs with ten times as many points, fewer: they took half of the suite's time. */
const strideByName: Readonly<Record<string, number>> = {
  packs: 36,
  'packs-of-packs': 36,
  checkpoints: 24,
};

/** Names of the programs of one of two halves, so that two workers share them. */
export function programNames(half: 0 | 1): string[] {
  const ours = programs.filter(({ isByHand }) => isByHand !== true);
  return ours.filter((_, index) => index % 2 === half).map((program) => program.name);
}

/** Throws Violation when the store breaks a promise. */
export function exploreByName(name: string, seed: number): ExploreResult {
  const program = programs.find((candidate) => candidate.name === name);
  if (program === undefined) throw new Error(`no program ${name}`);
  return explore({ program, seed, recoveryStride: strideByName[name] ?? recoveryStride });
}
