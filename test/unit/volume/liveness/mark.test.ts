/** The mark of a whole pool, with index runs of several levels: and with damage. Random histories: `test/model/mark.test.ts`. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { success } from '../../../../src/base/errors.ts';
import type { LiveSet } from '../../../../src/volume/liveness/live-set.ts';
import type { Pool } from '../../../../src/volume/pool.ts';
import type { VerifyReport } from '../../../../src/volume/reports.ts';
import { ask, blockBytes, create, snapshot, worldOfTests, write } from '../pool-world.ts';
import { History, limitsOfTests } from './random-history.ts';

const world = worldOfTests();
/** Of so few segments there are no runs. */
const wide = worldOfTests({ runFanOut: 64 });
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

/** Live blocks of the oldest segment. */
function liveOfFirst(live: LiveSet): number {
  return live.liveBlocks(live.segIds[0] ?? 0);
}

describe('LivenessMark', () => {
  it('says the same of a log that is judged a few segments at a time', async () => {
    const history = new History((await world.open()).pool, 77);
    for (let step = 0; step < 150; step += 1) await history.step();
    const whole = await mark(history.pool);
    Object.assign(limits, { markBitmapBytes: 3 * 8 });
    const pieces = await mark(history.pool);
    expect(whole.segIds.length).toBeGreaterThan(6);
    expect(pieces.segIds).toEqual(whole.segIds);
    let known = 0;
    for (const segId of whole.segIds) {
      expect(pieces.liveBlocks(segId)).toBe(whole.liveBlocks(segId));
      const isAll = pieces.bitmap(segId).every((byte) => byte === 0xff);
      if (!isAll) expect(pieces.bitmap(segId)).toEqual(whole.bitmap(segId));
      if (!isAll) known += 1;
    }
    expect(known).toBe(3);
  });

  it('calls nothing dead while a run is damaged, and has it made again', async () => {
    const history = new History((await world.open()).pool, 77);
    for (let step = 0; step < 150; step += 1) await history.step();
    const { pool } = history;
    const before = await mark(pool);
    const folder = path.join(world.folder, 'runs');
    for (const name of readdirSync(folder)) {
      const bytes = readFileSync(path.join(folder, name));
      bytes[4096 + 9] = (bytes[4096 + 9] ?? 0) ^ 1;
      writeFileSync(path.join(folder, name), bytes);
    }
    await expect(mark(pool)).rejects.toThrow('damaged block 1');
    await vi.waitFor(
      async () => {
        const after = await mark(pool);
        for (const segId of before.segIds) {
          expect(after.liveBlocks(segId)).toBe(before.liveBlocks(segId));
        }
      },
      { timeout: 10_000 },
    );
  });

  it('calls nothing dead while a footer that no run covers is damaged', async () => {
    const history = new History((await wide.open()).pool, 6);
    for (let step = 0; step < 40; step += 1) await history.step();
    const live = await mark(history.pool);
    const [segId = 0] = live.segIds;
    const name = readdirSync(path.join(wide.folder, 'segments')).sort()[0] ?? '';
    const file = path.join(wide.folder, 'segments', name);
    const bytes = readFileSync(file);
    const at = 64 * blockBytes + 200;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    await expect(mark(history.pool)).rejects.toThrow(`segment ${segId}: footer unreadable`);
  });

  it('keeps what somebody reads until he is through, also of a volume that is gone', async () => {
    const { pool } = await world.open();
    const device = await create(pool, 'a', 40);
    const bytes = new Uint8Array(8 * blockBytes).fill(1);
    await write(pool, device, 0, bytes);
    const opened = await snapshot(pool, 'a', 's');
    for (let round = 0; round < 20; round += 1) await write(pool, device, 0, bytes);
    await ask((done) => {
      pool.volumeDelete({ name: 'a', force: true }, done);
    });
    const other = await create(pool, 'b', 40);
    for (let round = 0; round < 20; round += 1) await write(pool, other, 0, bytes);
    expect(liveOfFirst(await mark(pool))).toBe(8);
    opened.close();
    expect(liveOfFirst(await mark(pool))).toBe(0);
  });

  it('is audited by a verification', async () => {
    const history = new History((await world.open()).pool, 78);
    for (let step = 0; step < 40; step += 1) await history.step();
    const { pool } = history;
    const live = await mark(pool);
    expect((await verify(pool)).faults).toEqual([]);
    // A mark that forgets one block of the oldest segment that has any.
    const segId = live.segIds.find((each) => live.liveBlocks(each) > 0) ?? 0;
    const bitmap = live.bitmap(segId);
    const byte = bitmap.findIndex((each) => each > 0);
    bitmap[byte] = (bitmap[byte] ?? 0) & ((bitmap[byte] ?? 0) - 1);
    vi.spyOn(pool.mark, 'run').mockImplementation((done) => {
      done(success(live));
    });
    const { faults, faultCount } = await verify(pool);
    expect(faultCount).toBeGreaterThan(0);
    expect(faults[0]).toMatch(new RegExp(`^segment ${segId} slot \\d+: line .* counted as dead$`));
  });
});
