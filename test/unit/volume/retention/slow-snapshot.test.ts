/** A snapshot of a moment that is kept only because somebody asked for it, on a disk that hangs while it is recorded. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DiskFile } from '../../../../src/base/ports.ts';
import { SystemDisk } from '../../../../src/host/disk.ts';
import type { ResolvedMoment } from '../../../../src/volume/history/resolve.ts';
import { limits } from '../../../../src/volume/limits.ts';
import type { LiveSet } from '../../../../src/volume/liveness/live-set.ts';
import type { OpenSnapshot } from '../../../../src/volume/pool.ts';
import { ask, blockBytes, close, filled, read } from '../pool-world.ts';
import { KeptWorld } from './kept-world.ts';

/** Calls `onFlush` inside the next flush of a segment. */
class WatchedDisk extends SystemDisk {
  onFlush: (() => void) | undefined;

  override open(...parameters: Parameters<SystemDisk['open']>): DiskFile {
    const file = super.open(...parameters);
    if (!parameters[0].startsWith('segments/')) return file;
    return new Proxy(file, {
      get: (target, name) => {
        if (name === 'flush') {
          const action = this.onFlush;
          this.onFlush = undefined;
          action?.();
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }
}

let world: KeptWorld;

beforeEach(() => {
  world = new KeptWorld();
});

afterEach(() => {
  world.remove();
});

async function resolve(at: string): Promise<ResolvedMoment> {
  return await ask((done) => {
    world.pool.history.resolve('lun0', at, done);
  });
}

describe('a snapshot of the past', () => {
  it('has its blocks also when recording it takes longer than a moment is kept for who asked', async () => {
    await world.open();
    await world.create('lun0', 'all:1s');
    await world.write('lun0', 1);
    const { moment } = await resolve('now');
    await world.write('lun0', 2);
    await close(world.pool);
    let disk: WatchedDisk | undefined;
    await world.open((folder) => {
      disk = new WatchedDisk(folder);
      return disk;
    });
    const at = `position:${moment.cut}`;
    await resolve(at);
    await world.write('lun0', 3);
    await world.pass(60_000);
    await world.pass(60_000);
    expect(world.pool.volume('lun0').horizon?.position).toBeGreaterThan(moment.cut);
    const marked = new Promise<LiveSet>((found, failed) => {
      if (disk === undefined) throw new Error('no disk');
      disk.onFlush = () => {
        world.nowMs += limits.momentLeaseMs + 1;
        world.pool.mark.run((outcome) => {
          if (outcome.ok) found(outcome.value);
          else failed(outcome.error);
        });
      };
    });
    await ask((done) => {
      world.pool.snapshotCreate([{ volume: 'lun0', name: 's' }], done, at);
    });
    const live = await marked;
    await ask((done) => {
      const orders = live.segIds.map((segId) => ({
        segId,
        keep: live.bitmap(segId),
        keptThrough: live.endPosition,
      }));
      world.pool.packing.pack(orders, done);
    });
    const { device } = await ask<OpenSnapshot>((done) => {
      world.pool.snapshotOpen('lun0', 's', done);
    });
    expect(await read(device, 0, blockBytes)).toEqual(filled(blockBytes, 1));
  });
});
