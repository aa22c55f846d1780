import { expect, it } from 'vitest';
import { isIds, isIscsiWanted } from '../../../src/engine/iscsi-params.ts';
import type { IscsiHost, IscsiWanted } from '../../../src/engine/protocol.ts';
import { LUN_MAX } from '../../../src/engine/rpc-limits.ts';

const volumeUuid = '01234567-89ab-4def-8123-456789abcdef';

function host(change: object = {}): IscsiHost {
  return {
    name: 'a',
    initiators: ['iqn.2026-01.test:a'],
    isAnyInitiator: false,
    isLoopbackOnly: false,
    chapIn: { user: 'u', secret: '00ff'.repeat(6) },
    luns: [{ lun: 0, volumeUuid, isReadOnly: false }],
    ...change,
  };
}

function wanted(change: object = {}): IscsiWanted {
  return {
    targetName: 'iqn.2026-11.org.tidemark:main-1',
    portals: [{ address: '::1', port: 0, group: 1 }],
    hosts: [host()],
    ...change,
  };
}

function lun(change: object): object {
  return { hosts: [host({ luns: [{ lun: 0, volumeUuid, isReadOnly: false, ...change }] })] };
}

function portal(change: object): object {
  return { portals: [{ address: '::1', port: 0, group: 1, ...change }] };
}

it.each<[string, object]>([
  ['everything', {}],
  ['nothing', { portals: [], hosts: [] }],
  ['no CHAP', { hosts: [host({ chapIn: undefined })] }],
  ['two hosts', { hosts: [host(), host({ name: 'b', initiators: [], isAnyInitiator: true })] }],
  ['a host with a target of its own', { hosts: [host({ targetName: 'iqn.2026-01.x:own' })] }],
  ['the last LUN', lun({ lun: LUN_MAX })],
])('a desired state may have %s', (_what, change) => {
  expect(isIscsiWanted(wanted(change))).toBe(true);
});

it.each<[string, unknown]>([
  ['nothing at all', undefined],
  ['a list', []],
  ['no target', wanted({ targetName: undefined })],
  ['a target in capitals', wanted({ targetName: 'iqn.2026-11.org.tidemark:MAIN' })],
  ['an unknown field', wanted({ colour: 1 })],
  ['an unknown field of a host', wanted({ hosts: [host({ onlyMondays: true })] })],
  ['an initiator in capitals', wanted({ hosts: [host({ initiators: ['iqn.2026-01.test:A'] })] })],
  ['an initiator twice', wanted({ hosts: [host(), host({ name: 'b' })] })],
  [
    'two hosts for any initiator',
    wanted({
      hosts: [
        host({ isAnyInitiator: true }),
        host({ name: 'b', initiators: [], isAnyInitiator: true }),
      ],
    }),
  ],
  [
    "a host whose own target is the pool's",
    wanted({ hosts: [host({ targetName: 'iqn.2026-11.org.tidemark:main-1' })] }),
  ],
  [
    'one target of their own for two hosts',
    wanted({
      hosts: ['a', 'b'].map((name) =>
        host({ name, initiators: [`iqn.2026-01.test:${name}`], targetName: 'iqn.2026-01.x:own' }),
      ),
    }),
  ],
  ['a target of a host in capitals', wanted({ hosts: [host({ targetName: 'IQN.2026-01.x:A' })] })],
  ['a secret that is no hex', wanted({ hosts: [host({ chapIn: { user: 'u', secret: 'xyz' } })] })],
  ['an empty secret', wanted({ hosts: [host({ chapIn: { user: 'u', secret: '' } })] })],
  [
    'a secret too long',
    wanted({ hosts: [host({ chapOut: { user: 'u', secret: '00'.repeat(256) } })] }),
  ],
  ['a LUN too large', wanted(lun({ lun: LUN_MAX + 1 }))],
  ['a LUN that is negative', wanted(lun({ lun: -1 }))],
  ['a volume that is no uuid', wanted(lun({ volumeUuid: 'lun0' }))],
  [
    'a LUN twice',
    wanted({
      hosts: [
        host({
          luns: [
            { lun: 1, volumeUuid, isReadOnly: false },
            { lun: 1, volumeUuid, isReadOnly: true },
          ],
        }),
      ],
    }),
  ],
  ['a port too large', wanted(portal({ port: 65_536 }))],
  ['a portal group 0', wanted(portal({ group: 0 }))],
  ['no address', wanted(portal({ address: '' }))],
  ['too many portals', wanted({ portals: Array.from({ length: 33 }, () => wanted().portals[0]) })],
])('a desired state may not have %s', (_what, value) => {
  expect(isIscsiWanted(value)).toBe(false);
});

it('ids of sessions are a list of numbers of four bytes', () => {
  expect([[], [1, 0xffff_ffff]].every((ids) => isIds(ids))).toBe(true);
  expect([undefined, 1, ['1'], [-1], [1.5], [2 ** 32]].some((ids) => isIds(ids))).toBe(false);
});
