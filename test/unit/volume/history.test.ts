/** Past moments of a pool on a real disk: what the simulator's runs do not reach. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Outcome } from '../../../src/base/errors.ts';
import { type Disk, DiskError, type DiskFile } from '../../../src/base/ports.ts';
import { IoKind, IoRequest, IoStatus } from '../../../src/device/block-device.ts';
import { SystemDisk } from '../../../src/host/disk.ts';
import type { Diff, Rate } from '../../../src/volume/history.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import { type OpenedPool, openPool } from '../../../src/volume/pool-open.ts';
import { inlineHost, smallSettings } from '../../support/inline-host.ts';

let folder = '';
const hosts: ReturnType<typeof inlineHost>[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-history-'));
});

afterEach(() => {
  for (const host of hosts.splice(0)) host.abandon();
  rmSync(folder, { recursive: true, force: true });
});

async function ask<T>(call: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  return await new Promise((resolve, reject) => {
    call((outcome) => {
      if (outcome.ok) resolve(outcome.value);
      else reject(outcome.error);
    });
  });
}

/** A disk that refuses to write into segment files that are there already. */
class RefusingDisk extends SystemDisk {
  override open(path: string, options: { readonly create: boolean }): DiskFile {
    const file = super.open(path, options);
    if (options.create || !path.startsWith('segments/')) return file;
    return new Proxy(file, {
      get: (target, name) => {
        if (name === 'write') {
          return () => {
            throw new DiskError('EIO', `${path}: refused`);
          };
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }
}

async function open(disk?: Disk): Promise<OpenedPool> {
  for (const host of hosts.splice(0)) host.abandon();
  return await ask((done) => {
    const host = inlineHost(folder, disk);
    hosts.push(host);
    const options = {
      name: 'main',
      settings: smallSettings(folder),
      capacityBytes: 2 ** 30,
      pageCacheBytes: 2 ** 30,
      onFailed: (message: string) => {
        throw new Error(message);
      },
    };
    openPool(host, options, done);
  });
}

async function run(pool: Pool, volume: string, fields: Partial<IoRequest>): Promise<void> {
  const status = await new Promise((resolve) => {
    const request = new IoRequest((finished) => {
      resolve(finished.status);
    });
    Object.assign(request, fields);
    pool.volumeOpen(volume).submit(request);
  });
  expect(status).toBe(IoStatus.ok);
}

async function write(pool: Pool, volume: string, offset: number, value: number): Promise<void> {
  const payload = pool.staging.allocate(offset, 4096);
  payload?.fill(0, new Uint8Array(4096).fill(value), 0, 4096);
  await run(pool, volume, { kind: IoKind.write, offset, length: 4096, payload });
}

async function byteAt(pool: Pool, volume: string, offset: number): Promise<number | undefined> {
  const target = new Uint8Array(4096);
  await run(pool, volume, { kind: IoKind.read, offset, length: 4096, target });
  return target[0];
}

async function create(pool: Pool, name: string, sizeBytes = 2 ** 20): Promise<void> {
  await ask((done) => {
    pool.volumeCreate({ name, sizeBytes }, done);
  });
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
    const first = await open();
    await create(first.pool, 'a');
    await write(first.pool, 'a', 0, 1);
    const { label } = await place(first.pool, 'a', 'now');
    await write(first.pool, 'a', 0, 2);
    await ask((done) => {
      first.pool.snapshotCreate([{ volume: 'a', name: 's' }], done, label);
    });
    const second = await open(new RefusingDisk(folder));
    expect(second.recovery.relogged).toBeGreaterThan(0);
    expect(second.pool.snapshot('a', 's')).toMatchObject({ past: { label } });
    await requireViewOf(second.pool);
    await requireViewOf((await open()).pool);
  });

  it('have the size of then', async () => {
    const { pool } = await open();
    await create(pool, 'a', 2 ** 20);
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
    const { pool } = await open();
    await create(pool, 'a');
    const views = ask((done) => {
      pool.viewCreate({ name: 'v', source: 'a', at, isClone: false }, done);
    });
    await expect(views).rejects.toMatchObject({ code });
    const rollback = ask((done) => {
      pool.volumeRollback({ name: 'a', to: at }, done);
    });
    await expect(rollback).rejects.toMatchObject({ code });
    // Nothing waits for what was refused.
    await create(pool, 'b');
  });

  it('of several volumes are refused together', async () => {
    const { pool } = await open();
    await create(pool, 'a');
    const { label } = await place(pool, 'a', 'now');
    await create(pool, 'b');
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
    const { pool } = await open();
    await create(pool, 'a');
    await create(pool, 'other');
    const from = (await place(pool, 'a', 'now')).label;
    for (let block = 0; block < 40; block += 1) await write(pool, 'a', block * 4096, 1);
    await write(pool, 'other', 0, 1);
    await run(pool, 'a', { kind: IoKind.trim, offset: 0, length: 16_384 });
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
  });

  it('are opened under a name that stays right', async () => {
    let { pool } = await open();
    await create(pool, 'a');
    await write(pool, 'a', 0, 1);
    const { label } = await place(pool, 'a', 'now');
    await write(pool, 'a', 0, 2);
    ({ pool } = await open());
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
