import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IoStatus } from '../../../../src/device/block-device.ts';
import { livenessLimits } from '../../../../src/volume/liveness/limits.ts';
import { ask, blockBytes, close, create, filled, PoolWorld, write } from '../pool-world.ts';
import { account, History } from './random-history.ts';

let world: PoolWorld;

beforeEach(() => {
  world = new PoolWorld();
});

const { holderTableBytes, leavesPerSegment } = livenessLimits;

afterEach(() => {
  world.remove();
  Object.assign(livenessLimits, { holderTableBytes, leavesPerSegment });
});

describe('space account', () => {
  it.each([1, 2, 3, 4])('agrees with plain sets over random histories (seed %i)', async (seed) => {
    // Of an even seed the log is looked at three segments (of 64 slots) at a time.
    if (seed % 2 === 0) Object.assign(livenessLimits, { holderTableBytes: 3 * 64 * 4 });
    // Of others than every third neighbours are compared only where the log says that they can differ.
    if (seed % 3 > 0) Object.assign(livenessLimits, { leavesPerSegment: 0 });
    const history = new History((await world.open()).pool, seed);
    for (let round = 0; round < 4; round += 1) {
      for (let step = 0; step < 25; step += 1) await history.step();
      await history.check();
      if (round % 2 === 0) continue;
      await close(history.pool);
      history.pool = (await world.open()).pool;
      await history.check();
    }
  });

  it.each([
    ['whole', 1e9],
    ['where the log says so', 0],
  ])('what a smaller size cut off in the last leaf, compared %s', async (_how, perSegment) => {
    Object.assign(livenessLimits, { leavesPerSegment: perSegment });
    const { pool } = await world.open();
    // Blocks 1024 to 1099 are the third leaf; 200 blocks end within the first one.
    const device = await create(pool, 'source', 1100);
    const written = await write(pool, device, 1030 * blockBytes, filled(5 * blockBytes, 7));
    expect(written).toBe(IoStatus.ok);
    for (const name of ['view', 'clone']) {
      await ask((done) => {
        pool.viewCreate({ source: 'source', name, at: 'now', isClone: name === 'clone' }, done);
      });
    }
    await ask((done) => {
      pool.snapshotCreate([{ volume: 'view', name: 'before' }], done);
    });
    // The walk then sees, in this order: all of it, the view as it was cut off, the clone, the source.
    await ask((done) => {
      pool.volumeResize({ name: 'view', sizeBytes: 200 * blockBytes, force: true }, done);
    });
    const { volumes, heldBytes } = await account(pool);
    const mapped = volumes.map(({ name, mappedBytes }) => [name, mappedBytes / blockBytes]);
    expect(mapped).toEqual([
      ['clone', 5],
      ['source', 5],
      ['view', 0],
    ]);
    expect(heldBytes).toBe(5 * blockBytes);
  });
});
