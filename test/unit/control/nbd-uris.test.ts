import { expect, it } from 'vitest';
import { nbdUris } from '../../../src/control/nbd-uris.ts';

function urisAt(address: string): string[] {
  return nbdUris({ tcp: { address, port: 1 } }, 'v');
}

it('names the unix socket first, then TCP', () => {
  const nbd = { socketPath: '/d/run/nbd.sock', tcp: { address: '10.0.0.1', port: 10_809 } };
  expect(nbdUris(nbd, 'lun0')).toEqual([
    'nbd+unix:///lun0?socket=/d/run/nbd.sock',
    'nbd://10.0.0.1:10809/lun0',
  ]);
});

it('names TLS by its scheme', () => {
  const nbd = { tcp: { address: '10.0.0.1', port: 10_809, tls: 'required' as const } };
  expect(nbdUris(nbd, 'lun0')).toEqual(['nbds://10.0.0.1:10809/lun0']);
});

it('escapes what a URI cannot hold', () => {
  expect(nbdUris({ socketPath: '/a b/n&d' }, 'v@s')).toEqual([
    'nbd+unix:///v%40s?socket=/a%20b/n%26d',
  ]);
});

it('names a listener on all addresses by its loopback and brackets IPv6', () => {
  expect(urisAt('0.0.0.0')).toEqual(['nbd://127.0.0.1:1/v']);
  expect(urisAt('::')).toEqual(['nbd://[::1]:1/v']);
  expect(urisAt('fe80::1')).toEqual(['nbd://[fe80::1]:1/v']);
});

it('is empty when nothing listens', () => {
  expect(nbdUris({}, 'v')).toEqual([]);
});
