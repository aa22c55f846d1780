import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { IoStatus, luStateMaxBytes } from '../../../src/device/block-device.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import {
  ask,
  blockBytes,
  close,
  create,
  isSound,
  saveLuState,
  worldOfTests,
  write,
} from './pool-world.ts';

const world = worldOfTests();

function state(value: number, length = 100): Uint8Array {
  return new Uint8Array(length).fill(value);
}

/** First byte of the volume's state. */
function shown(pool: Pool, name: string): number | undefined {
  return pool.volumeOpen(name).luState?.[0];
}

async function viewCreate(pool: Pool, name: string, isClone: boolean): Promise<void> {
  await ask((done) => {
    pool.viewCreate({ source: 'a', name, at: 'now', isClone }, done);
  });
}

describe('state of an identity', () => {
  it('survives rename, rollback, refresh, promotion, kill and clean restart; a rollback brings no old one back', async () => {
    let { pool } = await world.open();
    const device = await create(pool, 'a', 16);
    expect(await saveLuState(device, state(1))).toBe(IoStatus.ok);
    await ask((done) => {
      pool.snapshotCreate([{ volume: 'a', name: 's' }], done);
    });
    expect(await saveLuState(device, state(2))).toBe(IoStatus.ok);
    await viewCreate(pool, 'v', false);
    expect(shown(pool, 'v')).toBeUndefined();
    expect(await saveLuState(pool.volumeOpen('v'), state(5))).toBe(IoStatus.ok);
    await ask((done) => {
      pool.volumeRollback({ name: 'a', to: 'snapshot:s' }, done);
    });
    expect(shown(pool, 'a')).toBe(2);
    await ask((done) => {
      pool.volumeRename({ name: 'a', newName: 'b' }, done);
    });
    await ask((done) => {
      pool.viewRefresh({ name: 'v', at: 'now' }, done);
    });
    await ask((done) => {
      pool.viewPromote('v', done);
    });
    for (const isClean of [false, true]) {
      expect(shown(pool, 'b')).toBe(2);
      expect(shown(pool, 'v')).toBe(5);
      if (isClean) await close(pool);
      ({ pool } = await world.open());
    }
    expect(shown(pool, 'b')).toBe(2);
    expect(await isSound(pool)).toBe(true);
  });

  it('is not inherited by a view or clone, and goes with its volume', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 16);
    await saveLuState(device, state(1));
    await viewCreate(pool, 'v', false);
    await viewCreate(pool, 'c', true);
    expect([shown(pool, 'v'), shown(pool, 'c')]).toEqual([undefined, undefined]);
    await ask((done) => {
      pool.volumeDelete({ name: 'a', force: false }, done);
    });
    expect(await saveLuState(device, state(2))).toBe(IoStatus.shuttingDown);
    expect(shown(pool, 'v')).toBeUndefined();
  });

  it('is one for all devices of the volume, also for one whose line was left', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 16);
    await ask((done) => {
      pool.snapshotCreate([{ volume: 'a', name: 's' }], done);
    });
    const saved = saveLuState(device, state(3));
    const rolledBack = ask((done) => {
      pool.volumeRollback({ name: 'a', to: 'snapshot:s' }, done);
    });
    expect(await saved).toBe(IoStatus.ok);
    await rolledBack;
    expect(shown(pool, 'a')).toBe(3);
    expect(device.luState?.[0]).toBe(3);
  });

  it('is in checkpoints, in the manifest and in what a rebuild makes of the log', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 64);
    const largest = state(0xab, luStateMaxBytes);
    expect(await saveLuState(device, state(7, 3))).toBe(IoStatus.ok);
    expect(pool.catalogueText()).toContain('"luState":"070707"');
    expect(await saveLuState(device, largest)).toBe(IoStatus.ok);
    // A checkpoint of several parts, and records behind it; a rebuild compares it with what the log adds up to.
    pool.checkpoint();
    await write(pool, device, 0, new Uint8Array(blockBytes));
    expect(await saveLuState(device, state(9, 0))).toBe(IoStatus.ok);
    expect(device.luState?.length).toBe(0);
    expect(await saveLuState(device, largest)).toBe(IoStatus.ok);
    expect(await isSound(pool)).toBe(true);
    const text = pool.catalogueText();
    await close(pool);
    const manifest = new Database(`${world.folder}/manifest.db`, { readonly: true });
    const row = manifest.prepare('SELECT lu_state AS state FROM volume').get() as { state: string };
    manifest.close();
    expect(row.state).toBe('ab'.repeat(luStateMaxBytes));
    const again = await world.open();
    expect(shown(again.pool, 'a')).toBe(0xab);
    expect(volumesOf(again.pool.catalogueText())).toEqual(volumesOf(text));
  });
});

/** The part of a catalogue text that an opening does not change. */
function volumesOf(text: string): unknown {
  return (JSON.parse(text) as { volumes: unknown }).volumes;
}
