/** The mark of a whole pool, with index runs of several levels, against the account of space over random histories. */
import { describe, expect, it } from 'vitest';
import type { LiveSet } from '../../src/volume/liveness/live-set.ts';
import type { Pool } from '../../src/volume/pool.ts';
import type { VerifyReport } from '../../src/volume/reports.ts';
import { account, History, limitsOfTests } from '../unit/volume/liveness/random-history.ts';
import { ask, blockBytes, close, worldOfTests } from '../unit/volume/pool-world.ts';

const world = worldOfTests();
/** Windows are looked at all the time. */
const hurried = worldOfTests({ retentionStepMs: 2 });
const limits = limitsOfTests();

async function verify(pool: Pool): Promise<VerifyReport> {
  return await new Promise((resolve) => {
    pool.verify(() => undefined, resolve);
  });
}

async function mark(pool: Pool): Promise<LiveSet> {
  return await ask((done) => {
    pool.mark.run(done);
  });
}

function liveBytes(live: LiveSet): number {
  let blocks = 0;
  for (const segId of live.segIds) {
    expect(bitsOf(live.bitmap(segId))).toBe(live.liveBlocks(segId));
    blocks += live.liveBlocks(segId);
  }
  return blocks * blockBytes;
}

function bitsOf(bitmap: Uint8Array): number {
  let bits = 0;
  for (const byte of bitmap) {
    for (let bit = 0; bit < 8; bit += 1) bits += (byte >>> bit) & 1;
  }
  return bits;
}

describe('LivenessMark', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'agrees with the account of space over random histories (seed %i)',
    async (seed) => {
      Object.assign(limits, { markEntriesPerStep: seed % 3 === 0 ? 7 : 1000 });
      const history = new History((await world.open()).pool, seed * 31);
      for (let round = 0; round < 4; round += 1) {
        for (let step = 0; step < 25; step += 1) await history.step();
        expect((await verify(history.pool)).faults).toEqual([]);
        await close(history.pool);
        history.pool = (await world.open()).pool;
        // All data lies in sealed segments now.
        const live = liveBytes(await mark(history.pool));
        const space = await account(history.pool);
        expect(live).toBe(space.heldBytes + space.historyBytes);
        await history.check();
      }
    },
  );

  it.each([1, 2, 3, 4])(
    'keeps what volumes and snapshots hold, and nothing else, when windows end (seed %i)',
    async (seed) => {
      const hasForks = seed % 2 === 0;
      const history = new History((await hurried.open()).pool, seed * 17, hasForks);
      for (let round = 0; round < 4; round += 1) {
        for (let step = 0; step < 25; step += 1) await history.step();
        await history.forget();
        expect((await verify(history.pool)).faults).toEqual([]);
        await close(history.pool);
        history.pool = (await hurried.open()).pool;
        const live = liveBytes(await mark(history.pool));
        const { heldBytes, historyBytes } = await account(history.pool);
        // A line that began in another one keeps all that this one showed then.
        expect(live).toBeGreaterThanOrEqual(heldBytes + historyBytes);
        if (!hasForks) expect([live, historyBytes]).toEqual([heldBytes, 0]);
        expect((await verify(history.pool)).faults).toEqual([]);
      }
    },
  );
});
