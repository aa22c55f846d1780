/** Opening from the newest checkpoint on: what is read, what is believed, and what damage does that nobody looked for. */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  cpSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DiskFile, OpenOptions } from '../../../src/base/ports.ts';
import { SystemDisk } from '../../../src/host/disk.ts';
import { limits } from '../../../src/volume/limits.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import { ask, blockBytes, close, create, isSound, PoolWorld, read, write } from './pool-world.ts';

const segmentBytes = 64 * blockBytes;
const pieces = 40;
const pieceBytes = 48 * blockBytes;

class WatchedDisk extends SystemDisk {
  readonly segments = new Set<string>();

  override open(path: string, options: OpenOptions): DiskFile {
    if (path.startsWith('segments/')) this.segments.add(path);
    return super.open(path, options);
  }
}

const content = randomBytes(pieces * pieceBytes);
/** Its folder is what each test begins with a copy of. */
const prepared = new PoolWorld();
let world: PoolWorld;

beforeAll(async () => {
  const { pool } = await prepared.open();
  const device = await create(pool, 'v', content.length / blockBytes);
  for (let at = 0; at < content.length; at += pieceBytes) {
    await write(pool, device, at, content.subarray(at, at + pieceBytes));
    // A copy as it is now; what is in the write-ahead log is not in it.
    if (at === (pieces / 2) * pieceBytes) {
      copyFileSync(join(prepared.folder, 'manifest.db'), join(prepared.folder, kept));
    }
  }
  await close(pool);
});

afterAll(() => {
  prepared.remove();
});

beforeEach(() => {
  world = new PoolWorld();
  cpSync(prepared.folder, world.folder, { recursive: true });
});

afterEach(() => {
  world.remove();
});

const kept = 'manifest.kept';

function removeManifest(): void {
  for (const name of ['manifest.db', 'manifest.db-wal', 'manifest.db-shm']) {
    rmSync(join(world.folder, name), { force: true });
  }
}

function segmentPath(index: number): string {
  const name = readdirSync(join(world.folder, 'segments')).sort()[index];
  return join(world.folder, 'segments', name ?? '');
}

/** Changes every byte from `from` to `to`. */
function damage(path: string, from: number, to: number): void {
  const file = openSync(path, 'r+');
  const bytes = new Uint8Array(to - from);
  readSync(file, bytes, 0, bytes.length, from);
  writeSync(
    file,
    bytes.map((byte) => byte ^ 0x5a),
    0,
    bytes.length,
    from,
  );
}

async function contentOf(pool: Pool): Promise<Uint8Array> {
  const found = new Uint8Array(content.length);
  const device = pool.volumeOpen('v');
  for (let at = 0; at < content.length; at += pieceBytes) {
    found.set(await read(device, at, pieceBytes), at);
  }
  return found;
}

/** Blocks that cannot be read; all others must be right. */
async function badBlocks(pool: Pool): Promise<number[]> {
  const bad: number[] = [];
  const device = pool.volumeOpen('v');
  for (let at = 0; at < content.length; at += blockBytes) {
    try {
      const found = await read(device, at, blockBytes);
      expect(Buffer.compare(found, content.subarray(at, at + blockBytes))).toBe(0);
    } catch (thrown) {
      if (!(thrown instanceof Error) || !thrown.message.includes('status')) throw thrown;
      bad.push(at / blockBytes);
    }
  }
  return bad;
}

describe('opening', () => {
  it('reads the log from the newest checkpoint on and nothing before', async () => {
    const disk = new WatchedDisk(world.folder);
    // Nothing is filled before it is touched: footers would be read where the runs of the prepared pool were not made yet.
    const { warmUpLeavesPerSlice } = limits;
    Object.assign(limits, { warmUpLeavesPerSlice: 0 });
    const { pool, recovery } = await world.open(disk);
    Object.assign(limits, { warmUpLeavesPerSlice });
    expect(recovery.isWhole).toBe(false);
    expect(pool.space().segmentCount).toBeGreaterThan(pieces / 2);
    expect(disk.segments.size).toBeLessThan(pieces / 3);
    expect(Buffer.compare(await contentOf(pool), content)).toBe(0);
    expect(await isSound(pool)).toBe(true);
    await close(pool);
  });

  it('finds a damaged footer when it is needed, and makes it again from the frames', async () => {
    const path = segmentPath(4);
    damage(path, segmentBytes + 40, statSync(path).size);
    const { pool, recovery } = await world.open();
    expect(recovery.isWhole).toBe(false);
    expect(pool.readOnlyReason).toBeUndefined();
    expect(Buffer.compare(await contentOf(pool), content)).toBe(0);
    expect(await isSound(pool)).toBe(true);
    await close(pool);
  });

  it('answers damaged blocks of old segments with errors, and no others', async () => {
    damage(segmentPath(4), 20 * blockBytes, 20 * blockBytes + 1);
    damage(segmentPath(5), 30 * blockBytes + 7, 31 * blockBytes + 9);
    const { pool, recovery } = await world.open();
    expect(recovery.isWhole).toBe(false);
    expect((await badBlocks(pool)).length).toBe(3);
    expect(await isSound(pool)).toBe(false);
    await close(pool);
  });

  it('is read-only when a segment is missing that the manifest has', async () => {
    rmSync(segmentPath(4));
    const { pool, recovery } = await world.open();
    expect(recovery.isWhole).toBe(true);
    expect(pool.readOnlyReason).toContain('missing');
    await close(pool);
  });

  it('reads all of the log without a manifest, and fills one that is believed the next time', async () => {
    removeManifest();
    const first = await world.open();
    expect(first.recovery.isWhole).toBe(true);
    expect(await isSound(first.pool)).toBe(true);
    await close(first.pool);
    const second = await world.open();
    expect(second.recovery.isWhole).toBe(false);
    expect(await isSound(second.pool)).toBe(true);
    await close(second.pool);
  });

  it('goes on from an older manifest, and does without a damaged one', async () => {
    removeManifest();
    copyFileSync(join(world.folder, kept), join(world.folder, 'manifest.db'));
    const first = await world.open();
    expect(Buffer.compare(await contentOf(first.pool), content)).toBe(0);
    expect(await isSound(first.pool)).toBe(true);
    await close(first.pool);
    const path = join(world.folder, 'manifest.db');
    damage(path, 0, statSync(path).size);
    const second = await world.open();
    expect(second.recovery.isWhole).toBe(true);
    expect(Buffer.compare(await contentOf(second.pool), content)).toBe(0);
    expect(await isSound(second.pool)).toBe(true);
    await close(second.pool);
  });

  it('tells that the newest segment was written, also when its first pages are zeros', async () => {
    const { pool } = await world.open();
    const device = pool.volumeOpen('v');
    for (let block = 0; block < 20; block += 1) {
      await write(pool, device, block * blockBytes, content.subarray(0, blockBytes));
    }
    world.kill();
    const paths = [...Array(readdirSync(join(world.folder, 'segments')).length).keys()];
    const newest = paths.map(segmentPath).findLast((path) => readFileSync(path).some(Boolean));
    const file = openSync(newest ?? '', 'r+');
    writeSync(file, new Uint8Array(4 * blockBytes), 0, 4 * blockBytes, 0);
    closeSync(file);
    const { pool: opened } = await world.open();
    expect(opened.readOnlyReason).toContain('it held durable frames; they are lost');
    await close(opened);
  });

  it('does not mind what a damaged page makes of a manifest', async () => {
    const nothing = 'NULL';
    const text = `'${'x'.repeat(500)}'`;
    for (const value of [nothing, text, '7']) {
      for (const table of ['segment_group', 'epoch']) {
        const manifest = new Database(join(world.folder, 'manifest.db'));
        manifest.exec(withColumn(table, value));
        manifest.close();
        const { pool, recovery } = await world.open();
        expect(recovery.isWhole).toBe(true);
        expect(pool.readOnlyReason).toBeUndefined();
        expect(Buffer.compare(await contentOf(pool), content)).toBe(0);
        await ask((done) => {
          pool.rebuild(() => undefined, done);
        });
        expect(await isSound(pool)).toBe(true);
        await close(pool);
      }
    }
  });
});

/** As one changed bit leaves it: of another type, or NULL where the schema allows none. */
function withColumn(table: string, value: string): string {
  const [columns, others] =
    table === 'epoch'
      ? ['epoch INTEGER PRIMARY KEY, node, open_id, start_position', `'00', ${value}, 0`]
      : ['id INTEGER PRIMARY KEY, rows', value];
  return `DROP TABLE ${table}; CREATE TABLE ${table} (${columns}); INSERT INTO ${table} VALUES (0, ${others});`;
}
