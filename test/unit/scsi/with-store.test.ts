/** Reservations and copies with the real store behind them: what is durable, and what a copy costs. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { viewOf } from '../../../src/base/fields.ts';
import { PrType } from '../../../src/scsi/persistent-state.ts';
import { ScsiStatus } from '../../../src/scsi/status.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import {
  persistentReserveIn,
  persistentReserveOut,
  read16,
  reserveParameters,
  write16,
} from '../../support/scsi-cdb.ts';
import {
  copyList,
  extendedCopyCdb,
  identificationDescriptor,
  segmentDescriptor,
} from '../../support/scsi-copy-list.ts';
import { type Initiator, ScsiWorld } from '../../support/scsi-world.ts';
import { blockBytes, create, PoolWorld } from '../volume/pool-world.ts';

const mebibyte = 1 << 20;
const { good, reservationConflict } = ScsiStatus;

let store: PoolWorld;

beforeEach(() => {
  store = new PoolWorld();
});

afterEach(() => {
  store.remove();
});

async function prOut(a: Initiator, action: number, type: number, list: Uint8Array): Promise<void> {
  expect((await a.ended(0, persistentReserveOut(action, type), list)).status).toBe(good);
}

function targetOf(pool: Pool, names: readonly string[]): ScsiWorld {
  const world = new ScsiWorld(pool.staging);
  for (const [lun, name] of names.entries()) world.map(lun, pool.volumeOpen(name));
  return world;
}

it('a reservation with APTPL is there after the pool was killed behind the answer', async () => {
  const { pool } = await store.open();
  await create(pool, 'one', 1024);
  const a = targetOf(pool, ['one']).open('a');
  await prOut(a, 0, 0, reserveParameters(0n, 7n, true));
  await prOut(a, 1, PrType.writeExclusive, reserveParameters(7n, 0n, false));
  const world = targetOf((await store.open()).pool, ['one']);
  const b = world.open('b');
  const block = new Uint8Array(512);
  expect((await b.ended(0, write16(0, 1), block)).status).toBe(reservationConflict);
  expect((await world.open('a').ended(0, write16(0, 1), block)).status).toBe(good);
  const { data } = await b.ended(0, persistentReserveIn(1, 24));
  expect([viewOf(data).getBigUint64(8), data[21]]).toEqual([7n, PrType.writeExclusive]);
});

it('a copy inside the pool moves no data, and is there after a kill', async () => {
  const { pool } = await store.open();
  const blocks = (4 * mebibyte) / blockBytes;
  const devices = [await create(pool, 'one', blocks), await create(pool, 'two', blocks)];
  const a = targetOf(pool, ['one', 'two']).open('a');
  const bytes = new Uint8Array(mebibyte);
  for (let at = 0; at < bytes.length; at += 4) viewOf(bytes).setUint32(at, at * 7 + 1);
  const segment = 65_536;
  for (let at = 0; at < bytes.length; at += segment) {
    const piece = bytes.subarray(at, at + segment);
    expect((await a.ended(0, write16(at / 512, segment / 512), piece)).status).toBe(good);
  }
  const before = pool.durableThrough;
  const blockCount = bytes.length / 512;
  const list = copyList(
    devices.map(({ identity }) => identificationDescriptor(identity.naa)),
    [segmentDescriptor({ target: 1, blockCount, targetLba: 8 })],
  );
  expect((await a.ended(0, extendedCopyCdb(list.length), list)).status).toBe(good);
  // The log is counted in blocks: the data alone would be 256 of them.
  expect(pool.durableThrough - before).toBeLessThan(32);
  const again = targetOf((await store.open()).pool, ['one', 'two']).open('a');
  const { data } = await again.ended(1, read16(8, blockCount), undefined, bytes.length);
  expect(Buffer.compare(data, bytes)).toBe(0);
});
