/** A checkpoint takes many turns and many records: others go on meanwhile, and it says what the records before it add up to. */
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { frameAddressOf, segIdOf } from '../../../../src/volume/format/address.ts';
import type { Pool } from '../../../../src/volume/pool.ts';
import {
  ask,
  blockBytes,
  close,
  create,
  isSound,
  type PoolWorld,
  worldOfTests,
  write,
} from '../pool-world.ts';

const world = worldOfTests({ checkpointPartBytes: 500, checkpointSlicePieces: 1 });
const snapshotsMade = 30;

async function snapshots(pool: Pool, kind: 'create' | 'delete', prefix: string): Promise<void> {
  await Promise.all(
    Array.from({ length: snapshotsMade }, async (_, index) => {
      await ask((done) => {
        const name = `${prefix}${index}`;
        if (kind === 'create') pool.snapshotCreate([{ volume: 'a', name }], done);
        else pool.snapshotDelete({ volume: 'a', name }, done);
      });
    }),
  );
}

/** Puts the names of what is answered into the list. */
async function noting(list: string[], name: string, work: Promise<unknown>): Promise<void> {
  await work;
  list.push(name);
}

describe('a checkpoint', () => {
  it('is of one moment, and writes go on while it is made', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 64);
    await snapshots(pool, 'create', 's');
    const answered: string[] = [];
    pool.checkpoint();
    // A second one while it is under way is none.
    pool.checkpoint();
    await Promise.all([
      noting(answered, 'deleted', snapshots(pool, 'delete', 's')),
      noting(answered, 'made', snapshots(pool, 'create', 't')),
      noting(answered, 'written', write(pool, device, 0, new Uint8Array(blockBytes))),
    ]);
    expect(answered[0]).toBe('written');
    // A rebuild compares every checkpoint with the records before it.
    expect(await isSound(pool)).toBe(true);
    const text = pool.catalogueText();
    await close(pool);
    const again = await world.open();
    expect(volumesOf(again.pool.catalogueText())).toBe(volumesOf(text));
  });

  it('does not mix what was before and behind a change', async () => {
    const { pool } = await world.open();
    await create(pool, 'a', 64);
    await snapshots(pool, 'create', 's');
    pool.checkpoint();
    // The first of 30 snapshots is in the text already, the last one is not.
    for (let turn = 0; turn < snapshotsMade / 2; turn += 1) await setImmediate();
    await ask((done) => {
      pool.snapshotDelete({ volume: 'a', name: 's0' }, done);
    });
    expect(await isSound(pool)).toBe(true);
  });

  it('is given up by a pool that closes, and what waited for it is done', async () => {
    const { pool } = await world.open();
    await create(pool, 'a', 64);
    await snapshots(pool, 'create', 's');
    pool.checkpoint();
    const made = snapshots(pool, 'create', 't');
    await close(pool);
    await made;
    const again = await world.open();
    expect(again.pool.volume('a').snapshotByName.size).toBe(2 * snapshotsMade);
    expect(await isSound(again.pool)).toBe(true);
    again.pool.checkpoint();
    await snapshots(again.pool, 'delete', 't');
    expect(await isSound(again.pool)).toBe(true);
  });
});

const segmentBytes = 2 ** 18;

describe('the next checkpoint', () => {
  const growing = worldOfTests({
    segmentSlots: segmentBytes / blockBytes,
    checkpointBytesMin: 2 * segmentBytes,
    checkpointBytesMax: 6 * segmentBytes,
  });

  /** Makes a checkpoint, writes so many segments of data behind it; returns the segment in which the newest checkpoint is. */
  async function newestBehind(segmentCount: number, snapshotCount: number): Promise<number> {
    const { pool } = await growing.open();
    const device = await create(pool, 'a', 64);
    const snapshotOf = async (name: string): Promise<void> => {
      await ask((done) => {
        pool.snapshotCreate([{ volume: 'a', name }], done);
      });
    };
    for (let index = 0; index < snapshotCount; index += 1) {
      await snapshotOf(`${'long'.repeat(30)}${index}`);
    }
    pool.checkpoint();
    // Operations come one after the other.
    await snapshotOf('behind');
    const piece = new Uint8Array(segmentBytes / 8);
    for (let count = 0; count < segmentCount * 8; count += 1) await write(pool, device, 0, piece);
    await close(pool);
    const newest = checkpointSegment(growing);
    growing.remove();
    return newest;
  }

  it('comes soon when the catalogue is small', async () => {
    expect(await newestBehind(1, 0)).toBe(1);
    expect(await newestBehind(3, 0)).toBeGreaterThan(2);
  });

  it('comes later the larger the catalogue is, up to a bound', async () => {
    expect(await newestBehind(3, 20)).toBe(1);
    expect(await newestBehind(8, 20)).toBeGreaterThan(2);
  });

  it('comes after a few openings that logged next to nothing', async () => {
    for (let count = 0; count < 3; count += 1) {
      const { pool, recovery } = await growing.open();
      expect(recovery.isWhole).toBe(true);
      await create(pool, `v${count}`, 1);
      await close(pool);
    }
    const { recovery } = await growing.open();
    expect(recovery.isWhole).toBe(false);
    expect(recovery.logBytes).toBeLessThan(segmentBytes);
  });
});

/** The segment in which the newest checkpoint that the manifest knows begins. */
function checkpointSegment({ folder }: PoolWorld): number {
  const database = new Database(path.join(folder, 'manifest.db'), { readonly: true });
  try {
    const row = database.prepare("SELECT value FROM meta WHERE key = 'checkpointPosition'");
    return segIdOf(frameAddressOf(Number(row.pluck().get())));
  } finally {
    database.close();
  }
}

function volumesOf(text: string): string {
  return text.slice(0, text.indexOf('"epochs"'));
}
