import { describe, expect, it } from 'vitest';
import type { DiskFile } from '../../../src/base/ports.ts';
import { type BlockDevice, IoKind, IoStatus } from '../../../src/device/block-device.ts';
import { SystemDisk } from '../../../src/host/disk.ts';
import { ask, close, RefusingDisk, read, submit, worldOfTests, write } from './pool-world.ts';

const world = worldOfTests();

describe('Pool', () => {
  it('gives back what was written, after a restart too, in any alignment', async () => {
    const size = 2 ** 20;
    const model = new Uint8Array(size);
    let { pool } = await world.open();
    await ask((done) => {
      pool.volumeCreate({ name: 'lun0', sizeBytes: size }, done);
    });
    let device = pool.volumeOpen('lun0');
    let seed = 7;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % below;
    };
    for (let round = 0; round < 200; round += 1) {
      const isAligned = random(2) === 0;
      const unit = isAligned ? 4096 : 1;
      const offset = random(size / unit - 1) * unit;
      const length = Math.min(size - offset, (1 + random(isAligned ? 8 : 20_000)) * unit);
      const action = random(10);
      if (action < 7) {
        const bytes = new Uint8Array(length).fill(random(255) + 1);
        model.set(bytes, offset);
        expect(await write(pool, device, offset, bytes)).toBe(IoStatus.ok);
      } else {
        model.fill(0, offset, offset + length);
        const kind = action === 7 ? IoKind.trim : IoKind.zero;
        expect((await submit(device, { kind, offset, length })).status).toBe(IoStatus.ok);
      }
      if (round % 50 === 49) {
        if (round === 99) await close(pool);
        ({ pool } = await world.open());
        device = pool.volumeOpen('lun0');
        expect(Buffer.compare(await read(device, 0, size), model)).toBe(0);
      }
      const at = random(size - 5000);
      expect(Buffer.compare(await read(device, at, 5000), model.subarray(at, at + 5000))).toBe(0);
    }
    await close(pool);
  });

  it('keeps snapshots as they were, and forgets deleted ones', async () => {
    const { pool } = await world.open();
    await ask((done) => {
      pool.volumeCreate({ name: 'a', sizeBytes: 2 ** 20 }, done);
    });
    const device = pool.volumeOpen('a');
    await write(pool, device, 0, new Uint8Array(8192).fill(1));
    await ask((done) => {
      pool.snapshotCreate([{ volume: 'a', name: 's1' }], done);
    });
    await write(pool, device, 4096, new Uint8Array(8192).fill(2));
    await ask((done) => {
      pool.snapshotCreate([{ volume: 'a', name: 's2' }], done);
    });
    await write(pool, device, 0, new Uint8Array(4096).fill(3));
    const first = await ask<{ device: BlockDevice; close(): void }>((done) => {
      pool.snapshotOpen('a', 's1', done);
    });
    const second = await ask<{ device: BlockDevice; close(): void }>((done) => {
      pool.snapshotOpen('a', 's2', done);
    });
    expect((await read(first.device, 0, 4096))[0]).toBe(1);
    expect((await read(first.device, 8192, 4096))[0]).toBe(0);
    expect((await read(second.device, 4096, 4096))[5]).toBe(2);
    expect((await read(second.device, 0, 4096))[5]).toBe(1);
    expect((await read(device, 0, 4096))[5]).toBe(3);
    first.close();
    second.close();
    await ask((done) => {
      pool.snapshotDelete({ volume: 'a', name: 's1' }, done);
    });
    expect(() => pool.snapshot('a', 's1')).toThrow(/no snapshot/);
    await close(pool);
  });

  it('answers verify and rebuild: all is well, the manifest equals the log', async () => {
    const { pool } = await world.open();
    await ask((done) => {
      pool.volumeCreate({ name: 'a', sizeBytes: 2 ** 22 }, done);
    });
    const device = pool.volumeOpen('a');
    for (let block = 0; block < 200; block += 1) {
      await write(pool, device, block * 8192, new Uint8Array(4096).fill(block));
    }
    await new Promise((resolve) => setTimeout(resolve, 400));
    const report = await new Promise<{ faultCount: number; segmentsChecked: number }>((resolve) => {
      pool.verify(() => undefined, resolve);
    });
    expect(report.faultCount).toBe(0);
    expect(report.segmentsChecked).toBeGreaterThan(3);
    const rebuilt = await ask<{ wasEqual: boolean }>((done) => {
      pool.rebuild(() => undefined, done);
    });
    expect(rebuilt.wasEqual).toBe(true);
    await close(pool);
    const again = await world.open();
    await write(again.pool, again.pool.volumeOpen('a'), 0, new Uint8Array(4096));
    const audited = await ask<{ recordsRead: number }>((done) => {
      again.pool.rebuild(() => undefined, done);
    });
    // VOL_CREATE, two EPOCHs, and at least two checkpoints of the 1.6 MB that were logged.
    expect(audited.recordsRead).toBeGreaterThanOrEqual(5);
    await close(again.pool);
  });

  it('logs a tail again that cannot be made durable in place', async () => {
    const first = await world.open();
    await ask((done) => {
      first.pool.volumeCreate({ name: 'a', sizeBytes: 2 ** 20 }, done);
    });
    await write(first.pool, first.pool.volumeOpen('a'), 0, new Uint8Array(8192).fill(9));
    await ask((done) => {
      first.pool.snapshotCreate([{ volume: 'a', name: 's' }], done);
    });
    const before = first.pool.durableThrough;
    const second = await world.open(new RefusingDisk(world.folder));
    expect(second.recovery.relogged).toBeGreaterThan(0);
    expect((await read(second.pool.volumeOpen('a'), 4096, 4096))[0]).toBe(9);
    expect(second.pool.snapshot('a', 's').cut).toBeGreaterThan(before);
    const third = await world.open();
    expect((await read(third.pool.volumeOpen('a'), 0, 4096))[0]).toBe(9);
    expect(third.pool.snapshot('a', 's').cut).toBe(second.pool.snapshot('a', 's').cut);
    await close(third.pool);
  });

  it('opens writable views that share, diverge, survive their source and restarts', async () => {
    let { pool } = await world.open();
    await ask((done) => {
      pool.volumeCreate({ name: 'a', sizeBytes: 2 ** 20 }, done);
    });
    const fill = async (name: string, offset: number, value: number): Promise<void> => {
      const bytes = new Uint8Array(4096).fill(value);
      expect(await write(pool, pool.volumeOpen(name), offset, bytes)).toBe(IoStatus.ok);
    };
    const byteAt = async (name: string, offset: number): Promise<number | undefined> =>
      (await read(pool.volumeOpen(name), offset, 4096))[7];
    await fill('a', 0, 1);
    await ask((done) => {
      pool.snapshotCreate([{ volume: 'a', name: 's1' }], done);
    });
    await fill('a', 0, 2);
    await fill('a', 4096, 3);
    for (const [name, source, at] of [
      ['v1', 'a', 'snapshot:s1'],
      ['v2', 'a', 'now'],
    ] as const) {
      await ask((done) => {
        pool.viewCreate({ name, source, at, isClone: false }, done);
      });
    }
    await fill('v1', 8192, 9);
    await ask((done) => {
      pool.snapshotCreate([{ volume: 'v1', name: 'inner' }], done);
    });
    await fill('v1', 8192, 10);
    await ask((done) => {
      pool.viewCreate({ name: 'v3', source: 'v1', at: 'snapshot:inner', isClone: true }, done);
    });
    await fill('a', 0, 4);
    const check = async (): Promise<void> => {
      expect([await byteAt('v1', 0), await byteAt('v1', 4096), await byteAt('v1', 8192)]).toEqual([
        1, 0, 10,
      ]);
      expect([await byteAt('v2', 0), await byteAt('v2', 4096)]).toEqual([2, 3]);
      expect([await byteAt('v3', 0), await byteAt('v3', 8192)]).toEqual([1, 9]);
    };
    await check();
    ({ pool } = await world.open());
    await check();
    expect(await byteAt('a', 0)).toBe(4);
    await ask((done) => {
      pool.volumeDelete({ name: 'a', force: true }, done);
    });
    await ask((done) => {
      pool.viewPromote('v1', done);
    });
    await check();
    ({ pool } = await world.open());
    await check();
    expect(pool.volume('v1').view).toBeUndefined();
    expect(pool.volume('v2').view?.label).toBe('now');
    await close(pool);
  });

  it('rolls back, undoes it, and keeps newer snapshots reachable', async () => {
    let { pool } = await world.open();
    await ask((done) => {
      pool.volumeCreate({ name: 'a', sizeBytes: 2 ** 20 }, done);
    });
    const fill = async (value: number): Promise<void> => {
      await write(pool, pool.volumeOpen('a'), 0, new Uint8Array(4096).fill(value));
    };
    const value = async (): Promise<number | undefined> =>
      (await read(pool.volumeOpen('a'), 0, 4096))[0];
    for (const step of [1, 2, 3]) {
      await fill(step);
      await ask((done) => {
        pool.snapshotCreate([{ volume: 'a', name: `s${step}` }], done);
      });
    }
    await fill(4);
    const old = pool.volumeOpen('a');
    await ask((done) => {
      pool.volumeRollback({ name: 'a', to: 'snapshot:s1' }, done);
    });
    expect(await write(pool, old, 0, new Uint8Array(4096))).toBe(IoStatus.shuttingDown);
    expect(await value()).toBe(1);
    await fill(5);
    ({ pool } = await world.open());
    expect(await value()).toBe(5);
    await ask((done) => {
      pool.volumeRollback({ name: 'a', to: 'snapshot:s3' }, done);
    });
    expect(await value()).toBe(3);
    await ask((done) => {
      pool.volumeUndoRollback('a', done);
    });
    expect(await value()).toBe(5);
    ({ pool } = await world.open());
    expect(await value()).toBe(5);
    expect(pool.volume('a').history.map((span) => span.reason)).toEqual([
      'created',
      'rollback',
      'rollback',
      'undo',
    ]);
    expect(pool.volume('a').snapshotByName.size).toBe(3);
    const rebuilt = await ask<{ wasEqual: boolean }>((done) => {
      pool.rebuild(() => undefined, done);
    });
    expect(rebuilt.wasEqual).toBe(true);
    await close(pool);
  });

  it('answers write-back writes before the flush, and FLUSH and FUA after it', async () => {
    const flushes = { count: 0 };
    class CountingDisk extends SystemDisk {
      override open(path: string, options: { readonly create: boolean }): DiskFile {
        const file = super.open(path, options);
        const flush = file.flush.bind(file);
        file.flush = () => {
          flushes.count += 1;
          flush();
        };
        return file;
      }
    }
    const { pool } = await world.open(new CountingDisk(world.folder));
    await ask((done) => {
      pool.volumeCreate({ name: 'a', sizeBytes: 2 ** 20, ack: 1 }, done);
    });
    await new Promise((resolve) => setTimeout(resolve, 900));
    const device = pool.volumeOpen('a');
    const before = flushes.count;
    for (let round = 0; round < 5; round += 1) {
      await write(pool, device, round * 4096, new Uint8Array(4096).fill(round + 1));
    }
    expect(flushes.count).toBe(before);
    const durableBefore = pool.durableThrough;
    expect((await read(device, 8192, 4096))[0]).toBe(3);
    await submit(device, { kind: IoKind.flush });
    expect(flushes.count).toBe(before + 1);
    expect(pool.durableThrough).toBeGreaterThan(durableBefore);
    const fua = await submit(device, { kind: IoKind.zero, offset: 0, length: 4096, fua: true });
    expect(fua.status).toBe(IoStatus.ok);
    expect(flushes.count).toBe(before + 2);
    await close(pool);
  });
});
