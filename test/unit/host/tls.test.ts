/** TLS over real sockets, with Node's client on the other side: who gets through, as whom, and who does not. */
import { connect as connectPlain, type Socket } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import type { ByteStream, SecuredStream } from '../../../src/base/ports.ts';
import type { StreamListener } from '../../../src/host/socket.ts';
import { type TlsSettings, TlsStreams } from '../../../src/host/tls.ts';
import { containing } from '../../support/matching.ts';
import { until } from '../../support/run.ts';
import { listenLoopback, TestAuthority } from '../../support/tls-identities.ts';

const ours = new TestAuthority('ours');
const foreign = new TestAuthority('foreign');
const certificate = ours.server();
const aliceKey = new Uint8Array(32).fill(7);
const keyByIdentity = new Map([['alice', aliceKey]]);

const listeners: StreamListener[] = [];
const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const listener of listeners.splice(0)) listener.close();
});

/** What became of one upgrade. */
interface Outcome {
  readonly secured: SecuredStream | undefined;
  readonly reason: string;
}

/** A port where TLS begins at once, and what becomes of the next connection. */
async function serve(
  settings: TlsSettings,
  onSecured: (stream: ByteStream) => void = echo,
): Promise<{ readonly port: number; readonly outcome: Promise<Outcome> }> {
  const tls = new TlsStreams(settings);
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const listener = await listenLoopback((stream) => {
    tls.secure(stream, (secured, reason) => {
      if (secured !== undefined) onSecured(secured.stream);
      resolve({ secured, reason });
    });
  });
  listeners.push(listener);
  return { port: listener.port, outcome: promise };
}

function echo(stream: ByteStream): void {
  stream.start({
    onBytes: (chunk) => {
      stream.write(new Uint8Array(chunk), () => undefined);
    },
    onEnd: () => {
      stream.end();
    },
    onClose: () => undefined,
  });
}

function dial(port: number, options: ConnectionOptions = {}): TLSSocket {
  const socket = connect({ port, host: '127.0.0.1', ca: ours.pem, ...options });
  socket.on('error', () => undefined);
  sockets.push(socket);
  return socket;
}

/** Sends and waits for the same to come back; undefined when the connection ends instead. */
async function echoed(socket: Socket, bytes: Buffer): Promise<Buffer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
  const chunks: Buffer[] = [];
  let length = 0;
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= bytes.length) resolve(Buffer.concat(chunks));
  });
  socket.on('close', () => {
    resolve(undefined);
  });
  socket.write(bytes);
  return await promise;
}

const keyClient = (
  identity: string,
  psk: Uint8Array,
  options: ConnectionOptions = {},
): ConnectionOptions => ({
  ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-PSK-CHACHA20-POLY1305',
  checkServerIdentity: () => undefined,
  pskCallback: () => ({ identity, psk }),
  ...options,
});

const certified = ({ certificatePem, keyPem }: typeof certificate): ConnectionOptions => ({
  cert: certificatePem,
  key: keyPem,
});

describe('a server with a certificate', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('serves %s, both ways', async (version) => {
    const { port, outcome } = await serve({ certificate });
    const socket = dial(port, { minVersion: version, maxVersion: version });
    const bytes = Buffer.alloc(3_000_000, Buffer.from('0123456789abc'));
    expect((await echoed(socket, bytes))?.equals(bytes)).toBe(true);
    expect(socket.authorized).toBe(true);
    const { secured } = await outcome;
    expect(secured).toMatchObject({ identity: undefined, protocol: version });
    expect(secured?.stream.peer).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it('refuses TLS 1.1', async () => {
    const { port, outcome } = await serve({ certificate });
    dial(port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
    expect(await outcome).toMatchObject({ secured: undefined, reason: containing('protocol') });
  });

  it('never resumes a session', async () => {
    const { port } = await serve({ certificate });
    const first = dial(port);
    const tickets: Buffer[] = [];
    first.on('session', (session) => tickets.push(session));
    await echoed(first, Buffer.from('x'));
    await echoed(first, Buffer.from('y'));
    for (const session of tickets) {
      const again = dial(port, { session });
      await echoed(again, Buffer.from('x'));
      expect(again.isSessionReused()).toBe(false);
    }
    expect(tickets.length).toBeGreaterThan(0);
  });

  it('pauses and resumes: a paused stream delivers nothing', async () => {
    const { promise: pausedAt, resolve } = Promise.withResolvers<ByteStream>();
    const counted = { bytes: 0 };
    const { port } = await serve({ certificate }, (stream) => {
      stream.start({
        onBytes: (chunk) => {
          if (counted.bytes === 0) {
            stream.pause();
            resolve(stream);
          }
          counted.bytes += chunk.length;
        },
        onEnd: () => undefined,
        onClose: () => undefined,
      });
    });
    dial(port).write(Buffer.alloc(2_000_000));
    const stream = await pausedAt;
    const before = counted.bytes;
    await new Promise((done) => setTimeout(done, 30));
    expect(counted.bytes).toBe(before);
    stream.resume();
    await until('all has come', 10_000, () => counted.bytes === 2_000_000);
  });

  it('a client that ends gets its answers, and both ends close', async () => {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const { port } = await serve({ certificate }, (stream) => {
      stream.start({
        onBytes: () => undefined,
        onEnd: () => {
          stream.write(Buffer.from('last words'), () => undefined);
          stream.end();
        },
        onClose: () => {
          resolve(undefined);
        },
      });
    });
    const socket = dial(port);
    // Node's client would close with the other end's close.
    socket.allowHalfOpen = true;
    const answer: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => answer.push(chunk));
    socket.end('question');
    await promise;
    expect(Buffer.concat(answer).toString()).toBe('last words');
  });

  it('rejects a certificate whose key is another one', () => {
    const { keyPem } = ours.server();
    expect(() => new TlsStreams({ certificate: { ...certificate, keyPem } })).toThrow(
      /certificate or key cannot be used/,
    );
  });
});

describe('where certificates are required of clients', () => {
  const settings = { certificate, clientAuthorityPem: ours.pem };

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'one of ours gives its name over %s',
    async (version) => {
      const { port, outcome } = await serve(settings);
      const socket = dial(port, { ...certified(ours.client('backup1')), maxVersion: version });
      expect((await echoed(socket, Buffer.from('hello')))?.toString()).toBe('hello');
      expect((await outcome).secured?.identity).toBe('backup1');
    },
  );

  it.each<[string, ConnectionOptions]>([
    ['no certificate', {}],
    ['one of another authority', certified(foreign.client('backup1'))],
    ['one that is for servers', certified(ours.server('backup1'))],
    ['one that has expired', certified(ours.client('backup1', -0.5))],
    ['one without a name', certified(ours.client(''))],
  ])('%s does not get through', async (_what, options) => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const { port, outcome } = await serve(settings);
      const socket = dial(port, { ...options, maxVersion });
      expect(await echoed(socket, Buffer.from('hello'))).toBeUndefined();
      const { secured, reason } = await outcome;
      expect(secured).toBeUndefined();
      expect(reason).not.toBe('');
    }
  });
});

describe('where shared keys are required', () => {
  const settings = { certificate, keyByIdentity };

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'a right one gives its identity over %s',
    async (version) => {
      const { port, outcome } = await serve(settings);
      const socket = dial(port, keyClient('alice', aliceKey, { maxVersion: version }));
      expect((await echoed(socket, Buffer.from('hello')))?.toString()).toBe('hello');
      expect((await outcome).secured).toMatchObject({ identity: 'alice', protocol: version });
    },
  );

  it.each<[string, ConnectionOptions]>([
    ['a wrong key', keyClient('alice', new Uint8Array(32))],
    ['an unknown identity', keyClient('mallory', aliceKey)],
    ['no key', {}],
    ['a certificate instead', certified(ours.client('alice'))],
    // The identity is looked up, found to go with another hash, and the handshake would go on without the key.
    [
      'a known identity with ciphers that shared keys do not go with',
      keyClient('alice', new Uint8Array(32), { ciphers: 'TLS_AES_256_GCM_SHA384' }),
    ],
  ])('%s does not get through', async (_what, options) => {
    for (const also of [{}, { clientAuthorityPem: foreign.pem }]) {
      const { port, outcome } = await serve({ ...settings, ...also });
      expect(await echoed(dial(port, options), Buffer.from('hello'))).toBeUndefined();
      expect((await outcome).secured).toBeUndefined();
    }
  });

  it('beside certificates, either will do', async () => {
    const both = { ...settings, clientAuthorityPem: ours.pem };
    for (const [options, identity] of [
      [keyClient('alice', aliceKey), 'alice'],
      [certified(ours.client('backup1')), 'backup1'],
    ] as const) {
      const { port, outcome } = await serve(both);
      const answer = await echoed(dial(port, options), Buffer.from('hello'));
      const { secured, reason } = await outcome;
      expect([answer?.toString(), secured?.identity, reason]).toEqual(['hello', identity, '']);
    }
  });
});

describe('a peer that does not speak TLS', () => {
  it.each([
    ['rubbish', Buffer.alloc(100, 'x')],
    ['the beginning of a handshake, then nothing', Buffer.from('16030100', 'hex')],
    ['nothing', Buffer.alloc(0)],
  ])('(%s) is reported once, and closed', async (_what, bytes) => {
    const { port, outcome } = await serve({ certificate });
    const socket = connectPlain(port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.resume();
    socket.end(bytes);
    expect((await outcome).secured).toBeUndefined();
  });

  it('is given up when the owner destroys the stream', async () => {
    const tls = new TlsStreams({ certificate });
    const { promise, resolve } = Promise.withResolvers<string>();
    const listener = await listenLoopback((stream) => {
      tls.secure(stream, (_secured, reason) => {
        resolve(reason);
      });
      stream.destroy();
    });
    listeners.push(listener);
    const socket = connectPlain(listener.port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => undefined);
    expect(await promise).not.toBe('');
  });
});
