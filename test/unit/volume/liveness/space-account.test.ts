import { describe, expect, it } from 'vitest';
import { IoStatus } from '../../../../src/device/block-device.ts';
import { ask, blockBytes, create, filled, worldOfTests, write } from '../pool-world.ts';
import { account, limitsOfTests } from './random-history.ts';

const world = worldOfTests();
const limits = limitsOfTests();

describe('space account', () => {
  it.each([
    ['whole', 1e9],
    ['where the log says so', 0],
  ])('what a smaller size cut off in the last leaf, compared %s', async (_how, perSegment) => {
    Object.assign(limits, { leavesPerSegment: perSegment });
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
