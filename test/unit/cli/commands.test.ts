/** Every command over the real API on a real socket; only the engine is in memory. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildApi } from '../../../src/api/server.ts';
import { OperationError } from '../../../src/base/errors.ts';
import { runCommandLine } from '../../../src/cli/program.ts';
import { PoolControl } from '../../../src/control/pool-control.ts';
import { systemTimers } from '../../../src/host/timers.ts';
import { containing, matching } from '../../support/matching.ts';
import { MemoryEngine } from '../../support/memory-engine.ts';
import { VirtualTime } from '../../support/virtual-time.ts';

const silent = {
  info: (): void => undefined,
  warn: (): void => undefined,
  error: (): void => undefined,
};
/** "METHOD /path/:with" of every route that exists, and of every one that some command has used. */
const routes = new Set<string>();
const usedRoutes = new Set<string>();

let folder: string;
let engine: MemoryEngine;
let api: FastifyInstance;

beforeEach(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-cli-'));
  fs.mkdirSync(path.join(folder, 'run'));
  engine = new MemoryEngine();
  api = buildApi(new PoolControl(engine, new VirtualTime()), silent);
  api.addHook('onRequest', async (request) => {
    usedRoutes.add(`${request.method} ${request.routeOptions.url}`);
    await Promise.resolve();
  });
  for (const route of routesOf(api)) routes.add(route);
  await api.listen({ path: path.join(folder, 'run/daemon.sock') });
});

afterEach(async () => {
  await api.close();
  fs.rmSync(folder, { recursive: true });
});

afterAll(() => {
  expect([...usedRoutes].sort()).toEqual([...routes].sort());
});

/** From fastify's own tree, which indents every level by four characters: "│   └── /:name (GET, DELETE)". */
function routesOf(app: FastifyInstance): string[] {
  const found: string[] = [];
  const parents: string[] = [];
  for (const line of app.printRoutes({ commonPrefix: false }).split('\n')) {
    const [, indent, part, methods] = /^([^/\w]*)(\S+) \(([A-Z, ]+)\)$/.exec(line) ?? [];
    if (indent === undefined || part === undefined || methods === undefined) continue;
    parents.splice(indent.length / 4 - 1, Infinity, part);
    for (const method of methods.split(', ')) {
      if (method !== 'HEAD') found.push(`${method} ${parents.join('')}`);
    }
  }
  return found;
}

interface Typed {
  /** What the person answers to a question; absent = there is no terminal. */
  readonly answer?: string;
}

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command line as the shell would split it. */
async function tidemark(line: string, typed: Typed = {}): Promise<Outcome> {
  let out = '';
  let err = '';
  const argv = ['--data', folder, ...line.split(' ').filter((word) => word !== '')];
  const code = await runCommandLine(
    { argv, dataVariable: undefined },
    {
      terminal: {
        isInteractive: typed.answer !== undefined,
        canRedraw: false,
        out: (text) => {
          out += text;
        },
        error: (text) => {
          err += text;
        },
        ask: async (question) => {
          err += `${question}\n`;
          return await Promise.resolve(typed.answer);
        },
      },
      clock: new VirtualTime(),
      timers: systemTimers,
    },
  );
  return { code, out, err };
}

async function json(line: string): Promise<unknown> {
  const outcome = await tidemark(`--json ${line}`);
  expect(outcome).toMatchObject({ code: 0, err: '' });
  return JSON.parse(outcome.out);
}

describe('tidemark volume', () => {
  it('creates, shows, lists, renames, resizes and deletes', async () => {
    expect(await tidemark('volume list')).toMatchObject({
      code: 0,
      out: containing('no volumes'),
    });
    const made = await tidemark('volume create v --size 20G');
    expect(made).toEqual({
      code: 0,
      err: '',
      out: 'volume v made, 20 GiB\n  nbd+unix:///v?socket=/d/run/nbd.sock\n  nbd://127.0.0.1:10809/v\n',
    });
    expect((await tidemark('volume show v')).out).toContain('20 GiB (21474836480 bytes)');
    expect((await tidemark('volume rename v w')).out).toBe('volume v is now w\n');
    expect((await tidemark('volume resize w 30G')).out).toBe(
      'volume w now has 30 GiB (32212254720 bytes)\n',
    );
    expect((await tidemark('volume list')).out).toMatch(
      /^NAME +SIZE +MAPPED +SNAPSHOTS +CLIENTS +CREATED\nw +30 GiB +8 KiB +0 +0 +\d{4}-/,
    );
    expect((await tidemark('volume delete w')).out).toBe('volume w deleted\n');
  });

  it("prints the API's JSON with --json", async () => {
    expect(await json('volume create v --size 8K')).toMatchObject({ name: 'v', sizeBytes: 8192 });
    expect(await json('volume list')).toMatchObject({ volumes: [{ name: 'v' }] });
    expect(await json('volume show v')).toMatchObject({ name: 'v' });
    expect(await json('volume rename v w')).toMatchObject({ name: 'w' });
    expect(await json('volume resize w 12K')).toMatchObject({ sizeBytes: 12_288 });
    expect(await json('volume delete w')).toEqual({ deleted: 'w' });
  });

  it('shrinks only with --force when nobody can be asked', async () => {
    await tidemark('volume create v --size 8K');
    const refused = await tidemark('volume resize v 4K');
    expect(refused).toMatchObject({
      code: 1,
      err: matching(/cuts data\nhint: .*--force/),
    });
    expect(await tidemark('volume resize v 4K --force')).toMatchObject({ code: 0 });
  });

  it('shrinks at a terminal when the name is typed, and only then', async () => {
    await tidemark('volume create v --size 8K');
    expect(await tidemark('volume resize v 4K', { answer: 'yes' })).toMatchObject({
      code: 1,
      err: containing('nothing was done'),
    });
    expect(engine.pool.state.volumes[0]?.sizeBytes).toBe(8192);
    expect(await tidemark('volume resize v 4K', { answer: ' v ' })).toMatchObject({ code: 0 });
    expect(engine.pool.state.volumes[0]?.sizeBytes).toBe(4096);
  });

  it('says what a delete destroys before it asks', async () => {
    await tidemark('volume create v --size 20G');
    await tidemark('snapshot create v a');
    const refused = await tidemark('volume delete v', { answer: 'w' });
    expect(refused.code).toBe(1);
    expect(refused.err).toContain(
      'Deleting volume v (20 GiB) destroys 8 KiB of data and 1 snapshot. This cannot be undone.\nType v to go on: ',
    );
    expect(engine.pool.state.volumes).toHaveLength(1);
    expect(await tidemark('volume delete v', { answer: 'v' })).toMatchObject({ code: 0 });
    expect(engine.pool.state.volumes).toEqual([]);
  });

  it.each(['--force', '--yes'])('deletes with %s without asking', async (flag) => {
    await tidemark('volume create v --size 20G');
    await tidemark('snapshot create v a');
    expect(await tidemark('volume delete v')).toMatchObject({ code: 1 });
    expect(await tidemark(`volume delete v ${flag}`, { answer: 'not asked' })).toMatchObject({
      code: 0,
      err: '',
    });
  });
});

describe('tidemark snapshot', () => {
  it('creates, lists and deletes', async () => {
    await tidemark('volume create v --size 20G');
    expect((await tidemark('snapshot list v')).out).toContain('no snapshots');
    expect((await tidemark('snapshot create v a')).out).toBe('snapshot v@a made at position 1\n');
    expect((await tidemark('snapshot list v')).out).toMatch(
      /^NAME +SIZE +CREATED +CONSISTENCY +EXPORT\na +20 GiB .* crash-consistent +v@a\n$/,
    );
    expect((await tidemark('snapshot delete v a')).out).toBe('snapshot v@a deleted\n');
  });

  it("prints the API's JSON with --json", async () => {
    await tidemark('volume create v --size 20G');
    expect(await json('snapshot create v a')).toMatchObject({ exportName: 'v@a' });
    expect(await json('snapshot list v')).toMatchObject({ snapshots: [{ name: 'a' }] });
    expect(await json('snapshot delete v a')).toEqual({ deleted: 'v@a' });
  });

  it('that is in use is deleted only with consent', async () => {
    await tidemark('volume create v --size 20G');
    await tidemark('snapshot create v used');
    expect(await tidemark('snapshot delete v used')).toMatchObject({ code: 1 });
    expect(await tidemark('snapshot delete v used', { answer: 'used' })).toMatchObject({ code: 0 });
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

  it('is verified, and faults fail the command', async () => {
    expect(await tidemark('pool verify')).toEqual({
      code: 0,
      err: '',
      out: '24 blocks in 3 segments checked in 60 ms: no faults\n',
    });
    engine.pool.faults = ['segment 3 slot 9: bad checksum'];
    const { code, out, err } = await tidemark('pool verify');
    expect(code).toBe(1);
    expect(out).toContain('1 fault\n  segment 3 slot 9: bad checksum\n');
    expect(err).toContain('the pool has faults');
  });

  it('is rebuilt', async () => {
    expect((await tidemark('pool rebuild')).out).toContain('the same as before');
    expect(await json('pool rebuild')).toMatchObject({
      state: 'succeeded',
      result: { wasEqual: true },
    });
  });
});

describe('failures', () => {
  it('of the daemon end with 1, its message and its hint', async () => {
    engine.failure = new OperationError('unavailable', 'the engine is starting', 'wait');
    expect(await tidemark('volume list')).toEqual({
      code: 1,
      out: '',
      err: 'tidemark: the engine is starting\nhint: wait\n',
    });
  });

  it("with --json are the API's error on the error output", async () => {
    const { code, out, err } = await tidemark('volume show x --json');
    expect([code, out]).toEqual([1, '']);
    expect(JSON.parse(err)).toEqual({
      error: { code: 'not-found', message: 'there is no volume x' },
    });
  });

  it.each([
    'volume create v',
    'volume create v --size 5x',
    'volume create v --size 5001',
    'volume create a@b --size 5G',
    'volume create v --size 5G more',
    'volume frobnicate',
    'volume',
    'pool resize 0',
    'snapshot create v a@b',
    '--nonsense',
  ])('of usage end with 2 and a message: %s', async (line) => {
    engine.pool.volumeCreate('v', 4096);
    const { code, out, err } = await tidemark(line);
    expect([code, out]).toEqual([2, '']);
    expect(err).not.toBe('');
    expect(engine.pool.state.volumes).toHaveLength(1);
  });

  it('end with 3 and say how to start it when no daemon answers', async () => {
    await api.close();
    const { code, err } = await tidemark('pool status');
    expect(code).toBe(3);
    expect(err).toMatch(
      /^tidemark: no tidemark daemon answers at .*\/run\/daemon.sock\nhint: .*npm start/,
    );
  });

  it('help ends with 0', async () => {
    expect(await tidemark('--help')).toMatchObject({
      code: 0,
      out: matching(/20G means 20 GiB[^]*Exit codes/),
    });
  });
});
