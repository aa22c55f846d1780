import { describe, expect, it, vi } from 'vitest';
import {
  type BlockDevice,
  type Extent,
  ExtentState,
  IoKind,
  IoStatus,
} from '../../../src/device/block-device.ts';
import { AckMode } from '../../../src/volume/catalogue/records.ts';
import { limits } from '../../../src/volume/limits.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import {
  ask,
  blockBytes,
  clone,
  close,
  create,
  filled,
  isSound,
  PoolWorld,
  RefusingDisk,
  read,
  snapshot,
  submit,
  worldOfTests,
  write,
} from './pool-world.ts';

const world = worldOfTests();

async function byteAt(device: BlockDevice, block: number): Promise<number | undefined> {
  return (await read(device, block * blockBytes, blockBytes))[100];
}

async function bytesAt(device: BlockDevice, blocks: readonly number[]): Promise<unknown> {
  return await Promise.all(blocks.map(async (block) => await byteAt(device, block)));
}

async function extentsOf(device: BlockDevice): Promise<readonly Extent[]> {
  return await new Promise((resolve) => {
    device.extents(0, device.sizeBytes, 10_000, resolve);
  });
}

/** What a clone over two writes holds, wherever they lie now. */
async function requireRelogged(pool: Pool): Promise<void> {
  const shown = await bytesAt(pool.volumeOpen('b'), [9, 10, 12, 13, 14, 15]);
  expect(shown).toEqual([0, 1, 1, 2, 2, 0]);
  expect(pool.mappedBytes(pool.volume('b'))).toBe(5 * blockBytes);
}

describe('clone', () => {
  it('shares blocks with a volume, keeps them when the source changes or goes, and survives restarts', async () => {
    let { pool } = await world.open();
    const source = await create(pool, 'a', 64);
    let device = await create(pool, 'b', 64);
    await write(pool, source, 4 * blockBytes, filled(8 * blockBytes, 1));
    await submit(source, {
      kind: IoKind.zero,
      offset: 12 * blockBytes,
      length: blockBytes,
      noHole: true,
    });
    const { durableThrough } = pool;
    const place = { source, sourceOffset: 0, offset: 16 * blockBytes, length: 32 * blockBytes };
    expect(await clone(device, place)).toBe(IoStatus.ok);
    // Header blocks only: no data was copied.
    expect(pool.durableThrough - durableThrough).toBe(1);
    expect(pool.mappedBytes(pool.volume('b'))).toBe(8 * blockBytes);
    await write(pool, source, 5 * blockBytes, filled(blockBytes, 2));
    await write(pool, device, 22 * blockBytes, filled(blockBytes, 3));
    await ask((done) => {
      pool.volumeDelete({ name: 'a', force: false }, done);
    });
    for (const isClean of [false, true]) {
      const shown = await bytesAt(device, [19, 20, 21, 22, 23, 27, 28]);
      expect(shown).toEqual([0, 1, 1, 3, 1, 1, 0]);
      expect(
        (await extentsOf(device)).map(({ length, state }) => [length / blockBytes, state]),
      ).toEqual([
        [20, ExtentState.hole],
        [8, ExtentState.data],
        [1, ExtentState.zero],
        [35, ExtentState.hole],
      ]);
      expect(pool.mappedBytes(pool.volume('b'))).toBe(8 * blockBytes);
      expect(await isSound(pool)).toBe(true);
      if (isClean) await close(pool);
      ({ pool } = await world.open());
      device = pool.volumeOpen('b');
    }
  });

  it('reads a snapshot as it was, also one whose volume was rolled back', async () => {
    const { pool } = await world.open();
    const source = await create(pool, 'a', 16);
    await write(pool, source, 0, filled(4 * blockBytes, 1));
    const opened = await snapshot(pool, 'a', 's');
    await write(pool, source, 0, filled(4 * blockBytes, 2));
    expect(source.canCloneFrom(opened.device)).toBe(true);
    const place = { source: opened.device, sourceOffset: 0, length: 2 * blockBytes };
    expect(await clone(source, { ...place, offset: 8 * blockBytes })).toBe(IoStatus.ok);
    expect(await clone(source, { ...place, offset: blockBytes })).toBe(IoStatus.ok);
    const shown = await bytesAt(source, [0, 1, 2, 3, 8, 9]);
    expect(shown).toEqual([2, 1, 1, 2, 1, 1]);
    opened.close();
  });

  it('in more records than fit one frame is there whole when it is answered, after a restart too', async () => {
    let { pool } = await world.open();
    const blocks = 3 * limits.clonePartsMax;
    const source = await create(pool, 'a', blocks, AckMode.writeBack);
    const device = await create(pool, 'b', blocks, AckMode.writeBack);
    // Every other block is a hole, so each block is a record of its own.
    for (let first = 0; first < blocks; first += 256) {
      const writes = Array.from({ length: 128 }, async (_, index) => {
        const at = first + index * 2;
        return await write(pool, source, at * blockBytes, filled(blockBytes, 1 + (at % 251)));
      });
      await Promise.all(writes);
    }
    const length = blocks * blockBytes;
    expect(await clone(device, { source, sourceOffset: 0, offset: 0, length })).toBe(IoStatus.ok);
    await submit(device, { kind: IoKind.flush });
    for (let round = 0; round < 2; round += 1) {
      const shown = pool.volumeOpen('b');
      await vi.waitFor(() => {
        expect(pool.mappedBytes(pool.volume('b'))).toBe((blocks / 2) * blockBytes);
      });
      for (const at of [0, 1, 1023, 1024, 2046, blocks - 2, blocks - 1]) {
        expect(await byteAt(shown, at)).toBe(at % 2 === 0 ? 1 + (at % 251) : 0);
      }
      ({ pool } = await world.open());
    }
  });

  it('is logged again with its blocks when the tail of the log cannot be made durable in place', async () => {
    const first = await world.open();
    // Nothing is flushed, so both writes and the clone are the tail.
    const source = await create(first.pool, 'a', 64, AckMode.writeBack);
    const device = await create(first.pool, 'b', 64, AckMode.writeBack);
    // Two writes that lie side by side, so that the clone is one record over both.
    await Promise.all([
      write(first.pool, source, 0, filled(3 * blockBytes, 1)),
      write(first.pool, source, 3 * blockBytes, filled(2 * blockBytes, 2)),
    ]);
    const place = { source, sourceOffset: 0, offset: 10 * blockBytes, length: 6 * blockBytes };
    expect(await clone(device, place)).toBe(IoStatus.ok);
    const second = await world.open(new RefusingDisk(world.folder));
    expect(second.recovery.relogged).toBeGreaterThanOrEqual(3);
    await requireRelogged(second.pool);
    const third = await world.open();
    await requireRelogged(third.pool);
    expect(await isSound(third.pool)).toBe(true);
  });

  it('between two volumes and a refresh of one from the other never wait for each other', async () => {
    const { pool } = await world.open();
    const source = await create(pool, 'a', 16);
    await ask((done) => {
      pool.viewCreate({ source: 'a', name: 'v', at: 'now', isClone: false }, done);
    });
    const view = pool.volumeOpen('v');
    // The refresh waits for a write to the view when the clone comes, and both want both lines.
    const writing = write(pool, view, 0, filled(blockBytes, 1));
    const refreshing = ask((done) => {
      pool.viewRefresh({ name: 'v', at: 'now' }, done);
    });
    const place = { sourceOffset: 0, offset: 4 * blockBytes, length: blockBytes };
    const cloning = clone(view, { source, ...place });
    const back = clone(source, { source: view, ...place });
    expect(await writing).toBe(IoStatus.ok);
    await refreshing;
    expect(await cloning).toBe(IoStatus.shuttingDown);
    expect(await back).toBe(IoStatus.shuttingDown);
  });

  it('within a volume gets by when the whole volume is to be locked between its two ranges', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 64);
    await write(pool, device, 0, filled(2 * blockBytes, 6));
    const writing = write(pool, device, 32 * blockBytes + 5, filled(10, 1));
    const place = {
      source: device,
      sourceOffset: 0,
      offset: 32 * blockBytes,
      length: 2 * blockBytes,
    };
    const cloning = clone(device, place);
    const locking = ask((done) => {
      pool.volumeSetAck({ name: 'a', ack: AckMode.writeBack }, done);
    });
    expect(await writing).toBe(IoStatus.ok);
    expect(await cloning).toBe(IoStatus.ok);
    await locking;
    expect(await byteAt(device, 33)).toBe(6);
  });

  it('is refused between pools', async () => {
    const other = new PoolWorld();
    try {
      const { pool } = await world.open();
      const device = await create(pool, 'a', 16);
      const foreign = await create((await other.open()).pool, 'a', 16);
      expect(device.canCloneFrom(foreign)).toBe(false);
      const place = { source: foreign, sourceOffset: 0, offset: 0, length: blockBytes };
      expect(await clone(device, place)).toBe(IoStatus.invalid);
    } finally {
      other.remove();
    }
  });
});
