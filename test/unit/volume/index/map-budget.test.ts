/** Maps that may take next to no memory: everything reads right, whatever is dropped and made again. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type BlockDevice, IoKind } from '../../../../src/device/block-device.ts';
import { AckMode } from '../../../../src/volume/catalogue/records.ts';
import { positionOf } from '../../../../src/volume/format/address.ts';
import type { OpenChanges, Pool } from '../../../../src/volume/pool.ts';
import { openPool } from '../../../../src/volume/pool-open.ts';
import { inlineHost, smallSettings } from '../../../support/inline-host.ts';
import {
  ask,
  blockBytes,
  create,
  PoolWorld,
  read,
  snapshot,
  submit,
  write,
} from '../pool-world.ts';

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

async function expectLeaf(device: BlockDevice, leaf: number, byte: number): Promise<void> {
  for (const at of [0, 2, 38]) {
    const [first] = await read(device, leaf * leafBytes + at * blockBytes, blockBytes);
    expect([leaf, at, first]).toEqual([leaf, at, byte]);
  }
  expect(await read(device, leaf * leafBytes + 39 * blockBytes, 1)).toEqual(new Uint8Array(1));
}

function failed(message: string): void {
  throw new Error(message);
}

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

  it('forgets nothing of a recovered tail that is not sealed yet', async () => {
    const { pool } = await world.open();
    const head = await create(pool, 'a', 64 * 512);
    // Several segments; leaves that take more memory than there is.
    for (let round = 1; round <= 3; round += 1) {
      for (let leaf = 0; leaf < 64; leaf += 1) {
        const bytes = new Uint8Array(blockBytes).fill(round);
        await write(pool, head, leaf * leafBytes, bytes);
        if (leaf % 2 === 0) await write(pool, head, leaf * leafBytes + 2 * blockBytes, bytes);
      }
    }
    world.kill();
    const host = inlineHost(world.folder);
    // The keeper gets to nothing, as when its disk is slow: no segment is sealed.
    const late = { post: (): void => undefined, stop: (): void => undefined };
    const settings = { ...smallSettings(world.folder), mapBytes: 0 };
    const options = { name: 'main', settings, capacityBytes: 2 ** 30, pageCacheBytes: 2 ** 30 };
    const reopened = await ask<{ readonly pool: typeof pool }>((done) => {
      openPool({ ...host, startKeeper: () => late }, { ...options, onFailed: failed }, done);
    });
    const again = reopened.pool.volumeOpen('a');
    const look = async (): Promise<(number | undefined)[]> => {
      const found = [];
      for (let leaf = 0; leaf < 64; leaf += 1) {
        found.push((await read(again, leaf * leafBytes, 1))[0]);
      }
      return found;
    };
    expect(await look()).toEqual(Array.from({ length: 64 }, () => 3));
    const full = reopened.pool.mapBytes;
    await vi.waitFor(() => {
      expect(reopened.pool.mapBytes).toBeLessThan(full);
    });
    expect(await look()).toEqual(Array.from({ length: 64 }, () => 3));
    host.abandon();
  });

  it('shows a past moment of a write-back volume that grew meanwhile as it was', async () => {
    const { pool } = await world.open();
    const head = await create(pool, 'w', 8, AckMode.writeBack);
    await write(pool, head, 0, new Uint8Array(blockBytes).fill(1));
    const grown = ask((done) => {
      pool.volumeResize({ name: 'w', sizeBytes: 16 * blockBytes, force: false }, done);
    });
    // Written behind the record of the resize, and published before it.
    const written = write(pool, head, 0, new Uint8Array(blockBytes).fill(2));
    await Promise.all([grown, written]);
    await submit(head, { kind: IoKind.flush });
    const end = pool.durableThrough;
    const before = await firstBytes(pool, end);
    expect(new Set(before)).toEqual(new Set([undefined, 0, 1, 2]));
    // Now from the log alone.
    const again = await world.open();
    expect(await firstBytes(again.pool, end)).toEqual(before);
  });
});

/** What the first byte of volume w was before each of the last positions of the log; undefined = there was no w. */
async function firstBytes(pool: Pool, end: number): Promise<(number | undefined)[]> {
  const found: (number | undefined)[] = [];
  for (let address = end - 12; address < end; address += 1) {
    for (let index = 0; index < 3; index += 1) {
      const at = `position:${positionOf(address, index)}`;
      const opened = await ask<OpenChanges>((done) => {
        pool.changesOpen({ volume: 'w', at, since: at }, done);
      }).catch(() => undefined);
      found.push(opened === undefined ? undefined : (await read(opened.device, 0, 1))[0]);
      opened?.close();
    }
  }
  return found;
}
