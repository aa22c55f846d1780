import { describe, expect, it } from 'vitest';
import { OperationError } from '../../../../src/base/errors.ts';
import { cleanerLimits } from '../../../../src/volume/cleaner/limits.ts';
import type { Pool } from '../../../../src/volume/pool.ts';
import type { CleanerPass } from '../../../../src/volume/reports.ts';
import {
  ask,
  blockBytes,
  close,
  create,
  filled,
  isSound,
  read,
  snapshot,
  worldOfTests,
  write,
} from '../pool-world.ts';

const world = worldOfTests({ cleaner: 'off' });
const automatic = worldOfTests({ cleaner: 'auto' });
const blocks = 160;

async function clean(pool: Pool): Promise<CleanerPass> {
  return await ask((done) => {
    pool.cleaner.run(() => undefined, done);
  });
}

async function remove(pool: Pool, name: string): Promise<void> {
  await ask((done) => {
    pool.volumeDelete({ name, force: true }, done);
  });
}

/** Twenty blocks of each in turn, so that every segment has blocks of all volumes. Opened again: all segments are sealed. */
async function filledPool(names: readonly string[], place = world): Promise<Pool> {
  const { pool } = await place.open();
  const devices = await Promise.all(names.map(async (name) => await create(pool, name, blocks)));
  for (let block = 0; block < blocks; block += 20) {
    for (const [index, device] of devices.entries()) {
      const bytes = filled(20 * blockBytes, index + 1);
      await write(pool, device, block * blockBytes, bytes);
    }
  }
  await close(pool);
  return (await place.open()).pool;
}

async function contentOf(pool: Pool, name: string): Promise<Set<number>> {
  return new Set(await read(pool.volumeOpen(name), 0, blocks * blockBytes));
}

describe('cleaner', () => {
  it('gives back what only deleted volumes held, and nothing else', async () => {
    const pool = await filledPool(['a', 'b', 'c', 'd']);
    const before = pool.space().usedBytes;
    for (const name of ['a', 'b', 'd']) await remove(pool, name);
    const pass = await clean(pool);
    expect(pass.reason).toBe('asked');
    // Three quarters of four times 160 blocks, but for the segment being written.
    expect(pass.reclaimedBytes).toBeGreaterThan(320 * blockBytes);
    expect(before - pool.space().usedBytes).toBeGreaterThan(320 * blockBytes);
    expect(await contentOf(pool, 'c')).toEqual(new Set([3]));
    expect(await isSound(pool)).toBe(true);
    await close(pool);
    const again = (await world.open()).pool;
    expect(await contentOf(again, 'c')).toEqual(new Set([3]));
    expect(await isSound(again)).toBe(true);
  });

  it('copies nothing while there is little garbage, and gives back at once what nothing lives of', async () => {
    const names = 'a b c d e f g h i j k l m'.split(' ');
    const pool = await filledPool(names);
    // A thirteenth, and headers, are less than the quarter of what lives that is allowed.
    await remove(pool, 'a');
    expect(await clean(pool)).toMatchObject({ packCount: 0, copiedBytes: 0 });
    for (const name of names.slice(1)) await remove(pool, name);
    const pass = await clean(pool);
    expect(pass.packCount).toBe(1);
    expect(pass.copiedBytes).toBeLessThan(pass.reclaimedBytes / 10);
  });

  it('gives nothing back that a snapshot still has', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', blocks);
    for (let block = 0; block < blocks; block += 20) {
      await write(pool, device, block * blockBytes, filled(20 * blockBytes, 7));
    }
    const opened = await snapshot(pool, 'a', 's');
    for (let block = 0; block < blocks; block += 20) {
      await write(pool, device, block * blockBytes, filled(20 * blockBytes, 8));
    }
    await clean(pool);
    expect(new Set(await read(opened.device, 0, blocks * blockBytes))).toEqual(new Set([7]));
    expect(await contentOf(pool, 'a')).toEqual(new Set([8]));
    opened.close();
    expect(await isSound(pool)).toBe(true);
  });

  it('says what it found and did', async () => {
    const pool = await filledPool(['a', 'b']);
    expect(pool.cleaner.status()).toMatchObject({
      state: 'idle',
      isAutomatic: false,
      packCount: 0,
      copiedBytes: 0,
    });
    expect(pool.cleaner.status()).not.toHaveProperty('content');
    await remove(pool, 'a');
    const progress: number[] = [];
    const pass = await ask<CleanerPass>((done) => {
      pool.cleaner.run((packed) => progress.push(packed), done);
      expect(pool.cleaner.status().state).toBe('marking');
    });
    expect(progress.length).toBe(pass.packCount);
    const status = pool.cleaner.status();
    expect(status).toMatchObject({ state: 'idle', lastPass: pass, packCount: pass.packCount });
    expect(status.packBytes).toBe(pass.copiedBytes);
    expect(status.copiedBytes).toBe(pass.copiedBytes);
    expect(status.reclaimedBytes).toBe(pass.reclaimedBytes);
    // What is left is not worth a copy.
    const { liveBytes = 0, garbageBytes = 0 } = status.content ?? {};
    expect(garbageBytes).toBeLessThan(liveBytes / 4);
  });

  it('does what is asked of it during a pass in another one, since it may be about what happened meanwhile', async () => {
    const pool = await filledPool(['a', 'b']);
    await remove(pool, 'a');
    const [first, second] = await Promise.all([clean(pool), clean(pool)]);
    expect(first.packCount).toBeGreaterThan(0);
    expect(second).toMatchObject({ packCount: 0 });
    expect(second.startedMs).toBeGreaterThanOrEqual(first.finishedMs);
  });

  it('gives up a pass when the pool is closed, and the pool is whole', async () => {
    const pool = await filledPool(['a', 'b']);
    await remove(pool, 'a');
    const given = clean(pool).catch((thrown: unknown) => thrown);
    await close(pool);
    expect(await given).toBeInstanceOf(OperationError);
    const again = (await world.open()).pool;
    expect(await contentOf(again, 'b')).toEqual(new Set([2]));
    expect(await isSound(again)).toBe(true);
  });

  it('begins by itself when it is on and something was deleted', async () => {
    const before = { ...cleanerLimits };
    Object.assign(cleanerLimits, {
      firstLookAfterMs: 1,
      lookEveryMs: 1,
      markAfter: { ...before.markAfter, none: { ...before.markAfter.none, pauseMs: 1 } },
    });
    try {
      const pool = await filledPool(['a', 'b'], automatic);
      await expect.poll(() => pool.cleaner.status().lastPass?.reason).toBe('opened');
      await remove(pool, 'a');
      await remove(pool, 'b');
      await expect.poll(() => pool.cleaner.status().lastPass?.reason).toBe('deleted');
      await expect.poll(() => pool.cleaner.status().reclaimedBytes).toBeGreaterThan(2 ** 20);
      await close(pool);
    } finally {
      Object.assign(cleanerLimits, before);
    }
  });
});
