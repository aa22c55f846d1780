/** A checkpoint takes many turns and many records: others go on meanwhile, and it says what the records before it add up to. */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Pool } from '../../../../src/volume/pool.ts';
import { ask, blockBytes, close, create, isSound, worldOfTests, write } from '../pool-world.ts';

const world = worldOfTests({ checkpointPartBytes: 500, checkpointSlicePieces: 1 });
const count = 30;

async function snapshots(pool: Pool, kind: 'create' | 'delete', prefix: string): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, async (_, index) => {
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
    for (let turn = 0; turn < count / 2; turn += 1) await setImmediate();
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
    expect(again.pool.volume('a').snapshotByName.size).toBe(2 * count);
    expect(await isSound(again.pool)).toBe(true);
    again.pool.checkpoint();
    await snapshots(again.pool, 'delete', 't');
    expect(await isSound(again.pool)).toBe(true);
  });
});

function volumesOf(text: string): string {
  return text.slice(0, text.indexOf('"epochs"'));
}
