/** Verified reads: one bit that flipped is found on every way on which bytes of the log reach a client, and is never shown. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DiskFile } from '../../../src/base/ports.ts';
import {
  type BlockDevice,
  IoKind,
  type IoRequest,
  IoStatus,
} from '../../../src/device/block-device.ts';
import { SystemDisk } from '../../../src/host/disk.ts';
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
  snapshot,
  submit,
  submitBytes,
  worldOfTests,
  write,
} from './pool-world.ts';

type Way = 'now' | 'later';

/** Notes on which way data of the log was read: at once (it is thought to be cached), or through the thread pool. */
class WatchedDisk extends SystemDisk {
  readonly ways: Way[] = [];

  override open(...parameters: Parameters<SystemDisk['open']>): DiskFile {
    const file = super.open(...parameters);
    if (!/^(segments|packs)\//.test(parameters[0])) return file;
    return new Proxy(file, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        const way = { read: 'now', readLater: 'later' }[String(name)];
        return (...args: unknown[]): unknown => {
          const [bytes] = args;
          const isData = bytes instanceof Uint8Array && bytes.length === blockBytes;
          if ((way === 'now' || way === 'later') && isData) this.ways.push(way);
          return value.apply(target, args);
        };
      },
    });
  }
}

const world = worldOfTests();
/** What the block that is damaged is filled with, and those before and behind it. */
const value = 0xa7;
const block = 5;
/** Less than a segment: what is written is not sealed, which reads it. */
const blocks = 30;

/** Flips one bit in each block of the log and of packs that is filled with `value`; how many there are. */
function flip(): number {
  let count = 0;
  for (const folder of ['segments', 'packs']) {
    const place = path.join(world.folder, folder);
    for (const name of fs.existsSync(place) ? fs.readdirSync(place) : []) {
      const bytes = fs.readFileSync(path.join(place, name));
      const wanted = Buffer.alloc(blockBytes, value);
      const at = bytes.indexOf(wanted);
      if (at < 0) continue;
      const file = fs.openSync(path.join(place, name), 'r+');
      fs.writeSync(file, Uint8Array.of(value ^ 0x40), 0, 1, at + 1234);
      fs.closeSync(file);
      count += 1;
    }
  }
  return count;
}

async function fill(pool: Pool, ack: AckMode): Promise<BlockDevice> {
  const device = await create(pool, 'a', blocks, ack);
  await write(pool, device, 0, filled(block * blockBytes, 1));
  await write(pool, device, block * blockBytes, filled(blockBytes, value));
  await write(pool, device, (block + 1) * blockBytes, filled((blocks - block - 1) * blockBytes, 2));
  return device;
}

async function packAll(pool: Pool): Promise<void> {
  const live = await ask((done: Parameters<Pool['mark']['run']>[0]) => {
    pool.mark.run(done);
  });
  const orders = live.segIds.map((segId) => ({
    segId,
    keep: live.bitmap(segId),
    keptThrough: live.endPosition,
  }));
  const { packedSegIds } = await ask((done: Parameters<Pool['packing']['pack']>[1]) => {
    pool.packing.pack(orders, done);
  });
  expect(packedSegIds.length).toBeGreaterThan(0);
}

/** Where the bytes are when the bit flips. */
const states: Readonly<Record<string, (disk: WatchedDisk) => Promise<BlockDevice>>> = {
  'a segment that is being written': async (disk) => {
    const { pool } = await world.open(disk);
    return await fill(pool, AckMode.durable);
  },
  'write-back data that was not flushed': async (disk) => {
    const { pool } = await world.open(disk);
    return await fill(pool, AckMode.writeBack);
  },
  'a tail that was recovered after a kill': async (disk) => {
    await fill((await world.open()).pool, AckMode.writeBack);
    const { pool } = await world.open(disk);
    return pool.volumeOpen('a');
  },
  'a sealed segment': async (disk) => {
    const { pool: first } = await world.open();
    await fill(first, AckMode.durable);
    await close(first);
    const { pool } = await world.open(disk);
    return pool.volumeOpen('a');
  },
  'a pack': async (disk) => {
    const { pool: first } = await world.open();
    await fill(first, AckMode.durable);
    await close(first);
    const { pool } = await world.open(disk);
    await packAll(pool);
    return pool.volumeOpen('a');
  },
  'a snapshot': async (disk) => {
    const { pool } = await world.open(disk);
    const device = await fill(pool, AckMode.durable);
    const { device: past } = await snapshot(pool, 'a', 's');
    await write(pool, device, block * blockBytes, filled(blockBytes, 3));
    return past;
  },
  'a view': async (disk) => {
    const { pool } = await world.open(disk);
    await fill(pool, AckMode.durable);
    await ask((done: Parameters<Pool['viewCreate']>[1]) => {
      pool.viewCreate({ source: 'a', name: 'v', at: 'now', isClone: false }, done);
    });
    return pool.volumeOpen('v');
  },
};

async function readBlock(device: BlockDevice): Promise<IoRequest> {
  const set = { kind: IoKind.read, offset: block * blockBytes, length: blockBytes };
  return await submit(device, { ...set, target: new Uint8Array(blockBytes) });
}

async function requireNeighbours(device: BlockDevice): Promise<void> {
  expect(await read(device, (block - 1) * blockBytes, blockBytes)).toEqual(filled(blockBytes, 1));
  expect(await read(device, (block + 1) * blockBytes, blockBytes)).toEqual(filled(blockBytes, 2));
}

describe('a bit that flipped', () => {
  describe.each(Object.keys(states))('in %s', (state) => {
    // Recovery has read its tail.
    const ways: Way[] = state.includes('recovered') ? ['now'] : ['later', 'now'];
    it.each(ways)('is an error, and nothing else is, when it is read %s', async (way) => {
      const disk = new WatchedDisk(world.folder);
      const prepare = states[state];
      if (prepare === undefined) throw new Error(state);
      const device = await prepare(disk);
      // What was read once is thought to be in the page cache.
      if (way === 'now') expect((await readBlock(device)).status).toBe(IoStatus.ok);
      expect(flip()).toBeGreaterThan(0);
      disk.ways.length = 0;
      const { status, errorOffset } = await readBlock(device);
      expect({ status, errorOffset }).toEqual({
        status: IoStatus.ioError,
        errorOffset: block * blockBytes,
      });
      expect(disk.ways[0]).toBe(way);
      await requireNeighbours(device);
      expect((await readBlock(device)).status).toBe(IoStatus.ioError);
    });
  });

  it('gets no new checksum: what must read the block first, to change a part of it, fails', async () => {
    const { pool } = await world.open();
    const device = await fill(pool, AckMode.durable);
    const other = await create(pool, 'b', blocks);
    flip();
    const offset = block * blockBytes + 512;
    const part = { offset, bytes: filled(512, 9) };
    for (const kind of [IoKind.write, IoKind.orWrite]) {
      expect((await submitBytes(pool, device, { kind, ...part })).status).toBe(IoStatus.ioError);
    }
    for (const kind of [IoKind.zero, IoKind.trim]) {
      const { status } = await submit(device, { kind, offset, length: 512 });
      expect([IoStatus.ioError, IoStatus.ok]).toContain(status);
    }
    const place = { source: device, sourceOffset: block * blockBytes, offset: 0 };
    expect(await clone(other, { ...place, length: blockBytes })).toBe(IoStatus.ok);
    // A clone shares the block: it is as unreadable there.
    await expect(read(other, 0, blockBytes)).rejects.toThrow('status 1');
    expect((await readBlock(device)).status).toBe(IoStatus.ioError);
    await requireNeighbours(device);
    // Written over as a whole it is good again.
    expect(await write(pool, device, block * blockBytes, filled(blockBytes, 4))).toBe(IoStatus.ok);
    expect(await read(device, block * blockBytes, blockBytes)).toEqual(filled(blockBytes, 4));
  });

  it('in an index run leads to no other block', async () => {
    const { pool: first } = await world.open();
    const before = await fill(first, AckMode.durable);
    // Segments enough that runs are made of them.
    for (let round = 0; round < 40; round += 1) {
      await write(first, before, 0, filled(block * blockBytes, 1));
    }
    await close(first);
    const folder = path.join(world.folder, 'runs');
    const names = fs.readdirSync(folder);
    expect(names.length).toBeGreaterThan(0);
    const wanted = await contentOf();
    for (const name of names) {
      const size = fs.statSync(path.join(folder, name)).size;
      for (let at = 40; at < size; at += 997)
        await requireHarmless(path.join(folder, name), at, wanted);
    }
  });
});

async function contentOf(): Promise<Uint8Array> {
  const { pool } = await world.open();
  const bytes = await read(pool.volumeOpen('a'), 0, blocks * blockBytes);
  await close(pool);
  return bytes;
}

/** Flips a bit at `at` of the file: what is read afterwards is right, or refused. */
async function requireHarmless(name: string, at: number, wanted: Uint8Array): Promise<void> {
  const whole = fs.readFileSync(name);
  const file = fs.openSync(name, 'r+');
  fs.writeSync(file, Uint8Array.of((whole[at] ?? 0) ^ 4), 0, 1, at);
  fs.closeSync(file);
  const { pool } = await world.open();
  const target = new Uint8Array(wanted.length);
  const set = { kind: IoKind.read, offset: 0, length: wanted.length, target };
  const { status } = await submit(pool.volumeOpen('a'), set);
  if (status === IoStatus.ok) expect(Buffer.compare(target, wanted)).toBe(0);
  else expect(status).toBe(IoStatus.ioError);
  await close(pool);
  if (fs.existsSync(name)) fs.writeFileSync(name, whole);
}
