import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Database from 'better-sqlite3';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog, type NewHost } from '../../../src/catalog/catalog.ts';
import { HOSTS_MAX, LUN_MAX, PORTALS_MAX } from '../../../src/catalog/limits.ts';
import { containing } from '../../support/matching.ts';

const secretText = 'correct-horse-battery';
const account = (user: string, text: string): { user: string; secret: Uint8Array } => ({
  user,
  secret: new TextEncoder().encode(text),
});

let catalog: Catalog;

beforeEach(() => {
  catalog = new Catalog(':memory:');
});

afterEach(() => {
  catalog.close();
});

function host(name: string, change: Partial<NewHost> = {}): NewHost {
  return {
    name,
    isAnyInitiator: false,
    isLoopbackOnly: false,
    initiators: [`iqn.2026-01.test:${name}`],
    chap: {},
    createdMs: 5,
    ...change,
  };
}

function map(hostName: string, volumeUuid: string, lun?: number): number {
  const wanted = { host: hostName, volumeUuid, poolUuid: 'p', isReadOnly: false, createdMs: 7 };
  return catalog.lunMap(lun === undefined ? wanted : { ...wanted, lun }).lun;
}

describe('a host', () => {
  it('is kept as it was declared, without its secrets', () => {
    const chap = { in: account('u', secretText), out: account('t', 'another-secret-1') };
    const made = catalog.hostCreate(host('a', { chap, isLoopbackOnly: true }));
    expect(made).toEqual({
      name: 'a',
      isAnyInitiator: false,
      isLoopbackOnly: true,
      initiators: ['iqn.2026-01.test:a'],
      chapUserIn: 'u',
      chapUserOut: 't',
      createdMs: 5,
    });
    expect(catalog.hostShow('a')).toEqual(made);
    expect(catalog.hostSecrets('a')).toEqual(chap);
  });

  it('is changed in what the change names, and in nothing else', () => {
    const chap = { in: account('u', secretText) };
    catalog.hostCreate(host('a', { chap }));
    map('a', 'v1', 9);
    expect(catalog.hostSet('a', { newName: 'b', initiators: ['x', 'y'] })).toMatchObject({
      name: 'b',
      initiators: ['x', 'y'],
      chapUserIn: 'u',
    });
    expect(catalog.lunList()).toMatchObject([{ host: 'b', lun: 9 }]);
    expect(catalog.hostSet('b', { chap: {} }).chapUserIn).toBeUndefined();
    expect(catalog.hostSecrets('b')).toEqual({});
  });

  it('takes its initiators, accounts and maps along when it is deleted', () => {
    catalog.hostCreate(host('a', { chap: { in: account('u', secretText) } }));
    map('a', 'v1');
    catalog.hostDelete('a');
    expect([catalog.hostList(), catalog.lunList()]).toEqual([[], []]);
    catalog.hostCreate(host('b', { initiators: ['iqn.2026-01.test:a'] }));
    expect(catalog.hostSecrets('b')).toEqual({});
  });

  it('has a name of its own, and initiators of its own', () => {
    catalog.hostCreate(host('a'));
    catalog.hostCreate(host('b'));
    expect(() => catalog.hostCreate(host('a', { initiators: [] }))).toThrow(
      'there is a host a already',
    );
    expect(() => catalog.hostSet('b', { newName: 'a' })).toThrow('there is a host a already');
    const taken = { initiators: ['iqn.2026-01.test:b', 'iqn.2026-01.test:a'] };
    expect(() => catalog.hostSet('b', taken)).toThrow('belongs to host a');
    // All or nothing: the refused change took none of b's initiators away.
    expect(catalog.hostShow('b').initiators).toEqual(['iqn.2026-01.test:b']);
  });

  it('may have a target that nobody else has, and gives it back', () => {
    const own = 'iqn.2026-01.x:own';
    const pool = 'iqn.2026-01.x:pool';
    catalog.targetName('p', () => pool);
    expect(catalog.hostCreate(host('a', { targetName: own })).targetName).toBe(own);
    catalog.hostCreate(host('b'));
    for (const [name, owner] of [
      [own, 'host a'],
      [pool, 'the pool'],
    ] as const) {
      expect(() => catalog.hostSet('b', { target: { name } })).toThrow(
        expect.objectContaining({ code: 'conflict', message: containing(`belongs to ${owner}`) }),
      );
    }
    expect(catalog.hostSet('a', { newName: 'c', target: { name: own } }).targetName).toBe(own);
    expect(catalog.hostSet('c', { target: { name: undefined } }).targetName).toBeUndefined();
    expect(catalog.hostSet('b', { target: { name: own } }).targetName).toBe(own);
    expect([catalog.hostTarget('b'), catalog.hostTarget('c')]).toEqual([own, undefined]);
  });

  it('for any initiator is there once', () => {
    catalog.hostCreate(host('a', { isAnyInitiator: true }));
    catalog.hostCreate(host('b'));
    expect(() => catalog.hostCreate(host('c', { isAnyInitiator: true }))).toThrow(
      'host a takes any initiator already',
    );
    expect(() => catalog.hostSet('b', { isAnyInitiator: true })).toThrow('host a takes any');
    expect(catalog.hostSet('a', { isAnyInitiator: true }).isAnyInitiator).toBe(true);
    catalog.hostSet('a', { isAnyInitiator: false });
    expect(catalog.hostSet('b', { isAnyInitiator: true }).isAnyInitiator).toBe(true);
  });

  it('that is not there is named with a hint', () => {
    for (const use of [
      () => catalog.hostShow('x'),
      () => catalog.hostSet('x', {}),
      () => {
        catalog.hostDelete('x');
      },
      () => map('x', 'v'),
      () => catalog.lunUnmap('x', 'v'),
    ]) {
      expect(use).toThrow('there is no host x');
    }
  });

  it('is one of at most as many as the limit says', () => {
    for (let count = 0; count < HOSTS_MAX; count += 1) {
      catalog.hostCreate(host(`h${count}`, { initiators: [] }));
    }
    expect(() => catalog.hostCreate(host('x'))).toThrow(`there are ${HOSTS_MAX} hosts already`);
  });
});

describe('a LUN number', () => {
  beforeEach(() => {
    for (const name of ['a', 'b', 'c']) catalog.hostCreate(host(name));
  });

  it('is the lowest free one', () => {
    expect([map('a', 'v1'), map('a', 'v2'), map('a', 'v3', 5), map('a', 'v4')]).toEqual([
      0, 1, 5, 2,
    ]);
    catalog.lunUnmap('a', 'v1');
    expect(map('a', 'v5')).toBe(0);
  });

  it('is the one that all other hosts know the volume by, when it is free', () => {
    map('a', 'v1', 7);
    expect(map('b', 'v1')).toBe(7);
    map('a', 'v2', 3);
    map('c', 'other', 3);
    expect(map('c', 'v2')).toBe(0);
    map('b', 'v2', 4);
    map('c', 'v1');
    // v2 has two numbers, so none is the usual one.
    catalog.hostCreate(host('d'));
    expect(map('d', 'v2')).toBe(0);
  });

  it.each([0, LUN_MAX])('may be %i', (lun) => {
    expect(map('a', 'v1', lun)).toBe(lun);
  });

  it('belongs to one volume of a host, and a volume has one', () => {
    map('a', 'v1', 4);
    expect(() => map('a', 'v2', 4)).toThrow('host a has another volume as LUN 4 already');
    expect(() => map('a', 'v1', 5)).toThrow('host a has this volume already, as LUN 4');
  });

  it('does not change for as long as the map lives, whatever else is done', () => {
    const operations = fc.array(
      fc.record({
        kind: fc.constantFrom('map', 'unmap', 'gone', 'rename'),
        host: fc.constantFrom('a', 'b', 'c'),
        volume: fc.constantFrom('v1', 'v2', 'v3', 'v4'),
        lun: fc.option(fc.nat({ max: 6 }), { nil: undefined }),
      }),
    );
    fc.assert(
      fc.property(operations, (steps) => {
        const model = new Map<string, number>();
        const fresh = new Catalog(':memory:');
        for (const name of ['a', 'b', 'c']) fresh.hostCreate(host(name));
        for (const step of steps) {
          const key = `${step.host} ${step.volume}`;
          if (step.kind === 'unmap' && fresh.lunUnmap(step.host, step.volume)) model.delete(key);
          if (step.kind === 'gone') {
            fresh.volumeUnmap(step.volume);
            const gone = [...model.keys()].filter((each) => each.endsWith(step.volume));
            gone.forEach((each) => model.delete(each));
          }
          if (step.kind === 'rename') {
            fresh.hostSet(step.host, { newName: 'z' });
            fresh.hostSet('z', { newName: step.host });
          }
          const isTaken = [...model].some(
            ([each, lun]) => each.startsWith(step.host) && lun === step.lun,
          );
          if (step.kind !== 'map' || model.has(key) || isTaken) continue;
          const wanted = {
            poolUuid: 'p',
            isReadOnly: false,
            createdMs: 0,
            volumeUuid: step.volume,
          };
          const lun = step.lun === undefined ? {} : { lun: step.lun };
          model.set(key, fresh.lunMap({ host: step.host, ...wanted, ...lun }).lun);
        }
        const kept = fresh.lunList().map((each) => [`${each.host} ${each.volumeUuid}`, each.lun]);
        expect(new Map(kept as [string, number][])).toEqual(model);
        fresh.close();
      }),
      { numRuns: 50 },
    );
  });
});

describe('the catalog', () => {
  it('gives a pool one target name for good', () => {
    expect(catalog.targetName('p1', () => 'iqn.a')).toBe('iqn.a');
    expect(catalog.targetName('p1', () => 'iqn.b')).toBe('iqn.a');
    expect(catalog.targetName('p2', () => 'iqn.c')).toBe('iqn.c');
  });

  it('says of each seed once that it is to be sown', () => {
    expect(['a', 'b', 'a'].map((what) => catalog.seedOnce(what))).toEqual([true, true, false]);
  });

  it('keeps portals, each once, up to the limit', () => {
    const portal = { address: '10.0.0.1', port: 3260, group: 1 };
    catalog.portalAdd(portal);
    expect(() => {
      catalog.portalAdd({ ...portal, group: 2 });
    }).toThrow('there is a portal 10.0.0.1 port 3260 already');
    for (let port = 1; port < PORTALS_MAX; port += 1) catalog.portalAdd({ ...portal, port });
    expect(() => {
      catalog.portalAdd({ ...portal, port: 9999 });
    }).toThrow(`there are ${PORTALS_MAX} portals already`);
    expect(catalog.portalRemove('10.0.0.1', 9999)).toBe(false);
    expect(catalog.portalRemove('10.0.0.1', 3260)).toBe(true);
    expect(catalog.portalList()).toHaveLength(PORTALS_MAX - 1);
  });

  describe('on disk', () => {
    let folder: string;
    let file: string;

    beforeEach(() => {
      folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-catalog-'));
      file = path.join(folder, 'catalog.db');
    });

    afterEach(() => {
      fs.rmSync(folder, { recursive: true });
    });

    it('has everything again when it is opened again', () => {
      const first = new Catalog(file);
      first.hostCreate(host('a', { chap: { in: account('u', secretText) } }));
      first.lunMap({ host: 'a', volumeUuid: 'v', poolUuid: 'p', isReadOnly: true, createdMs: 1 });
      const before = [first.hostList(), first.lunList(), first.hostSecrets('a')];
      first.close();
      const second = new Catalog(file);
      expect([second.hostList(), second.lunList(), second.hostSecrets('a')]).toEqual(before);
      second.close();
    });

    it('keeps no secret that was replaced or removed', () => {
      const opened = new Catalog(file);
      opened.hostCreate(host('a', { chap: { in: account('u', secretText) } }));
      expect(fs.readFileSync(file).includes(secretText)).toBe(true);
      opened.hostSet('a', { chap: { in: account('u', 'something-else-1') } });
      opened.close();
      const kept = fs.readdirSync(folder).map((name) => fs.readFileSync(path.join(folder, name)));
      expect(kept.some((bytes) => bytes.includes(secretText))).toBe(false);
    });

    it('of the first version is brought up to date, and nothing is lost', () => {
      const first = new Catalog(file);
      first.hostCreate(host('a', { chap: { in: account('u', secretText) } }));
      first.lunMap({ host: 'a', volumeUuid: 'v', poolUuid: 'p', isReadOnly: true, createdMs: 1 });
      const before = [first.hostList(), first.lunList()];
      first.close();
      const database = new Database(file);
      database.exec(`DROP TABLE operation; DROP INDEX host_target_name;
        ALTER TABLE host DROP COLUMN target_name; PRAGMA user_version = 1`);
      database.close();
      const second = new Catalog(file);
      expect([second.hostList(), second.lunList()]).toEqual(before);
      second.hostSet('a', { target: { name: 'iqn.2026-01.x:own' } });
      expect(second.hostTarget('a')).toBe('iqn.2026-01.x:own');
      second.close();
    });

    it('of a newer version is refused and left alone', () => {
      new Catalog(file).close();
      const database = new Database(file);
      database.pragma('user_version = 99');
      database.close();
      const before = fs.readFileSync(file);
      expect(() => new Catalog(file)).toThrow(/newer tidemark \(schema 99/);
      expect(fs.readFileSync(file)).toEqual(before);
    });

    it('that is damaged is refused with its name and a hint', () => {
      fs.writeFileSync(file, 'scribble'.repeat(1000));
      let refusal: unknown;
      try {
        refusal = new Catalog(file);
      } catch (thrown) {
        refusal = thrown;
      }
      expect(refusal).toMatchObject({
        code: 'unavailable',
        message: containing(file),
        hint: containing('good copy'),
      });
    });
  });
});
