import { afterEach, beforeEach, expect, it } from 'vitest';
import { IoStatus } from '../../../../src/device/block-device.ts';
import type { Pool } from '../../../../src/volume/pool.ts';
import type { PoolSpace } from '../../../../src/volume/reports.ts';
import { ask, blockBytes, close, create, PoolWorld, write } from '../pool-world.ts';

let world: PoolWorld;

beforeEach(() => {
  world = new PoolWorld();
});

afterEach(() => {
  world.remove();
});

async function space(pool: Pool, windowMs: number, volume?: string): Promise<PoolSpace> {
  return await ask((done) => {
    pool.spaceAccount({ volume, deleted: [], windowMs }, () => undefined, done);
  });
}

/** Writes the first `blocks` blocks of a volume `times` times. */
async function fill(pool: Pool, name: string, blocks: number, times: number): Promise<void> {
  const device = pool.volumeOpen(name);
  const bytes = new Uint8Array(blocks * blockBytes).fill(5);
  for (let time = 0; time < times; time += 1) {
    expect(await write(pool, device, 0, bytes)).toBe(IoStatus.ok);
  }
}

it('a shorter window frees what only the past that it leaves out holds, of one volume or of all', async () => {
  let { pool } = await world.open();
  await create(pool, 'one', 64);
  await create(pool, 'two', 64);
  await fill(pool, 'one', 10, 4);
  await fill(pool, 'two', 7, 3);
  await ask((done) => {
    pool.snapshotCreate([{ volume: 'two', name: 'kept' }], done);
  });
  await fill(pool, 'two', 7, 1);
  // Only what is sealed is judged.
  await close(pool);
  ({ pool } = await world.open());
  const day = 86_400_000;
  expect((await space(pool, day)).whatIfWindow).toEqual({ windowMs: day, freedBytes: 0 });
  const past = { one: 3 * 10 * blockBytes, two: 2 * 7 * blockBytes };
  for (const [name, freedBytes] of Object.entries(past)) {
    expect((await space(pool, 0, name)).whatIfWindow).toEqual({ windowMs: 0, freedBytes });
  }
  const all = await space(pool, 0);
  expect(all.whatIfWindow?.freedBytes).toBe(past.one + past.two);
  expect(all.historyBytes).toBe(past.one + past.two);
  await close(pool);
});

it('a question about a volume that there is not is refused', async () => {
  const { pool } = await world.open();
  await expect(space(pool, 0, 'none')).rejects.toThrow('no volume');
  await close(pool);
});
