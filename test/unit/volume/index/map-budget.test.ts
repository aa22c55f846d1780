/** Maps that may take next to no memory: everything reads right, whatever is dropped and made again. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BlockDevice } from '../../../../src/device/block-device.ts';
import { ask, blockBytes, create, PoolWorld, read, snapshot, write } from '../pool-world.ts';

const leafBytes = 512 * blockBytes;
const leaves = 24;
const mapBytes = 100_000;

let world: PoolWorld;

beforeEach(() => {
  world = new PoolWorld({ mapBytes });
});

afterEach(() => {
  world.remove();
});

describe('map budget', () => {
  it('drops leaves that the index has, of heads, views and snapshots, and makes them again', async () => {
    const { pool } = await world.open();
    const head = await create(pool, 'a', leaves * 512);
    const fillLeaf = async (device: BlockDevice, leaf: number, byte: number): Promise<void> => {
      // Every second block: a leaf of its own memory, 4 KiB.
      for (let at = 0; at < 40; at += 2) {
        const bytes = new Uint8Array(blockBytes).fill(byte);
        await write(pool, device, leaf * leafBytes + at * blockBytes, bytes);
      }
    };
    const expectLeaf = async (device: BlockDevice, leaf: number, byte: number): Promise<void> => {
      for (const at of [0, 2, 38]) {
        const [first] = await read(device, leaf * leafBytes + at * blockBytes, blockBytes);
        expect([leaf, at, first]).toEqual([leaf, at, byte]);
      }
      expect(await read(device, leaf * leafBytes + 39 * blockBytes, 1)).toEqual(new Uint8Array(1));
    };
    for (let leaf = 0; leaf < leaves; leaf += 1) await fillLeaf(head, leaf, leaf + 1);
    const old = await snapshot(pool, 'a', 'old');
    for (let leaf = 0; leaf < leaves; leaf += 3) await fillLeaf(head, leaf, leaf + 101);
    await ask((done) => {
      pool.viewCreate({ source: 'a', name: 'v', at: 'snapshot:old', isClone: false }, done);
    });
    const view = pool.volumeOpen('v');
    for (let leaf = 0; leaf < leaves; leaf += 5) await fillLeaf(view, leaf, leaf + 201);
    const mapped = pool.mappedBytes(pool.volume('a'));
    expect(mapped).toBe(leaves * 20 * blockBytes);
    await vi.waitFor(() => {
      expect(pool.mapBytes).toBeLessThan(mapBytes);
    });
    for (let round = 0; round < 2; round += 1) {
      for (let leaf = 0; leaf < leaves; leaf += 1) {
        await expectLeaf(head, leaf, leaf % 3 === 0 ? leaf + 101 : leaf + 1);
        await expectLeaf(old.device, leaf, leaf + 1);
        await expectLeaf(view, leaf, leaf % 5 === 0 ? leaf + 201 : leaf + 1);
      }
      // What was dropped is still counted.
      expect(pool.mappedBytes(pool.volume('a'))).toBe(mapped);
      await vi.waitFor(() => {
        expect(pool.mapBytes).toBeLessThan(mapBytes);
      });
    }
    old.close();
  });
});
