/** Transmission, item by item, from the client's side of the wire. */
import { describe, expect, it } from 'vitest';
import { IoKind, IoStatus } from '../../../src/device/block-device.ts';
import {
  errorOf,
  messageOf,
  type NbdClient,
  type RequestFields,
  requestBytes,
} from '../../support/nbd-client.ts';
import { NbdWorld } from '../../support/nbd-world.ts';

const mebibyte = 1 << 20;
const sizeBytes = 64 * mebibyte;
const eperm = 1;
const eio = 5;
const einval = 22;
const enospc = 28;
const enotsup = 95;

function filled(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  const period = Math.min(length, 1 << 16);
  for (let index = 0; index < period; index += 1)
    bytes[index] = (index * 31 + seed * 7 + (index >> 8)) & 0xff;
  for (let at = period; at < length; at += period) bytes.copy(bytes, at, 0, period);
  return bytes;
}

function errorFor(client: NbdClient, fields: RequestFields): number {
  client.request(fields);
  return errorOf(client.reply());
}

const statusOf = (client: NbdClient, fields: Omit<RequestFields, 'command'>): number[][] => {
  client.request({ command: 7, ...fields });
  const { type, isDone, payload } = client.chunk();
  expect([type, isDone, payload.readUInt32BE(0)]).toEqual([5, true, 1]);
  const extents: number[][] = [];
  for (let at = 4; at < payload.length; at += 8) {
    extents.push([payload.readUInt32BE(at), payload.readUInt32BE(at + 4)]);
  }
  return extents;
};
const opened = (world = new NbdWorld()): NbdClient =>
  world.open({ isStructured: true, hasContext: true });

describe.each([
  ['simple replies', false],
  ['structured replies', true],
])('with %s', (_, isStructured) => {
  const read = (client: NbdClient, offset: number, length: number): Buffer =>
    isStructured ? client.readStructured(offset, length) : client.readSimple(offset, length);

  it.each([
    [0, 4096],
    [1, 1],
    [511, 513],
    [4095, 2],
    [4096 * 3 + 17, 70_001],
    [mebibyte - 5, 10],
    [12_345, 3 * mebibyte + 1],
  ])(
    'what was written at %i (%i bytes) is read back, and nothing beside it changes',
    (at, length) => {
      const client = new NbdWorld().open({ isStructured });
      const data = filled(length);
      expect(client.write(at, data)).toBe(0);
      expect(read(client, at, length).equals(data)).toBe(true);
      const around = read(client, Math.max(0, at - 8), length + 16);
      expect(around.subarray(Math.min(at, 8), Math.min(at, 8) + length).equals(data)).toBe(true);
      expect(around.subarray(-8)).toEqual(Buffer.alloc(8));
    },
  );

  it('64 MiB are accepted in one request either way, one byte more is not', () => {
    const world = new NbdWorld({ sizeBytes: 65 * mebibyte, slabBytes: 4 * mebibyte });
    const client = world.open({ isStructured });
    const data = filled(64 * mebibyte);
    expect(client.write(4096, data)).toBe(0);
    expect(read(client, 4096, 64 * mebibyte).equals(data)).toBe(true);
    expect(errorFor(client, { command: 0, length: 64 * mebibyte + 1 })).toBe(einval);
    client.request({ command: 1, length: 64 * mebibyte + 1 });
    expect(client.isDropped).toBe(true);
  });

  it.each([
    ['read', { command: 0, offset: sizeBytes - 1, length: 2 }, einval],
    ['read at 2^64 - 1', { command: 0, offset: 2n ** 64n - 1n, length: 1 }, einval],
    ['write', { command: 1, offset: sizeBytes - 1, payload: Buffer.alloc(2) }, enospc],
    ['write at 2^63', { command: 1, offset: 2n ** 63n, payload: Buffer.alloc(9) }, enospc],
    ['zeroes', { command: 6, offset: sizeBytes, length: 1 }, enospc],
    ['trim', { command: 4, offset: sizeBytes, length: 1 }, einval],
    ['cache', { command: 5, offset: sizeBytes, length: 1 }, einval],
  ])('%s beyond the end is refused, and the stream stays in step', (_name, fields, error) => {
    const client = new NbdWorld().open({ isStructured });
    expect(errorFor(client, fields)).toBe(error);
    expect(client.write(0, Buffer.from('next'))).toBe(0);
    expect(read(client, 0, 4).toString()).toBe('next');
  });

  it.each([
    [0, 0b10],
    [0, 0b1000],
    [1, 0b10],
    [1, 0b100],
    [3, 0b10000],
    [4, 0b10],
    [6, 0b100],
    [6, 0b1000],
    [5, 0x8000],
    [7, 0b10],
    [8, 0],
    [9, 0],
    [0xffff, 0],
  ])('command %i with flags %i is invalid, and the stream stays in step', (command, flags) => {
    const client = new NbdWorld().open({ isStructured });
    const payload = command === 1 ? Buffer.alloc(5000, 0xff) : Buffer.alloc(0);
    expect(errorFor(client, { command, flags, payload })).toBe(einval);
    expect(read(client, 0, 4)).toEqual(Buffer.alloc(4));
  });

  it('requests of no bytes succeed and reach no device', () => {
    const world = new NbdWorld();
    world.device.isRecording = true;
    const client = world.open({ isStructured });
    for (const command of [1, 4, 5, 6]) expect(errorFor(client, { command })).toBe(0);
    client.request({ command: 0, cookie: 9n });
    const reply = client.reply();
    expect([reply.cookie, errorOf(reply)]).toEqual([9n, 0]);
    if (reply.kind === 'chunk') expect([reply.type, reply.isDone]).toEqual([0, true]);
    expect(world.device.record).toEqual([]);
  });

  it('the cookie comes back as it was', () => {
    const client = new NbdWorld().open({ isStructured });
    for (const cookie of [0n, 2n ** 64n - 1n, 0x0123456789abcdefn]) {
      client.request({ command: 3, cookie });
      expect(client.reply().cookie).toBe(cookie);
    }
  });

  it('a bad request magic ends the connection', () => {
    const client = new NbdWorld().open({ isStructured });
    client.request({ command: 0, length: 4, magic: 0x25609514 });
    expect(client.isDropped).toBe(true);
  });

  it('changes of a read-only export are not permitted, flush and reads are fine', () => {
    const world = new NbdWorld();
    world.addDevice('disk@s', mebibyte, true);
    const client = world.connect();
    client.open('disk@s', { isStructured });
    expect(errorFor(client, { command: 1, payload: Buffer.alloc(600) })).toBe(eperm);
    expect(errorFor(client, { command: 4, length: 5 })).toBe(eperm);
    expect(errorFor(client, { command: 6, length: 5 })).toBe(eperm);
    expect(errorFor(client, { command: 3 })).toBe(0);
    expect(read(client, 0, 7)).toEqual(Buffer.alloc(7));
  });

  it('DISC: everything asked before is answered, then the server ends', () => {
    const world = new NbdWorld();
    const client = world.open({ isStructured });
    world.device.isHolding = true;
    const requests = Array.from({ length: 64 }, (_unused, index) =>
      requestBytes({ command: 0, offset: index * 4096, length: 4096, cookie: BigInt(index) }),
    );
    const after = requestBytes({ command: 3, cookie: 999n });
    client.send(Buffer.concat([...requests, requestBytes({ command: 2 }), after]));
    expect(client.isEnded).toBe(false);
    world.device.release();
    world.run();
    expect(client.isEnded).toBe(true);
    const cookies = Array.from({ length: 64 }, () => {
      const { cookie } = client.reply();
      if (!isStructured) client.take(4096);
      return cookie;
    });
    expect(cookies).toEqual(requests.map((_unused, index) => BigInt(index)));
    expect(client.available).toBe(0);
    client.stream.sendEnd();
    world.run();
    expect(world.exports.openCount).toBe(0);
  });

  it('a half-closed client still gets its answers; a write it cut short is forgotten', () => {
    const world = new NbdWorld();
    const client = world.open({ isStructured });
    world.device.isHolding = true;
    const free = world.staging.freeBytes;
    client.send(requestBytes({ command: 3 }));
    const cut = requestBytes({ command: 1, payload: Buffer.alloc(9000) });
    client.send(cut.subarray(0, 5000));
    client.stream.sendEnd();
    world.run();
    world.device.release();
    world.run();
    expect(client.isEnded).toBe(true);
    expect(errorOf(client.reply())).toBe(0);
    expect(world.staging.freeBytes).toBe(free);
    expect(world.exports.openCount).toBe(0);
  });

  it('replies leave in the order in which the device finishes', () => {
    const world = new NbdWorld();
    const client = world.open({ isStructured });
    client.write(0, filled(16 * 4096));
    world.device.isHolding = true;
    for (let index = 0; index < 16; index += 1) {
      client.request({ command: 0, offset: index * 4096, length: 4096, cookie: BigInt(index) });
    }
    world.device.release(16, true);
    world.run();
    for (let index = 15; index >= 0; index -= 1) {
      const reply = client.reply();
      expect(reply.cookie).toBe(BigInt(index));
      const data = reply.kind === 'simple' ? client.take(4096) : reply.payload.subarray(8);
      expect(data.equals(filled(16 * 4096).subarray(index * 4096, (index + 1) * 4096))).toBe(true);
    }
  });

  it('a read that fails is an error for exactly that request', () => {
    const world = new NbdWorld();
    const client = world.open({ isStructured });
    client.write(0, filled(3 * 4096));
    world.device.badBlocks.add(1);
    expect(read(client, 0, 4096).equals(filled(3 * 4096).subarray(0, 4096))).toBe(true);
    expect(errorFor(client, { command: 0, offset: 4096, length: 4096 })).toBe(eio);
    expect(errorFor(client, { command: 0, offset: 8191, length: 4096 })).toBe(eio);
    expect(client.available).toBe(0);
    expect(read(client, 8192, 4096).equals(filled(3 * 4096).subarray(8192))).toBe(true);
  });

  it.each([
    [IoStatus.ioError, eio],
    [IoStatus.noSpace, enospc],
    [IoStatus.readOnly, eperm],
    [IoStatus.invalid, einval],
    [IoStatus.shuttingDown, 108],
  ])('device status %i of a change becomes error %i', (status, error) => {
    const world = new NbdWorld();
    const client = world.open({ isStructured });
    world.device.changeStatus = status;
    expect(client.write(0, Buffer.alloc(3 * mebibyte))).toBe(error);
    expect(errorFor(client, { command: 4, length: 4096 })).toBe(error);
    expect(errorFor(client, { command: 6, length: 4096 })).toBe(error);
  });

  it('the size that a connection was told stays; new connections see the new one', () => {
    const world = new NbdWorld();
    const client = world.open({ isStructured });
    world.device.sizeBytes = 2 * sizeBytes;
    expect(errorFor(client, { command: 0, offset: sizeBytes, length: 1 })).toBe(einval);
    const second = world.open({ isStructured });
    expect(read(second, sizeBytes, 1)).toEqual(Buffer.alloc(1));
    world.device.sizeBytes = sizeBytes / 2;
    expect(errorFor(client, { command: 0, offset: sizeBytes - 1, length: 1 })).toBe(einval);
    expect(errorFor(client, { command: 0, offset: sizeBytes / 2, length: mebibyte })).toBe(einval);
  });

  it('a large read that fails late is one error and no data', () => {
    const world = new NbdWorld();
    const client = world.open({ isStructured });
    client.write(0, filled(4 * mebibyte));
    world.device.badBlocks.add(1023);
    const flags = isStructured ? 4 : 0;
    expect(errorFor(client, { command: 0, length: 4 * mebibyte, flags })).toBe(eio);
    expect(client.available).toBe(0);
  });
});

describe('commands', () => {
  it('a write becomes pieces of at most 1 MiB that end on block boundaries', () => {
    const world = new NbdWorld();
    world.device.isRecording = true;
    const client = world.open();
    client.write(100, Buffer.alloc(2 * mebibyte + 4096), 1);
    const pieces = world.device.record;
    expect(pieces.map(({ offset, length }) => [offset, length])).toEqual([
      [100, mebibyte - 100],
      [mebibyte, mebibyte],
      [2 * mebibyte, 4096 + 100],
    ]);
    expect(pieces.every(({ kind, fua }) => kind === IoKind.write && fua)).toBe(true);
  });

  it('trim and write zeroes of any length are one request, with their flags', () => {
    const world = new NbdWorld();
    world.device.isRecording = true;
    const client = world.open();
    expect(errorFor(client, { command: 4, offset: 0, length: sizeBytes, flags: 1 })).toBe(0);
    expect(errorFor(client, { command: 6, offset: 1, length: sizeBytes - 1 })).toBe(0);
    expect(errorFor(client, { command: 6, offset: 1, length: 9, flags: 0b11 })).toBe(0);
    expect(world.device.record).toEqual([
      { kind: IoKind.trim, offset: 0, length: sizeBytes, fua: true },
      { kind: IoKind.zero, offset: 1, length: sizeBytes - 1, fua: false },
      { kind: IoKind.zero, offset: 1, length: 9, fua: true },
    ]);
  });

  it('FLUSH ignores offset and length; FUA is accepted on reads', () => {
    const client = new NbdWorld().open();
    expect(errorFor(client, { command: 3, offset: 2n ** 60n, length: 77 })).toBe(0);
    client.request({ command: 0, length: 8, flags: 1 });
    expect(client.simple().error).toBe(0);
  });

  it('fast zeroes succeed, unless they must stay allocated', () => {
    const client = new NbdWorld().open();
    client.write(0, filled(8192));
    expect(errorFor(client, { command: 6, offset: 10, length: 8000, flags: 0b10000 })).toBe(0);
    expect(client.readSimple(10, 8000)).toEqual(Buffer.alloc(8000));
    expect(errorFor(client, { command: 6, length: 4096, flags: 0b10010 })).toBe(enotsup);
  });

  it('DF without structured replies is invalid', () => {
    const client = new NbdWorld().open();
    expect(errorFor(client, { command: 0, length: 4, flags: 4 })).toBe(einval);
  });
});

describe('structured reads', () => {
  it('a hole of any length is one chunk of 32 bytes', () => {
    const client = new NbdWorld().open({ isStructured: true });
    for (const length of [1, 4096, 65_536, 32 * mebibyte]) {
      client.request({ command: 0, offset: 4096, length });
      expect(client.available).toBe(32);
      const chunk = client.chunk();
      expect([chunk.type, chunk.isDone]).toEqual([2, true]);
      expect(chunk.payload.readBigUInt64BE(0)).toBe(4096n);
      expect(chunk.payload.readUInt32BE(8)).toBe(length);
    }
  });

  it('holes inside a larger read travel as holes; chunks do not overlap and cover all', () => {
    const client = new NbdWorld().open({ isStructured: true });
    client.write(100_000, filled(50_000));
    client.write(900_000, filled(10));
    client.request({ command: 0, offset: 1, length: mebibyte });
    const chunks = client.chunks();
    expect(chunks.map(({ type }) => type)).toEqual([2, 1, 2, 1, 2]);
    let at = 1n;
    for (const { type, payload } of chunks) {
      expect(payload.readBigUInt64BE(0)).toBe(at);
      at += BigInt(type === 2 ? payload.readUInt32BE(8) : payload.length - 8);
    }
    expect(at).toBe(BigInt(mebibyte + 1));
    expect(client.readStructured(100_000, 50_000).equals(filled(50_000))).toBe(true);
  });

  it('data in memory is one chunk with DONE', () => {
    const client = new NbdWorld().open({ isStructured: true });
    client.write(0, filled(65_536));
    client.request({ command: 0, length: 65_536 });
    expect(client.chunks()).toHaveLength(1);
  });

  it('DF gives one content chunk up to 64 MiB', () => {
    const world = new NbdWorld({ slabBytes: 4 * mebibyte });
    const client = world.open({ isStructured: true });
    client.write(5000, filled(3 * mebibyte));
    for (const length of [65_536, 262_144, 262_145, 4 * mebibyte, sizeBytes]) {
      client.request({ command: 0, length, flags: 4 });
      const [chunk, ...more] = client.chunks();
      expect(more).toEqual([]);
      expect(chunk?.type).toBe(1);
      expect(chunk?.payload.length).toBe(8 + length);
      const data = chunk?.payload.subarray(8) ?? Buffer.alloc(0);
      const end = Math.min(length, 5000 + 3 * mebibyte);
      expect(data.subarray(5000, end).equals(filled(3 * mebibyte).subarray(0, end - 5000))).toBe(
        true,
      );
      expect(data.subarray(0, 5000)).toEqual(Buffer.alloc(5000));
    }
  });

  it('a failure names the place and comes last, with DONE and a text', () => {
    const world = new NbdWorld();
    const client = world.open({ isStructured: true });
    client.write(0, filled(mebibyte));
    world.device.badBlocks.add(100);
    client.request({ command: 0, length: mebibyte });
    const chunks = client.chunks();
    const last = chunks.at(-1);
    expect(last?.type).toBe(0x8002);
    expect(last?.payload.readUInt32BE(0)).toBe(eio);
    const offset = Number(last?.payload.readBigUInt64BE(last.payload.length - 8));
    expect(offset).toBeLessThanOrEqual(100 * 4096);
    expect(offset + 256 * 1024).toBeGreaterThan(100 * 4096);
    if (last !== undefined) expect(messageOf(last)).toMatch(/checksum/);
    for (const { type } of chunks.slice(0, -1)) expect(type).toBe(1);
  });

  it('errors carry a text, for every command', () => {
    const client = new NbdWorld().open({ isStructured: true });
    for (const command of [0, 1, 4, 5, 6, 7, 99]) {
      client.request({
        command,
        offset: sizeBytes * 2,
        length: 16,
        payload: Buffer.alloc(command === 1 ? 16 : 0),
      });
      const chunk = client.chunk();
      expect([chunk.type, chunk.isDone]).toEqual([0x8001, true]);
      expect(messageOf(chunk).length).toBeGreaterThan(5);
    }
  });

  it('extents and pieces that come late, in any order, make the same reply', () => {
    const world = new NbdWorld();
    const client = world.open({ isStructured: true });
    client.write(0, filled(mebibyte));
    client.write(3 * mebibyte, filled(mebibyte));
    world.device.isHolding = true;
    client.request({ command: 0, length: 4 * mebibyte });
    while (world.device.heldCount > 0) {
      world.device.release(world.device.heldCount, true);
      world.run();
    }
    const data = Buffer.alloc(4 * mebibyte, 0xaa);
    for (const { type, payload } of client.chunks()) {
      const at = Number(payload.readBigUInt64BE(0));
      if (type === 1) payload.copy(data, at, 8);
      else data.fill(0, at, at + payload.readUInt32BE(8));
    }
    const gap = Buffer.alloc(2 * mebibyte);
    expect(data.equals(Buffer.concat([filled(mebibyte), gap, filled(mebibyte)]))).toBe(true);
    expect(client.available).toBe(0);
  });
});

describe('block status', () => {
  it('data is 0, a hole 3, allocated zeroes 2; neighbours are merged; the total is the request', () => {
    const client = opened();
    client.write(4096, filled(8192));
    errorFor(client, { command: 6, offset: 12_288, length: 4096, flags: 2 });
    expect(statusOf(client, { length: 20_480 })).toEqual([
      [4096, 3],
      [8192, 0],
      [4096, 2],
      [4096, 3],
    ]);
    expect(statusOf(client, { offset: 5000, length: 100 })).toEqual([[100, 0]]);
  });

  it('REQ_ONE gives one extent, not longer than the request', () => {
    const client = opened();
    client.write(0, filled(4096));
    expect(statusOf(client, { length: 20_480, flags: 8 })).toEqual([[4096, 0]]);
    expect(statusOf(client, { length: 100, flags: 8 })).toEqual([[100, 0]]);
  });

  it('a range that begins inside is clipped at the end, one that begins at the end is invalid', () => {
    const client = opened();
    expect(statusOf(client, { offset: sizeBytes - 10, length: 0xffffffff })).toEqual([[10, 3]]);
    expect(errorFor(client, { command: 7, offset: sizeBytes, length: 1 })).toBe(einval);
    expect(errorFor(client, { command: 7, offset: 0, length: 0 })).toBe(einval);
  });

  it('without a context it is invalid', () => {
    const client = new NbdWorld().open({ isStructured: true });
    expect(errorFor(client, { command: 7, length: 4096 })).toBe(einval);
  });

  it('of very many extents it gives a bounded number', () => {
    const world = new NbdWorld({ sizeBytes: 512 * mebibyte });
    const client = opened(world);
    const zeroes: Buffer[] = [];
    for (let at = 0; at < 80_000; at += 2) {
      zeroes.push(requestBytes({ command: 6, offset: at * 4096, length: 4096, flags: 2 }));
    }
    client.send(Buffer.concat(zeroes), 65_536);
    client.take(zeroes.length * 16);
    const extents = statusOf(client, { length: 512 * mebibyte });
    expect(extents.length).toBe(32_768);
    expect(extents[0]).toEqual([4096, 2]);
  });
});
