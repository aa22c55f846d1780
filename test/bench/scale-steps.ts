/** What `bench scale` does with an open pool. */
import type { Pool } from '../../src/volume/pool.ts';
import { ask } from './scale-pool.ts';

export async function timed(action: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await action();
  return performance.now() - startedMs;
}

/** A view of the last snapshot but some. */
export async function askView(pool: Pool, source: string, round: number): Promise<void> {
  await ask((done) => {
    pool.viewCreate(
      { source, name: `view${round}`, at: `snapshot:s${pool.snapshotCount - 1}`, isClone: false },
      done,
    );
  });
}
