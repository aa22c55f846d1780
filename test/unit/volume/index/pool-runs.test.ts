/** Index runs of a pool on a real disk: made, found again, damaged, missing, of a stranger. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { present } from '../../../../src/base/assert.ts';
import type { BlockDevice } from '../../../../src/device/block-device.ts';
import { SystemDisk } from '../../../../src/host/disk.ts';
import { Seeds } from '../../../../src/volume/format/checksum.ts';
import {
  decodeRunHeader,
  segmentBytes,
  segmentLayout,
} from '../../../../src/volume/index/run-format.ts';
import { runPath, runPlaceOf } from '../../../../src/volume/index/run-path.ts';
import { RunSegments } from '../../../../src/volume/index/run-segments.ts';
import { readRunSegments, readRunTables } from '../../../../src/volume/index/run-tables.ts';
import { RunWriter } from '../../../../src/volume/index/run-writer.ts';
import type { Pool } from '../../../../src/volume/pool.ts';
import { readSuperblock } from '../../../../src/volume/recovery/superblock-file.ts';
import { unpagedRun } from '../../../support/unpaged-run.ts';
import {
  ask,
  blockBytes,
  close,
  create,
  isSound,
  PoolWorld,
  read,
  snapshot,
  write,
} from '../pool-world.ts';

const blocks = 40;
const rounds = 24;

let world: PoolWorld;

beforeEach(() => {
  world = new PoolWorld();
});

afterEach(() => {
  world.remove();
});

function runNames(): string[] {
  try {
    return readdirSync(path.join(world.folder, 'runs'));
  } catch {
    return [];
  }
}

function runFile(name: string): string {
  return path.join(world.folder, 'runs', name);
}

/** Runs of three levels: segment ids 0 to 7 are sealed and covered. */
async function awaitRuns(): Promise<void> {
  await vi.waitFor(
    () => {
      expect(runNames()).toEqual(
        expect.arrayContaining(['1-00000002.run', '2-00000004.run', '3-00000000.run']),
      );
      expect(runNames().some((name) => name.endsWith('.new'))).toBe(false);
    },
    { timeout: 10_000 },
  );
}

/** What block `block` holds after `round` rounds. */
function byteAt(block: number, round: number): number {
  return block % 3 === 0 ? 1 + round : 1 + block;
}

async function writeRound(pool: Pool, device: BlockDevice, round: number): Promise<void> {
  for (let block = 0; block < blocks; block += round === 0 ? 1 : 3) {
    const bytes = new Uint8Array(blockBytes).fill(byteAt(block, round));
    await write(pool, device, block * blockBytes, bytes);
  }
}

/** A pool whose log has runs, with a snapshot of each round. */
async function filledPool(): Promise<Pool> {
  const { pool } = await world.open();
  const device = await create(pool, 'a', blocks);
  for (let round = 0; round < rounds; round += 1) {
    await writeRound(pool, device, round);
    (await snapshot(pool, 'a', `s${round}`)).close();
  }
  await awaitRuns();
  return pool;
}

async function expectRound(device: BlockDevice, round: number): Promise<void> {
  for (let block = 0; block < blocks; block += 1) {
    const bytes = await read(device, block * blockBytes, blockBytes);
    expect([bytes[0], bytes[blockBytes - 1]]).toEqual([byteAt(block, round), byteAt(block, round)]);
  }
}

async function expectAll(pool: Pool): Promise<void> {
  await expectRound(pool.volumeOpen('a'), rounds - 1);
  for (let round = 0; round < rounds; round += 1) {
    const opened = await ask<{ device: BlockDevice; close(): void }>((done) => {
      pool.snapshotOpen('a', `s${round}`, done);
    });
    await expectRound(opened.device, round);
    opened.close();
  }
}

function damageRuns(change: (bytes: Uint8Array) => void): void {
  for (const name of runNames()) {
    const bytes = readFileSync(runFile(name));
    change(bytes);
    writeFileSync(runFile(name), bytes);
  }
}

describe('index runs of a pool', () => {
  it('serve heads and snapshots after a restart, and are what a rebuild makes', async () => {
    await filledPool();
    const { pool } = await world.open();
    await expectAll(pool);
    expect(await isSound(pool)).toBe(true);
    await close(pool);
  });

  it.each([
    [
      'in a block of entries',
      (bytes: Uint8Array) => {
        bytes[4096 + 100] = (bytes[4096 + 100] ?? 0) ^ 4;
      },
    ],
    [
      'in the header',
      (bytes: Uint8Array) => {
        bytes[30] = (bytes[30] ?? 0) ^ 1;
      },
    ],
    [
      'in the trailer',
      (bytes: Uint8Array) => {
        bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
      },
    ],
  ])(
    'damaged %s: nothing wrong is read, verify tells, and they are made again',
    async (_what, change) => {
      await filledPool();
      const names = runNames();
      world.kill();
      damageRuns(change);
      const { pool } = await world.open();
      await expectAll(pool);
      await vi.waitFor(
        async () => {
          expect(runNames()).toEqual(expect.arrayContaining(names));
          const repaired = await ask<{ wasEqual: boolean }>((done) => {
            pool.rebuild(() => undefined, done);
          });
          expect(repaired.wasEqual).toBe(true);
        },
        { timeout: 10_000, interval: 200 },
      );
      await expectAll(pool);
      expect(await isSound(pool)).toBe(true);
    },
  );

  it('are told by verify when they rot while nobody looks', async () => {
    await filledPool();
    const { pool } = await world.open();
    const damaged = runNames().length;
    damageRuns((bytes) => {
      bytes[bytes.length - 30] = (bytes[bytes.length - 30] ?? 0) ^ 1;
    });
    const faults = await new Promise<readonly string[]>((resolve) => {
      pool.verify(
        () => undefined,
        (report) => {
          resolve(report.faults);
        },
      );
    });
    const ofRuns = faults.filter((fault) => fault.startsWith('run level'));
    expect(ofRuns.length).toBeGreaterThanOrEqual(damaged);
    // The manifest lists runs that are no runs any more.
    const others = faults.filter((fault) => !fault.startsWith('run level'));
    expect(others).toEqual(["the manifest differs from the log ('pool rebuild' makes it again)"]);
    await expectAll(pool);
  });

  it('lost as a whole are made again, and what was being written is removed', async () => {
    await filledPool();
    world.kill();
    rmSync(path.join(world.folder, 'runs'), { recursive: true });
    let { pool } = await world.open();
    await expectAll(pool);
    await awaitRuns();
    world.kill();
    writeFileSync(runFile('1-00000002.run.new'), 'half a run');
    ({ pool } = await world.open());
    await expectAll(pool);
    await vi.waitFor(() => {
      expect(runNames().some((name) => name.endsWith('.new'))).toBe(false);
    });
    expect(await isSound(pool)).toBe(true);
  });

  it('from before they were paged serve, are sound, and are merged into paged ones', async () => {
    await filledPool();
    world.kill();
    const { poolUuid } = readSuperblock(new SystemDisk(world.folder));
    const seeds = new Seeds(poolUuid);
    for (const name of runNames()) {
      const bytes = readFileSync(runFile(name));
      const place = present(runPlaceOf(name), 'place of a run');
      writeFileSync(runFile(name), unpagedRun(bytes, place, { poolUuid, seeds }));
    }
    rmSync(runFile('3-00000000.run'));
    // It names the digests of the others.
    for (const name of readdirSync(world.folder)) {
      if (name.startsWith('manifest.db')) rmSync(path.join(world.folder, name));
    }
    let { pool } = await world.open();
    await expectAll(pool);
    await awaitRuns();
    const isPaged = (name: string): boolean => {
      const place = present(runPlaceOf(name), 'place of a run');
      return decodeRunHeader(readFileSync(runFile(name)), place, seeds)?.isPaged === true;
    };
    expect([isPaged('1-00000002.run'), isPaged('2-00000004.run')]).toEqual([false, false]);
    expect(isPaged('3-00000000.run')).toBe(true);
    // What a rebuild makes has the same entries: they stay.
    expect(await isSound(pool)).toBe(true);
    expect(isPaged('1-00000002.run')).toBe(false);
    world.kill();
    damageRuns((bytes) => {
      bytes[bytes.length - 100] = (bytes[bytes.length - 100] ?? 0) ^ 1;
    });
    ({ pool } = await world.open());
    await expectAll(pool);
    await awaitRuns();
    expect(await isSound(pool)).toBe(true);
  });

  it('of another history of the same pool are not used, and not merged', async () => {
    world.remove();
    // Without warm-up: nobody looks at runs but who merges them.
    world = new PoolWorld({ mapBytes: -1 });
    await filledPool();
    world.kill();
    // A run of the right shape that was made of other segments, as a copy of the folder gone wrong would have it.
    const seeds = new Seeds(readSuperblock(new SystemDisk(world.folder)).poolUuid);
    const disk = new SystemDisk(world.folder);
    const place = { level: 1, firstSegId: 4 };
    const own = disk.open(runPath(place), { create: false });
    const tables = readRunTables(own, place, seeds);
    const segments = readRunSegments(own, tables, seeds);
    own.close();
    disk.remove(runPath(place));
    const file = disk.open(runPath(place), { create: true });
    const bytes = segments.bytes.slice();
    for (let at = segmentLayout.digest.offset; at < bytes.length; at += segmentBytes) {
      bytes[at] = (bytes[at] ?? 0) ^ 1;
    }
    const others = new RunSegments(bytes);
    new RunWriter(file, { ...tables.header, segments: others }, seeds).finish(new Uint8Array(16));
    file.close();
    for (const name of ['2-00000004.run', '3-00000000.run']) rmSync(runFile(name));
    const { pool } = await world.open();
    await awaitRuns();
    for (const name of ['1-00000004.run', '2-00000004.run', '3-00000000.run']) {
      const madePlace = runPlaceOf(name) ?? place;
      const made = disk.open(runPath(madePlace), { create: false });
      const listed = readRunSegments(made, readRunTables(made, madePlace, seeds), seeds);
      made.close();
      const found = Buffer.from(listed.bytes).indexOf(segments.bytes);
      expect([name, found >= 0]).toEqual([name, true]);
    }
    await expectAll(pool);
    expect(await isSound(pool)).toBe(true);
  });
});
