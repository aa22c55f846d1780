import { beforeEach, describe, expect, it } from 'vitest';
import { IscsiAccess } from '../../../src/engine/luns.ts';
import type { IscsiHost, IscsiWanted } from '../../../src/engine/protocol.ts';
import type { LogicalUnit } from '../../../src/scsi/logical-unit.ts';

const target = 'iqn.2026-11.org.tidemark:main-1';
const known = 'iqn.2026-01.test:known';
const stranger = 'iqn.2026-01.test:stranger';
const here = '127.0.0.1';
const there = '10.0.0.7';

/** Units that are only told apart. */
class FakeUnits {
  readonly unitById = new Map<string, LogicalUnit>();
  kept: ReadonlySet<string> = new Set();

  unitOf(volumeId: string): LogicalUnit | undefined {
    return this.unitById.get(volumeId);
  }

  keepOnly(volumeIds: ReadonlySet<string>): void {
    this.kept = volumeIds;
  }

  add(...volumeIds: string[]): void {
    // Nothing here looks inside a unit.
    for (const volumeId of volumeIds) this.unitById.set(volumeId, { volumeId } as never);
  }
}

let units: FakeUnits;
let access: IscsiAccess;

function machineAddresses(): string[] {
  return ['127.0.0.1', '10.0.0.5', '::1', 'fd00::5', 'fe80::1'];
}

function make(isUnavailable = false): IscsiAccess {
  return new IscsiAccess({ units, machineAddresses, isUnavailable });
}

function host(name: string, change: Partial<IscsiHost> = {}): IscsiHost {
  const rights = { isAnyInitiator: false, isLoopbackOnly: false };
  return { name, initiators: [], ...rights, luns: [], ...change };
}

function wanted(...hosts: IscsiHost[]): IscsiWanted {
  return { targetName: target, portals: [], hosts };
}

function lun(number: number, volumeUuid: string): IscsiHost['luns'][number] {
  return { lun: number, volumeUuid, isReadOnly: false };
}

beforeEach(() => {
  units = new FakeUnits();
  units.add('v1', 'v2');
  access = make();
});

describe('an initiator', () => {
  it('is refused before anything was configured', () => {
    expect(access.access({ name: known, address: here }, target)).toEqual({ kind: 'notFound' });
    expect(access.targets({ name: known, address: here })).toEqual([]);
  });

  it('that a host names sees what that host sees, and nothing of the host for any', () => {
    access.configure(
      wanted(
        host('a', { initiators: [known], luns: [lun(3, 'v1')] }),
        host('any', { isAnyInitiator: true, luns: [lun(0, 'v2')] }),
      ),
    );
    expect([...access.luns(known, target).keys()]).toEqual([3]);
    expect([...access.luns(stranger, target).keys()]).toEqual([0]);
    expect([access.hostOf(known), access.hostOf(stranger)]).toEqual(['a', 'any']);
  });

  it('that no host names is forbidden, and sees no target', () => {
    access.configure(wanted(host('a', { initiators: [known], luns: [lun(0, 'v1')] })));
    const identity = { name: stranger, address: here };
    expect(access.access(identity, target)).toEqual({
      kind: 'forbidden',
      reason: 'no host names it',
    });
    expect(access.targets(identity)).toEqual([]);
    expect(access.luns(stranger, target).size).toBe(0);
  });

  it('asking for another target is told that there is none', () => {
    access.configure(wanted(host('a', { initiators: [known] })));
    expect(access.access({ name: known, address: here }, 'iqn.2026-01.x')).toEqual({
      kind: 'notFound',
    });
    expect(access.luns(known, 'iqn.2026-01.x').size).toBe(0);
  });

  it.each([
    ['127.0.0.1', 'ok'],
    ['::1', 'ok'],
    ['::ffff:127.0.0.1', 'ok'],
    ['10.0.0.7', 'forbidden'],
    ['fd00::7', 'forbidden'],
  ])('of a host for this machine only, from %s: %s', (address, kind) => {
    access.configure(wanted(host('any', { isAnyInitiator: true, isLoopbackOnly: true })));
    const identity = { name: stranger, address };
    expect(access.access(identity, target)).toMatchObject(
      kind === 'ok' ? { kind } : { kind, reason: 'host any is for this machine only' },
    );
    expect(access.targets(identity)).toHaveLength(kind === 'ok' ? 1 : 0);
  });

  it('must prove itself with the accounts of its host, for discovery too', () => {
    const chapIn = { user: 'u', secret: '61'.repeat(12) };
    const chapOut = { user: 't', secret: '62'.repeat(12) };
    access.configure(wanted(host('a', { initiators: [known], chapIn, chapOut })));
    const identity = { name: known, address: there };
    const chap = {
      userName: 'u',
      secret: new TextEncoder().encode('a'.repeat(12)),
      outName: 't',
      outSecret: new TextEncoder().encode('b'.repeat(12)),
    };
    expect(access.access(identity, target)).toEqual({ kind: 'ok', host: 'a', chap });
    expect(access.discoveryChap(identity)).toEqual(chap);
    expect(access.discoveryChap({ name: stranger, address: there })).toBeUndefined();
  });

  it('is asked to come back later while the pool may show older content', () => {
    access = make(true);
    access.configure(wanted(host('a', { initiators: [known], luns: [lun(0, 'v1')] })));
    const identity = { name: known, address: here };
    expect(access.access(identity, target)).toEqual({ kind: 'unavailable' });
    expect(access.luns(known, target).size).toBe(0);
    expect(access.targets(identity)).toEqual([]);
  });
});

describe("a target of a host's own", () => {
  const own = 'iqn.2026-11.org.tidemark:main-1:a';

  beforeEach(() => {
    access.configure(
      wanted(
        host('a', { initiators: [known], targetName: own, luns: [lun(3, 'v1')] }),
        host('any', { isAnyInitiator: true, luns: [lun(0, 'v2')] }),
      ),
    );
  });

  it('is all that its initiators find and may log in to', () => {
    const identity = { name: known, address: there };
    expect(access.targets(identity)).toEqual([{ name: own, portals: [] }]);
    expect(access.access(identity, own)).toEqual({ kind: 'ok', host: 'a' });
    expect(access.access(identity, target)).toEqual({
      kind: 'forbidden',
      reason: `host a has the target ${own}`,
    });
    expect([...access.luns(known, own).keys()]).toEqual([3]);
    expect(access.luns(known, target).size).toBe(0);
  });

  it('is found by nobody else, and forbidden to them', () => {
    const identity = { name: stranger, address: there };
    expect(access.targets(identity)).toEqual([{ name: target, portals: [] }]);
    expect(access.access(identity, own)).toEqual({
      kind: 'forbidden',
      reason: `host any has the target ${target}`,
    });
    expect(access.access(identity, target)).toEqual({ kind: 'ok', host: 'any' });
    expect(access.luns(stranger, own).size).toBe(0);
  });

  it("is gone when the host goes back to the pool's", () => {
    access.configure(wanted(host('a', { initiators: [known], luns: [lun(3, 'v1')] })));
    const identity = { name: known, address: there };
    expect(access.access(identity, own)).toEqual({ kind: 'notFound' });
    expect([...access.luns(known, target).keys()]).toEqual([3]);
  });

  it('stays when a volume is deleted', () => {
    access.forgetVolume('v2');
    expect([...access.luns(known, own).keys()]).toEqual([3]);
  });
});

describe('portals', () => {
  const any = host('any', { isAnyInitiator: true });

  it('are advertised by their addresses', () => {
    access.configure(wanted(any));
    const portals = [
      { address: '10.0.0.5', port: 3260, group: 1 },
      { address: 'fd00::5', port: 3261, group: 2 },
    ];
    access.usePortals(portals);
    const identity = { name: known, address: there };
    expect(access.targets(identity)).toEqual([{ name: target, portals }]);
  });

  it.each([
    ['0.0.0.0', there, ['10.0.0.5']],
    ['0.0.0.0', here, ['127.0.0.1']],
    ['::', there, ['10.0.0.5', 'fd00::5']],
    ['::', '::1', ['127.0.0.1', '::1']],
  ])('on %s are advertised to %s as %j', (address, peer, addresses) => {
    access.configure(wanted(any));
    access.usePortals([{ address, port: 3260, group: 1 }]);
    const [entry] = access.targets({ name: known, address: peer });
    expect(entry?.portals.map((portal) => portal.address)).toEqual(addresses);
  });
});

it('portals on all addresses of both kinds share them out', () => {
  access.configure(wanted(host('any', { isAnyInitiator: true })));
  const group = 1;
  access.usePortals([
    { address: '0.0.0.0', port: 3260, group },
    { address: '::', port: 3260, group: 2 },
    { address: '::', port: 3261, group },
  ]);
  const [entry] = access.targets({ name: known, address: there });
  expect(entry?.portals).toEqual([
    { address: '10.0.0.5', port: 3260, group: 1 },
    { address: 'fd00::5', port: 3260, group: 2 },
    { address: '10.0.0.5', port: 3261, group: 1 },
    { address: 'fd00::5', port: 3261, group: 1 },
  ]);
});

describe('LUN maps', () => {
  it('share the unit of a volume, ascend, and leave out volumes that do not exist', () => {
    access.configure(
      wanted(
        host('a', { initiators: [known], luns: [lun(9, 'v1'), lun(2, 'v2'), lun(4, 'gone')] }),
        host('b', { initiators: [stranger], luns: [lun(0, 'v1')] }),
      ),
    );
    const mine = access.luns(known, target);
    expect([...mine.keys()]).toEqual([2, 9]);
    expect(mine.get(9)?.unit).toBe(access.luns(stranger, target).get(0)?.unit);
    expect(access.mapsOf('v1')).toEqual([
      { host: 'a', lun: 9 },
      { host: 'b', lun: 0 },
    ]);
    expect(units.kept).toEqual(new Set(['v1', 'v2', 'gone']));
  });

  it('of a volume that was deleted are gone at once', () => {
    access.configure(
      wanted(host('a', { initiators: [known], luns: [lun(0, 'v1'), lun(1, 'v2')] })),
    );
    access.forgetVolume('v1');
    expect([...access.luns(known, target).keys()]).toEqual([1]);
    expect(access.mapsOf('v1')).toEqual([]);
    expect(units.kept).toEqual(new Set(['v2']));
  });
});

describe('a session', () => {
  const chapIn = { user: 'u', secret: '00112233445566778899aabb' };
  const initiator = { name: known, address: here };

  function keeps(hostName: string): boolean {
    return access.keeps({ initiator, targetName: target, host: hostName });
  }

  it('stays as long as its initiator would be let in', () => {
    access.configure(wanted(host('a', { initiators: [known] })));
    expect(keeps('a')).toBe(true);
    access.configure(wanted(host('a', { initiators: [stranger] })));
    expect(keeps('a')).toBe(false);
  });

  it('of a host that asked for nothing ends when its initiator belongs to one that asks for a secret', () => {
    access.configure(
      wanted(host('any', { isAnyInitiator: true }), host('b', { initiators: [known], chapIn })),
    );
    expect(keeps('any')).toBe(false);
    expect(keeps('b')).toBe(true);
  });

  it('stays when its host is named otherwise and asks for no secret', () => {
    access.configure(wanted(host('renamed', { initiators: [known] })));
    expect(keeps('a')).toBe(true);
  });
});
