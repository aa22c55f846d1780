import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ErrorCode, OperationError } from '../../../src/base/errors.ts';
import { momentRule } from '../../../src/base/moment.ts';
import { controlPlane } from '../../support/control-plane.ts';
import { containing } from '../../support/matching.ts';
import { MemoryEngine } from '../../support/memory-engine.ts';
import { sleep } from '../../support/run.ts';
import { SharedApi } from '../../support/shared-api.ts';
import { tlsIn } from '../../support/tls.ts';

let folder: string;
let engine: MemoryEngine;
const api = new SharedApi();
const send = api.send.bind(api);
const logged: string[] = [];
const log = {
  info: (message: string): void => void logged.push(message),
  warn: (message: string): void => void logged.push(message),
  error: (message: string): void => void logged.push(message),
};

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-api-'));
});

afterAll(() => {
  fs.rmSync(folder, { recursive: true });
});

beforeEach(async () => {
  engine = new MemoryEngine();
  api.serve((await controlPlane(engine, tlsIn(folder))).controls, log);
  logged.length = 0;
});

describe('errors of the API', () => {
  /** Typed, so that a code which is added must be given its answer here. */
  const statusByCode: Readonly<Record<ErrorCode, number>> = {
    invalid: 400,
    'not-found': 404,
    exists: 409,
    conflict: 409,
    'needs-force': 428,
    'no-space': 507,
    'read-only': 423,
    unavailable: 503,
    internal: 500,
  };

  it.each(Object.values(ErrorCode))(
    '%s has its HTTP code, and carries message and hint',
    async (code) => {
      engine.failure = new OperationError(code, 'what', 'how');
      expect(await send('GET', '/v1/volumes')).toEqual({
        status: statusByCode[code],
        body: { error: { code, message: 'what', hint: 'how' } },
      });
    },
  );

  it('leave out the hint when there is none', async () => {
    engine.failure = new OperationError('internal', 'what');
    expect((await send('GET', '/v1/pool')).body).toEqual({
      error: { code: 'internal', message: 'what' },
    });
    expect(logged).toContain('API request failed');
  });

  it('name every fault of a request at once', async () => {
    const answer = await send('POST', '/v1/volumes', { name: 'a/b', sizeBytes: 4097, colour: 1 });
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual({
      error: {
        code: 'invalid',
        message:
          'unknown field colour; name must be 1 to 128 letters, digits, dots, underscores and hyphens; sizeBytes must be a multiple of 4096',
      },
    });
  });

  it.each([
    ['a number as text', { name: 'a', sizeBytes: '4096' }],
    ['no size', { name: 'a' }],
    ['a size of zero', { name: 'a', sizeBytes: 0 }],
    ['a negative size', { name: 'a', sizeBytes: -4096 }],
    ['a size beyond exact numbers', { name: 'a', sizeBytes: 2 ** 60 }],
    ['an empty name', { name: '', sizeBytes: 4096 }],
    ['a name of 129', { name: 'x'.repeat(129), sizeBytes: 4096 }],
    ['a list', []],
  ])('refuse %s', async (_what, body) => {
    expect((await send('POST', '/v1/volumes', body)).status).toBe(400);
    expect(engine.pool.state.volumes).toEqual([]);
  });

  it('refuse what is not JSON, and a body that is too large', async () => {
    const headers = { 'content-type': 'application/json' };
    const bad = await api.app.inject({ method: 'POST', url: '/v1/volumes', headers, payload: '{' });
    expect([bad.statusCode, bad.json().error.code]).toEqual([400, 'invalid']);
    const payload = JSON.stringify({ name: 'x'.repeat(70_000) });
    const large = await api.app.inject({ method: 'POST', url: '/v1/volumes', headers, payload });
    expect([large.statusCode, large.json().error.code]).toEqual([400, 'invalid']);
  });

  it('refuse an unknown query and a force that is neither true nor false', async () => {
    expect((await send('DELETE', '/v1/volumes/a?x=1')).status).toBe(400);
    expect((await send('DELETE', '/v1/volumes/a?force=1')).status).toBe(400);
  });

  it('say not-found for paths that the API does not have', async () => {
    expect(await send('GET', '/v2/pool')).toEqual({
      status: 404,
      body: { error: { code: 'not-found', message: 'the API has no GET /v2/pool' } },
    });
  });
});

describe('the API', () => {
  it('makes, renames, resizes and deletes volumes whose names have up to 128 characters', async () => {
    const name = 'x'.repeat(128);
    const made = await send('POST', '/v1/volumes', { name, sizeBytes: 8192 });
    expect(made).toMatchObject({
      status: 201,
      body: { name, sizeBytes: 8192, nbdUris: [containing(name), expect.anything()] },
    });
    const renamed = await send('POST', `/v1/volumes/${name}/rename`, { newName: 'v' });
    expect(renamed).toMatchObject({ status: 200, body: { name: 'v' } });
    expect(await send('POST', '/v1/volumes/v/resize', { sizeBytes: 4096 })).toMatchObject({
      status: 428,
    });
    expect(
      await send('POST', '/v1/volumes/v/resize', { sizeBytes: 4096, force: true }),
    ).toMatchObject({ status: 200, body: { sizeBytes: 4096 } });
    expect(await send('GET', '/v1/volumes')).toMatchObject({ body: { volumes: [{ name: 'v' }] } });
    expect(await send('DELETE', '/v1/volumes/v')).toMatchObject({ status: 428 });
    expect(await send('DELETE', '/v1/volumes/v?force=true')).toEqual({
      status: 200,
      body: { deleted: 'v' },
    });
    expect(await send('GET', '/v1/volumes/v')).toMatchObject({ status: 404 });
  });

  it('makes, lists and deletes snapshots', async () => {
    await send('POST', '/v1/volumes', { name: 'v', sizeBytes: 8192 });
    expect(await send('POST', '/v1/volumes/v/snapshots', { name: 'used' })).toMatchObject({
      status: 201,
      body: { volume: 'v', name: 'used', exportName: 'v@used', consistency: 'crash' },
    });
    expect(await send('GET', '/v1/volumes/v/snapshots')).toMatchObject({
      body: { snapshots: [{ name: 'used' }] },
    });
    expect(await send('DELETE', '/v1/volumes/v/snapshots/used')).toMatchObject({ status: 428 });
    expect(await send('DELETE', '/v1/volumes/v/snapshots/used?force=true')).toEqual({
      status: 200,
      body: { deleted: 'v@used' },
    });
  });

  it('makes, lists, refreshes, promotes and deletes views', async () => {
    await send('POST', '/v1/volumes', { name: 'v', sizeBytes: 8192, ack: 'write-back' });
    await send('POST', '/v1/volumes/v/snapshots', { name: 's' });
    const made = await send('POST', '/v1/views', { source: 'v', name: 'w', at: 'snapshot:s' });
    expect(made).toMatchObject({
      status: 201,
      body: {
        name: 'w',
        source: 'v',
        at: 'snapshot:s',
        ack: 'write-back',
        nbdUris: [containing('/w?'), containing('/w')],
      },
    });
    expect(await send('POST', '/v1/views', { source: 'v', name: 'v', at: 'now' })).toMatchObject({
      status: 409,
    });
    expect((await send('GET', '/v1/views?source=v')).body).toEqual({ views: [made.body] });
    expect((await send('GET', '/v1/views?source=w')).body).toEqual({ views: [] });
    expect(await send('GET', '/v1/views?source=x')).toMatchObject({ status: 404 });
    expect(await send('GET', '/v1/views/v')).toMatchObject({ status: 409 });
    expect(await send('POST', '/v1/views/w/refresh', { at: 'now' })).toMatchObject({
      status: 200,
      body: { at: 'now' },
    });
    expect(await send('POST', '/v1/views/w/promote')).toMatchObject({
      status: 200,
      body: { name: 'w', kind: 'volume' },
    });
    await send('POST', '/v1/views', { source: 'v', name: 'x', at: 'now' });
    await send('DELETE', '/v1/volumes/v?force=true');
    expect((await send('GET', '/v1/views/x')).body).not.toHaveProperty('source');
    expect(await send('DELETE', '/v1/views/x')).toEqual({ status: 200, body: { deleted: 'x' } });
  });

  it('clones and rolls back volumes, undoes that, and sets when writes are answered', async () => {
    await send('POST', '/v1/volumes', { name: 'v', sizeBytes: 8192 });
    await send('POST', '/v1/volumes/v/snapshots', { name: 's' });
    expect(await send('POST', '/v1/volumes/v/clone', { name: 'c' })).toMatchObject({
      status: 201,
      body: { name: 'c', kind: 'volume' },
    });
    expect(await send('POST', '/v1/volumes/v/rollback/undo', {})).toMatchObject({ status: 409 });
    expect(await send('POST', '/v1/volumes/v/rollback', { to: 'snapshot:s' })).toMatchObject({
      status: 200,
      body: { name: 'v' },
    });
    const undone = await send('POST', '/v1/volumes/v/rollback/undo', { disconnect: true });
    expect(undone).toMatchObject({ status: 200, body: { name: 'v' } });
    expect(await send('POST', '/v1/volumes/v/set', { ack: 'write-back' })).toMatchObject({
      status: 200,
      body: { ack: 'write-back' },
    });
    expect(await send('GET', '/v1/volumes/v')).toMatchObject({ body: { ack: 'write-back' } });
  });

  it.each([
    ['/v1/volumes/v/set', { ack: 'fast' }],
    ['/v1/volumes/v/set', {}],
    ['/v1/volumes/v/rollback', { to: 'monday' }],
    ['/v1/volumes/v/rollback', { to: 'snapshot:' }],
    ['/v1/volumes/v/rollback', { to: 'snapshot:s', disconnect: 'yes' }],
    ['/v1/views', { source: 'v', name: 'w' }],
    ['/v1/views', { source: 'v', name: 'w', at: 'later' }],
  ])('refuses POST %s %j', async (url, body) => {
    engine.pool.volumeCreate('v', 4096);
    expect((await send('POST', url, body)).status).toBe(400);
  });

  it('says what a moment looks like', async () => {
    const { body } = await send('POST', '/v1/volumes/v/rollback', { to: 'monday' });
    expect(body).toEqual({
      error: { code: 'invalid', message: `to must be ${momentRule}` },
    });
  });

  it('makes views of several volumes together', async () => {
    engine.pool.volumeCreate('v', 4096);
    engine.pool.volumeCreate('w', 4096);
    const views = [
      { source: 'v', name: 'v-then' },
      { source: 'w', name: 'w-then' },
    ];
    const made = await send('POST', '/v1/views/together', { at: '-15m', views });
    expect(made).toMatchObject({
      status: 201,
      body: { views: [{ name: 'v-then', source: 'v', at: '-15m' }, { name: 'w-then' }] },
    });
    expect((await send('POST', '/v1/views/together', { at: '-15m', views: [] })).status).toBe(400);
  });

  it('names a past moment as a snapshot', async () => {
    engine.pool.volumeCreate('v', 4096);
    const at = '2026-11-22T14:03:07.250Z';
    expect(await send('POST', '/v1/volumes/v/snapshots', { name: 's', at })).toMatchObject({
      status: 201,
      body: { name: 's', at, momentMs: engine.pool.momentMs, exportName: 'v@s' },
    });
  });

  it('opens a moment as an operation', async () => {
    engine.pool.volumeCreate('v', 4096);
    const started = await send('POST', '/v1/volumes/v/moments', { at: 'position:4096' });
    expect(started).toMatchObject({ status: 202, body: { kind: 'moment-open' } });
    const { id } = started.body as { id: string };
    await sleep(20);
    expect((await send('GET', `/v1/operations/${id}`)).body).toMatchObject({
      state: 'succeeded',
      result: { at: 'position:4096', position: 4096, sizeBytes: 4096 },
    });
  });

  it('pages through a diff', async () => {
    engine.pool.volumeCreate('v', 2 ** 20);
    const query = 'from=position:1&to=now';
    expect(await send('GET', `/v1/volumes/v/diff?${query}&limit=2`)).toMatchObject({
      status: 200,
      body: {
        extents: [
          { offset: 4096, length: 4096 },
          { offset: 16_384, length: 4096 },
        ],
        nextOffset: 65_536,
      },
    });
    const { body } = await send('GET', `/v1/volumes/v/diff?${query}&offset=65536`);
    expect(body).toMatchObject({ extents: [{ offset: 65_536, length: 4096 }] });
    expect(body).not.toHaveProperty('nextOffset');
    expect(await send('GET', `/v1/volumes/v/diff?${query}&offset=-1`)).toMatchObject({
      status: 400,
      body: { error: { message: 'offset must be a whole number' } },
    });
    expect((await send('GET', '/v1/volumes/v/diff?from=now')).status).toBe(400);
  });

  it('tells changes and their rate', async () => {
    engine.pool.volumeCreate('v', 4096);
    expect(await send('GET', '/v1/volumes/v/changes?from=-1h&to=now')).toMatchObject({
      status: 200,
      body: { changeCount: 1, middle: { kind: 'write', offset: 8192, length: 4096 } },
    });
    const { body } = await send('GET', '/v1/volumes/v/rate?buckets=3');
    expect(body).toMatchObject({
      buckets: [{ writtenBytes: 0 }, { clearedBytes: 8192 }, { changeCount: 2 }],
      gaps: [{ position: 77 }],
    });
  });

  it('runs verify as an operation that can be watched', async () => {
    engine.pool.faults = ['segment 3 slot 9: bad checksum'];
    const started = await send('POST', '/v1/pool/verify');
    expect(started).toMatchObject({ status: 202, body: { kind: 'pool-verify', state: 'running' } });
    expect(await send('POST', '/v1/pool/verify')).toMatchObject({ status: 409 });
    const { id } = started.body as { id: string };
    await expect
      .poll(async () => (await send('GET', `/v1/operations/${id}`)).body)
      .toMatchObject({ state: 'succeeded', result: { faultCount: 1, faults: engine.pool.faults } });
  });

  it('shows the pool with its engine and listeners', async () => {
    expect((await send('GET', '/v1/pool')).body).toMatchObject({
      name: 'main',
      state: 'online',
      engine: { pid: 4711, restartCount: 0 },
      nbd: { tcp: { address: '127.0.0.1', port: 10_809 }, socketPath: '/d/run/nbd.sock' },
    });
  });

  it('passes on every field that the engine answers, also those that are seldom there', async () => {
    engine.pool.volumeCreate('v', 4096);
    engine.pool.state.status = {
      state: 'read-only',
      stateReason: 'rot',
      fullReason: 'no space left',
    };
    await send('POST', '/v1/volumes/v/snapshots', { name: 's' });
    await send('POST', '/v1/views', { source: 'v', name: 'w', at: 'snapshot:s' });
    await send('POST', '/v1/volumes/v/rollback', { to: 'snapshot:s' });
    const fromEngine = {
      view: await engine.call('viewShow', { name: 'w' }),
      lines: await engine.call('volumeHistory', { name: 'v' }),
      pool: await engine.call('poolStatus', {}),
      volume: await engine.call('volumeShow', { name: 'v' }),
      snapshots: await engine.call('snapshotList', { volume: 'v' }),
    };
    expect((await send('GET', '/v1/pool')).body).toMatchObject(fromEngine.pool);
    expect((await send('GET', '/v1/volumes/v')).body).toMatchObject(fromEngine.volume);
    expect((await send('GET', '/v1/volumes/v/snapshots')).body).toMatchObject({
      snapshots: fromEngine.snapshots,
    });
    const { kind, ...view } = fromEngine.view;
    expect(kind).toBe('view');
    expect((await send('GET', '/v1/views/w')).body).toMatchObject(view);
    expect((await send('GET', '/v1/volumes/v/history')).body).toEqual({
      lines: fromEngine.lines,
      kept: [],
    });
  });

  it('logs every request that changes something', async () => {
    await send('POST', '/v1/pool/resize', { capacityBytes: 4096 });
    await send('GET', '/v1/pool');
    expect(logged).toEqual(['POST /v1/pool/resize']);
  });
});

describe('/v1/tls', () => {
  it('shows certificates, and makes them for clients without keeping the key', async () => {
    const { status, body } = await send('GET', '/v1/tls');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      mode: 'off',
      clientCertificates: 'off',
      folder: `${folder}/tls`,
      authority: { path: `${folder}/tls/ca-cert.pem`, hosts: [] },
      server: { path: `${folder}/tls/server-cert.pem` },
    });
    const made = await send('POST', '/v1/tls/clients', { name: 'backup1' });
    expect(made).toMatchObject({ status: 201, body: { name: 'backup1' } });
    // The shape of the contract.
    const { keyPem } = made.body as { keyPem: string };
    expect(keyPem).toContain('PRIVATE KEY');
    const kept = fs.readdirSync(`${folder}/tls`).map((name) => `${folder}/tls/${name}`);
    expect(kept.some((file) => fs.readFileSync(file, 'utf8').includes(keyPem))).toBe(false);
  });

  it.each(['a@b', '', 'x'.repeat(65)])('refuses to certify the name %j', async (name) => {
    expect(await send('POST', '/v1/tls/clients', { name })).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid', message: containing('name') } },
    });
  });
});
