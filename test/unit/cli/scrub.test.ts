/** tidemark pool scrub, over the real API on a real socket; only the engine is in memory. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliCoverage, CliWorld } from '../../support/cli-world.ts';

const coverage = new CliCoverage();
let world: CliWorld;

beforeEach(async () => {
  world = await CliWorld.start(coverage);
});

afterEach(() => {
  world.end();
});

describe('tidemark pool scrub', () => {
  it('lists what was found, by volume and block', async () => {
    const { pool } = world.engine;
    const startedMs = Date.UTC(2026, 10, 20);
    const finishedMs = startedMs + 5000;
    pool.scrub = {
      ...pool.scrub,
      lastPass: {
        startedMs,
        finishedMs,
        blocksChecked: 256,
        findingCount: 3,
        isManifestChecked: false,
      },
      findingCount: 3,
      findings: [
        { foundMs: finishedMs, text: 'superblock-a: copy 1 is unreadable', segId: 0 },
        {
          foundMs: finishedMs,
          text: 'segment 3: 2 bad of 8 blocks',
          segId: 3,
          volume: 'lun0',
          offset: 8192,
          length: 8192,
          presentIn: ['lun0', 'look'],
        },
      ],
    };
    const { code, out } = await world.tidemark('pool scrub status');
    expect(code).toBe(0);
    expect(out).toMatch(/^last pass +1 MiB in 5\.0 s, ended .*, without the manifest/m);
    expect(out).toMatch(/^found +3 findings\n {2}superblock-a: copy 1 is unreadable\n/m);
    expect(out).toContain(
      '  lun0: blocks 2 to 3 (offset 8192, 8 KiB), now in lun0, look; segment 3: 2 bad of 8 blocks\n  and 1 more\n',
    );
    expect(await world.json('pool scrub status')).toMatchObject({ findingCount: 3 });
    expect((await world.tidemark('pool status')).out).toMatch(/^scrub .*; 3 findings$/m);
  });

  it('takes no rate that would never end', async () => {
    expect(await world.tidemark('pool scrub start --rate 4K')).toMatchObject({ code: 2 });
  });
});
