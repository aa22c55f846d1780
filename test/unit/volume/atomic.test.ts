import { closeSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type BlockDevice, IoKind, IoStatus } from '../../../src/device/block-device.ts';
import { AckMode } from '../../../src/volume/catalogue/records.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import {
  ask,
  blockBytes,
  clone,
  close,
  create,
  filled,
  read,
  saveLuState,
  submit,
  submitBytes,
  worldOfTests,
  write,
} from './pool-world.ts';

const world = worldOfTests();

/** Changes the one place in the segments where a block of `value` lies. */
function rot(folder: string, value: number): void {
  const block = Buffer.alloc(blockBytes);
  for (const name of readdirSync(join(folder, 'segments'))) {
    const file = openSync(join(folder, 'segments', name), 'r+');
    for (let at = 0; readSync(file, block, 0, blockBytes, at) === blockBytes; at += blockBytes) {
      if (block.every((byte) => byte === value)) writeSync(file, Uint8Array.of(1), 0, 1, at + 9);
    }
    closeSync(file);
  }
}

async function compareAndWrite(
  pool: Pool,
  device: BlockDevice,
  set: {
    readonly offset: number;
    readonly expected: Uint8Array;
    readonly bytes: Uint8Array;
    readonly fua?: boolean;
  },
  onDone?: () => void,
) {
  return await submitBytes(pool, device, { kind: IoKind.compareAndWrite, ...set }, onDone);
}

describe('compareAndWrite and orWrite', () => {
  it('answer ioError for a block that fails its checksum, say where, and write nothing', async () => {
    const first = await world.open();
    const before = await create(first.pool, 'a', 16);
    for (const value of [7, 8, 9]) {
      await write(first.pool, before, value * blockBytes, filled(blockBytes, value));
    }
    await close(first.pool);
    rot(world.folder, 8);
    const { pool } = await world.open();
    const device = pool.volumeOpen('a');
    const expected = new Uint8Array(3 * blockBytes);
    const place = { offset: 7 * blockBytes, expected, bytes: filled(3 * blockBytes, 1) };
    const compared = await compareAndWrite(pool, device, place);
    expect(compared.status).toBe(IoStatus.ioError);
    expect(compared.errorOffset).toBe(8 * blockBytes);
    const merged = await submitBytes(pool, device, {
      kind: IoKind.orWrite,
      offset: 8 * blockBytes + 100,
      bytes: filled(10, 1),
    });
    expect(merged.status).toBe(IoStatus.ioError);
    expect(merged.errorOffset).toBe(8 * blockBytes + 100);
    expect((await read(device, 7 * blockBytes, 1))[0]).toBe(7);
    expect((await read(device, 9 * blockBytes, 1))[0]).toBe(9);
  });

  it('go before bulk writes that wait for the log, but not before those that they overlap', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 1024);
    const answers: string[] = [];
    const bulk = Array.from({ length: 30 }, async (_, index) => {
      const bytes = filled(16 * blockBytes, index + 1);
      const place = { kind: IoKind.write, offset: index * bytes.length, bytes };
      await submitBytes(pool, device, place, () => answers.push(`bulk ${index}`));
    });
    const apart = compareAndWrite(
      pool,
      device,
      { offset: 1000 * blockBytes, expected: new Uint8Array(512), bytes: filled(512, 1) },
      () => answers.push('apart'),
    );
    const overlapping = compareAndWrite(
      pool,
      device,
      { offset: 20 * 16 * blockBytes, expected: filled(512, 21), bytes: filled(512, 99) },
      () => answers.push('overlapping'),
    );
    await Promise.all([...bulk, apart, overlapping]);
    expect((await apart).status).toBe(IoStatus.ok);
    expect((await overlapping).status).toBe(IoStatus.ok);
    expect(answers.indexOf('apart')).toBeLessThan(5);
    expect(answers.indexOf('overlapping')).toBeGreaterThan(answers.indexOf('bulk 20'));
    expect((await read(device, 20 * 16 * blockBytes, 1))[0]).toBe(99);
  });

  it('keep the order of two that wait for the same block', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 16);
    const chain = Array.from({ length: 20 }, async (_, index) => {
      const expected = filled(512, index);
      return await compareAndWrite(pool, device, {
        offset: 512,
        expected,
        bytes: filled(512, index + 1),
      });
    });
    for (const { status } of await Promise.all(chain)) expect(status).toBe(IoStatus.ok);
    expect((await read(device, 512, 1))[0]).toBe(20);
  });

  it('are durable with FUA on a write-back volume when they are answered', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 16, AckMode.writeBack);
    const { durableThrough } = pool;
    const set = { offset: 0, expected: new Uint8Array(512), bytes: filled(512, 5), fua: true };
    expect((await compareAndWrite(pool, device, set)).status).toBe(IoStatus.ok);
    expect(pool.durableThrough).toBeGreaterThan(durableThrough);
  });

  it('of up to 1 MiB are one write; longer ones are refused', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 1024);
    const long = 2 ** 20 + 512;
    const set = { kind: IoKind.orWrite, offset: 0, bytes: new Uint8Array(long) };
    expect((await submitBytes(pool, device, set)).status).toBe(IoStatus.invalid);
  });
});

/** What each kind of change answers. */
async function statuses(pool: Pool, device: BlockDevice): Promise<readonly IoStatus[]> {
  const bytes = filled(512, 1);
  const present = await read(device, 0, 512);
  const place = { source: device, sourceOffset: 0, offset: blockBytes, length: blockBytes };
  return [
    (await compareAndWrite(pool, device, { offset: 0, expected: present, bytes })).status,
    (await submitBytes(pool, device, { kind: IoKind.orWrite, offset: 0, bytes })).status,
    await clone(device, place),
    await saveLuState(device, bytes),
  ];
}

describe('what changes a volume', () => {
  it('is refused with noSpace by a full pool, which still reads, trims and keeps states', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 64);
    await write(pool, device, 0, filled(32 * blockBytes, 3));
    await ask((done) => {
      pool.settings.resize(pool.space().usedBytes + blockBytes, done);
    });
    const { noSpace, ok } = IoStatus;
    expect(await statuses(pool, device)).toEqual([noSpace, noSpace, noSpace, ok]);
    expect(device.luState).toEqual(filled(512, 1));
    const trim = { kind: IoKind.trim, offset: 0, length: blockBytes };
    expect((await submit(device, trim)).status).toBe(IoStatus.ok);
    await ask((done) => {
      pool.settings.resize(2 ** 29, done);
    });
    expect(await statuses(pool, device)).toEqual([ok, ok, ok, ok]);
  });

  it('is refused with readOnly by a snapshot and by a damaged pool', async () => {
    const first = await world.open();
    const before = await create(first.pool, 'a', 64);
    await write(first.pool, before, 0, filled(4096, 3));
    await ask((done) => {
      first.pool.snapshotCreate([{ volume: 'a', name: 's' }], done);
    });
    const { device, close: closeSnapshot } = await ask<{ device: BlockDevice; close: () => void }>(
      (done) => {
        first.pool.snapshotOpen('a', 's', done);
      },
    );
    const { readOnly } = IoStatus;
    expect(await statuses(first.pool, device)).toEqual([readOnly, readOnly, readOnly, readOnly]);
    closeSnapshot();
    await write(first.pool, before, 4096, filled(4096, 4));
    world.kill();
    // The frame of the first write goes bad; a later one says that it was durable.
    rot(world.folder, 3);
    const { pool } = await world.open();
    expect(pool.readOnlyReason).toBeDefined();
    const damaged = pool.volumeOpen('a');
    expect(damaged.isReadOnly).toBe(true);
    const bytes = filled(512, 1);
    const set = { kind: IoKind.compareAndWrite, offset: 4096, expected: bytes, bytes };
    expect((await submitBytes(pool, damaged, set)).status).toBe(readOnly);
    expect(await saveLuState(damaged, bytes)).toBe(readOnly);
  });
});
