/** What a client can make the server hold or wait for: each limit at it and one past it, and who pays for a slow client. */
import { describe, expect, it } from 'vitest';
import { errorOf, optionBytes, requestBytes, u32 } from '../../support/nbd-client.ts';
import { NbdWorld } from '../../support/nbd-world.ts';

const mebibyte = 1 << 20;

function repeated(count: number, bytes: Uint8Array): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => bytes));
}

describe('handshakes', () => {
  it('a client has 10 s', () => {
    const world = new NbdWorld();
    const client = world.connect();
    client.greet();
    world.pass(9999);
    expect(client.isDropped).toBe(false);
    world.pass(1);
    expect(client.isDropped).toBe(true);
    expect(world.warnings).toHaveLength(1);
  });

  it('a client in transmission has all the time in the world', () => {
    const world = new NbdWorld();
    const client = world.open();
    world.pass(10 ** 9);
    expect(client.readSimple(0, 1)).toEqual(Buffer.alloc(1));
  });

  it('a newcomer pushes out the oldest unfinished handshake, never one in transmission', () => {
    const world = new NbdWorld({ limits: { unfinishedHandshakesMax: 3 } });
    const open = world.open();
    const waiting = [world.connect(), world.connect(), world.connect()];
    expect(waiting.map(({ isDropped }) => isDropped)).toEqual([false, false, false]);
    const newcomer = world.open();
    expect(waiting.map(({ isDropped }) => isDropped)).toEqual([true, false, false]);
    expect(newcomer.readSimple(0, 1)).toEqual(open.readSimple(0, 1));
  });

  it('more connections than the limit are refused', () => {
    const world = new NbdWorld({ limits: { connectionsMax: 2 } });
    const first = world.open();
    world.open();
    expect(world.connect().isDropped).toBe(true);
    first.stream.break();
    world.run();
    world.open();
  });

  it('a client that asks for LIST without end and reads nothing is not answered without end', () => {
    const world = new NbdWorld();
    for (let index = 0; index < 1000; index += 1) world.addDevice(`disk@${index}`, 4096, true);
    const client = world.connect();
    client.greet();
    client.stream.isTaking = false;
    client.send(repeated(100, optionBytes(3)), 1000);
    expect(client.stream.pendingBytes).toBeLessThan(mebibyte);
    client.stream.isTaking = true;
    world.run();
    let lists = 0;
    while (client.available > 0) if (client.optionAnswer().type === 1) lists += 1;
    expect(lists).toBe(100);
  });

  it('1,000 idle connections hold nothing and disturb nobody', () => {
    const world = new NbdWorld();
    const idle = Array.from({ length: 1000 }, () => world.open());
    const client = world.open();
    expect(client.write(0, Buffer.alloc(mebibyte, 7))).toBe(0);
    expect(client.readSimple(0, mebibyte)).toEqual(Buffer.alloc(mebibyte, 7));
    expect(world.exports.openCountOf('disk')).toBe(1001);
    for (const { stream } of idle) stream.break();
    world.run();
    expect(world.exports.openCount).toBe(1);
  });

  it('log lines about bad clients are bounded', () => {
    const world = new NbdWorld();
    for (let index = 0; index < 500; index += 1) world.connect().greet(99);
    expect(world.warnings).toHaveLength(20);
    world.pass(10_000);
    expect(world.warnings.at(-1)).toContain('480');
  });
});

describe('requests in flight', () => {
  it('256 are taken, the rest waits on the socket, all are answered', () => {
    const world = new NbdWorld();
    const client = world.open();
    world.device.isHolding = true;
    client.send(repeated(300, requestBytes({ command: 0, length: 4096 })));
    expect(world.device.heldCount).toBe(256);
    expect(client.stream.isPaused).toBe(true);
    while (world.device.heldCount > 0) {
      world.device.release(7);
      world.run();
      expect(world.device.heldCount).toBeLessThanOrEqual(256);
    }
    expect(client.available).toBe(300 * (16 + 4096));
    expect(client.stream.isPaused).toBe(false);
  });

  it('of large reads only so much is started, though more are accepted', () => {
    const world = new NbdWorld({ slabBytes: 8 * mebibyte });
    const client = world.open({ isStructured: true });
    client.write(0, Buffer.alloc(4 * mebibyte, 1));
    world.device.isHolding = true;
    client.send(repeated(20, requestBytes({ command: 0, length: 4 * mebibyte })));
    let peak = 0;
    while (world.device.heldCount > 0) {
      peak = Math.max(peak, world.device.heldCount);
      world.device.release();
      world.run();
    }
    expect(peak * 262_144).toBeLessThanOrEqual(5 * mebibyte);
    let bytes = 0;
    for (let index = 0; index < 20; index += 1) {
      for (const { payload } of client.chunks()) bytes += payload.length - 8;
    }
    expect(bytes).toBe(80 * mebibyte);
  });

  it('a client that never reads its replies is not served any further', () => {
    const world = new NbdWorld({ limits: { outputMaxBytes: mebibyte } });
    const client = world.open({ isStructured: true });
    client.write(0, Buffer.alloc(mebibyte, 1));
    client.stream.isTaking = false;
    client.send(repeated(100, requestBytes({ command: 0, length: 65_536 })), 65_536);
    expect(client.stream.pendingBytes).toBeLessThan(2 * mebibyte);
    const flusher = world.open();
    flusher.stream.isTaking = false;
    flusher.send(repeated(150_000, requestBytes({ command: 3 })), 65_536);
    expect(flusher.stream.pendingBytes).toBeLessThan(2 * mebibyte);
    client.stream.isTaking = true;
    flusher.stream.isTaking = true;
    world.run();
    expect(client.available).toBe(100 * (28 + 65_536));
    expect(flusher.available).toBe(150_000 * 16);
  });
});

describe('turns', () => {
  it('a flood of requests that are answered at once leaves the others their turn', () => {
    const world = new NbdWorld();
    const flooder = world.open();
    const other = world.open();
    flooder.stream.send(repeated(5000, requestBytes({ command: 5, length: 1 })));
    other.stream.send(requestBytes({ command: 3 }));
    flooder.stream.step();
    other.stream.step();
    world.timers.endTurn();
    expect(other.stream.pendingBytes).toBe(16);
    expect(flooder.stream.pendingBytes).toBeLessThanOrEqual(2048 * 16);
    world.run();
    expect(flooder.available).toBe(5000 * 16);
  });
});

describe('requests that wait', () => {
  it('the last request of a chunk is taken up again, though nothing follows it', () => {
    const world = new NbdWorld();
    const client = world.open();
    world.device.isHolding = true;
    for (let index = 0; index < 257; index += 1) client.request({ command: 0, length: 512 });
    expect(client.stream.isPaused).toBe(true);
    world.device.release(1);
    world.run();
    expect(world.device.heldCount).toBe(256);
    world.device.release();
    world.run();
    expect(client.available).toBe(257 * (16 + 512));
  });

  it('64 MiB of payload are in flight, the next request waits; one larger than that goes alone', () => {
    const world = new NbdWorld({ limits: { bytesInFlightMax: mebibyte } });
    world.device.isRecording = true;
    const client = world.open();
    world.device.isHolding = true;
    client.request({ command: 0, length: mebibyte / 2 });
    client.request({ command: 0, length: mebibyte / 2 });
    client.request({ command: 3 });
    client.request({ command: 0, length: 1 });
    client.request({ command: 3 });
    expect(world.device.record).toHaveLength(2 + 2 + 1);
    world.device.release();
    world.run();
    world.device.release();
    world.run();
    expect(world.device.record).toHaveLength(2 + 2 + 1 + 2);
    client.request({ command: 0, length: 3 * mebibyte });
    while (world.device.heldCount > 0) {
      world.device.release();
      world.run();
    }
    expect(client.available).toBe(5 * 16 + mebibyte + 1 + 16 + 3 * mebibyte);
  });

  it('a read whose last piece waits for memory ends once, whatever comes back first', () => {
    const limits = { outputPoolMaxBytes: 1.1 * mebibyte, outputMaxBytes: 8 * mebibyte };
    const world = new NbdWorld({ limits });
    const client = world.open({ isStructured: true });
    client.write(0, Buffer.alloc(2 * mebibyte, 9));
    // Four buffers are all there are, the read needs five.
    client.request({ command: 0, length: mebibyte + 4096 });
    expect(client.chunks()).toHaveLength(5);
    world.device.isHolding = true;
    client.request({ command: 0, length: mebibyte + 4096 });
    while (world.device.heldCount > 0) {
      world.device.release(world.device.heldCount, true);
      world.run();
    }
    const bytes = client.chunks().reduce((sum, { payload }) => sum + payload.length - 8, 0);
    expect([bytes, client.available]).toEqual([mebibyte + 4096, 0]);
  });
});

describe('ends', () => {
  it('stop: requests in flight are answered, new ones refused, then everything closes', () => {
    const world = new NbdWorld();
    const idle = world.open();
    const busy = world.open({ isStructured: true });
    world.device.isHolding = true;
    busy.request({ command: 3, cookie: 1n });
    let isDone = false;
    world.server.stop(5000, () => {
      isDone = true;
    });
    world.run();
    expect(idle.isEnded).toBe(true);
    busy.request({ command: 3, cookie: 2n });
    expect(errorOf(busy.reply())).toBe(108);
    expect(isDone).toBe(false);
    world.device.release();
    world.run();
    const answer = busy.reply();
    expect([answer.cookie, errorOf(answer)]).toEqual([1n, 0]);
    expect(busy.isEnded).toBe(true);
    for (const { stream } of [idle, busy]) stream.sendEnd();
    world.run();
    expect(isDone).toBe(true);
    expect(world.timers.pendingCount).toBe(0);
  });

  it('stop keeps to its time whatever clients and devices do', () => {
    const world = new NbdWorld();
    const client = world.open();
    world.device.isHolding = true;
    client.request({ command: 3 });
    let doneCount = 0;
    world.server.stop(3000, () => {
      doneCount += 1;
    });
    world.pass(2999);
    expect(doneCount).toBe(0);
    world.pass(1);
    expect(doneCount).toBe(1);
    expect(client.isDropped).toBe(true);
    world.device.release();
    world.run();
    expect(doneCount).toBe(1);
    expect(world.exports.openCount).toBe(0);
  });

  it('a client that does not close after DISC is closed after 5 s', () => {
    const world = new NbdWorld();
    const client = world.open();
    client.request({ command: 2 });
    expect(client.isEnded).toBe(true);
    expect(client.isDropped).toBe(false);
    world.pass(5000);
    expect(client.isDropped).toBe(true);
    expect(world.exports.openCount).toBe(0);
  });

  it('disconnect drops exactly the connections that were named', () => {
    const world = new NbdWorld();
    world.addDevice('other', 4096);
    const first = world.open();
    const other = world.connect();
    other.open('other');
    world.server.disconnect(new Set(world.exports.openedAs('disk')));
    world.run();
    expect([first.isDropped, other.isDropped]).toEqual([true, false]);
    expect(world.exports.openCount).toBe(1);
  });

  it('a connection that breaks in the middle of everything gives everything back', () => {
    const world = new NbdWorld({ slabBytes: 8 * mebibyte });
    const free = world.staging.freeBytes;
    const client = world.open({ isStructured: true, hasContext: true });
    world.device.isHolding = true;
    client.send(
      Buffer.concat([
        requestBytes({ command: 0, length: 4096 }),
        requestBytes({ command: 0, length: mebibyte }),
        requestBytes({ command: 0, length: mebibyte, flags: 4 }),
        requestBytes({ command: 7, length: mebibyte }),
        requestBytes({ command: 6, length: mebibyte }),
        requestBytes({ command: 1, payload: Buffer.alloc(3 * mebibyte) }).subarray(0, 2_500_000),
      ]),
    );
    client.stream.break();
    world.run();
    expect(world.exports.openCount).toBe(1);
    world.device.release();
    world.run();
    expect(world.exports.openCount).toBe(0);
    expect(world.staging.freeBytes).toBe(free);
    expect(world.exports.openCountOf('disk')).toBe(0);
  });

  it('rubbish instead of a handshake costs only its own connection', () => {
    const world = new NbdWorld();
    const bystander = world.open();
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(70_000, 0xff),
      u32(3),
    ]) {
      world.connect().send(bytes);
    }
    expect(bystander.readSimple(0, 1)).toEqual(Buffer.alloc(1));
  });
});
