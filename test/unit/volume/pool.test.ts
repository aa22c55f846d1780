import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Outcome } from '../../../src/base/errors.ts';
import { type Disk, DiskError, type DiskFile } from '../../../src/base/ports.ts';
import { type BlockDevice, IoKind, IoRequest, IoStatus } from '../../../src/device/block-device.ts';
import { SystemDisk } from '../../../src/host/disk.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import { type OpenedPool, openPool } from '../../../src/volume/pool-open.ts';
import { inlineHost, smallSettings } from '../../support/inline-host.ts';

let folder = '';
const hosts: ReturnType<typeof inlineHost>[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-pool-'));
});

afterEach(() => {
  for (const host of hosts.splice(0)) host.abandon();
  rmSync(folder, { recursive: true, force: true });
});

async function ask<T>(call: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
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
  return ask((done) => {
    const options = {
      name: 'main',
      settings: smallSettings(folder),
      capacityBytes: 2 ** 30,
      pageCacheBytes: 2 ** 30,
      onFailed: (message: string) => {
        throw new Error(message);
      },
    };
    for (const gone of hosts.splice(0)) gone.abandon();
    const host = inlineHost(folder, disk);
    hosts.push(host);
    openPool(host, options, done);
  });
}

async function close(pool: Pool): Promise<void> {
  return new Promise((resolve) => {
    pool.close(resolve);
  });
}

async function submit(device: BlockDevice, fill: (request: IoRequest) => void): Promise<IoRequest> {
  return new Promise((resolve) => {
    const request = new IoRequest(resolve);
    fill(request);
    device.submit(request);
  });
}

async function write(pool: Pool, device: BlockDevice, offset: number, bytes: Uint8Array) {
  return submit(device, (request) => {
    request.kind = IoKind.write;
    request.offset = offset;
    request.length = bytes.length;
    request.payload = pool.staging.allocate(offset, bytes.length);
    request.payload?.fill(0, bytes, 0, bytes.length);
  });
}

async function read(device: BlockDevice, offset: number, length: number): Promise<Uint8Array> {
  const target = new Uint8Array(length);
  const request = await submit(device, (out) => {
    out.kind = IoKind.read;
    out.offset = offset;
    out.length = length;
    out.target = target;
  });
  expect(request.status).toBe(IoStatus.ok);
  return request.isHole ? new Uint8Array(length) : target;
}

async function zero(device: BlockDevice, kind: IoKind, offset: number, length: number) {
  return submit(device, (request) => {
    request.kind = kind;
    request.offset = offset;
    request.length = length;
  });
}

describe('Pool', () => {
  it('gives back what was written, after a restart too, in any alignment', async () => {
    const size = 2 ** 20;
    const model = new Uint8Array(size);
    let { pool } = await open();
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
        expect((await write(pool, device, offset, bytes)).status).toBe(IoStatus.ok);
      } else {
        model.fill(0, offset, offset + length);
        const kind = action === 7 ? IoKind.trim : IoKind.zero;
        expect((await zero(device, kind, offset, length)).status).toBe(IoStatus.ok);
      }
      if (round % 50 === 49) {
        if (round === 99) await close(pool);
        ({ pool } = await open());
        device = pool.volumeOpen('lun0');
        expect(Buffer.compare(await read(device, 0, size), model)).toBe(0);
      }
      const at = random(size - 5000);
      expect(Buffer.compare(await read(device, at, 5000), model.subarray(at, at + 5000))).toBe(0);
    }
    await close(pool);
  });

  it('keeps snapshots as they were, and forgets deleted ones', async () => {
    const { pool } = await open();
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
    const { pool } = await open();
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
  });

  it('logs a tail again that cannot be made durable in place', async () => {
    const first = await open();
    await ask((done) => {
      first.pool.volumeCreate({ name: 'a', sizeBytes: 2 ** 20 }, done);
    });
    await write(first.pool, first.pool.volumeOpen('a'), 0, new Uint8Array(8192).fill(9));
    await ask((done) => {
      first.pool.snapshotCreate([{ volume: 'a', name: 's' }], done);
    });
    const before = first.pool.durableThrough;
    const second = await open(new RefusingDisk(folder));
    expect(second.recovery.relogged).toBeGreaterThan(0);
    expect((await read(second.pool.volumeOpen('a'), 4096, 4096))[0]).toBe(9);
    expect(second.pool.snapshot('a', 's').cut).toBeGreaterThan(before);
    const third = await open();
    expect((await read(third.pool.volumeOpen('a'), 0, 4096))[0]).toBe(9);
    expect(third.pool.snapshot('a', 's').cut).toBe(second.pool.snapshot('a', 's').cut);
    await close(third.pool);
  });
});
