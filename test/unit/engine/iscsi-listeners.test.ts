import { connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { IscsiListeners } from '../../../src/engine/iscsi-listeners.ts';
import type { IscsiListening, IscsiPortal } from '../../../src/engine/protocol.ts';
import type { Portal } from '../../../src/iscsi/portal.ts';
import { until } from '../../support/run.ts';

let listeners: IscsiListeners;
let accepted: Portal[];
const sockets: Socket[] = [];

beforeEach(() => {
  accepted = [];
  listeners = new IscsiListeners({
    accept: (stream, through) => {
      accepted.push(through);
      stream.destroy();
    },
  });
});

afterEach(() => {
  listeners.close();
  for (const socket of sockets.splice(0)) socket.destroy();
});

function portal(address: string, port = 0, group = 1): IscsiPortal {
  return { address, port, group };
}

/** The portal through which an initiator comes in at an address. */
async function cameIn(host: string, port: number): Promise<Portal | undefined> {
  const count = accepted.length;
  const socket = connect({ host, port });
  socket.on('error', () => undefined);
  sockets.push(socket);
  await until('the initiator is accepted', 5000, () => accepted.length > count);
  return accepted[count];
}

function portsOf(state: IscsiListening['portals']): number[] {
  return state.map(({ port }) => port);
}

it('portals of IPv4 and IPv6 are opened, and initiators come in through theirs', async () => {
  const [first = 0, second = 0] = portsOf(
    await listeners.apply([portal('127.0.0.1'), portal('::1', 0, 7)]),
  );
  expect(await cameIn('127.0.0.1', first)).toEqual({
    address: '127.0.0.1',
    port: first,
    group: 1,
    relativePort: 1,
  });
  expect(await cameIn('::1', second)).toMatchObject({ address: '::1', group: 7, relativePort: 7 });
});

it('a portal that stays wanted stays open, on the port that was picked, also with another group', async () => {
  const [port = 0] = portsOf(await listeners.apply([portal('127.0.0.1')]));
  expect(portsOf(await listeners.apply([portal('127.0.0.1'), portal('127.0.0.2')]))[0]).toBe(port);
  expect(portsOf(await listeners.apply([portal('127.0.0.1', port, 3)]))).toEqual([port]);
  expect(await cameIn('127.0.0.1', port)).toMatchObject({ group: 3, relativePort: 3 });
});

it('portals on all addresses of IPv4 and of IPv6 share a port, whichever came first', async () => {
  const [port = 0] = portsOf(await listeners.apply([portal('::')]));
  expect(await cameIn('127.0.0.1', port)).toMatchObject({ address: '::' });
  const both = [portal('::', port), portal('0.0.0.0', port, 2)];
  expect((await listeners.apply(both)).map(({ fault }) => fault)).toEqual([undefined, undefined]);
  expect(await cameIn('127.0.0.1', port)).toMatchObject({ address: '0.0.0.0', group: 2 });
  expect(await cameIn('::1', port)).toMatchObject({ address: '::', group: 1 });
  expect(await listeners.apply([portal('::', port)])).toEqual([portal('::', port)]);
  expect(await cameIn('127.0.0.1', port)).toMatchObject({ address: '::' });
});

it('a portal that is not wanted any more is closed', async () => {
  const [port = 0] = portsOf(await listeners.apply([portal('127.0.0.1')]));
  expect(await listeners.apply([])).toEqual([]);
  const socket = connect({ host: '127.0.0.1', port });
  sockets.push(socket);
  const refused = await new Promise((resolve) => socket.once('error', resolve));
  expect(refused).toMatchObject({ code: 'ECONNREFUSED' });
});

it('a portal that cannot be opened is reported, keeps no other closed, and is tried again', async () => {
  const blocker = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => blocker.once('listening', resolve));
  const address = blocker.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const wanted = [portal('127.0.0.1', port), portal('127.0.0.2')];
  const state = await listeners.apply(wanted);
  expect(state.map(({ fault }) => fault === undefined)).toEqual([false, true]);
  expect(state[0]?.fault).toContain(`cannot listen on 127.0.0.1:${port}`);
  await new Promise((resolve) => blocker.close(resolve));
  expect((await listeners.apply(wanted)).map(({ fault }) => fault)).toEqual([undefined, undefined]);
  expect(listeners.current).toHaveLength(2);
});
