import { beforeEach, describe, expect, it } from 'vitest';
import { controlPlane } from '../../support/control-plane.ts';
import { oneSession } from '../../support/iscsi-session.ts';
import { containing, matching } from '../../support/matching.ts';
import { MemoryEngine } from '../../support/memory-engine.ts';
import { SharedApi } from '../../support/shared-api.ts';
import { tlsIn } from '../../support/tls.ts';

const esx = 'iqn.1998-01.com.vmware:esx1';
const secret = 'correct-horse-battery';
const logged: string[] = [];
let engine: MemoryEngine;
const api = new SharedApi();
const send = api.send.bind(api);

beforeEach(async () => {
  engine = new MemoryEngine();
  engine.pool.volumeCreate('lun0', 8192);
  logged.length = 0;
  const line = (...parts: unknown[]): void => void logged.push(JSON.stringify(parts));
  const { controls } = await controlPlane(engine, tlsIn('/nowhere'));
  api.serve(controls, { info: line, warn: line, error: line });
});

describe('/v1/hosts', () => {
  it('makes a host, shows it with what it sees, changes and deletes it', async () => {
    const made = await send('POST', '/v1/hosts', { name: 'a', initiators: [esx.toUpperCase()] });
    const host = {
      name: 'a',
      initiators: [esx],
      isAnyInitiator: false,
      isLoopbackOnly: false,
      luns: [],
      sessionCount: 0,
      targetName: 'iqn.2026-11.org.tidemark:main-00000000',
      hasOwnTarget: false,
      createdMs: 1_800_000_000_000,
    };
    expect(made).toEqual({ status: 201, body: host });
    await send('POST', '/v1/luns', { volume: 'lun0', host: 'a', isReadOnly: true });
    engine.pool.sessions.push(oneSession({ host: 'a', luns: [0] }));
    const shown = {
      ...host,
      luns: [{ lun: 0, volume: 'lun0', isReadOnly: true }],
      sessionCount: 1,
    };
    expect((await send('GET', '/v1/hosts/a')).body).toEqual(shown);
    expect((await send('GET', '/v1/hosts')).body).toMatchObject({
      hosts: [shown, { name: 'loopback' }],
    });
    expect(await send('POST', '/v1/hosts/a/set', { newName: 'b' })).toMatchObject({
      status: 200,
      body: { name: 'b' },
    });
    expect(await send('DELETE', '/v1/hosts/b')).toMatchObject({ status: 428 });
    expect(await send('DELETE', '/v1/hosts/b?force=true')).toEqual({
      status: 200,
      body: { deleted: 'b' },
    });
    expect(await send('GET', '/v1/hosts/b')).toMatchObject({ status: 404 });
  });

  it.each([
    ['no name', { initiators: [esx] }],
    ['a bad name', { name: 'a b', initiators: [esx] }],
    ['no initiator', { name: 'a' }],
    ['a name that is none', { name: 'a', initiators: ['esx1'] }],
    ['an unknown field', { name: 'a', initiators: [esx], colour: 1 }],
    ['a secret without a name', { name: 'a', initiators: [esx], chapIn: { secret } }],
    ['a number as secret', { name: 'a', initiators: [esx], chapIn: { user: 'u', secret: 1 } }],
    ['a weak secret', { name: 'a', initiators: [esx], chapIn: { user: 'u', secret: 'short' } }],
    ['a target alone', { name: 'a', initiators: [esx], chapOut: { user: 'u', secret } }],
  ])('refuses %s', async (_what, body) => {
    expect(await send('POST', '/v1/hosts', body)).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid' } },
    });
    expect((await send('GET', '/v1/hosts')).body).toMatchObject({ hosts: [{ name: 'loopback' }] });
  });

  it('takes secrets and gives none back, in answers, refusals and the log', async () => {
    const chapIn = { user: 'u', secret };
    const body = { name: 'a', initiators: [esx], chapIn };
    const answers = [
      await send('POST', '/v1/hosts', body),
      await send('POST', '/v1/hosts', body),
      await send('GET', '/v1/hosts/a'),
      await send('POST', '/v1/hosts/a/set', { chapOut: { user: 't', secret } }),
      await send('POST', '/v1/hosts/a/set', { chapOut: { user: 't', secret, x: secret } }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([201, 409, 200, 400, 400]);
    const headers = { 'content-type': 'application/json' };
    const payload = `{"name":"b","chapIn":{"secret":"${secret}"`;
    const cut = await api.app.inject({ method: 'POST', url: '/v1/hosts', headers, payload });
    expect(cut.statusCode).toBe(400);
    const text = JSON.stringify([answers, cut.body, logged]);
    expect(text).not.toContain(secret);
    expect(text).not.toContain(Buffer.from(secret).toString('hex'));
    expect(engine.pool.iscsi?.hosts[0]?.chapIn?.secret).toBe(Buffer.from(secret).toString('hex'));
  });
});

describe('/v1/luns', () => {
  it('maps a volume under a number, and says where initiators find it', async () => {
    expect(await send('POST', '/v1/luns', { volume: 'lun0', host: 'loopback' })).toMatchObject({
      status: 409,
      body: { error: { code: 'exists', message: containing('as LUN 0') } },
    });
    engine.pool.volumeCreate('db', 8192);
    const made = await send('POST', '/v1/luns', { volume: 'db', host: 'loopback', lun: 16_383 });
    expect(made).toMatchObject({
      status: 201,
      body: {
        host: 'loopback',
        lun: 16_383,
        volume: 'db',
        sizeBytes: 8192,
        ack: 'durable',
        iscsiUris: [matching(/^iscsi:\/\/127\.0\.0\.1:3260\/iqn.*\/16383$/)],
      },
    });
    expect((await send('GET', '/v1/luns?volume=db')).body).toEqual({ luns: [made.body] });
    expect((await send('GET', '/v1/luns?host=loopback')).body).toMatchObject({
      luns: [{ lun: 0 }, { lun: 16_383 }],
    });
    expect(await send('DELETE', '/v1/hosts/loopback/luns/db')).toEqual({
      status: 200,
      body: { host: 'loopback', volume: 'db', lun: 16_383 },
    });
  });

  it('follow a volume through its names', async () => {
    await send('POST', '/v1/volumes/lun0/rename', { newName: 'disk' });
    expect((await send('GET', '/v1/luns')).body).toMatchObject({ luns: [{ volume: 'disk' }] });
  });

  it('of views go with them', async () => {
    await send('POST', '/v1/views', { source: 'lun0', name: 'w', at: 'now' });
    expect(await send('POST', '/v1/luns', { volume: 'w', host: 'loopback' })).toMatchObject({
      body: { lun: 1 },
    });
    expect(await send('DELETE', '/v1/views/w')).toMatchObject({ status: 428 });
    await send('DELETE', '/v1/views/w?force=true');
    expect((await send('GET', '/v1/luns')).body).toMatchObject({ luns: [{ volume: 'lun0' }] });
  });

  it.each([
    [{ volume: 'lun0', host: 'loopback', lun: -1 }, 400],
    [{ volume: 'lun0', host: 'loopback', lun: 16_384 }, 400],
    [{ volume: 'lun0', host: 'loopback', lun: 1.5 }, 400],
    [{ volume: 'lun0' }, 400],
    [{ volume: 'x', host: 'loopback' }, 404],
    [{ volume: 'lun0', host: 'x' }, 404],
  ])('refuse %j', async (body, status) => {
    expect(await send('POST', '/v1/luns', body)).toMatchObject({ status });
  });

  it('of unknown hosts and volumes are not found', async () => {
    for (const url of ['/v1/luns?host=x', '/v1/luns?volume=x', '/v1/sessions?host=x']) {
      expect(await send('GET', url)).toMatchObject({ status: 404 });
    }
  });
});

describe('/v1/sessions', () => {
  it('are listed with every field that the engine answers, the oldest first, and dropped', async () => {
    const late = oneSession({
      id: 9,
      sinceMs: 1_900_000_000_000,
      initiatorAlias: 'x',
      host: 'loopback',
    });
    engine.pool.sessions.push(late, oneSession());
    expect((await send('GET', '/v1/sessions')).body).toEqual({ sessions: [oneSession(), late] });
    expect((await send('GET', '/v1/sessions?host=loopback')).body).toEqual({ sessions: [late] });
    expect(await send('DELETE', '/v1/sessions/1')).toEqual({
      status: 200,
      body: { droppedCount: 1 },
    });
    expect(await send('DELETE', '/v1/sessions/1')).toMatchObject({ status: 404 });
    expect(await send('DELETE', '/v1/sessions/x')).toMatchObject({ status: 400 });
    expect(await send('DELETE', '/v1/hosts/loopback/sessions')).toEqual({
      status: 200,
      body: { droppedCount: 1 },
    });
  });
});

describe('/v1/portals', () => {
  it('are listed with the target, added and removed', async () => {
    const first = { address: '127.0.0.1', port: 3260, group: 1, origin: 'settings' };
    const targetName = 'iqn.2026-11.org.tidemark:main-00000000';
    expect((await send('GET', '/v1/portals')).body).toEqual({ targetName, portals: [first] });
    const added = await send('POST', '/v1/portals', { address: 'fd00::5', group: 2 });
    const second = { address: 'fd00::5', port: 3260, group: 2, origin: 'added' };
    expect(added).toEqual({ status: 201, body: { targetName, portals: [first, second] } });
    expect(await send('DELETE', '/v1/portals/fd00%3A%3A5/3260')).toMatchObject({
      status: 200,
      body: { portals: [first] },
    });
  });

  it.each([{}, { address: 'here' }, { address: '::1', port: 0 }, { address: '::1', group: 0 }])(
    'refuse %j',
    async (body) => {
      expect(await send('POST', '/v1/portals', body)).toMatchObject({ status: 400 });
    },
  );
});
