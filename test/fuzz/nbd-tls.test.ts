/**
 * Hostile bytes around STARTTLS, over real sockets and real TLS: whatever comes after it, nothing is interpreted in the
 * clear, every connection ends, nothing is left, and a good client is served. Long runs: NBD_FUZZ_RUNS=100000.
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import * as fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Staging } from '../../src/device/staging.ts';
import { StagingDoor } from '../../src/device/staging-door.ts';
import type { StreamListener } from '../../src/host/socket.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { TlsStreams } from '../../src/host/tls.ts';
import type { NbdDoor } from '../../src/nbd/door.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { MemoryDevice } from '../support/memory-device.ts';
import { MemoryExports } from '../support/memory-exports.ts';
import { infoData, optionBytes, u32 } from '../support/nbd-client.ts';
import { until } from '../support/run.ts';
import { listenLoopback, TestAuthority } from '../support/tls-identities.ts';

const numRuns = Number(process.env['NBD_FUZZ_RUNS'] ?? 300);
const startTls = Buffer.concat([u32(3), optionBytes(5)]);
const greetingBytes = 18;
const ackBytes = 20;

const authority = new TestAuthority('fuzz');
const exports = new MemoryExports();
const staging = new Staging(new SharedArrayBuffer(4 << 20));
const server = new NbdServer({
  exports,
  staging: new StagingDoor(staging),
  timers: systemTimers,
  log: { info: () => undefined, warn: () => undefined, error: () => undefined },
});
const door = { security: new TlsStreams({ certificate: authority.server() }) };
/** Through which the next connection comes in. */
let currentDoor: NbdDoor = door;
const keyCiphers = { ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-PSK-CHACHA20-POLY1305' };
let listener: StreamListener;
let clientHello: Buffer;

beforeAll(async () => {
  exports.add(
    new MemoryDevice({ name: 'disk', sizeBytes: 1 << 20, isReadOnly: false, slab: staging.bytes }),
  );
  listener = await listenLoopback((stream) => {
    server.accept(stream, currentDoor);
  });
  clientHello = await recordClientHello();
});

afterAll(async () => {
  listener.close();
  await new Promise<void>((resolve) => {
    server.stop(1000, resolve);
  });
});

afterEach(async () => {
  await serveGoodClient();
  await until('every export is given back', 5000, () => exports.openCount === 0);
});

/** What Node's own client says first. */
async function recordClientHello(): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const recorder = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (chunk: Buffer) => {
      resolve(chunk);
      socket.destroy();
    });
  });
  await new Promise<void>((listening) => {
    recorder.listen(0, '127.0.0.1', listening);
  });
  const address = recorder.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const socket = connectTls({ port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  const hello = await promise;
  socket.destroy();
  recorder.close();
  return hello;
}

async function dial(): Promise<Socket> {
  const socket = connect(listener.port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** The first of these events; an error is none of them, because 'close' follows it. */
async function anyOf(socket: Socket, events: readonly string[]): Promise<void> {
  await new Promise<void>((resolve) => {
    const heard = (): void => {
      for (const event of events) socket.off(event, heard);
      resolve();
    };
    for (const event of events) socket.on(event, heard);
  });
}

async function closed(socket: Socket): Promise<void> {
  if (!socket.destroyed) await anyOf(socket, ['close']);
}

/** Reads exactly `length` bytes; fewer when the connection ends. */
async function take(socket: Socket, length: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let missing = length;
  while (missing > 0) {
    const chunk = socket.read(
      Math.min(missing, Math.max(1, socket.readableLength)),
    ) as Buffer | null;
    if (chunk !== null) {
      chunks.push(chunk);
      missing -= chunk.length;
    } else if (socket.readableEnded || socket.destroyed) break;
    else await anyOf(socket, ['readable', 'close']);
  }
  return Buffer.concat(chunks);
}

/** A connection on which STARTTLS was granted. */
async function upgrading(): Promise<Socket> {
  const socket = await dial();
  socket.write(startTls);
  expect((await take(socket, greetingBytes + ackBytes)).length).toBe(greetingBytes + ackBytes);
  return socket;
}

async function secured(): Promise<TLSSocket> {
  const socket = connectTls({ socket: await upgrading(), ca: authority.pem, host: 'localhost' });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  return socket;
}

/** GO, a write, a read of it, and goodbye. */
async function serveGoodClient(): Promise<void> {
  const socket = await secured();
  socket.write(optionBytes(7, infoData('disk')));
  // INFO_EXPORT, INFO_BLOCK_SIZE, INFO_DESCRIPTION and the acknowledgement.
  await take(socket, 20 + 12 + 20 + 14 + 20 + 2 + 'memory device disk'.length + 20);
  const cookie = Buffer.alloc(8, 9);
  const request = (command: number, length: number): Buffer =>
    Buffer.concat([u32(0x25609513), u32(command), cookie, Buffer.alloc(8), u32(length)]);
  socket.write(Buffer.concat([request(1, 5), Buffer.from('alive'), request(0, 5)]));
  const replies = await take(socket, 16 + 16 + 5);
  expect(replies.toString('latin1', 32)).toBe('alive');
  socket.end(request(2, 0));
  await closed(socket);
}

/** Sends, ends our half, and waits until the server has closed; returns what it said after STARTTLS was granted. */
async function endedBy(socket: Socket, bytes: Uint8Array): Promise<Buffer> {
  const said = take(socket, Infinity);
  socket.end(bytes);
  const rest = await said;
  await closed(socket);
  return rest;
}

const tlsAlert = 0x15;

describe('after STARTTLS', () => {
  it('random bytes end the connection, and are answered by a TLS alert at most', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        const answer = await endedBy(await upgrading(), bytes);
        expect([undefined, tlsAlert]).toContain(answer[0]);
      }),
      { numRuns },
    );
  });

  it('options in the clear end the connection and open nothing', async () => {
    const answer = await endedBy(await upgrading(), optionBytes(7, infoData('disk')));
    expect([undefined, tlsAlert]).toContain(answer[0]);
    expect(exports.openCount).toBe(0);
  });

  it('a ClientHello that was changed, cut off or repeated does not get through', async () => {
    const change = fc.record({ at: fc.nat(600), value: fc.nat(255) });
    const changes = fc.array(change, { minLength: 1, maxLength: 4 });
    const cut = fc.option(fc.nat(600), { freq: 3 });
    await fc.assert(
      fc.asyncProperty(changes, cut, async (list, cutAt) => {
        const hello = Buffer.from(clientHello);
        for (const { at, value } of list) if (at < hello.length) hello[at] = value;
        const bytes = cutAt === null ? Buffer.concat([hello, hello]) : hello.subarray(0, cutAt);
        await endedBy(await upgrading(), bytes);
        expect(exports.openCount).toBe(0);
      }),
      { numRuns },
    );
  });

  it('records of TLS that were changed end the connection', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (rubbish) => {
        const clear = await upgrading();
        const socket = connectTls({ socket: clear, ca: authority.pem, host: 'localhost' });
        socket.on('error', () => undefined);
        await once(socket, 'secureConnect');
        // Below TLS: an application data record whose content was not encrypted with the key.
        const header = Buffer.from([0x17, 3, 3, 0, rubbish.length]);
        clear.write(Buffer.concat([header, rubbish]));
        await closed(socket);
      }),
      { numRuns: Math.min(numRuns, 50) },
    );
  });
});

describe('in one piece with STARTTLS', () => {
  it('anything ends the connection unread', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 100 }), async (bytes) => {
        const socket = await dial();
        const said = await endedBy(socket, Buffer.concat([startTls, bytes]));
        // The greeting, perhaps the acknowledgement, and when the kernel delivered in two pieces an alert of TLS.
        expect([undefined, tlsAlert]).toContain(said[greetingBytes + ackBytes]);
        expect(exports.openCount).toBe(0);
      }),
      { numRuns },
    );
  });
});

describe('over TLS', () => {
  it('random negotiation bytes are answered or end the session', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        const socket = await secured();
        await endedBy(socket, bytes);
      }),
      { numRuns: Math.min(numRuns, 100) },
    );
  });
});

describe('clients that cannot prove who they are', () => {
  const foreign = new TestAuthority('foreign').client('mallory');
  const nameless = authority.client('');
  const key = new Uint8Array(32).fill(5);
  const certificate = authority.server();
  const strictDoors = [
    new TlsStreams({ certificate, clientAuthorityPem: authority.pem }),
    new TlsStreams({ keyByIdentity: new Map([['alice', key]]) }),
    new TlsStreams({
      certificate,
      clientAuthorityPem: authority.pem,
      keyByIdentity: new Map([['alice', key]]),
    }),
  ].map((security) => ({ security }));
  const clients: ConnectionOptions[] = [
    {},
    { cert: foreign.certificatePem, key: foreign.keyPem },
    { cert: nameless.certificatePem, key: nameless.keyPem },
    { pskCallback: () => ({ identity: 'alice', psk: new Uint8Array(32) }), ...keyCiphers },
    { pskCallback: () => ({ identity: 'mallory', psk: key }), ...keyCiphers },
  ];

  it('are refused in any number and order, at every kind of door, without harm', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...strictDoors),
        fc.array(fc.constantFrom(...clients), { minLength: 1, maxLength: 5 }),
        fc.constantFrom('TLSv1.2' as const, 'TLSv1.3' as const),
        async (strict, options, maxVersion) => {
          currentDoor = strict;
          const sockets = await Promise.all(options.map(upgrading));
          const tried = sockets.map(async (clear, index) => {
            const how = { ...options[index], maxVersion, ca: authority.pem, host: 'localhost' };
            const socket = connectTls({ ...how, socket: clear });
            socket.on('error', () => undefined);
            expect(await endedBy(socket, optionBytes(3))).toHaveLength(0);
          });
          await Promise.all(tried);
          currentDoor = door;
        },
      ),
      { numRuns: Math.min(numRuns, 60) },
    );
  });
});

describe('STARTTLS over TLS', () => {
  it('any number of times is invalid, and the session goes on', async () => {
    const socket = await secured();
    for (let count = 0; count < 20; count += 1) {
      socket.write(optionBytes(5));
      const reply = await take(socket, 20);
      expect(reply.readUInt32BE(12)).toBe(0x80000003);
      await take(socket, reply.readUInt32BE(16));
    }
    socket.write(optionBytes(2));
    expect((await take(socket, 20)).readUInt32BE(12)).toBe(1);
    socket.destroy();
  });
});

describe('half-open handshakes', () => {
  it('1,000 of them, silent or cut off at any place, do not keep a good client out', async () => {
    const sockets: Socket[] = [];
    try {
      for (let index = 0; index < 1000; index += 1) {
        const socket = await upgrading();
        sockets.push(socket);
        // The oldest are dropped, and what they get then is a reset.
        socket.resume();
        socket.write(clientHello.subarray(0, index % (clientHello.length + 1)));
        if (index % 100 === 99) await serveGoodClient();
      }
      const openCount = sockets.filter((socket) => !socket.destroyed).length;
      expect(openCount).toBeLessThanOrEqual(256 + 1);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });
});
