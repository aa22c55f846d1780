/** Past moments of a pool on a real disk: what the simulator's runs do not reach. */
import { describe, expect, it } from 'vitest';
import { IoKind, IoStatus } from '../../../src/device/block-device.ts';
import type { Diff, Rate } from '../../../src/volume/history.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import {
  ask,
  blockBytes,
  create,
  RefusingDisk,
  read,
  submit,
  worldOfTests,
  write,
} from './pool-world.ts';

const world = worldOfTests();

/** Writes `value` into the block at `offset` of a volume. */
async function fill(pool: Pool, volume: string, offset: number, value: number): Promise<void> {
  const bytes = new Uint8Array(blockBytes).fill(value);
  expect(await write(pool, pool.volumeOpen(volume), offset, bytes)).toBe(IoStatus.ok);
}

async function byteAt(pool: Pool, volume: string, offset: number): Promise<number | undefined> {
  return (await read(pool.volumeOpen(volume), offset, blockBytes))[0];
}

async function place(pool: Pool, volume: string, at: string): Promise<Diff['from']> {
  return await ask((done) => {
    pool.history.resolve(volume, at, done);
  });
}

/** The snapshot shows the first write, the head the second. */
async function requireViewOf(pool: Pool): Promise<void> {
  const name = `v${pool.epoch}`;
  await ask((done) => {
    pool.viewCreate({ name, source: 'a', at: 'snapshot:s', isClone: false }, done);
  });
  expect(await byteAt(pool, name, 0)).toBe(1);
  expect(await byteAt(pool, 'a', 0)).toBe(2);
}

describe('past moments', () => {
  it('are kept when the tail that names them has to be logged again', async () => {
    const first = await world.open();
    await create(first.pool, 'a', 256);
    await fill(first.pool, 'a', 0, 1);
    const { label } = await place(first.pool, 'a', 'now');
    await fill(first.pool, 'a', 0, 2);
    await ask((done) => {
      first.pool.snapshotCreate([{ volume: 'a', name: 's' }], done, label);
    });
    const second = await world.open(new RefusingDisk(world.folder));
    expect(second.recovery.relogged).toBeGreaterThan(0);
    expect(second.pool.snapshot('a', 's')).toMatchObject({ past: { label } });
    await requireViewOf(second.pool);
    await requireViewOf((await world.open()).pool);
  });

  it('have the size of then', async () => {
    const { pool } = await world.open();
    await create(pool, 'a', 256);
    const small = await place(pool, 'a', 'now');
    await ask((done) => {
      pool.volumeResize({ name: 'a', sizeBytes: 2 ** 21, force: false }, done);
    });
    await ask((done) => {
      pool.snapshotCreate([{ volume: 'a', name: 's' }], done, small.label);
    });
    expect(pool.snapshot('a', 's').sizeBytes).toBe(2 ** 20);
    await ask((done) => {
      pool.volumeRollback({ name: 'a', to: 'snapshot:s' }, done);
    });
    expect(pool.volume('a').sizeBytes).toBe(2 ** 20);
    const { sizeBytes } = (await place(pool, 'a', 'now')).moment;
    expect(sizeBytes).toBe(2 ** 20);
  });

  it.each([
    ['monday', 'invalid'],
    ['2100-01-01T00:00:00Z', 'invalid'],
    ['position:9007199254740991', 'invalid'],
    ['2000-01-01T00:00:00Z', 'not-found'],
    ['position:0', 'not-found'],
    ['snapshot:none', 'not-found'],
  ])('are refused when there is none: %s', async (at, code) => {
    const { pool } = await world.open();
    await create(pool, 'a', 256);
    const views = ask((done) => {
      pool.viewCreate({ name: 'v', source: 'a', at, isClone: false }, done);
    });
    await expect(views).rejects.toMatchObject({ code });
    const rollback = ask((done) => {
      pool.volumeRollback({ name: 'a', to: at }, done);
    });
    await expect(rollback).rejects.toMatchObject({ code });
    // Nothing waits for what was refused.
    await create(pool, 'b', 256);
  });

  it('of several volumes are refused together', async () => {
    const { pool } = await world.open();
    await create(pool, 'a', 256);
    const { label } = await place(pool, 'a', 'now');
    await create(pool, 'b', 256);
    const targets = [
      { source: 'a', name: 'va' },
      { source: 'b', name: 'vb' },
    ];
    const views = ask((done) => {
      pool.viewsCreate({ targets, at: label, isClone: false }, done);
    });
    await expect(views).rejects.toMatchObject({ code: 'not-found' });
    expect(pool.volumes().map(({ name }) => name)).toEqual(['a', 'b']);
    await ask((done) => {
      pool.viewsCreate({ targets, at: 'now', isClone: false }, done);
    });
    expect(pool.volumes().map(({ name }) => name)).toEqual(['a', 'b', 'va', 'vb']);
  });

  it('show how much was written when, and quiet gaps', async () => {
    const { pool } = await world.open();
    await create(pool, 'a', 256);
    await create(pool, 'other', 256);
    const from = (await place(pool, 'a', 'now')).label;
    for (let block = 0; block < 40; block += 1) await fill(pool, 'a', block * 4096, 1);
    await fill(pool, 'other', 0, 1);
    await submit(pool.volumeOpen('a'), { kind: IoKind.trim, offset: 0, length: 16_384 });
    const rate = await ask<Rate>((done) => {
      const options = { volume: 'a', from, to: undefined, bucketCount: 7, gapsMax: 3 };
      pool.history.rate(options, () => undefined, done);
    });
    const sum = (of: (bucket: Rate['buckets'][number]) => number): number =>
      rate.buckets.reduce((total, bucket) => total + of(bucket), 0);
    expect(rate.buckets).toHaveLength(7);
    expect(sum((bucket) => bucket.writtenBytes)).toBe(40 * 4096);
    expect(sum((bucket) => bucket.clearedBytes)).toBe(16_384);
    expect(sum((bucket) => bucket.changeCount)).toBe(41);
    expect(rate.gaps.length).toBeLessThanOrEqual(3);
    for (const gap of rate.gaps) {
      expect(gap.fromMs).toBeGreaterThanOrEqual(rate.fromMs);
      expect(gap.toMs).toBeLessThanOrEqual(rate.toMs);
    }
    const lengths = rate.gaps.map((gap) => gap.toMs - gap.fromMs);
    expect(lengths).toEqual(lengths.toSorted((left, right) => right - left));
    const reversed = ask<Rate>((done) => {
      const options = { volume: 'a', from: 'now', to: from, bucketCount: 7, gapsMax: 3 };
      pool.history.rate(options, () => undefined, done);
    });
    await expect(reversed).rejects.toMatchObject({
      code: 'invalid',
      message: `now is not before ${from}`,
    });
  });

  it('are opened under a name that stays right', async () => {
    let { pool } = await world.open();
    await create(pool, 'a', 256);
    await fill(pool, 'a', 0, 1);
    const { label } = await place(pool, 'a', 'now');
    await fill(pool, 'a', 0, 2);
    ({ pool } = await world.open());
    const ready = await ask<Diff['from']>((done) => {
      pool.history.prepare('a', label, done);
    });
    expect(ready.label).toBe(label);
    const refused = ask<Diff['from']>((done) => {
      pool.history.prepare('a', 'position:999999999999', done);
    });
    await expect(refused).rejects.toMatchObject({ code: 'invalid' });
  });
});
