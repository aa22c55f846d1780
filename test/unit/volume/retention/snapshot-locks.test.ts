/** Locked snapshots: kept whoever asks, over restarts and clocks that are set wrong. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatMomentTime } from '../../../../src/base/moment.ts';
import type { SnapshotState } from '../../../../src/volume/catalogue/catalogue.ts';
import { containing } from '../../../support/matching.ts';
import { ask, isSound } from '../pool-world.ts';
import { KeptWorld } from './kept-world.ts';

const hour = 3_600_000;

let world: KeptWorld;

beforeEach(async () => {
  world = new KeptWorld();
  await world.open();
  await world.create('a', 'all:0');
  await world.write('a', 1);
  await ask((done) => {
    world.pool.snapshotCreate([{ volume: 'a', name: 's' }], done);
  });
});

afterEach(() => {
  world.remove();
});

async function lock(lockedUntilMs: number, force = false): Promise<SnapshotState> {
  return await ask((done) => {
    world.pool.retention.locks.set({ volume: 'a', name: 's', lockedUntilMs, force }, done);
  });
}

async function remove(): Promise<unknown> {
  return await ask((done) => {
    world.pool.snapshotDelete({ volume: 'a', name: 's' }, done);
  });
}

async function removeVolume(): Promise<unknown> {
  return await ask((done) => {
    world.pool.volumeDelete({ name: 'a', force: true }, done);
  });
}

describe('a locked snapshot', () => {
  it('is not deleted, nor its volume, until the lock ends, after a restart either', async () => {
    const until = world.wallMs + hour;
    await lock(until);
    const refusal = {
      code: 'conflict',
      message: `snapshot a@s is locked until ${formatMomentTime(until)}`,
      hint: containing('tidemark snapshot set a s --unlock'),
    };
    await expect(remove()).rejects.toMatchObject(refusal);
    await expect(removeVolume()).rejects.toMatchObject(refusal);
    await world.open();
    await expect(remove()).rejects.toMatchObject(refusal);
    await expect(removeVolume()).rejects.toMatchObject(refusal);
    expect(await world.valueAt('a', 'snapshot:s')).toBe(1);
    expect(await isSound(world.pool)).toBe(true);
    await world.pass(hour);
    expect(world.pool.retention.locks.until(world.pool.snapshot('a', 's'))).toBeUndefined();
    await remove();
  });

  it('stays locked when the wall clock jumps ahead', async () => {
    await lock(world.wallMs + hour);
    world.wallOffsetMs = 48 * hour;
    await expect(remove()).rejects.toThrow('is locked until');
    await world.open();
    await expect(removeVolume()).rejects.toThrow('is locked until');
    // Now the log, too, is of the wrong time.
    await world.write('a', 2);
    await world.open();
    await expect(remove()).rejects.toThrow('is locked until');
    await expect(removeVolume()).rejects.toThrow('is locked until');
  });

  it('is unlocked, or locked for less, only with force; locked for longer without', async () => {
    const until = world.wallMs + hour;
    await lock(until);
    await expect(lock(0)).rejects.toMatchObject({ code: 'needs-force' });
    await expect(lock(until - 1)).rejects.toMatchObject({ code: 'needs-force' });
    expect(await lock(until + hour)).toMatchObject({ lockedUntilMs: until + hour });
    await lock(0, true);
    await removeVolume();
  });

  it('has a time that is to come, and within reason', async () => {
    for (const until of [1, world.wallMs - 1, Number.MAX_SAFE_INTEGER]) {
      await expect(lock(until)).rejects.toMatchObject({ code: 'invalid' });
    }
  });
});
