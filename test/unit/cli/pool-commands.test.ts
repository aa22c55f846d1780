/** Commands about the pool, its operations and TLS, over the real API on a real socket; only the engine is in memory. */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PoolControl } from '../../../src/control/pool-control.ts';
import { CliCoverage, CliWorld, type Outcome, type Typed } from '../../support/cli-world.ts';
import { containing, matching } from '../../support/matching.ts';
import type { MemoryEngine } from '../../support/memory-engine.ts';

const coverage = new CliCoverage();
let world: CliWorld;
let engine: MemoryEngine;

beforeEach(async () => {
  world = await CliWorld.start(coverage);
  engine = world.engine;
});

afterEach(() => {
  world.end();
});

afterAll(async () => {
  const nouns = ['pool', 'tls'];
  const places = ['pool', 'tls', 'operations'];
  expect(await coverage.unused(nouns, places)).toEqual([]);
});

async function tidemark(line: string, typed: Typed = {}): Promise<Outcome> {
  return await world.tidemark(line, typed);
}

async function json(line: string): Promise<unknown> {
  return await world.json(line);
}

describe('tidemark pool operations', () => {
  it('lists what was started, and says what an earlier daemon left', async () => {
    expect((await tidemark('pool operations')).out).toContain('nothing was started');
    await tidemark('pool verify');
    expect((await tidemark('pool operations')).out).toMatch(
      /^ID +WHAT +STATE +STARTED\n\S+-1 +pool-verify +succeeded +\d{4}-/,
    );
    const { catalog, time, iscsi } = world.plane;
    catalog.operationBegun({ id: 'old-1', kind: 'pool-rebuild', startedMs: time.wallMs() });
    Object.assign(world.plane.controls.pool, {
      operations: new PoolControl(engine, iscsi, time).operations,
    });
    expect((await tidemark('pool operations')).out).toMatch(
      /^old-1 +pool-rebuild +failed .*\nold-1: the daemon ended while it was making the manifest again: .* \(run it again\)$/m,
    );
    expect(await json('pool operations')).toMatchObject({ operations: [{ id: 'old-1' }] });
  });
});

describe('tidemark pool', () => {
  it('shows its status', async () => {
    const { code, out } = await tidemark('pool status');
    expect(code).toBe(0);
    expect(out).toMatch(/^pool +main\nstate +online\ncapacity +100 GiB\nused +32 MiB \(0\.0 %\)\n/);
    expect(await json('pool status')).toMatchObject({ name: 'main', engine: { pid: 4711 } });
  });

  it('is resized', async () => {
    expect((await tidemark('pool resize 50G')).out).toBe(
      'pool main has a capacity of 50 GiB (53687091200 bytes)\n',
    );
    expect(await json('pool resize 60G')).toMatchObject({ capacityBytes: 60 * 1024 ** 3 });
  });

  it('has limits of use', async () => {
    expect((await tidemark('pool limits 80 90')).out).toBe(
      'pool main: writes are slowed down from 80 GiB on, and refused for thin volumes from 90 GiB on\n',
    );
    expect(await json('pool limits 82.5 93')).toMatchObject({
      softLimitBytes: 0.825 * 2 ** 30 * 100,
    });
    expect((await tidemark('pool limits 90 80')).code).not.toBe(0);
    expect((await tidemark('pool limits low high')).err).toContain('percent of the capacity');
  });

  it('tells what its bytes are there for', async () => {
    expect((await tidemark('space')).out).toContain('held       64 KiB by volumes');
  });

  it('is verified, and faults fail the command', async () => {
    expect(await tidemark('pool verify')).toEqual({
      code: 0,
      err: '',
      out: '24 blocks in 3 segments, 2 packs, 1 index run, superblock, manifest, what can be reached checked in 60 ms: no faults\n',
    });
    engine.pool.faults = ['segment 3 slot 9: bad checksum'];
    const { code, out, err } = await tidemark('pool verify');
    expect(code).toBe(1);
    expect(out).toContain('1 fault\n  segment 3 slot 9: bad checksum\n');
    expect(err).toContain('the pool has faults');
  });

  it('is cleaned, at once or waited for', async () => {
    expect((await tidemark('pool status')).out).toMatch(/^cleaner +idle; no pass yet$/m);
    expect((await tidemark('pool clean --wait')).out).toBe(
      '64 MiB given back by 2 packs of 32 MiB in 1.5 s\n',
    );
    const { out } = await tidemark('pool status');
    expect(out).toMatch(
      /^cleaner +idle; last pass \(asked\) ended .*: 64 MiB given back by 2 packs/m,
    );
    expect(out).toMatch(/^content +32 MiB garbage, 96 MiB live \(.*\); 2 packs, 32 MiB$/m);
    expect(out).toMatch(/^given back +64 MiB, 32 MiB copied, write amplification 1\.25$/m);
    expect((await tidemark('pool clean')).out).toMatch(/^cleaning was begun, as operation \S+;/);
    expect(await json('pool status')).toMatchObject({ cleaner: { lastPass: { packCount: 2 } } });
  });

  it('is scrubbed', async () => {
    expect((await tidemark('pool status')).out).toContain('no full pass yet; nothing found\n');
    expect((await tidemark('pool scrub start --rate 1M')).out).toContain('running, 25 %\nrate');
    expect(await json('pool scrub pause')).toMatchObject({ state: 'paused' });
    expect((await tidemark('pool scrub status')).out).toContain('1 MiB a second');
  });

  it('is rebuilt', async () => {
    expect((await tidemark('pool rebuild')).out).toContain('the same as before');
    expect(await json('pool rebuild')).toMatchObject({
      state: 'succeeded',
      result: { wasEqual: true },
    });
  });
});

describe('tidemark tls', () => {
  it('shows what there is', async () => {
    const out = matching(/^NBD over TCP +in the clear$[^]*^server is +localhost, 127\.0\.0\.1, /m);
    expect(await tidemark('tls show')).toMatchObject({ code: 0, out });
  });

  it('makes the folder that a client needs, and does not write over one', async () => {
    const out = path.join(world.folder, 'backup1');
    expect(await tidemark(`tls client backup1 --out ${out}`)).toMatchObject({
      code: 0,
      out: containing(`made ${out} with ca-cert.pem, client-cert.pem and client-key.pem`),
    });
    expect(fs.readdirSync(out)).toHaveLength(3);
    expect(fs.statSync(`${out}/client-key.pem`).mode & 0o777).toBe(0o600);
    expect(await tidemark(`tls client backup1 --out ${out}`)).toMatchObject({
      code: 1,
      err: containing('exists already'),
    });
    expect(await json(`tls client backup2 --out ${out}2`)).toMatchObject({ name: 'backup2' });
  });
});
