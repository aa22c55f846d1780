/** Memory that connections share, staging and output: who waits, in which order, and who pays for a slow client. */
import { describe, expect, it } from 'vitest';
import { errorOf, requestBytes } from '../../support/nbd-client.ts';
import { NbdWorld } from '../../support/nbd-world.ts';

const mebibyte = 1 << 20;

function repeated(count: number, bytes: Uint8Array): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => bytes));
}

describe('staging', () => {
  const wholeWrite = requestBytes({ command: 1, payload: Buffer.alloc(mebibyte, 1) });

  it('a write waits for staging and is then complete; requests without payload go on', () => {
    const world = new NbdWorld({ slabBytes: 2 * mebibyte });
    const first = world.open();
    const second = world.open();
    world.device.isHolding = true;
    first.send(wholeWrite);
    second.send(wholeWrite);
    expect(second.stream.isPaused).toBe(true);
    const reader = world.open();
    world.device.isHolding = false;
    expect(reader.readSimple(0, 1)).toEqual(Buffer.alloc(1));
    world.device.release();
    world.run();
    expect(errorOf(first.reply())).toBe(0);
    expect(errorOf(second.reply())).toBe(0);
  });

  it('waiters are served in order, and a newcomer does not slip in before them', () => {
    const world = new NbdWorld({ slabBytes: 4.25 * mebibyte });
    const clients = Array.from({ length: 6 }, () => world.open());
    world.device.isHolding = true;
    // Three of these fit, and a little is left; three wait.
    for (const client of clients) client.send(wholeWrite);
    expect(world.device.heldCount).toBe(3);
    const freeBytes = world.staging.freeBytes;
    const late = world.open();
    late.send(requestBytes({ command: 1, payload: Buffer.alloc(40_000) }));
    expect([late.stream.isPaused, world.staging.freeBytes]).toEqual([true, freeBytes]);
    const order: number[] = [];
    while (world.device.heldCount > 0) {
      world.device.release(1);
      world.run();
      for (const [index, client] of [...clients, late].entries()) {
        if (client.available === 16 && !order.includes(index)) order.push(index);
      }
    }
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('a single write larger than its share goes on as its pieces are done', () => {
    const world = new NbdWorld({ slabBytes: 8 * mebibyte });
    const client = world.open();
    world.device.isHolding = true;
    client.send(requestBytes({ command: 1, payload: Buffer.alloc(12 * mebibyte, 3) }), 100_000);
    for (let count = 0; count < 12; count += 1) {
      expect(world.device.heldCount).toBeGreaterThan(0);
      expect(world.device.heldCount).toBeLessThanOrEqual(4);
      world.device.release(1);
      world.run();
    }
    expect(client.simple().error).toBe(0);
  });

  it('small writes do not wait for large ones', () => {
    const world = new NbdWorld({ slabBytes: 2 * mebibyte });
    const large = [world.open(), world.open()];
    world.device.isHolding = true;
    for (const client of large) client.send(wholeWrite);
    const small = world.open();
    world.device.isHolding = false;
    expect(small.write(0, Buffer.alloc(4096))).toBe(0);
  });

  it('one client cannot hold more than half', () => {
    const world = new NbdWorld({ slabBytes: 16 * mebibyte });
    const client = world.open();
    world.device.isHolding = true;
    client.send(repeated(12, wholeWrite), 100_000);
    expect(world.device.heldCount).toBe(8);
    while (world.device.heldCount > 0) {
      world.device.release(1);
      world.run();
    }
    for (let index = 0; index < 12; index += 1) expect(client.simple().error).toBe(0);
  });

  it('who stalls inside a payload that others wait for is dropped after 5 s, and they go on', () => {
    const world = new NbdWorld({ slabBytes: 2 * mebibyte });
    const free = world.staging.freeBytes;
    const stalled = world.open();
    stalled.send(wholeWrite.subarray(0, 1000));
    world.pass(60_000);
    expect(stalled.isDropped).toBe(false);
    const other = world.open();
    other.send(wholeWrite);
    world.pass(4000);
    // A trickle is no progress.
    stalled.send(Buffer.alloc(1));
    world.pass(2000);
    expect(stalled.isDropped).toBe(true);
    expect(errorOf(other.reply())).toBe(0);
    expect(world.staging.freeBytes).toBe(free);
    expect(world.timers.pendingCount).toBeLessThanOrEqual(1);
  });

  it('a client that leaves while it waits for staging leaves nothing behind', () => {
    const world = new NbdWorld({ slabBytes: 2 * mebibyte });
    const free = world.staging.freeBytes;
    const holder = world.open();
    holder.send(wholeWrite.subarray(0, 1000));
    const waiter = world.open();
    waiter.send(wholeWrite);
    waiter.stream.break();
    world.run();
    holder.stream.break();
    world.run();
    expect(world.staging.freeBytes).toBe(free);
    expect(world.exports.openCount).toBe(0);
    expect(world.open().write(0, Buffer.alloc(mebibyte))).toBe(0);
  });
});

describe('output memory', () => {
  // Four buffers, which is what one slow reader fills.
  const small = { outputPoolMaxBytes: 1.1 * mebibyte, outputMaxBytes: mebibyte };

  it('a slow reader that holds what others wait for is dropped after 5 s, and they go on', () => {
    const world = new NbdWorld({ limits: small });
    const slow = world.open({ isStructured: true });
    slow.write(0, Buffer.alloc(mebibyte, 5));
    slow.stream.isTaking = false;
    slow.send(repeated(10, requestBytes({ command: 0, length: mebibyte })));
    world.pass(60_000);
    expect(slow.isDropped).toBe(false);
    const other = world.open({ isStructured: true });
    other.request({ command: 0, length: mebibyte });
    expect(other.available).toBe(0);
    world.pass(6000);
    expect(slow.isDropped).toBe(true);
    expect(other.chunks().reduce((sum, { payload }) => sum + payload.length - 8, 0)).toBe(mebibyte);
  });

  it('a slow reader that keeps taking something is not dropped', () => {
    const world = new NbdWorld({ limits: small });
    const slow = world.open({ isStructured: true });
    slow.write(0, Buffer.alloc(mebibyte, 5));
    slow.stream.isTaking = false;
    slow.send(repeated(40, requestBytes({ command: 0, length: mebibyte })));
    const other = world.open({ isStructured: true });
    other.send(repeated(40, requestBytes({ command: 0, length: mebibyte })));
    other.stream.isTaking = false;
    for (let second = 0; second < 12; second += 1) {
      world.pass(1000);
      if (second % 3 === 2) slow.stream.takeOne();
      world.run();
    }
    expect(slow.isDropped).toBe(false);
    expect(other.isDropped).toBe(true);
  });

  it('a crowd that shares little memory is served completely', () => {
    const world = new NbdWorld({ limits: small });
    const clients = Array.from({ length: 20 }, (_, index) =>
      world.open({ isStructured: index % 2 === 0 }),
    );
    clients[0]?.write(0, Buffer.alloc(4 * mebibyte, 5));
    const reads = repeated(3, requestBytes({ command: 0, length: 3 * mebibyte }));
    for (const { stream } of clients) stream.send(reads);
    world.run();
    for (const [index, client] of clients.entries()) {
      if (index % 2 === 1) {
        expect(client.available).toBe(3 * (16 + 3 * mebibyte));
        continue;
      }
      for (let count = 0; count < 3; count += 1) {
        const bytes = client.chunks().reduce((sum, { payload }) => sum + payload.length - 8, 0);
        expect(bytes).toBe(3 * mebibyte);
      }
    }
  });

  it('answers to writes do not wait for output memory', () => {
    const world = new NbdWorld({ limits: small });
    const slow = world.open({ isStructured: true });
    slow.write(0, Buffer.alloc(mebibyte, 5));
    slow.stream.isTaking = false;
    slow.send(repeated(10, requestBytes({ command: 0, length: mebibyte })));
    expect(world.open().write(0, Buffer.alloc(9))).toBe(0);
  });
});
