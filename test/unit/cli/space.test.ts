/** tidemark space, over the real API on a real socket; only the engine is in memory. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliCoverage, CliWorld } from '../../support/cli-world.ts';
import { containing } from '../../support/matching.ts';

const coverage = new CliCoverage();
let world: CliWorld;

describe('tidemark space', () => {
  beforeEach(async () => {
    world = await CliWorld.start(coverage);
    await world.tidemark('volume create lun0 --size 1G');
    await world.tidemark('volume create lun1 --size 4K');
    await world.tidemark('snapshot create lun0 a');
  });

  afterEach(() => {
    world.end();
  });

  it('says what the bytes of the pool are there for', async () => {
    const { code, out } = await world.tidemark('space');
    expect(code).toBe(0);
    expect(out).toMatch(/^segments +256 KiB in 2 files, of which$/m);
    expect(out).toMatch(/^ {2}dead +16 KiB that nothing refers to/m);
    expect(out).toMatch(/^lun0 +1 GiB +8 KiB +0 B +0 B +12 KiB +20 KiB +8 KiB +0 B$/m);
    expect(await world.json('space')).toMatchObject({
      kind: 'pool-space',
      result: { heldBytes: 65_536 },
    });
  });

  it('says why a volume uses more than its size, and what its snapshots hold alone', async () => {
    const { out } = await world.tidemark('space lun1');
    expect(out).toMatch(/^uses +20 KiB: more than its size, because 12 KiB of it are states that/m);
    expect((await world.tidemark('space lun0')).out).toMatch(/^a +\S.* 8 KiB +4 KiB$/m);
  });

  it('says what deletions would free, and deletes nothing', async () => {
    const { out } = await world.tidemark('space --what-if delete=lun0@a,lun1');
    expect(out).toContain('\nwithout lun0@a, lun1: 8 KiB would be held no longer\n');
    expect((await world.tidemark('snapshot list lun0')).out).toContain('a ');
    expect(await world.tidemark('space --what-if shrink=lun0')).toMatchObject({
      code: 2,
      err: containing('"shrink=lun0" is no change that can be supposed'),
    });
    expect(await world.tidemark('space --what-if delete=lun0@')).toMatchObject({ code: 2 });
  });

  it('says what shorter windows would free', async () => {
    const { out } = await world.tidemark('space --what-if window=14d');
    expect(out).toContain('\nwith 14d as all windows: nothing that is kept now would be free\n');
    expect((await world.tidemark('space lun0 --what-if window=0')).out).toContain(
      '\nwith 0 as the window of lun0: 32 KiB would be held no longer\n',
    );
    expect(await world.tidemark('space --what-if window=unlimited')).toMatchObject({
      code: 2,
      err: containing('"unlimited" is no window that can be supposed'),
    });
  });

  it('says how fast the pool fills, and when it is full at that rate', async () => {
    const { out } = await world.tidemark('space');
    expect(out).toMatch(
      /^last hour +\+1 GiB; at that rate the soft limit is reached in \S+ (min|h|days), the hard one in \S+ (min|h|days)$/m,
    );
    expect(out).toMatch(
      /^last day +-4 KiB written \(what was given back meanwhile is not known\); at that rate no limit in sight$/m,
    );
    expect(out).toMatch(/^last week +not enough history yet$/m);
  });
});
