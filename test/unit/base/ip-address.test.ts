import { expect, it } from 'vitest';
import {
  addressOfPeer,
  canonicalIpAddress,
  isIpAddress,
  isLinkLocalAddress,
  isLoopbackAddress,
} from '../../../src/base/ip-address.ts';

it.each(['0.0.0.0', '10.0.0.5', '255.255.255.255', '::', '::1', 'fd00::5', '::ffff:10.0.0.1'])(
  '%s is an address',
  (text) => {
    expect(isIpAddress(text)).toBe(true);
  },
);

it.each([
  '',
  '10.0.0',
  '10.0.0.0.1',
  '256.0.0.1',
  '10.0.0.5.',
  'localhost',
  '[::1]',
  ':::',
  'fd00',
  '1::2::3',
  '::1%lo',
])('%j is no address', (text) => {
  expect(isIpAddress(text)).toBe(false);
});

it.each([
  ['127.0.0.1', true],
  ['127.255.0.9', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['::FFFF:127.0.0.1', true],
  ['10.127.0.1', false],
  ['128.0.0.1', false],
  ['::2', false],
  ['::ffff:10.0.0.1', false],
  ['127.evil.example', false],
])('%s is of this machine: %s', (address, isLoopback) => {
  expect(isLoopbackAddress(address)).toBe(isLoopback);
});

it.each([
  ['10.0.0.5:3260', '10.0.0.5'],
  ['[::1]:40000', '::1'],
  ['::1:40000', '::1'],
  ['::ffff:127.0.0.1:40000', '::ffff:127.0.0.1'],
])('%s connects from %s', (peer, address) => {
  expect(addressOfPeer(peer)).toBe(address);
});

it.each([
  ['10.0.0.5', '10.0.0.5'],
  ['::1', '::1'],
  ['0:0::0:1', '::1'],
  ['FD00:0:0:0:0:0:0:5', 'fd00::5'],
  ['0::0', '::'],
  ['here', undefined],
])('%s is written as %s', (text, canonical) => {
  expect(canonicalIpAddress(text)).toBe(canonical);
});

it.each([
  ['fe80::1', true],
  ['FEBF:1::', true],
  ['fec0::1', false],
  ['fd00::1', false],
  ['10.0.0.1', false],
])('%s is of one network only: %s', (address, isLinkLocal) => {
  expect(isLinkLocalAddress(address)).toBe(isLinkLocal);
});
