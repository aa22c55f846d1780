import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperationError } from '../../../src/base/errors.ts';
import { connectEngine, EngineGoneError } from '../../../src/engine/client.ts';
import {
  type EngineHandlers,
  type EngineRpcServer,
  LineSplitter,
  serveEngineRpc,
} from '../../../src/engine/rpc.ts';
import { REQUEST_LINE_MAX_CHARS } from '../../../src/engine/rpc-limits.ts';
import { systemTimers } from '../../../src/host/timers.ts';
import { containing } from '../../support/matching.ts';
import { VirtualTime } from '../../support/virtual-time.ts';

/** Parameters of `listen` with this TLS. */
function listenWith(tls: unknown): object {
  return { nbd: { tcp: { address: '::', port: 1, tls } } };
}

describe('lines', () => {
  it('come out whole however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[^\n]*$/)),
        fc.infiniteStream(fc.integer({ min: 1, max: 7 })),
        (lines, cuts) => {
          const text = lines.map((line) => `${line}\n`).join('');
          const splitter = new LineSplitter(10_000);
          const seen: string[] = [];
          for (let at = 0; at < text.length; ) {
            const cut = Number(cuts.next().value);
            seen.push(...(splitter.push(text.slice(at, at + cut)) ?? []));
            at += cut;
          }
          expect(seen).toEqual(lines);
        },
      ),
    );
  });

  it('may be as long as the limit, and not one longer, ended or not', () => {
    expect(new LineSplitter(3).push('abc\n')).toEqual(['abc']);
    expect(new LineSplitter(3).push('abc')).toEqual([]);
    expect(new LineSplitter(3).push('abcd\n')).toBeUndefined();
    expect(new LineSplitter(3).push('abcd')).toBeUndefined();
  });
});

describe('the control socket of an engine', () => {
  let folder: string;
  let socket: string;
  let server: EngineRpcServer;
  const logged: string[] = [];
  const log = {
    info: (message: string): void => void logged.push(message),
    warn: (message: string): void => void logged.push(message),
    error: (message: string): void => void logged.push(message),
  };
  let verify = Promise.withResolvers<void>();

  /** Only what the tests call; everything else answers that it is not there. */
  const handlers = new Proxy(
    {
      volumeShow: async ({ name }: { name: string }) =>
        await Promise.reject(new OperationError('not-found', `no ${name}`, 'look')),
      volumeRename: async () => await Promise.reject(new TypeError('a bug')),
      volumeDelete: async ({ name }: { name: string }) => await Promise.resolve({ name }),
      listen: async (params: unknown) => await Promise.resolve(params),
      poolVerify: async (_params: unknown, progress: (done: number, total: number) => void) => {
        progress(1, 2);
        await verify.promise;
        progress(2, 2);
        return { faultCount: 0 };
      },
    } as unknown as EngineHandlers,
    {},
  );

  beforeEach(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-rpc-'));
    socket = path.join(folder, 'engine.sock');
    verify = Promise.withResolvers<void>();
    logged.length = 0;
    server = await serveEngineRpc(socket, handlers, { log, timers: systemTimers });
  });

  afterEach(async () => {
    verify.resolve();
    await server.close(1000);
    fs.rmSync(folder, { recursive: true });
  });

  /** Sends raw text and returns everything that comes back until the engine closes or `lineCount` lines came. */
  async function exchange(text: string, lineCount: number): Promise<string[]> {
    const stream = net.connect(socket);
    stream.write(text);
    let received = '';
    for await (const chunk of stream) {
      received += String(chunk);
      if (received.split('\n').length > lineCount) break;
    }
    stream.destroy();
    return received.split('\n').slice(0, -1);
  }

  it('is for its owner only', () => {
    expect(fs.statSync(socket).mode & 0o777).toBe(0o600);
  });

  it('answers calls, each with its own result, in the order they finish', async () => {
    const client = await connectEngine(socket, systemTimers);
    const slow = client.call('poolVerify', {});
    expect(await client.call('volumeDelete', { name: 'a', force: false })).toEqual({ name: 'a' });
    verify.resolve();
    expect(await slow).toEqual({ faultCount: 0 });
    client.close();
  });

  it('reports the progress of a long call to the one who called', async () => {
    const client = await connectEngine(socket, systemTimers);
    const seen: number[][] = [];
    verify.resolve();
    await client.call('poolVerify', {}, { onProgress: (done, total) => seen.push([done, total]) });
    expect(seen).toEqual([
      [1, 2],
      [2, 2],
    ]);
    client.close();
  });

  it('carries code, message and hint of an error, and hides nothing of a bug in the log', async () => {
    const client = await connectEngine(socket, systemTimers);
    await expect(client.call('volumeShow', { name: 'x' })).rejects.toMatchObject({
      code: 'not-found',
      message: 'no x',
      hint: 'look',
    });
    await expect(client.call('volumeRename', { name: 'x', newName: 'y' })).rejects.toMatchObject({
      code: 'internal',
    });
    expect(logged).toContain('engine request failed');
    client.close();
  });

  it.each([
    ['a missing parameter', { name: 'a' }, 'parameter force is not a flag'],
    ['a wrong type', { name: 1, force: true }, 'parameter name is not a text'],
    ['an unknown parameter', { name: 'a', force: true, x: 1 }, 'unknown parameter x'],
  ])('refuses %s', async (_what, params, message) => {
    const request = JSON.stringify({ id: 1, method: 'volumeDelete', params });
    const [line] = await exchange(`${request}\n`, 1);
    expect(JSON.parse(line ?? '')).toEqual({
      id: 1,
      error: { code: 'invalid', message: `volumeDelete: ${message}` },
    });
  });

  it.each([
    [{ nbd: { tcp: { address: '::', port: 65_535 }, socketPath: '/s' } }, true],
    [{ nbd: {} }, true],
    [{ nbd: { tcp: { address: '::', port: 65_536 } } }, false],
    [{ nbd: { tcp: { address: 1, port: 1 } } }, false],
    [{ nbd: { socketPath: 1 } }, false],
    [listenWith({ certificatePem: 'c', keyPem: 'k' }), true],
    [listenWith({ certificatePem: 'c', keyPem: 'k', clientAuthorityPem: 'a' }), true],
    [listenWith({ certificatePem: 'c', keyPem: 'k', keyByIdentity: { alice: '00ff' } }), true],
    [listenWith({ certificatePem: 'c' }), false],
    [listenWith({ certificatePem: 'c', keyPem: 'k', clientAuthority: 'a' }), false],
    [listenWith({ certificatePem: 'c', keyPem: 'k', keyByIdentity: {} }), false],
    [listenWith({ certificatePem: 'c', keyPem: 'k', keyByIdentity: { alice: '0' } }), false],
    [listenWith({ certificatePem: 'c', keyPem: 'k'.repeat(65_537) }), false],
    [listenWith(1), false],
    [{ nbd: 1 }, false],
  ])('checks listeners down to the port: %j', async (params, isFine) => {
    const [line] = await exchange(`${JSON.stringify({ id: 1, method: 'listen', params })}\n`, 1);
    expect('result' in JSON.parse(line ?? '')).toBe(isFine);
  });

  it('answers an unknown method, also one that every object has, with an error', async () => {
    for (const method of ['format', 'constructor', '__proto__']) {
      const [line] = await exchange(`${JSON.stringify({ id: 9, method, params: {} })}\n`, 1);
      expect(JSON.parse(line ?? '')).toMatchObject({ id: 9, error: { code: 'invalid' } });
    }
  });

  it.each(['hello\n', '[]\n', '{"id":"1","method":"hello","params":{}}\n', '{"id":1}\n', 'null\n'])(
    'closes a connection that sends %j, and serves the next one',
    async (text) => {
      expect(await exchange(text, 1)).toEqual([]);
      const client = await connectEngine(socket, systemTimers);
      expect(await client.call('volumeDelete', { name: 'a', force: true })).toEqual({ name: 'a' });
      client.close();
    },
  );

  it('closes a connection whose line is too long', async () => {
    expect(await exchange('x'.repeat(REQUEST_LINE_MAX_CHARS + 1), 1)).toEqual([]);
  });

  it('survives random bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        const stream = net.connect(socket);
        stream.on('error', () => undefined);
        stream.end(bytes);
        await new Promise((resolve) => stream.on('close', resolve).resume());
      }),
      { numRuns: 50 },
    );
    const client = await connectEngine(socket, systemTimers);
    expect(await client.call('volumeDelete', { name: 'a', force: true })).toEqual({ name: 'a' });
    client.close();
  });

  it('closing, answers what still runs and takes no new connection', async () => {
    const client = await connectEngine(socket, systemTimers);
    const slow = client.call('poolVerify', {}, { onProgress: () => began.resolve() });
    const began = Promise.withResolvers<void>();
    await began.promise;
    const closed = server.close(60_000);
    await expect(connectEngine(socket, systemTimers)).rejects.toMatchObject({
      code: 'unavailable',
    });
    verify.resolve();
    expect(await slow).toEqual({ faultCount: 0 });
    await closed;
    await client.closed;
  });

  it('fails the calls of a connection that closes, and those after it', async () => {
    const client = await connectEngine(socket, systemTimers);
    const slow = client.call('poolVerify', {});
    await server.close(0);
    await expect(slow).rejects.toBeInstanceOf(EngineGoneError);
    await client.closed;
    await expect(client.call('poolStatus', {})).rejects.toBeInstanceOf(EngineGoneError);
  });

  it('gives up a call after its time, and delivers no late answer', async () => {
    const time = new VirtualTime();
    const client = await connectEngine(socket, time);
    const slow = client.call('poolVerify', {}, { timeoutMs: 500 });
    const refused = expect(slow).rejects.toThrow('did not answer poolVerify within 500 ms');
    await time.pass(500);
    await refused;
    verify.resolve();
    expect(await client.call('volumeDelete', { name: 'a', force: true })).toEqual({ name: 'a' });
    client.close();
  });

  it('refuses a path that the kernel would cut', async () => {
    await expect(connectEngine(`/${'x'.repeat(107)}`, systemTimers)).rejects.toMatchObject({
      code: 'invalid',
      message: containing('107'),
    });
  });
});
