/** Index runs are thinned: what is kept reads the same, what is not needed is gone, and whatever happens to the files. */
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HorizonReason } from '../../../../src/volume/catalogue/retention-records.ts';
import { cleanerLimits } from '../../../../src/volume/cleaner/limits.ts';
import { Seeds } from '../../../../src/volume/format/checksum.ts';
import { seal } from '../../../../src/volume/format/preamble.ts';
import { runBlockBytes, runSeed } from '../../../../src/volume/index/run-format.ts';
import { runPlaceOf } from '../../../../src/volume/index/run-path.ts';
import { limits } from '../../../../src/volume/limits.ts';
import type { LiveSet } from '../../../../src/volume/liveness/live-set.ts';
import type { Pool } from '../../../../src/volume/pool.ts';
import type { CleanerPass, VerifyReport } from '../../../../src/volume/reports.ts';
import { sleep } from '../../../support/run.ts';
import { account, History } from '../liveness/random-history.ts';
import {
  ask,
  blockBytes,
  close,
  create,
  filled,
  PoolWorld,
  RefusingDisk,
  read,
  snapshot,
  write,
} from '../pool-world.ts';

const { thinWhen } = cleanerLimits;
const { warmUpLeavesPerSlice, warmUpPauseMs } = limits;
const eager = { keptShareMax: 0.999, entriesMin: 1 };
const blocks = 64;
let world: PoolWorld;

beforeEach(() => {
  world = new PoolWorld({ cleaner: 'off', retentionStepMs: 2 });
  Object.assign(cleanerLimits, { thinWhen: { none: eager, soft: eager, hard: eager } });
});

afterEach(() => {
  world.remove();
  Object.assign(cleanerLimits, { thinWhen });
  Object.assign(limits, { warmUpLeavesPerSlice, warmUpPauseMs });
});

function runFile(name: string): string {
  return path.join(world.folder, 'runs', name);
}

function runNames(): string[] {
  return readdirSync(path.join(world.folder, 'runs')).filter((name) => name.endsWith('.run'));
}

function thinnedNames(): string[] {
  return runNames().filter((name) => name.split('.').length === 3);
}

function runBytes(): number {
  return runNames().reduce((total, name) => total + statSync(runFile(name)).size, 0);
}

function liveBytes(live: LiveSet): number {
  return live.segIds.reduce((total, segId) => total + live.liveBlocks(segId) * blockBytes, 0);
}

async function clean(pool: Pool): Promise<CleanerPass> {
  return await ask((done) => {
    pool.cleaner.run(() => undefined, done);
  });
}

async function verify(pool: Pool): Promise<readonly string[]> {
  const report = await new Promise<VerifyReport>((resolve) => {
    pool.verify(() => undefined, resolve);
  });
  return report.faults;
}

async function isRebuiltEqual(pool: Pool): Promise<boolean> {
  const { wasEqual } = await ask<{ wasEqual: boolean }>((done) => {
    pool.rebuild(() => undefined, done);
  });
  return wasEqual;
}

/** What is thinned depends on which runs there are: nothing is made of them any more. */
async function untilRunsAreMade(): Promise<void> {
  let before: string[];
  do {
    before = runNames();
    await sleep(200);
  } while (runNames().join() !== before.join());
}

/** Of volume a only the present is kept, and of b all that is written and a snapshot of the middle. */
async function overwritten(): Promise<Pool> {
  const { pool } = await world.open();
  const a = await create(pool, 'a', blocks);
  const b = await create(pool, 'b', blocks);
  for (let round = 1; round <= 60; round += 1) {
    for (let block = 0; block < blocks; block += 8) {
      await write(pool, a, block * blockBytes, filled(8 * blockBytes, round));
    }
    if (round === 30) (await snapshot(pool, 'a', 's')).close();
    await write(pool, b, round * blockBytes, filled(blockBytes, round));
  }
  await close(pool);
  const again = (await world.open()).pool;
  await untilRunsAreMade();
  await ask((done) => {
    again.retention.advanceHorizon(
      { volume: 'a', keepMs: -60_000, reason: HorizonReason.age },
      done,
    );
  });
  return again;
}

async function expectAll(pool: Pool): Promise<void> {
  expect(new Set(await read(pool.volumeOpen('a'), 0, blocks * blockBytes))).toEqual(new Set([60]));
  const opened = await ask<{ device: ReturnType<Pool['volumeOpen']>; close(): void }>((done) => {
    pool.snapshotOpen('a', 's', done);
  });
  expect(new Set(await read(opened.device, 0, blocks * blockBytes))).toEqual(new Set([30]));
  opened.close();
  const b = await read(pool.volumeOpen('b'), 0, blocks * blockBytes);
  for (let round = 1; round <= 60; round += 1) expect(b[round * blockBytes]).toBe(round);
}

describe('thinned runs', () => {
  it('have what is kept, take less, and replace those before and narrower ones', async () => {
    let pool = await overwritten();
    // The horizon is behind the end of the log as it was before.
    await write(pool, pool.volumeOpen('b'), 0, filled(blockBytes, 9));
    const before = runBytes();
    const count = runNames().length;
    await clean(pool);
    await expectAll(pool);
    expect(thinnedNames().length).toBeGreaterThan(0);
    expect(runNames().length).toBeLessThan(count);
    expect(runBytes()).toBeLessThan(before);
    expect(await verify(pool)).toEqual([]);
    expect(await isRebuiltEqual(pool)).toBe(true);
    await close(pool);
    pool = (await world.open()).pool;
    await expectAll(pool);
    expect(await verify(pool)).toEqual([]);
    expect(await isRebuiltEqual(pool)).toBe(true);
  });

  it('are thinned again when less is kept, each time under another name', async () => {
    const pool = await overwritten();
    await write(pool, pool.volumeOpen('b'), 0, filled(blockBytes, 9));
    await clean(pool);
    const first = thinnedNames();
    await ask((done) => {
      pool.snapshotDelete({ volume: 'a', name: 's' }, done);
    });
    await clean(pool);
    const second = thinnedNames().filter((name) => !first.includes(name));
    expect(second.some((name) => name.includes('.2.'))).toBe(true);
    const a = await read(pool.volumeOpen('a'), 0, blocks * blockBytes);
    expect(new Set(a)).toEqual(new Set([60]));
    expect(await verify(pool)).toEqual([]);
  });

  it('that are damaged are done without as long as footers say the same, and made again', async () => {
    let pool = await overwritten();
    await write(pool, pool.volumeOpen('b'), 0, filled(blockBytes, 9));
    await clean(pool);
    await close(pool);
    for (const name of thinnedNames()) {
      const bytes = readFileSync(runFile(name));
      bytes[4096 + 100] = (bytes[4096 + 100] ?? 0) ^ 1;
      writeFileSync(runFile(name), bytes);
    }
    pool = (await world.open()).pool;
    await expectAll(pool);
    expect((await verify(pool)).every((fault) => fault.startsWith('run level'))).toBe(true);
    // Some may have been made again by now, or all: then it is equal.
    await isRebuiltEqual(pool);
    expect(await verify(pool)).toEqual([]);
    await clean(pool);
    await expectAll(pool);
    expect(await verify(pool)).toEqual([]);
  });

  it('that are damaged are made again with the narrower ones that had gone', async () => {
    let pool = await overwritten();
    const plain = runNames();
    await write(pool, pool.volumeOpen('b'), 0, filled(blockBytes, 9));
    await clean(pool);
    expect(runNames().filter((name) => plain.includes(name)).length).toBeLessThan(plain.length);
    await close(pool);
    pool = (await world.open()).pool;
    // After the opening: what is made, and what is done with, is known.
    await expectAll(pool);
    for (const name of thinnedNames()) {
      const bytes = readFileSync(runFile(name));
      bytes.fill(0, 0, 4096);
      writeFileSync(runFile(name), bytes);
    }
    expect(await isRebuiltEqual(pool)).toBe(false);
    await vi.waitFor(() => {
      // What is in packs has thinned footers: what is made of those counts as thinned.
      const made = runNames().map((name) => name.replace(/\.\d+\.run$/u, '.run'));
      expect(made).toEqual(expect.arrayContaining(plain));
    }, 20_000);
    await expectAll(pool);
    expect(await verify(pool)).toEqual([]);
  });

  it('of a log that went on are not used by a copy of the pool that did not, where more is kept', async () => {
    let pool = await overwritten();
    await close(pool);
    const copy = `${world.folder}-copy`;
    cpSync(world.folder, copy, { recursive: true });
    pool = (await world.open()).pool;
    await ask((done) => {
      pool.snapshotDelete({ volume: 'a', name: 's' }, done);
    });
    await write(pool, pool.volumeOpen('b'), 0, filled(blockBytes, 9));
    await clean(pool);
    await close(pool);
    expect(thinnedNames().length).toBeGreaterThan(0);
    // Footers of the copy, runs of the other: as if the end of the log were lost.
    rmSync(path.join(copy, 'runs'), { recursive: true });
    cpSync(path.join(world.folder, 'runs'), path.join(copy, 'runs'), { recursive: true });
    rmSync(world.folder, { recursive: true });
    cpSync(copy, world.folder, { recursive: true });
    rmSync(copy, { recursive: true });
    for (let life = 0; life < 3; life += 1) {
      pool = (await world.open()).pool;
      if (life > 0) await expectAll(pool);
      for (let index = 0; index < 70; index += 1) {
        await write(pool, pool.volumeOpen('b'), 61 * blockBytes, filled(blockBytes, 77));
      }
      await expectAll(pool);
      await close(pool);
    }
  });

  it('of a log that went on do not take those away that a copy of the pool has itself', async () => {
    let pool = await overwritten();
    await close(pool);
    const copy = `${world.folder}-copy`;
    cpSync(world.folder, copy, { recursive: true });
    pool = (await world.open()).pool;
    await write(pool, pool.volumeOpen('b'), 0, filled(blockBytes, 9));
    await clean(pool);
    await close(pool);
    const thinned = thinnedNames();
    for (const name of thinned) {
      cpSync(runFile(name), path.join(copy, 'runs', name));
    }
    rmSync(world.folder, { recursive: true });
    cpSync(copy, world.folder, { recursive: true });
    rmSync(copy, { recursive: true });
    // Nothing is looked up before: the cleaner is the first that asks whose they are.
    Object.assign(limits, { warmUpLeavesPerSlice: 0, warmUpPauseMs: 60_000 });
    pool = (await world.open()).pool;
    const files = new Map(runNames().map((name) => [name, statSync(runFile(name)).ctimeMs]));
    expect(thinned.length).toBeGreaterThan(0);
    await ask((done) => {
      pool.mark.runAndThin({ pressure: 'none', isAll: false }, done);
    }).catch(() => undefined);
    for (const [name, ctimeMs] of files) {
      if (!thinned.includes(name)) expect(statSync(runFile(name)).ctimeMs, name).toBe(ctimeMs);
    }
    expect(thinned.filter((name) => runNames().includes(name))).toEqual([]);
    await expectAll(pool);
  });

  it('that cannot be read when the pool is opened are made again', async () => {
    let pool = await overwritten();
    await write(pool, pool.volumeOpen('b'), 0, filled(blockBytes, 9));
    await clean(pool);
    await close(pool);
    const thinned = thinnedNames();
    expect(thinned.length).toBeGreaterThan(0);
    const disk = new RefusingDisk(world.folder, { folder: 'runs', call: 'read' });
    pool = (await world.open(disk)).pool;
    expect(thinned.filter((name) => runNames().includes(name))).toEqual([]);
    await close(pool);
    pool = (await world.open()).pool;
    await expectAll(pool);
    expect(await verify(pool)).toEqual([]);
  });

  it('of a newer version do not keep the pool from opening', async () => {
    let pool = await overwritten();
    await write(pool, pool.volumeOpen('b'), 0, filled(blockBytes, 9));
    await clean(pool);
    const seeds = new Seeds(pool.uuid);
    await close(pool);
    for (const name of thinnedNames()) {
      const place = runPlaceOf(name);
      if (place === undefined) throw new Error(`${name} is no run`);
      const bytes = readFileSync(runFile(name));
      const head = bytes.subarray(0, runBlockBytes);
      head.writeUInt16LE(99, 8);
      seal(head, runSeed(place, 0, seeds));
      writeFileSync(runFile(name), bytes);
    }
    pool = (await world.open()).pool;
    await expectAll(pool);
  });

  it('do not remove anything when they are not whole, and do when they are', async () => {
    let pool = await overwritten();
    await close(pool);
    const copy = `${world.folder}-runs`;
    cpSync(path.join(world.folder, 'runs'), copy, { recursive: true });
    pool = (await world.open()).pool;
    await write(pool, pool.volumeOpen('b'), 0, filled(blockBytes, 9));
    await clean(pool);
    const wanted = new Set(runNames());
    await close(pool);
    // As after a crash: what was removed is there still.
    cpSync(copy, path.join(world.folder, 'runs'), { recursive: true });
    rmSync(copy, { recursive: true });
    const unwanted = runNames().filter((name) => !wanted.has(name));
    expect(unwanted).not.toEqual([]);
    pool = (await world.open()).pool;
    await expectAll(pool);
    expect(await isRebuiltEqual(pool)).toBe(true);
    await clean(pool);
    const names = new Set(runNames());
    expect(unwanted.filter((name) => names.has(name))).toEqual([]);
    await expectAll(pool);
    expect(await verify(pool)).toEqual([]);
  });

  it.each([1, 2, 3, 4])(
    'agree with the account of space over random histories (seed %i)',
    async (seed) => {
      const hasForks = seed % 2 === 0;
      const history = new History((await world.open()).pool, seed * 43, hasForks);
      let thinned = 0;
      for (let round = 0; round < 4; round += 1) {
        for (let step = 0; step < 25; step += 1) await history.step();
        if (round % 2 === 1) await history.forget();
        await clean(history.pool);
        await clean(history.pool);
        thinned += thinnedNames().length;
        expect(await verify(history.pool)).toEqual([]);
        await close(history.pool);
        history.pool = (await world.open()).pool;
        const { heldBytes, historyBytes } = await account(history.pool);
        const live = liveBytes(
          await ask((done) => {
            history.pool.mark.run(done);
          }),
        );
        if (hasForks) expect(live).toBeGreaterThanOrEqual(heldBytes + historyBytes);
        else expect(live).toBe(heldBytes + historyBytes);
        expect(await isRebuiltEqual(history.pool)).toBe(true);
      }
      expect(thinned).toBeGreaterThan(0);
    },
  );
});
