/** Byte streams over real sockets, seen from a plain client. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { OperationError } from '../../../src/base/errors.ts';
import type { ByteStream, StreamHandler } from '../../../src/base/ports.ts';
import { listenTcp, listenUnix, type StreamListener } from '../../../src/host/socket.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'tidemark-socket-'));
const listeners: StreamListener[] = [];
const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const listener of listeners.splice(0)) listener.close();
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

type Listen = (onStream: (stream: ByteStream) => void) => Promise<() => Socket>;

const overTcp: Listen = async (onStream) => {
  const listener = await new Promise<StreamListener>((resolve, reject) => {
    listenTcp({ address: '127.0.0.1', port: 0 }, onStream, (error, opened) => {
      if (opened === undefined) reject(error ?? new Error('no listener'));
      else resolve(opened);
    });
  });
  listeners.push(listener);
  return () => connect({ host: '127.0.0.1', port: listener.port });
};

async function listenAt(socketPath: string, onStream: (stream: ByteStream) => void): Promise<void> {
  const listener = await new Promise<StreamListener>((resolve, reject) => {
    listenUnix(socketPath, onStream, (error, opened) => {
      if (opened === undefined) reject(error ?? new Error('no listener'));
      else resolve(opened);
    });
  });
  listeners.push(listener);
}

function freshPath(): string {
  return path.join(mkdtempSync(path.join(folder, 's')), 'nbd.sock');
}

const overUnix: Listen = async (onStream) => {
  const socketPath = freshPath();
  await listenAt(socketPath, onStream);
  return () => connect({ path: socketPath });
};

/** What a stream told its owner. */
class Events implements StreamHandler {
  bytes = Buffer.alloc(0);
  chunkBytesMax = 0;
  endCount = 0;
  closeCount = 0;
  onChunk: () => void = () => undefined;

  onBytes(chunk: Uint8Array): void {
    this.chunkBytesMax = Math.max(this.chunkBytesMax, chunk.length);
    this.bytes = Buffer.concat([this.bytes, chunk]);
    this.onChunk();
  }

  onEnd(): void {
    this.endCount += 1;
  }

  onClose(): void {
    this.closeCount += 1;
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

async function pair(
  listen: Listen,
): Promise<{ client: Socket; stream: ByteStream; events: Events }> {
  const streams: ByteStream[] = [];
  const dial = await listen((stream) => streams.push(stream));
  const client = dial();
  client.on('error', () => undefined);
  sockets.push(client);
  await until(() => streams.length > 0);
  const [stream] = streams;
  if (stream === undefined) throw new Error('no stream');
  const events = new Events();
  stream.start(events);
  return { client, stream, events };
}

describe.each([
  ['TCP', overTcp],
  ['a unix socket', overUnix],
])('a stream over %s', (name, listen) => {
  it('delivers what the client sends, in order, in bounded chunks', async () => {
    const { client, stream, events } = await pair(listen);
    const sent = Buffer.alloc(3_000_000, Buffer.from('0123456789abc'));
    client.write(sent);
    await until(() => events.bytes.length === sent.length);
    expect(events.bytes.equals(sent)).toBe(true);
    expect(events.chunkBytesMax).toBeLessThanOrEqual(262_144);
    expect(stream.peer).toMatch(name === 'TCP' ? /^127\.0\.0\.1:\d+$/ : /^unix$/);
  });

  it('two streams that share the receive buffer do not mix', async () => {
    const first = await pair(listen);
    const second = await pair(listen);
    const a = Buffer.alloc(1_000_000, 'a');
    const b = Buffer.alloc(1_000_000, 'b');
    for (let at = 0; at < a.length; at += 50_000) {
      first.client.write(a.subarray(at, at + 50_000));
      second.client.write(b.subarray(at, at + 50_000));
    }
    await until(() => first.events.bytes.length + second.events.bytes.length === 2_000_000);
    expect(first.events.bytes.equals(a)).toBe(true);
    expect(second.events.bytes.equals(b)).toBe(true);
  });

  it('a paused stream delivers nothing and goes on where it was', async () => {
    const { client, stream, events } = await pair(listen);
    events.onChunk = () => {
      stream.pause();
    };
    client.write(Buffer.alloc(2_000_000, 'x'));
    await until(() => events.bytes.length > 0);
    const before = events.bytes.length;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(events.bytes.length).toBe(before);
    events.onChunk = () => undefined;
    stream.resume();
    await until(() => events.bytes.length === 2_000_000);
  });

  it('writes arrive in order and are reported sent in order; pending bytes fall to zero', async () => {
    const { client, stream } = await pair(listen);
    const received: Buffer[] = [];
    client.on('data', (chunk) => received.push(Buffer.from(chunk)));
    const reported: number[] = [];
    for (let index = 0; index < 50; index += 1) {
      stream.write(new Uint8Array(40_000).fill(index), () => reported.push(index));
    }
    expect(stream.pendingBytes).toBe(2_000_000);
    expect(reported).toEqual([]);
    await until(() => reported.length === 50);
    expect(reported).toEqual([...reported].sort((a, b) => a - b));
    expect(stream.pendingBytes).toBe(0);
    await until(() => received.reduce((sum, { length }) => sum + length, 0) === 2_000_000);
    const whole = Buffer.concat(received);
    for (let index = 0; index < 50; index += 1) expect(whole[index * 40_000]).toBe(index);
  });

  it('a half-closed client still receives; then both ends close', async () => {
    const { client, stream, events } = await pair(listen);
    const received: Buffer[] = [];
    client.on('data', (chunk) => received.push(Buffer.from(chunk)));
    client.end('last words');
    await until(() => events.endCount === 1);
    expect(events.bytes.toString()).toBe('last words');
    stream.write(Buffer.from('answer'), () => undefined);
    stream.end();
    await once(client, 'close');
    await until(() => events.closeCount === 1);
    expect(Buffer.concat(received).toString()).toBe('answer');
  });

  it('destroy reports every write as over and closes once', async () => {
    const { client, stream, events } = await pair(listen);
    client.pause();
    let reported = 0;
    for (let index = 0; index < 40; index += 1) {
      stream.write(new Uint8Array(1 << 20), () => {
        reported += 1;
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
    stream.destroy();
    await until(() => events.closeCount === 1 && reported === 40);
    stream.destroy();
    stream.end();
    expect(events.closeCount).toBe(1);
  });

  it('a client that vanishes in the middle is a close, not an error', async () => {
    const { client, stream, events } = await pair(listen);
    client.pause();
    stream.write(new Uint8Array(4 << 20), () => undefined);
    if (name === 'TCP') client.resetAndDestroy();
    else client.destroy();
    await until(() => events.closeCount === 1);
    stream.write(new Uint8Array(10), () => undefined);
  });
});

describe('a stream whose handle Node does not show', () => {
  const reflectGet = Reflect.get;
  const overHidden: Listen = async (onStream) =>
    await overTcp((stream) => {
      Reflect.get = reflectGet;
      onStream(stream);
    });

  it('works all the same, with buffers of Node’s own', async () => {
    Object.defineProperty(Reflect, 'get', {
      configurable: true,
      writable: true,
      value: (target: object, key: PropertyKey): unknown =>
        key === '_handle' ? undefined : reflectGet(target, key),
    });
    const { client, stream, events } = await pair(overHidden);
    events.onChunk = () => {
      stream.pause();
    };
    client.write(Buffer.alloc(500_000, 'x'));
    await until(() => events.bytes.length > 0);
    events.onChunk = () => undefined;
    stream.resume();
    await until(() => events.bytes.length === 500_000);
    expect(events.chunkBytesMax).toBeLessThanOrEqual(65_536);
    client.on('data', (chunk) => client.end(chunk));
    stream.write(Buffer.from('echo'), () => undefined);
    await until(() => events.endCount === 1);
    expect(events.bytes.subarray(500_000).toString()).toBe('echo');
    stream.end();
    await until(() => events.closeCount === 1);
  });
});

describe('listening', () => {
  it('a port in use is an error with a hint', async () => {
    await overTcp(() => undefined);
    const [listener] = listeners;
    const error = await new Promise<OperationError | undefined>((resolve) => {
      listenTcp({ address: '127.0.0.1', port: listener?.port ?? 0 }, () => undefined, resolve);
    });
    expect(error?.code).toBe('unavailable');
    expect(error?.hint).toBeDefined();
  });

  it('a socket left by a dead process is replaced', async () => {
    const socketPath = freshPath();
    const script = `require('net').createServer().listen(${JSON.stringify(socketPath)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    expect(existsSync(socketPath)).toBe(true);
    await listenAt(socketPath, () => undefined);
    const client = connect({ path: socketPath });
    sockets.push(client);
    await once(client, 'connect');
  });

  it('a live socket and a plain file at the path are left alone', async () => {
    const socketPath = freshPath();
    await listenAt(socketPath, () => undefined);
    await expect(listenAt(socketPath, () => undefined)).rejects.toThrow(/cannot listen/);
    const client = connect({ path: socketPath });
    sockets.push(client);
    await once(client, 'connect');
    const filePath = freshPath();
    writeFileSync(filePath, 'precious');
    await expect(listenAt(filePath, () => undefined)).rejects.toThrow(/cannot listen/);
    expect(existsSync(filePath)).toBe(true);
  });

  it('a path too long for the system is refused by name', async () => {
    await expect(listenAt(`/tmp/${'x'.repeat(200)}`, () => undefined)).rejects.toThrow(
      /too|allows/,
    );
  });

  it('closing the listener removes the path and leaves open streams alone', async () => {
    const { client, stream, events } = await pair(overUnix);
    for (const listener of listeners.splice(0)) listener.close();
    client.write('still here');
    await until(() => events.bytes.length === 10);
    stream.destroy();
    await until(() => events.closeCount === 1);
  });
});
