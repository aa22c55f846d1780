/** Packs: what is kept is read from them, what is damaged stays where it is, and files go when nobody reads them. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { unlimitedCdp } from '../../../src/base/cdp-policy.ts';
import { DiskError, type DiskFile } from '../../../src/base/ports.ts';
import { SystemDisk } from '../../../src/host/disk.ts';
import { Seeds } from '../../../src/volume/format/checksum.ts';
import { RecordType } from '../../../src/volume/format/frame.ts';
import { packHeaderBytes } from '../../../src/volume/format/pack.ts';
import { SegmentFiles } from '../../../src/volume/io/segment-files.ts';
import { Keeper } from '../../../src/volume/keeper.ts';
import type { LiveSet } from '../../../src/volume/liveness/live-set.ts';
import { segmentFolder, segmentPath } from '../../../src/volume/log/segment-path.ts';
import { openSqlite } from '../../../src/volume/manifest-database.ts';
import { Containers } from '../../../src/volume/pack/containers.ts';
import type { PackOrder } from '../../../src/volume/pack/pack-plan.ts';
import type { PackReport } from '../../../src/volume/pack/packing.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import { eachFooterEntry, SegmentSource } from '../../../src/volume/recovery/segment-source.ts';
import type { RebuildReport } from '../../../src/volume/reports.ts';
import { finish } from '../../../src/volume/steps.ts';
import {
  ask,
  blockBytes,
  close,
  create,
  filled,
  read,
  snapshot,
  worldOfTests,
  write,
} from './pool-world.ts';

const blocks = 400;
const segmentSlots = 64;
const world = worldOfTests();

/** A disk that refuses to open packs so often. */
class MomentDisk extends SystemDisk {
  refusals: number;
  code: string;

  constructor(folder: string, refusals: number, code: string) {
    super(folder);
    this.refusals = refusals;
    this.code = code;
  }

  override open(...parameters: Parameters<SystemDisk['open']>): DiskFile {
    const [name] = parameters;
    if (!name.startsWith('packs/') || this.refusals === 0) return super.open(...parameters);
    this.refusals -= 1;
    throw new DiskError(this.code, `${name}: refused`);
  }
}

/** Blocks of the head, by value, as they must read. */
async function requireContents(pool: Pool): Promise<void> {
  const device = pool.volumeOpen('lun0');
  for (let block = 0; block < blocks; block += 20) {
    const value = block < 200 ? 7 : block / 20;
    const bytes = await read(device, block * blockBytes, 20 * blockBytes);
    expect(Buffer.compare(bytes, filled(bytes.length, value))).toBe(0);
  }
}

/** A pool with a snapshot whose first half was overwritten since, and garbage; all but the newest segments sealed. */
async function filledPool(): Promise<Pool> {
  const { pool } = await world.open();
  const device = await create(pool, 'lun0', blocks);
  await ask<unknown>((done) => {
    pool.retention.setPolicy({ volume: 'lun0', policy: { ...unlimitedCdp, windowMs: 0 } }, done);
  });
  for (let round = 0; round < 2; round += 1) {
    for (let block = 0; block < blocks; block += 20) {
      await write(pool, device, block * blockBytes, filled(20 * blockBytes, block / 20));
    }
  }
  (await snapshot(pool, 'lun0', 'full')).close();
  for (let block = 0; block < 200; block += 20) {
    await write(pool, device, block * blockBytes, filled(20 * blockBytes, 7));
  }
  await close(pool);
  return (await world.open()).pool;
}

/** Everything that is sealed, with what every volume and snapshot needs of it. */
async function ordersOf(pool: Pool): Promise<PackOrder[]> {
  const live = await ask<LiveSet>((done) => {
    pool.mark.run(done);
  });
  return live.segIds.map((segId) => ({
    segId,
    keep: live.bitmap(segId),
    keptThrough: live.endPosition,
  }));
}

async function pack(pool: Pool, orders: readonly PackOrder[]): Promise<PackReport> {
  return await ask((done) => {
    pool.packing.pack(orders, done);
  });
}

function flip(name: string, position: number): void {
  const file = fs.openSync(path.join(world.folder, name), 'r+');
  const byte = new Uint8Array(1);
  fs.readSync(file, byte, 0, 1, position);
  byte[0] = (byte[0] ?? 0) ^ 0x10;
  fs.writeSync(file, byte, 0, 1, position);
  fs.fsyncSync(file);
  fs.closeSync(file);
}

/** Records of WRITEs that the footer of a packed segment has. */
function writesIn(segId: number, seeds: Seeds): number {
  const containers = new Containers(new SystemDisk(world.folder), segmentSlots, seeds);
  finish(containers.load());
  const source = new SegmentSource(containers, segId, segmentSlots, seeds);
  const footer = source.footer(source.header()?.header.epoch ?? 0);
  source.close();
  if (footer === undefined) throw new Error('no footer');
  let count = 0;
  eachFooterEntry(footer, ({ type }) => {
    if (type === RecordType.write) count += 1;
  });
  return count;
}

async function faultsOf(pool: Pool): Promise<readonly string[]> {
  return await new Promise((resolve) => {
    pool.verify(
      () => undefined,
      ({ faults }) => {
        resolve(faults);
      },
    );
  });
}

describe('packing', () => {
  it('keeps what can be reached, gives the rest back, and packs packs', async () => {
    const pool = await filledPool();
    const orders = await ordersOf(pool);
    const report = await pack(pool, orders);
    expect(report.refused).toEqual([]);
    expect(report.packedSegIds).toEqual(orders.map(({ segId }) => segId));
    expect(report.packBytes).toBeLessThan(report.freedBytes);
    await requireContents(pool);
    expect(pool.packing.packedBytes).toBe(report.packBytes);
    const again = await pack(pool, await ordersOf(pool));
    expect(again.freedBytes).toBe(report.packBytes);
    await requireContents(pool);
    expect(await faultsOf(pool)).toEqual([]);
    await close(pool);
    expect(fs.readdirSync(path.join(world.folder, 'packs'))).toEqual(['00000002.pack']);
    const { pool: reopened } = await world.open();
    await requireContents(reopened);
    const { wasEqual } = await ask<RebuildReport>((done) => {
      reopened.rebuild(() => undefined, done);
    });
    expect(wasEqual).toBe(true);
    for (const { segId } of orders) {
      expect(fs.existsSync(path.join(world.folder, segmentPath(segId)))).toBe(false);
    }
  });

  it('keeps no records of what nobody can reach, and runs can still be made from the rest', async () => {
    const filledBefore = await filledPool();
    const gone = await create(filledBefore, 'gone', blocks);
    for (let block = 0; block < blocks; block += 20) {
      await write(filledBefore, gone, block * blockBytes, filled(20 * blockBytes, 9));
    }
    await close(filledBefore);
    const { pool } = await world.open();
    await ask<unknown>((done) => {
      pool.volumeDelete({ name: 'gone', force: true }, done);
    });
    const orders = await ordersOf(pool);
    const dead = orders.filter(({ keep }) => keep.every((byte) => byte === 0));
    expect(dead.length).toBeGreaterThan(1);
    await pack(pool, dead);
    for (const { segId } of dead) expect(writesIn(segId, new Seeds(pool.uuid))).toBe(0);
    await pack(pool, await ordersOf(pool));
    await close(pool);
    fs.rmSync(path.join(world.folder, 'runs'), { recursive: true });
    const { pool: reopened } = await world.open();
    await requireContents(reopened);
    expect(await faultsOf(reopened)).toEqual([]);
  });

  it('leaves a segment where it is whose kept data is damaged, and names it', async () => {
    const pool = await filledPool();
    const orders = await ordersOf(pool);
    const bad = orders.find(({ keep }) => keep.some((byte) => byte !== 0));
    const slot = [...Array(segmentSlots).keys()].find(
      (each) => ((bad?.keep[each >> 3] ?? 0) & (1 << (each & 7))) !== 0,
    );
    flip(segmentPath(bad?.segId ?? 0), (slot ?? 0) * blockBytes + 17);
    const report = await pack(pool, orders);
    expect(report.refused.map(({ segId }) => segId)).toEqual([bad?.segId]);
    expect(report.refused[0]?.reason).toContain('does not match its checksum');
    expect(report.packedSegIds).not.toContain(bad?.segId);
    expect(fs.existsSync(path.join(world.folder, segmentPath(bad?.segId ?? 0)))).toBe(true);
    expect(await faultsOf(pool)).toHaveLength(1);
    await close(pool);
  });

  it('is refused for segments that are not sealed, and for one twice', async () => {
    const pool = await filledPool();
    const orders = await ordersOf(pool);
    const [first] = orders;
    if (first === undefined) throw new Error('nothing is sealed');
    await expect(pack(pool, [first, first])).rejects.toThrow(/each once/u);
    const newest = Math.max(
      ...fs
        .readdirSync(path.join(world.folder, segmentFolder))
        .map((name) => Number.parseInt(name, 16)),
    );
    await expect(pack(pool, [{ ...first, segId: newest }])).rejects.toThrow(/sealed/u);
    await close(pool);
  });

  it('reads a block by the checksum of the pack when that of the footer is damaged', async () => {
    const pool = await filledPool();
    await pack(pool, await ordersOf(pool));
    const containers = new Containers(
      new SystemDisk(world.folder),
      segmentSlots,
      new Seeds(pool.uuid),
    );
    finish(containers.load());
    const [first] = containers.packs();
    const member = [...(first?.members ?? [])].find(({ keptBlocks }) => keptBlocks > 0);
    if (member === undefined) throw new Error('nothing is kept');
    await close(pool);
    const footer = member.offset + member.keptSlots * blockBytes;
    // All checksums of the footer: they lie between its records and its frames.
    const from = footer + 128 + member.entryCount * 40;
    for (let slot = 0; slot < member.endSlot; slot += 1)
      flip('packs/00000001.pack', from + slot * 4);
    const { pool: reopened } = await world.open();
    await requireContents(reopened);
    expect((await faultsOf(reopened)).join()).toContain('footer');
    await close(reopened);
  });

  it('that cannot be opened and that nothing needs does not keep the pool from opening', async () => {
    const pool = await filledPool();
    await close(pool);
    // Of another owner, or on a bad sector: a folder is refused for everybody.
    fs.mkdirSync(path.join(world.folder, 'packs/00000007.pack'), { recursive: true });
    const { pool: reopened } = await world.open();
    expect(reopened.readOnlyReason).toBeUndefined();
    await requireContents(reopened);
    expect((await faultsOf(reopened)).join()).toContain('pack 7 cannot be read');
    const { packId } = await pack(reopened, await ordersOf(reopened));
    expect(packId).toBe(8);
    await requireContents(reopened);
    await close(reopened);
  });

  it('that cannot be read for a moment is asked for again, and a shortage keeps the pool from opening', async () => {
    const pool = await filledPool();
    await pack(pool, await ordersOf(pool));
    await close(pool);
    const { pool: reopened } = await world.open(new MomentDisk(world.folder, 2, 'EIO'));
    expect(reopened.readOnlyReason).toBeUndefined();
    await requireContents(reopened);
    expect(await faultsOf(reopened)).toEqual([]);
    await close(reopened);
    await expect(world.open(new MomentDisk(world.folder, 1, 'EMFILE'))).rejects.toThrow(
      'pack 1 cannot be read (',
    );
  });

  it('that the keeper could not read at first is known to it later', async () => {
    const pool = await filledPool();
    const orders = await ordersOf(pool);
    await pack(pool, orders);
    const { uuid: poolUuid } = pool;
    await close(pool);
    const [first] = orders;
    const end = { segId: first?.segId ?? 0, endAddress: 0, isSealed: true };
    for (const code of ['EIO', 'EMFILE']) {
      const disk = new MomentDisk(world.folder, 4, code);
      const manifestPath = path.join(world.folder, 'manifest.db');
      const keeper = new Keeper({ poolUuid, segmentSlots, manifestPath }, disk, {
        pause: () => undefined,
        openDatabase: openSqlite,
      });
      const results = Array.from({ length: 6 }, () =>
        keeper.run({ kind: 'rebuild-footer', ...end }),
      );
      expect('error' in (results[0] ?? {})).toBe(true);
      expect(results.at(-1)).toMatchObject({ wasEqual: true });
      expect(results.at(-1)).not.toHaveProperty('error');
      keeper.close();
    }
  });

  it('that is damaged and that nothing needs is removed when somebody cleans', async () => {
    const pool = await filledPool();
    await pack(pool, await ordersOf(pool));
    const former = fs.readFileSync(path.join(world.folder, 'packs/00000001.pack'));
    await pack(pool, await ordersOf(pool));
    await close(pool);
    // As a crash leaves it that fell between the new pack and the removal of the former one.
    fs.writeFileSync(path.join(world.folder, 'packs/00000001.pack'), former);
    flip('packs/00000001.pack', packHeaderBytes - 1);
    const { pool: reopened } = await world.open();
    expect(await faultsOf(reopened)).toEqual([
      "pack 1 is damaged; nothing needs it: 'pool clean' removes it",
    ]);
    await ask((done) => {
      reopened.cleaner.run(() => undefined, done);
    });
    expect(await faultsOf(reopened)).toEqual([]);
    expect(fs.existsSync(path.join(world.folder, 'packs/00000001.pack'))).toBe(false);
    await requireContents(reopened);
    await close(reopened);
  });

  it('that was begun and cannot be removed does not keep the keeper from closing', async () => {
    const pool = await filledPool();
    const members = await ordersOf(pool);
    const { uuid: poolUuid } = pool;
    await close(pool);
    const disk = new SystemDisk(world.folder);
    const manifestPath = path.join(world.folder, 'manifest.db');
    const keeper = new Keeper({ poolUuid, segmentSlots, manifestPath }, disk, {
      pause: () => undefined,
      openDatabase: openSqlite,
    });
    expect(keeper.run({ kind: 'pack', plan: { packId: 1, members } })).toEqual({ kind: 'pack' });
    disk.remove = (name) => {
      throw new DiskError('EIO', `${name}: refused`);
    };
    keeper.close();
    expect(fs.readdirSync(path.join(world.folder, 'packs'))).toEqual(['00000001.pack.new']);
    const { pool: reopened } = await world.open();
    expect(fs.readdirSync(path.join(world.folder, 'packs'))).toEqual([]);
    await close(reopened);
  });

  it('is refused behind the last id that a pack can have', async () => {
    const pool = await filledPool();
    await close(pool);
    fs.mkdirSync(path.join(world.folder, 'packs'), { recursive: true });
    fs.writeFileSync(path.join(world.folder, 'packs/ffffffff.pack'), 'of somebody else');
    const { pool: reopened } = await world.open();
    await expect(pack(reopened, await ordersOf(reopened))).rejects.toThrow('last id');
    await requireContents(reopened);
    await close(reopened);
  });

  it('that is damaged itself makes the pool read-only, and the segments are named', async () => {
    const pool = await filledPool();
    await pack(pool, await ordersOf(pool));
    await close(pool);
    flip('packs/00000001.pack', packHeaderBytes - 1);
    const { pool: reopened } = await world.open();
    expect(reopened.readOnlyReason).toContain('pack 1 is damaged');
    expect(reopened.readOnlyReason).toMatch(/segments? /u);
    await close(reopened);
  });
});

it('a file is given up when the last read from it is back, also when the cache has dropped it', async () => {
  const pool = await filledPool();
  const disk = new SystemDisk(world.folder);
  const containers = new Containers(disk, segmentSlots, new Seeds(pool.uuid));
  const files = new SegmentFiles(disk, containers, 1);
  const retired: number[] = [];
  const first = files.acquire(1);
  const again = files.acquire(1);
  files.file(2);
  files.retire(1, () => retired.push(1));
  files.retire(2, () => retired.push(2));
  expect(retired).toEqual([2]);
  files.release(first);
  expect(retired).toEqual([2]);
  files.release(again);
  expect(retired).toEqual([2, 1]);
  files.closeAll();
  await close(pool);
});
