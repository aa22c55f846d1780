/** Listeners of the engine: what is open is what is wanted, and who is disconnected when a rule changes. */
import fs from 'node:fs';
import { connect, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NbdListeners } from '../../../src/engine/listeners.ts';
import type { NbdListening, NbdTls } from '../../../src/engine/protocol.ts';
import { type NbdDoor, plainDoor } from '../../../src/nbd/door.ts';
import { containing } from '../../support/matching.ts';
import { until } from '../../support/run.ts';
import { TestAuthority } from '../../support/tls-identities.ts';

const authority = new TestAuthority('ours');
const address = '127.0.0.1';
const key = 'ab'.repeat(32);

let folder: string;
let listeners: NbdListeners;
let accepted: NbdDoor[];
let disconnected: NbdDoor[];
const sockets: Socket[] = [];

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-listen-'));
  accepted = [];
  disconnected = [];
  listeners = new NbdListeners({
    accept: (stream, door) => {
      accepted.push(door);
      stream.destroy();
    },
    disconnectDoor: (door) => void disconnected.push(door),
  });
});

afterEach(() => {
  listeners.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  fs.rmSync(folder, { recursive: true });
});

/** A certificate of its own each time, with these rules. */
function tls(rules: Partial<NbdTls> = {}): NbdTls {
  return { ...authority.server(), ...rules };
}

async function listen(port: number, secured?: NbdTls): Promise<NbdListening> {
  return await listeners.apply({
    tcp: { address, port, ...(secured === undefined ? {} : { tls: secured }) },
  });
}

/** The door through which the next client comes in. */
async function doorAt(target: { port: number } | { path: string }): Promise<NbdDoor> {
  const count = accepted.length;
  const socket = connect({ host: address, ...target });
  socket.on('error', () => undefined);
  sockets.push(socket);
  await until('the client is accepted', 5000, () => accepted.length > count);
  return accepted[count] ?? plainDoor;
}

it('a TCP client comes in through the door of its rule, a unix client through the plain one', async () => {
  const socketPath = path.join(folder, 'nbd.sock');
  const open = await listeners.apply({ tcp: { address, port: 0, tls: tls() }, socketPath });
  expect(open).toEqual({
    tcp: { address, port: expect.any(Number) as number, tls: 'required' },
    socketPath,
  });
  expect(listeners.current).toEqual(open);
  expect((await doorAt({ port: open.tcp?.port ?? 0 })).security).toBeDefined();
  expect(await doorAt({ path: socketPath })).toBe(plainDoor);
});

it('no answer holds a secret', async () => {
  const secured = tls({ clientAuthorityPem: authority.pem, keyByIdentity: { alice: key } });
  const text = JSON.stringify(await listen(0, secured));
  for (const secret of [secured.keyPem, key]) expect(text).not.toContain(secret.slice(30, 60));
});

it('a renewed certificate is used from now on, and disconnects nobody', async () => {
  const port = (await listen(0, tls())).tcp?.port ?? 0;
  const before = await doorAt({ port });
  const { security } = before;
  expect((await listen(port, tls())).tcp?.port).toBe(port);
  const after = await doorAt({ port });
  expect(after).toBe(before);
  expect(after.security).not.toBe(security);
  expect(disconnected).toEqual([]);
});

it.each<[string, NbdTls | undefined, NbdTls | undefined]>([
  ['TLS is required now', undefined, tls()],
  ['TLS is not required any more', tls(), undefined],
  ['certificates are required now', tls(), tls({ clientAuthorityPem: authority.pem })],
  [
    'another authority counts',
    tls({ clientAuthorityPem: authority.pem }),
    tls({ clientAuthorityPem: new TestAuthority('other').pem }),
  ],
  [
    'a key was withdrawn',
    tls({ keyByIdentity: { alice: key, bob: key } }),
    tls({ keyByIdentity: { alice: key } }),
  ],
])('who came in under the old rule is disconnected: %s', async (_what, old, next) => {
  const port = (await listen(0, old)).tcp?.port ?? 0;
  const before = await doorAt({ port });
  await listen(port, old === undefined ? undefined : { ...old });
  await listen(port, next);
  expect(disconnected).toEqual([before]);
  const after = await doorAt({ port });
  expect(after).not.toBe(before);
  expect(after.security === undefined).toBe(next === undefined);
});

it('a certificate that cannot be used is refused, and what was open stays', async () => {
  const port = (await listen(0, tls())).tcp?.port ?? 0;
  const before = await doorAt({ port });
  await expect(listen(0, { ...tls(), keyPem: 'rubbish' })).rejects.toMatchObject({
    code: 'invalid',
    message: containing('cannot be used'),
  });
  expect(await doorAt({ port })).toBe(before);
});

it('nothing is open any more after close', async () => {
  await listen(0, tls());
  listeners.close();
  expect(listeners.current).toEqual({});
});
