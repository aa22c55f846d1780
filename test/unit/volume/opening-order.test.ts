import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { IoStatus } from '../../../src/device/block-device.ts';
import type { KeeperJob } from '../../../src/volume/keeper-jobs.ts';
import type { PoolHost } from '../../../src/volume/ports.ts';
import { inlineHost } from '../../support/inline-host.ts';
import {
  blockBytes,
  close,
  create,
  filled,
  isSound,
  openOn,
  worldOfTests,
  write,
} from './pool-world.ts';

const settings = { segmentSlots: 256, readySegments: 4 };
const world = worldOfTests(settings);

/** The files of the pool are found so many turns later. */
function foundLater(base: PoolHost, turns: number): PoolHost {
  return {
    ...base,
    findFiles: (done) => {
      const wait = (left: number): void => {
        if (left === 0) base.findFiles(done);
        else {
          base.timers.defer(() => {
            wait(left - 1);
          });
        }
      };
      wait(turns);
    },
  };
}

/** A keeper that makes no segment ahead. */
function withoutPrepare(base: PoolHost): PoolHost {
  return {
    ...base,
    startKeeper: (keeperSettings, onResult) => {
      const keeper = base.startKeeper(keeperSettings, onResult);
      const post = (job: KeeperJob): void => {
        if (job.kind !== 'prepare') keeper.post(job);
      };
      return { ...keeper, post };
    },
  };
}

describe('opening', () => {
  it('happens once, whenever the files are found', async () => {
    const made = await world.open();
    await create(made.pool, 'v', 64);
    await close(made.pool);
    world.kill();
    for (let turns = 0; turns < 30; turns += 1) {
      const base = inlineHost(world.folder);
      let commits = 0;
      const counted: PoolHost = {
        ...base,
        startCommit: (shared, onProgress) => {
          commits += 1;
          return base.startCommit(shared, onProgress);
        },
      };
      const { pool } = await openOn(foundLater(counted, turns), world.folder, settings);
      expect(await isSound(pool)).toBe(true);
      await close(pool);
      base.abandon();
      expect(commits, `${turns} turns`).toBe(1);
    }
  });

  it('finds durable frames behind a lost header, also behind files that were made ahead and never begun', async () => {
    const made = await world.open();
    await create(made.pool, 'v', 4096);
    await close(made.pool);
    world.kill();
    const base = inlineHost(world.folder);
    const { pool } = await openOn(withoutPrepare(base), world.folder, settings);
    const device = pool.volumeOpen('v');
    for (let at = 0; at < 25; at += 1) {
      const status = await write(pool, device, at * 8 * blockBytes, filled(8 * blockBytes, 7));
      expect(status).toBe(IoStatus.ok);
    }
    base.abandon();
    const segments = join(world.folder, 'segments');
    const newest = readdirSync(segments)
      .sort()
      .findLast((name) => readFileSync(join(segments, name)).some(Boolean));
    const file = openSync(join(segments, newest ?? ''), 'r+');
    // More than one look.
    const lostBytes = 80 * blockBytes;
    writeSync(file, new Uint8Array(lostBytes), 0, lostBytes, 0);
    closeSync(file);
    const { pool: again } = await world.open();
    expect(again.readOnlyReason).toContain('it held durable frames; they are lost');
    await close(again);
  });
});
