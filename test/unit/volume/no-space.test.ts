/** The file system has no space for a write of the log all at once, because others took it: nothing is lost, and it goes on when it can. */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DiskError, type DiskFile } from '../../../src/base/ports.ts';
import { type BlockDevice, IoStatus } from '../../../src/device/block-device.ts';
import { SystemDisk } from '../../../src/host/disk.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import type { CleanerPass } from '../../../src/volume/reports.ts';
import { inlineHost, systemTime } from '../../support/inline-host.ts';
import { ask, blockBytes, create, filled, openOn, read, write } from './pool-world.ts';

const chunkBytes = 8 * blockBytes;
const chunks = 40;

/** From a call on it has no space for writes to segments, nor for their files, so many times; half of what does not fit is written. */
class FullDisk extends SystemDisk {
  refusals = 0;
  refused = { writes: 0, files: 0 };

  override open(...parameters: Parameters<SystemDisk['open']>): DiskFile {
    const [path, options] = parameters;
    const isSegment = path.startsWith('segments/') && options.isDirect === true;
    if (isSegment && options.create && this.#refuses()) {
      this.refused.files += 1;
      throw new DiskError('ENOSPC', `${path}: no space left`);
    }
    const file = super.open(...parameters);
    if (!isSegment) return file;
    const writes = file.write.bind(file);
    file.write = (pieces, position) => {
      if (this.#refuses()) {
        writes(pieces.slice(0, pieces.length >> 1), position);
        this.refused.writes += 1;
        throw new DiskError('ENOSPC', `${path}: no space left`);
      }
      writes(pieces, position);
    };
    return file;
  }

  #refuses(): boolean {
    if (this.refusals === 0) return false;
    this.refusals -= 1;
    return true;
  }
}

let folder = '';
let host: ReturnType<typeof inlineHost> | undefined;
let failures: string[] = [];
/** How often a write had been tried again, each time it was asked. */
let patience: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-space-'));
  failures = [];
  patience = [];
});

afterEach(() => {
  host?.abandon();
  rmSync(folder, { recursive: true, force: true });
});

/** Opens the pool; nothing is made ahead, so the log extends its files as it goes. */
async function open(disk: SystemDisk, tries = 0): Promise<Pool> {
  host?.abandon();
  host = inlineHost(folder, disk, systemTime, (tried) => {
    patience.push(tried);
    return tried < tries;
  });
  const { pool } = await openOn(host, folder, { readySegments: 0 }, (message) => {
    failures.push(message);
  });
  return pool;
}

async function holds(device: BlockDevice, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    expect(await read(device, index * chunkBytes, chunkBytes)).toEqual(
      filled(chunkBytes, index + 1),
    );
  }
}

it('does not stop a log that extends its files: writes wait, and are answered when there is some', async () => {
  const disk = new FullDisk(folder);
  const pool = await open(disk, 3);
  const device = await create(pool, 'v', chunks * 8);
  for (let index = 0; index < chunks; index += 1) {
    if (index % 3 === 0) disk.refusals = 1 + (index % 2);
    const status = await write(pool, device, index * chunkBytes, filled(chunkBytes, index + 1));
    expect(status).toBe(IoStatus.ok);
  }
  expect(disk.refused.writes).toBeGreaterThan(chunks / 4);
  expect(disk.refused.files).toBeGreaterThan(0);
  expect(failures).toEqual([]);
  await holds(device, chunks);
  const again = await open(new SystemDisk(folder));
  await holds(again.volumeOpen('v'), chunks);
});

it('stops it when there is none for too long; what was answered before is there', async () => {
  const disk = new FullDisk(folder);
  const pool = await open(disk, 3);
  const device = await create(pool, 'v', chunks * 8);
  for (let index = 0; index < 5; index += 1) {
    await write(pool, device, index * chunkBytes, filled(chunkBytes, index + 1));
  }
  disk.refusals = Number.POSITIVE_INFINITY;
  const written = write(pool, device, 0, filled(chunkBytes, 99));
  await vi.waitUntil(() => failures.length > 0);
  expect(patience).toEqual([0, 1, 2, 3]);
  expect(failures[0]).toContain('no space left');
  const again = await open(new SystemDisk(folder));
  await holds(again.volumeOpen('v'), 5);
  void written;
});

/** A file system of so many bytes that has nothing but the pool. */
class SmallFileSystem extends SystemDisk {
  capacityBytes = Number.POSITIVE_INFINITY;

  /** From now on nothing is free. */
  fill(): void {
    this.capacityBytes = this.#usedBytes();
  }

  override freeBytes(): number {
    return Math.max(0, Math.min(this.capacityBytes, 2 ** 40) - this.#usedBytes());
  }

  #usedBytes(): number {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    return files.reduce((sum, { parentPath, name }) => {
      return sum + statSync(join(parentPath, name)).size;
    }, 0);
  }

  override open(...parameters: Parameters<SystemDisk['open']>): DiskFile {
    const [path] = parameters;
    const file = super.open(...parameters);
    const writes = file.write.bind(file);
    file.write = (pieces, position) => {
      const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
      const moreBytes = Math.max(0, position + bytes - file.size());
      if (moreBytes > this.freeBytes()) throw new DiskError('ENOSPC', `${path}: no space left`);
      writes(pieces, position);
    };
    return file;
  }
}

it('leaves the cleaner the room of a file that was made ahead, and not that of the last one', async () => {
  const disk = new SmallFileSystem(folder);
  host?.abandon();
  host = inlineHost(folder, disk);
  const { pool } = await openOn(host, folder, { readySegments: 3, cleaner: 'off' });
  const device = await create(pool, 'v', chunks * 8);
  await create(pool, 'w', 8);
  for (let index = 0; index < chunks; index += 1) {
    await write(pool, device, index * chunkBytes, filled(chunkBytes, index + 1));
  }
  await ask((done) => {
    pool.volumeDelete({ name: 'v', force: true }, done);
  });
  await vi.waitUntil(() => pool.space().readySegmentCount === 3);
  disk.fill();
  expect(pool.space().fileSystemFreeBytes).toBe(0);
  const { reclaimedBytes } = await ask<CleanerPass>((done) => {
    pool.cleaner.run(() => undefined, done);
  });
  expect(reclaimedBytes).toBeGreaterThan(0);
});
