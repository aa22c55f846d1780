/** How much of its past a volume keeps, at the command line, over the real API on a real socket; only the engine is in memory. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliCoverage, CliWorld } from '../../support/cli-world.ts';
import type { MemoryEngine } from '../../support/memory-engine.ts';

const coverage = new CliCoverage();
let world: CliWorld;
let engine: MemoryEngine;

describe('the window of a volume', () => {
  beforeEach(async () => {
    world = await CliWorld.start(coverage);
    engine = world.engine;
  });

  afterEach(() => {
    world.end();
  });

  it('is told: how much is kept, how much can be opened, and why the two differ', async () => {
    await world.tidemark('volume create v --size 8K --cdp-policy all:1h/10G,1m:24h');
    expect((await world.tidemark('volume set v --cdp-window 2h')).out).toBe(
      'volume v keeps every moment for 1h (of the newest 10 GiB written), then one each 1m up to 1d\n',
    );
    const [volume] = engine.pool.state.volumes;
    if (volume === undefined) throw new Error('no volume');
    const cdp = {
      policy: 'all:1h,1m:24h',
      requestedMs: 3_600_000,
      effectiveMs: 2_040_000,
      fromMs: Date.now() - 2_040_000,
      reason: 'pool-full' as const,
      isGuaranteed: false,
      pinCount: 7,
    };
    engine.pool.state.volumes = [{ ...volume, cdp }];
    expect((await world.tidemark('volume list')).out).toMatch(/ durable +34m of 1h +0 /);
    expect((await world.tidemark('volume show v')).out).toMatch(
      /^window +every moment since .* ago\) can be opened: less than asked for, because the pool was full\npins +7 automatic pins$/m,
    );
    engine.pool.kept = [
      { kind: 'pin', at: '2026-11-22T10:00:00.000Z', position: 5, timeMs: 1 },
      { kind: 'window', at: '2026-11-22T11:00:00.000Z', position: 9, timeMs: 2 },
    ];
    expect((await world.tidemark('volume history v')).out).toMatch(
      /^before it +1 automatic pin \(.*\); tidemark volume history v --kept$/m,
    );
    expect((await world.tidemark('volume history v --kept')).out).toMatch(
      /^--at +TIME +KEPT AS\n2026-11-22T10:00:00.000Z +\d.* pin\n2026-11-22T11:00:00.000Z +\d.* from here on every moment\n$/,
    );
    expect(await world.json('volume history v')).toMatchObject({
      cdp: { reason: 'pool-full' },
      kept: [{ kind: 'pin' }, { kind: 'window' }],
    });
  });

  it('is guaranteed, and says so wherever it is told of', async () => {
    await world.tidemark('volume create v --size 8K --cdp-policy all:1h --cdp-guarantee on');
    await world.tidemark('volume create w --size 8K');
    const promise = 'every moment for 1h; guaranteed: never shortened for want of space';
    expect((await world.tidemark('volume show v')).out).toMatch(
      new RegExp(`^keeps +${promise}$`, 'm'),
    );
    expect((await world.tidemark('volume history v')).out).toMatch(
      new RegExp(`^keeps +${promise}$`, 'm'),
    );
    expect((await world.tidemark('volume list')).out).toMatch(/ unlimited guaranteed +0 /);
    expect((await world.tidemark('pool status')).out).toMatch(
      /^left alone +the past of v \(guaranteed\), w \(unlimited\), when space is short$/m,
    );
    expect((await world.tidemark('volume set v --cdp-guarantee off')).out).toBe(
      'volume v keeps every moment for 1h\n',
    );
    expect(await world.json('volume show v')).toMatchObject({ cdp: { isGuaranteed: false } });
    expect(await world.tidemark('volume set v --cdp-guarantee maybe')).toMatchObject({ code: 2 });
  });
});
