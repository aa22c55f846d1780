/** What `bench scale` does with an open pool. */
import { ticksPerMs } from '../../src/volume/log/hybrid-clock.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { SeededRandom } from '../sim/random.ts';
import { ask, scaleVolume } from './scale-pool.ts';

/** Milliseconds to find out what a region of the volume has, which nobody asked for before. */
export interface Touched {
  /** The first one opens runs, too. */
  readonly firstMs: number;
  readonly othersMs: number;
}

type Age = 'now' | 'old' | 'time';

interface Work {
  /** Of now, of a snapshot in the middle of the log, of the time there. */
  view(age: Age): Promise<void>;
  touch(age: Age): Promise<Touched>;
  /** Milliseconds for each. */
  deleteSnapshots(): Promise<number>;
  /** Between two snapshots as far apart as a day of thirty; of the first page of extents. */
  diff(): Promise<{ readonly ms: number; readonly extents: number }>;
}

const touches = 50;
const touchBytes = 2 ** 21;
const deletes = 100;
const diffExtents = 10_000;

export async function timed(action: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await action();
  return performance.now() - startedMs;
}

/** `mappedBytes`: of the volume, from its start on; 0 = the log is short. */
export function workOf(pool: Pool, round: number, mappedBytes: number): Work {
  const random = new SeededRandom(round + 1);
  const { snapshotByName } = pool.volume(scaleVolume);
  const names = [...snapshotByName.keys()].sort(
    (left, right) => Number(left.slice(1)) - Number(right.slice(1)),
  );
  const nameAt = (part: number): string => names[Math.floor((names.length - 1) * part)] ?? '';
  const timeAt = (part: number): string => {
    const ticks = snapshotByName.get(nameAt(part))?.past?.ticks;
    // Behind the millisecond: at its beginning it is the segment before that is read, of which there are no bytes.
    const timeMs = ticks === undefined ? undefined : Math.ceil(ticks / ticksPerMs) + 1;
    return timeMs === undefined ? 'now' : new Date(timeMs).toISOString();
  };
  const viewName = (age: string): string => `${age}${round}`;
  const touchOnce = async (name: string): Promise<void> => {
    const device = pool.volumeOpen(name);
    const regions = Math.max(1, Math.floor(mappedBytes / touchBytes));
    const offset = random.below(regions) * touchBytes;
    await new Promise<void>((resolve) => {
      device.extents(offset, touchBytes, 16, () => {
        resolve();
      });
    });
  };
  return {
    view: async (age) => {
      const at = { now: 'now', old: `snapshot:${nameAt(0.5)}`, time: timeAt(0.5) };
      const target = { source: scaleVolume, name: viewName(age), at: at[age], isClone: false };
      await ask((done: Parameters<Pool['viewCreate']>[1]) => {
        pool.viewCreate(target, done);
      });
    },
    touch: async (age) => {
      const firstMs = await timed(async () => await touchOnce(viewName(age)));
      const allMs = await timed(async () => {
        for (let at = 0; at < touches; at += 1) await touchOnce(viewName(age));
      });
      return { firstMs, othersMs: allMs / touches };
    },
    deleteSnapshots: async () => {
      const allMs = await timed(async () => {
        for (const name of names.slice(round * deletes, (round + 1) * deletes)) {
          await ask((done: Parameters<Pool['snapshotDelete']>[1]) => {
            pool.snapshotDelete({ volume: scaleVolume, name }, done);
          });
        }
      });
      return allMs / deletes;
    },
    diff: async () => {
      const [from, to] = [`snapshot:${nameAt(0.9)}`, `snapshot:${nameAt(0.9 + 1 / 30)}`];
      const options = { volume: scaleVolume, from, to, offset: 0, extentsMax: diffExtents };
      let extents = 0;
      const ms = await timed(async () => {
        const found = await ask((done: Parameters<Pool['history']['diff']>[1]) => {
          pool.history.diff(options, done);
        });
        extents = found.extents.length;
      });
      return { ms, extents };
    },
  };
}
