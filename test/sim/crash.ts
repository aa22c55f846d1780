/** Ways to stop, and what a stop leaves. */
import type { Machine } from './machine.ts';
import { SeededRandom } from './random.ts';
import { LossStyle } from './virtual-file.ts';

export type Crash =
  /** The process dies; the page cache stays. */
  | { readonly kind: 'kill' }
  /** The machine dies; of what was not flushed a seeded choice survives. */
  | { readonly kind: 'loss'; readonly style: LossStyle; readonly seed: number };

export const kill: Crash = { kind: 'kill' };

export function loss(style: LossStyle, seed: number): Crash {
  return { kind: 'loss', style, seed };
}

const anyStyle = [LossStyle.none, LossStyle.pages, LossStyle.sectors, LossStyle.mostly] as const;

/** A kill in `killShare` of all cases, else a loss of any style. */
export function anyCrash(random: SeededRandom, killShare: number): Crash {
  return random.chance(killShare) ? kill : loss(random.pick(anyStyle), random.next());
}

/** The machine as the next process finds it. `machine` itself stays as it is. */
export function crashed(machine: Machine, crash: Crash): Machine {
  const copy = machine.copy();
  if (crash.kind === 'loss') copy.lose(new SeededRandom(crash.seed), crash.style);
  return copy;
}

export function describeCrash(crash: Crash): string {
  if (crash.kind === 'kill') return 'process killed';
  const style = Object.entries(LossStyle).find(([, value]) => value === crash.style)?.[0];
  return `machine lost (${style ?? 'unknown'}, seed ${crash.seed})`;
}
