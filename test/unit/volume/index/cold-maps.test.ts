/** Maps of which nothing is in memory, on a disk that takes its time: who waits for it, who does not, and how much is made. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DiskFile } from '../../../../src/base/ports.ts';
import {
  type BlockDevice,
  type Extent,
  ExtentState,
  IoKind,
  IoStatus,
} from '../../../../src/device/block-device.ts';
import { SystemDisk } from '../../../../src/host/disk.ts';
import type { Diff } from '../../../../src/volume/history.ts';
import { BlockMap } from '../../../../src/volume/map/block-map.ts';
import type { Pool } from '../../../../src/volume/pool.ts';
import {
  ask,
  blockBytes,
  clone,
  create,
  PoolWorld,
  read,
  snapshot,
  submit,
  submitBytes,
  write,
} from '../pool-world.ts';

vi.setConfig({ testTimeout: 60_000 });

const leafBytes = 512 * blockBytes;
const leaves = 200;

/** Holds back what is read of index runs off the main thread, and counts what is read of them in place. */
class HeldDisk extends SystemDisk {
  isHolding = false;
  readsInPlace = 0;
  readonly #held: (() => void)[] = [];

  get heldCount(): number {
    return this.#held.length;
  }

  release(): void {
    this.isHolding = false;
    for (const go of this.#held.splice(0)) go();
  }

  override open(...parameters: Parameters<SystemDisk['open']>): DiskFile {
    const file = super.open(...parameters);
    if (!parameters[0].startsWith('runs/')) return file;
    const inPlace = file.read.bind(file);
    const later = file.readLater.bind(file);
    file.read = (target, position) => {
      this.readsInPlace += 1;
      return inPlace(target, position);
    };
    file.readLater = (target, position, done) => {
      const go = (): void => {
        later(target, position, done);
      };
      if (this.isHolding) this.#held.push(go);
      else go();
    };
    return file;
  }
}

let world: PoolWorld;
let disk: HeldDisk;

beforeEach(() => {
  // No memory for maps: nothing is warmed up.
  world = new PoolWorld({ mapBytes: -1 });
  disk = new HeldDisk(world.folder);
});

afterEach(() => {
  vi.restoreAllMocks();
  world.remove();
});

function bytesOf(byte: number): Uint8Array {
  return new Uint8Array(blockBytes).fill(byte);
}

/** What leaf `leaf` of volume `a` holds in its first block. */
function byteOf(leaf: number): number {
  return 1 + (leaf % 250);
}

async function fill(pool: Pool, device: BlockDevice, count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) await write(pool, device, at * blockBytes, bytesOf(9));
}

/** Volume `a` with a block in each leaf, volume `b`; runs are made. */
async function makeVolumes(): Promise<Pool> {
  const { pool } = await world.open();
  const device = await create(pool, 'a', leaves * 512);
  const other = await create(pool, 'b', 512);
  for (let leaf = 0; leaf < leaves; leaf += 1) {
    await write(pool, device, leaf * leafBytes, bytesOf(byteOf(leaf)));
  }
  await fill(pool, other, 200);
  await vi.waitFor(
    () => {
      const names = readdirSync(path.join(world.folder, 'runs'));
      expect(names).toEqual(expect.arrayContaining(['1-00000000.run', '2-00000000.run']));
    },
    { timeout: 10_000 },
  );
  return pool;
}

/** Opens the pool again, and waits until nothing is made of runs any more. */
async function reopen(): Promise<Pool> {
  const { pool } = await world.open(disk);
  let reads: number;
  do {
    reads = disk.readsInPlace;
    await new Promise((resolve) => {
      setTimeout(resolve, 150);
    });
  } while (disk.readsInPlace > reads);
  disk.readsInPlace = 0;
  return pool;
}

async function extentsAt(device: BlockDevice, offset: number): Promise<readonly Extent[]> {
  return await new Promise((resolve) => {
    device.extents(offset, device.sizeBytes - offset, 100_000, resolve);
  });
}

describe('maps that are not in memory', () => {
  it('hold up who needs them, and nobody else, while the disk is slow', async () => {
    await makeVolumes();
    const pool = await reopen();
    const [cold, warm] = [pool.volumeOpen('a'), pool.volumeOpen('b')];
    await write(pool, warm, 0, bytesOf(77));
    disk.isHolding = true;
    const ended: string[] = [];
    const waiting = [
      read(cold, 3 * leafBytes, 2 ** 20).then((bytes) => {
        ended.push('read');
        expect(bytes[0]).toBe(byteOf(3));
        expect(bytes.subarray(blockBytes).every((byte) => byte === 0)).toBe(true);
      }),
      submitBytes(pool, cold, {
        kind: IoKind.write,
        offset: 5 * leafBytes + 100,
        bytes: new Uint8Array(50).fill(200),
      }).then(({ status }) => {
        ended.push('ragged write');
        expect(status).toBe(IoStatus.ok);
      }),
      submit(cold, {
        kind: IoKind.zero,
        offset: 6 * leafBytes + 1000,
        length: 3 * blockBytes,
      }).then(({ status }) => {
        ended.push('ragged zero');
        expect(status).toBe(IoStatus.ok);
      }),
      clone(cold, {
        source: cold,
        sourceOffset: 8 * leafBytes,
        offset: 100 * leafBytes + 8 * blockBytes,
        length: 4 * blockBytes,
      }).then((status) => {
        ended.push('clone');
        expect(status).toBe(IoStatus.ok);
      }),
      extentsAt(cold, 10 * leafBytes).then((extents) => {
        ended.push('extents');
        expect(extents[0]).toEqual({ length: blockBytes, state: ExtentState.data });
      }),
    ];
    await vi.waitFor(() => {
      expect(disk.heldCount).toBeGreaterThan(0);
    });
    // Others read what is in memory; a write needs nothing of what was there.
    expect((await read(warm, 0, blockBytes))[0]).toBe(77);
    expect(await write(pool, cold, 7 * leafBytes + blockBytes, bytesOf(88))).toBe(IoStatus.ok);
    expect((await read(cold, 7 * leafBytes + blockBytes, blockBytes))[0]).toBe(88);
    const trim = { kind: IoKind.trim, offset: 20 * leafBytes, length: blockBytes };
    expect((await submit(cold, trim)).status).toBe(IoStatus.ok);
    expect((await read(cold, 20 * leafBytes, blockBytes))[0]).toBe(0);
    expect(ended).toEqual([]);
    expect(disk.readsInPlace).toBe(0);
    disk.release();
    await Promise.all(waiting);
    expect(disk.readsInPlace).toBe(0);
    const ragged = await read(cold, 5 * leafBytes, blockBytes);
    expect([ragged[99], ragged[100], ragged[149], ragged[150]]).toEqual([6, 200, 200, 6]);
    const zeroed = await read(cold, 6 * leafBytes, 2 * blockBytes);
    expect([zeroed[999], zeroed[1000], zeroed[blockBytes]]).toEqual([7, 0, 0]);
    const copy = await read(cold, 100 * leafBytes + 8 * blockBytes, 2 * blockBytes);
    expect([copy[0], copy[blockBytes]]).toEqual([9, 0]);
    expect((await read(cold, 7 * leafBytes, blockBytes))[0]).toBe(byteOf(7));
  });

  it('of a volume that is deleted meanwhile answer that it is gone', async () => {
    await makeVolumes();
    const pool = await reopen();
    disk.isHolding = true;
    const target = new Uint8Array(blockBytes);
    const request = { kind: IoKind.read, offset: 30 * leafBytes, length: blockBytes, target };
    const waiting = submit(pool.volumeOpen('a'), request);
    await vi.waitFor(() => {
      expect(disk.heldCount).toBeGreaterThan(0);
    });
    await ask((done) => {
      pool.volumeDelete({ name: 'a', force: true }, done);
    });
    disk.release();
    expect((await waiting).status).toBe(IoStatus.shuttingDown);
  });

  it('are told of in several answers, none of which makes many leaves', async () => {
    await makeVolumes();
    const pool = await reopen();
    const device = pool.volumeOpen('a');
    const states: number[] = [];
    let answers = 0;
    for (let at = 0; at < device.sizeBytes; answers += 1) {
      const extents = await extentsAt(device, at);
      const covered = extents.reduce((sum, { length }) => sum + length, 0);
      expect(covered).toBeGreaterThan(0);
      expect(covered).toBeLessThanOrEqual(33 * leafBytes);
      for (const { length, state } of extents) {
        for (let block = 0; block < length / blockBytes; block += 1) states.push(state);
      }
      at += covered;
    }
    expect(answers).toBeLessThan(20);
    const expected = Array.from({ length: leaves * 512 }, (_, block) =>
      block % 512 === 0 ? ExtentState.data : ExtentState.hole,
    );
    expect(states).toEqual(expected);
  });

  it('are made for a diff only where something was written between its moments', async () => {
    const first = await makeVolumes();
    const [cold, other] = [first.volumeOpen('a'), first.volumeOpen('b')];
    (await snapshot(first, 'a', 'from')).close();
    await fill(first, other, 200);
    for (const leaf of [7, 150]) await write(first, cold, leaf * leafBytes, bytesOf(255));
    await fill(first, other, 200);
    (await snapshot(first, 'a', 'to')).close();
    const pool = await reopen();
    const made = vi.spyOn(BlockMap.prototype, 'fillLater');
    const diff = await ask<Diff>((done) => {
      const between = { volume: 'a', from: 'snapshot:from', to: 'snapshot:to' };
      pool.history.diff({ ...between, offset: 0, extentsMax: 1000 }, done);
    });
    expect(diff.extents).toEqual(
      [7, 150].map((leaf) => ({ offset: leaf * leafBytes, length: blockBytes })),
    );
    // Each leaf of each moment, of 200.
    expect(made).toHaveBeenCalledTimes(4);
    expect(disk.readsInPlace).toBe(0);
  });
});
