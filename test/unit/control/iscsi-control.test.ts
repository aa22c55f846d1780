import { beforeEach, describe, expect, it } from 'vitest';
import { OperationError } from '../../../src/base/errors.ts';
import type { IscsiControl } from '../../../src/control/iscsi-control.ts';
import { iscsiUris } from '../../../src/control/iscsi-uris.ts';
import { makeHostTargetName, makeTargetName } from '../../../src/control/target-name.ts';
import { EngineGoneError } from '../../../src/engine/client.ts';
import { controlPlane, type TestPlane } from '../../support/control-plane.ts';
import { oneSession } from '../../support/iscsi-session.ts';
import { containing } from '../../support/matching.ts';
import { MemoryEngine } from '../../support/memory-engine.ts';
import { tlsIn } from '../../support/tls.ts';

const esx = 'iqn.1998-01.com.vmware:esx1';
let engine: MemoryEngine;

beforeEach(() => {
  engine = new MemoryEngine();
  engine.pool.volumeCreate('lun0', 4096);
});

async function plane(settings?: Parameters<typeof controlPlane>[2]): Promise<TestPlane> {
  return await controlPlane(engine, tlsIn('/nowhere'), settings);
}

/** Hosts and LUN numbers that the engine was told last. */
function told(): unknown {
  return engine.pool.iscsi?.hosts.map(({ name, luns }) => [name, luns.map(({ lun }) => lun)]);
}

describe('a first start', () => {
  it('lets initiators of this machine see the first volume as LUN 0', async () => {
    const { iscsi, controls } = await plane();
    expect(engine.pool.iscsi).toEqual({
      targetName: 'iqn.2026-11.org.tidemark:main-00000000',
      portals: [{ address: '127.0.0.1', port: 3260, group: 1 }],
      hosts: [
        {
          name: 'loopback',
          initiators: [],
          isAnyInitiator: true,
          isLoopbackOnly: true,
          luns: [{ lun: 0, volumeUuid: '00000000-0000-4000-8000-000000000001', isReadOnly: false }],
        },
      ],
    });
    expect(iscsi.urisOf('loopback', 0)).toEqual([
      'iscsi://127.0.0.1:3260/iqn.2026-11.org.tidemark:main-00000000/0',
    ]);
    expect((await controls.pool.volumeShow('lun0')).luns).toMatchObject([
      { host: 'loopback', lun: 0 },
    ]);
  });

  it('is the only one that does: who takes it back is not asked again', async () => {
    const { iscsi, controls } = await plane();
    await controls.hosts.hostDelete('loopback', true);
    await iscsi.attach(engine.door(), undefined);
    expect(told()).toEqual([]);
  });
});

describe('the desired state', () => {
  it('is told at every change, and to an engine that is attached to again', async () => {
    const { iscsi, controls } = await plane();
    await controls.hosts.hostCreate({ name: 'a', initiators: [esx] });
    await controls.luns.lunMap({ volume: 'lun0', host: 'a', lun: 4 });
    expect(told()).toEqual([
      ['a', [4]],
      ['loopback', [0]],
    ]);
    engine.pool.iscsi = undefined;
    await iscsi.attach(engine.door(), undefined);
    expect(told()).toEqual([
      ['a', [4]],
      ['loopback', [0]],
    ]);
  });

  it('is kept when the engine goes away meanwhile, and told to the next one', async () => {
    const { iscsi, controls, catalog, lines } = await plane();
    const { call } = engine;
    engine.call = async (method, params, options) => {
      if (method === 'iscsiConfigure') throw new EngineGoneError('closed');
      return await call(method, params, options);
    };
    await controls.hosts.hostCreate({ name: 'a', initiators: [esx] });
    expect(lines).toContain('the engine went away; it gets the hosts and LUN maps when it is back');
    expect(catalog.hostList()).toHaveLength(2);
    engine.call = call;
    await iscsi.attach(engine.door(), undefined);
    expect(told()).toEqual([
      ['a', []],
      ['loopback', [0]],
    ]);
  });

  it('is not told to an engine whose connection closed', async () => {
    const { controls } = await plane();
    engine.pool.iscsi = undefined;
    engine.gone.resolve();
    await engine.gone.promise;
    await controls.hosts.hostCreate({ name: 'a', initiators: [esx] });
    expect(engine.pool.iscsi).toBeUndefined();
  });

  it('is told in the order of the changes, however long each takes', async () => {
    const { controls } = await plane();
    const { call } = engine;
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let count = 0;
    engine.call = async (method, params, options) => {
      if (method === 'iscsiConfigure') await gates[count++]?.promise;
      return await call(method, params, options);
    };
    const first = controls.hosts.hostCreate({ name: 'a', initiators: [esx] });
    const second = controls.hosts.hostCreate({
      name: 'b',
      isLoopbackOnly: true,
      initiators: ['iqn.2026-01.x'],
    });
    gates[1]?.resolve();
    gates[0]?.resolve();
    await Promise.all([first, second]);
    expect(told()).toEqual([
      ['a', []],
      ['b', []],
      ['loopback', [0]],
    ]);
  });

  it('loses the maps of volumes that are gone, but not while the pool is damaged', async () => {
    const { iscsi, catalog } = await plane();
    const { volumes } = engine.pool.state;
    engine.pool.state.volumes = [];
    engine.pool.state.status = { state: 'read-only' };
    await iscsi.attach(engine.door(), undefined);
    expect(catalog.lunList()).toHaveLength(1);
    engine.pool.state.volumes = volumes;
    engine.pool.state.status = {};
    await iscsi.attach(engine.door(), undefined);
    expect(told()).toEqual([['loopback', [0]]]);
    engine.pool.state.volumes = [];
    await iscsi.attach(engine.door(), undefined);
    expect(catalog.lunList()).toEqual([]);
  });

  it('names only maps of the pool that is open, and keeps those of another', async () => {
    const { iscsi, catalog } = await plane();
    engine.pool.state.status = { uuid: '11111111-0000-4000-8000-000000000000' };
    await iscsi.attach(engine.door(), undefined);
    expect(engine.pool.iscsi?.targetName).toBe('iqn.2026-11.org.tidemark:main-11111111');
    expect(told()).toEqual([['loopback', []]]);
    expect(catalog.lunList()).toHaveLength(1);
  });

  it('is told with secrets, which nothing else shows', async () => {
    const { controls, lines } = await plane();
    const made = await controls.hosts.hostCreate({
      name: 'a',
      initiators: [esx],
      chapIn: { user: 'u', secret: 'twelve bytes' },
    });
    expect(engine.pool.iscsi?.hosts[0]?.chapIn).toEqual({
      user: 'u',
      secret: '7477656c7665206279746573',
    });
    const text = JSON.stringify([made, await controls.hosts.hostList(), lines]);
    expect(text).not.toMatch(/twelve bytes|7477656c/);
  });
});

async function portOf(iscsi: IscsiControl): Promise<number | undefined> {
  await iscsi.attach(engine.door(), undefined);
  return engine.pool.iscsi?.portals[0]?.port;
}

it('an engine that does not know iSCSI is named, with what to do', async () => {
  const { call } = engine;
  engine.call = async (method, params, options) => {
    if (method !== 'iscsiConfigure') return await call(method, params, options);
    throw new OperationError('invalid', 'the engine knows no method iscsiConfigure');
  };
  await expect(plane()).rejects.toMatchObject({
    code: 'unavailable',
    message: containing('the running engine does not take what it is told about iSCSI'),
    hint: 'stop it, and start this version',
  });
});

describe('the portal of the settings', () => {
  it('keeps the port that was picked for it', async () => {
    const { iscsi } = await plane({ listenAddress: '127.0.0.1', iscsiPort: 0 });
    expect(await portOf(iscsi)).toBe(3260);
  });

  it('keeps the port that an engine has open already', async () => {
    const open = { targetName: 't', portals: [{ address: '127.0.0.1', port: 4711, group: 1 }] };
    const { iscsi } = await plane({ listenAddress: '127.0.0.1', iscsiPort: 4711 });
    await iscsi.attach(engine.door(), open);
    expect(iscsi.settingsPortal?.port).toBe(4711);
  });

  it('that cannot be opened is for the operator to solve', async () => {
    engine.pool.badAddresses.push('127.0.0.1');
    await expect(plane()).rejects.toMatchObject({
      code: 'unavailable',
      message: containing('cannot listen on 127.0.0.1:3260'),
      hint: containing('--iscsi-port'),
    });
  });

  it('may be off; then there is none at all', async () => {
    const { iscsi, controls, catalog } = await plane({
      listenAddress: '::1',
      iscsiPort: undefined,
    });
    expect(iscsi.listening.portals).toEqual([]);
    await expect(controls.portals.portalAdd({ address: '10.0.0.1' })).rejects.toBeInstanceOf(
      OperationError,
    );
    catalog.portalAdd({ address: '10.0.0.1', port: 3260, group: 1 });
    await iscsi.attach(engine.door(), undefined);
    expect(engine.pool.iscsi?.portals).toEqual([]);
  });
});

it('a portal whose address is not there yet keeps nobody waiting, and is tried again', async () => {
  const { iscsi, catalog, time, lines } = await plane();
  catalog.portalAdd({ address: '10.0.0.1', port: 3260, group: 1 });
  engine.pool.badAddresses.push('10.0.0.1');
  await iscsi.attach(engine.door(), undefined);
  expect(iscsi.listening.portals.map(({ fault }) => fault === undefined)).toEqual([true, false]);
  expect(lines.at(-1)).toContain('cannot listen on 10.0.0.1:3260');
  engine.pool.badAddresses = [];
  await time.pass(10_000);
  expect(iscsi.listening.portals.map(({ fault }) => fault === undefined)).toEqual([true, true]);
});

it('a target is named after its pool, in what a name may hold', () => {
  const uuid = 'abcdef01-2345-4000-8000-000000000000';
  expect(makeTargetName({ name: 'Pool_1 x', uuid })).toBe(
    'iqn.2026-11.org.tidemark:pool-1-x-abcdef01',
  );
});

it('a target of a host is named after the pool and the host', () => {
  const pool = 'iqn.2026-11.org.tidemark:main-abcdef01';
  expect(makeHostTargetName(pool, 'ESX_1.a')).toBe(`${pool}:esx-1.a`);
  const tooLong = (): string => makeHostTargetName(pool + 'x'.repeat(100), 'y'.repeat(128));
  expect(tooLong).toThrow(expect.objectContaining({ code: 'invalid' }));
});

describe('a host with a target of its own', () => {
  const pool = 'iqn.2026-11.org.tidemark:main-00000000';

  it('is told to the engine, and named in the addresses of its LUNs only', async () => {
    const { iscsi, controls } = await plane();
    const made = await controls.hosts.hostCreate({
      name: 'a',
      initiators: [esx],
      hasOwnTarget: true,
    });
    expect(made).toMatchObject({ targetName: `${pool}:a`, hasOwnTarget: true });
    expect(engine.pool.iscsi?.hosts.map(({ targetName }) => targetName)).toEqual([
      `${pool}:a`,
      undefined,
    ]);
    const { iscsiUris: uris } = await controls.luns.lunMap({ volume: 'lun0', host: 'a' });
    expect(uris).toEqual([`iscsi://127.0.0.1:3260/${pool}:a/0`]);
    expect(iscsi.urisOf('loopback', 0)).toEqual([`iscsi://127.0.0.1:3260/${pool}/0`]);
    const { luns } = await controls.pool.volumeShow('lun0');
    expect(luns.map(({ iscsiUris: [uri] }) => uri)).toEqual([
      ...uris,
      ...iscsi.urisOf('loopback', 0),
    ]);
  });

  it('keeps its name when it is asked for again, also under another host name, and gives it up', async () => {
    const { controls } = await plane();
    const { hosts } = controls;
    await hosts.hostCreate({
      name: 'a',
      initiators: [esx],
      targetName: 'IQN.2026-01.com.Example:x',
    });
    const renamed = await hosts.hostSet('a', { newName: 'b', hasOwnTarget: true });
    expect(renamed.targetName).toBe('iqn.2026-01.com.example:x');
    expect(await hosts.hostSet('b', { hasOwnTarget: false })).toMatchObject({
      targetName: pool,
      hasOwnTarget: false,
    });
    expect(engine.pool.iscsi?.hosts[0]).not.toHaveProperty('targetName');
  });

  it.each([
    [{ targetName: 'array' }, 'invalid', 'not the name of a target'],
    [{ targetName: pool }, 'conflict', 'target of the pool'],
    [{ targetName: 'iqn.2026-01.x:taken' }, 'conflict', 'belongs to host other'],
    [{ hasOwnTarget: false, targetName: 'iqn.2026-01.x:y' }, 'invalid', 'without a target'],
  ])('may not be %j', async (wanted, code, message) => {
    const { controls, catalog } = await plane();
    const other = { name: 'other', initiators: ['iqn.2026-01.test:o'] };
    await controls.hosts.hostCreate({ ...other, targetName: 'iqn.2026-01.x:taken' });
    await controls.hosts.hostCreate({ name: 'a', initiators: [esx] });
    const refusal = { code, message: containing(message) };
    await expect(controls.hosts.hostSet('a', wanted)).rejects.toMatchObject(refusal);
    const create = { name: 'new', initiators: ['iqn.2026-01.test:n'], ...wanted };
    await expect(controls.hosts.hostCreate(create)).rejects.toMatchObject(refusal);
    expect(catalog.hostList().map(({ name }) => name)).toEqual(['a', 'loopback', 'other']);
    expect(catalog.hostTarget('a')).toBeUndefined();
  });

  it('changes it under sessions only with consent, which names them', async () => {
    const { controls } = await plane();
    await controls.hosts.hostCreate({ name: 'a', initiators: [esx] });
    engine.pool.sessions.push(
      oneSession({ id: 7, host: 'a', targetName: pool }),
      oneSession({ id: 8, host: 'a', targetName: '', kind: 'discovery' }),
      oneSession({ id: 9, host: 'loopback', targetName: pool }),
    );
    await expect(controls.hosts.hostSet('a', { hasOwnTarget: true })).rejects.toMatchObject({
      code: 'needs-force',
      message: `1 session would be ended: ${esx} (session 7 from 10.0.0.7:40000)`,
    });
    // What is so already ends nothing.
    await controls.hosts.hostSet('a', { hasOwnTarget: false });
    const set = await controls.hosts.hostSet('a', { hasOwnTarget: true, force: true });
    expect(set.targetName).toBe(`${pool}:a`);
  });
});

it('URIs name loopback for all addresses, and bracket IPv6', () => {
  const portals = [
    { address: '0.0.0.0', port: 3260, group: 1 },
    { address: 'fd00::1', port: 3261, group: 2 },
    { address: '10.0.0.1', port: 3260, group: 1, fault: 'no' },
  ];
  expect(iscsiUris({ portals }, 't', 3)).toEqual([
    'iscsi://127.0.0.1:3260/t/3',
    'iscsi://[fd00::1]:3261/t/3',
  ]);
});
