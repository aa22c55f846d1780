/**
 * Run list: files of runs as parallel lists of numbers. There are tens of thousands, and they go from one thread to another.
 */
import { NumberList } from '../../base/number-list.ts';
import type { RunPlace } from './run-format.ts';

export interface RunList {
  readonly levels: Uint32Array;
  readonly firstSegIds: Uint32Array;
  /** 0 = not thinned. */
  readonly generations: Uint32Array;
}

/** A run list that grows. */
export class RunListBuilder {
  readonly #levels = new NumberList();
  readonly #firstSegIds = new NumberList();
  readonly #generations = new NumberList();

  add({ level, firstSegId, generation = 0 }: RunPlace): void {
    this.#levels.add(level);
    this.#firstSegIds.add(firstSegId);
    this.#generations.add(generation);
  }

  /** What was added, in that order; a copy. */
  list(): RunList {
    return {
      levels: this.#levels.values(),
      firstSegIds: this.#firstSegIds.values(),
      generations: this.#generations.values(),
    };
  }
}

/** The run at `index`; undefined behind the last. */
export function runAt(runs: RunList, index: number): RunPlace | undefined {
  const level = runs.levels[index];
  const firstSegId = runs.firstSegIds[index];
  if (level === undefined || firstSegId === undefined) return undefined;
  const generation = runs.generations[index] ?? 0;
  return generation === 0 ? { level, firstSegId } : { level, firstSegId, generation };
}
