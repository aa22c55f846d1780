/** STARTTLS, NBD protocol "TLS support": what is answered in the clear, and that nothing of it holds afterwards. */
import { beforeEach, describe, expect, it } from 'vitest';
import { MemorySecurity } from '../../support/memory-security.ts';
import {
  counted,
  infoData,
  metaData,
  type NbdClient,
  optionBytes,
  u32,
} from '../../support/nbd-client.ts';
import { NbdWorld } from '../../support/nbd-world.ts';

const ack = 1;
const invalid = 0x80000003;
const tlsRequired = 0x80000005;
const startTls = 5;

let world: NbdWorld;
let security: MemorySecurity;

beforeEach(() => {
  world = new NbdWorld();
  security = new MemorySecurity();
});

function typesOf(client: NbdClient, option: number, data?: Uint8Array): number[] {
  return client.ask(option, data).map(({ type }) => type);
}

/** A client in the clear that has greeted. */
function greeted(flags?: number): NbdClient {
  const client = world.connect({ security });
  client.greet(flags);
  return client;
}

/** A client over TLS. */
function secured(flags?: number): NbdClient {
  const clear = greeted(flags);
  expect(typesOf(clear, startTls)).toEqual([ack]);
  return security.succeed(world, 'alice');
}

describe('in the clear, where TLS is required', () => {
  it.each([
    ['LIST', 3, undefined],
    ['PEEK_EXPORT', 4, undefined],
    ['INFO', 6, infoData('disk')],
    ['GO', 7, infoData('disk')],
    ['GO, malformed', 7, Buffer.from('x')],
    ['STRUCTURED_REPLY', 8, undefined],
    ['LIST_META_CONTEXT', 9, metaData('disk', [])],
    ['SET_META_CONTEXT', 10, metaData('disk', ['base:allocation'])],
    ['an unknown option', 77, Buffer.alloc(5000)],
    ['an option with too much data', 77, Buffer.alloc(70_000)],
  ])('%s gets ERR_TLS_REQD with a text, and the session goes on', (_what, option, data) => {
    const client = greeted();
    const answers = client.ask(option, data);
    expect(answers.map(({ type }) => type)).toEqual([tlsRequired]);
    expect(answers[0]?.data.toString()).toContain('STARTTLS');
    expect(world.exports.openCount).toBe(0);
    expect(typesOf(client, startTls)).toEqual([ack]);
  });

  it('EXPORT_NAME ends the session', () => {
    const client = greeted();
    client.option(1, Buffer.from('disk'));
    expect(client.isDropped).toBe(true);
    expect(client.available).toBe(0);
    expect(world.warnings.join()).toContain('did not start TLS');
  });

  it('ABORT is acknowledged', () => {
    const client = greeted();
    expect(typesOf(client, 2)).toEqual([ack]);
    expect(client.isEnded).toBe(true);
  });

  it('STARTTLS with data is invalid', () => {
    const client = greeted();
    expect(typesOf(client, startTls, Buffer.from('x'))).toEqual([invalid]);
    expect(security.upgrades).toHaveLength(0);
    expect(typesOf(client, startTls)).toEqual([ack]);
  });

  it('STARTTLS without fixed newstyle ends the session', () => {
    const client = greeted(0);
    client.option(startTls);
    expect(client.isDropped).toBe(true);
  });
});

describe('STARTTLS', () => {
  it('begins TLS only when the acknowledgement has left', () => {
    const client = greeted();
    client.stream.isTaking = false;
    client.option(startTls);
    expect(security.upgrades).toHaveLength(0);
    client.stream.takeOne();
    world.run();
    expect(security.upgrades).toHaveLength(1);
    expect(client.optionAnswer()).toMatchObject({ option: startTls, type: ack });
  });

  it.each([
    ['another option', optionBytes(8)],
    ['one byte', Buffer.from([0x16])],
    ['a whole negotiation', Buffer.concat([optionBytes(8), optionBytes(7, infoData('disk'))])],
  ])('%s behind it in the clear ends the session unread', (_what, more) => {
    const client = greeted();
    client.send(Buffer.concat([optionBytes(startTls), more]));
    expect(client.isDropped).toBe(true);
    expect(security.upgrades).toHaveLength(0);
    expect(world.exports.openCount).toBe(0);
    expect(world.warnings.join()).toContain('in the clear after STARTTLS');
  });

  it('bytes that wait behind it while an answer is delayed end the session, too', () => {
    const client = greeted();
    client.stream.isTaking = false;
    // Replies that the client does not take, until no further option is read.
    for (let count = 0; count < 6000; count += 1) client.stream.send(optionBytes(77));
    client.stream.send(Buffer.concat([optionBytes(startTls), optionBytes(8)]));
    world.run();
    client.stream.isTaking = true;
    world.run();
    expect(client.isDropped).toBe(true);
    expect(security.upgrades).toHaveLength(0);
  });

  it('in pieces of any size is the same', () => {
    for (let size = 1; size <= 16; size += 1) {
      const client = greeted();
      client.send(optionBytes(startTls), size);
      expect(client.optionAnswer().type).toBe(ack);
      expect(security.succeed(world).ask(3).at(-1)?.type).toBe(ack);
    }
  });

  it('what comes in the clear later is left to TLS', () => {
    const client = greeted();
    client.option(startTls);
    client.stream.send(optionBytes(7, infoData('disk')));
    world.run();
    expect(world.exports.openCount).toBe(0);
    expect(client.isDropped).toBe(false);
  });
});

describe('over TLS', () => {
  it('the negotiation goes on without a greeting, to reads and writes', () => {
    const client = secured();
    expect(client.available).toBe(0);
    expect(typesOf(client, 8)).toEqual([ack]);
    expect(typesOf(client, 10, metaData('disk', ['base:allocation']))).toEqual([4, ack]);
    expect(typesOf(client, 7, infoData('disk')).at(-1)).toBe(ack);
    expect(client.write(3, Buffer.from('secret'))).toBe(0);
    expect(client.readStructured(3, 6).toString()).toBe('secret');
  });

  it('structured replies must be negotiated again', () => {
    const client = secured();
    expect(typesOf(client, 10, metaData('disk', ['base:allocation']))).toEqual([invalid]);
    const [info] = client.ask(7, infoData('disk'));
    expect((info?.data.readUInt16BE(10) ?? 0) & 0x80).toBe(0);
    expect(client.readSimple(0, 4)).toEqual(Buffer.alloc(4));
  });

  it('the flags from before hold', () => {
    const withZeroes = secured(1);
    withZeroes.option(1, Buffer.from('disk'));
    expect(withZeroes.available).toBe(10 + 124);
    const without = secured(3);
    without.option(1, Buffer.from('disk'));
    expect(without.available).toBe(10);
  });

  it('STARTTLS again is invalid, and the session goes on', () => {
    const client = secured();
    expect(typesOf(client, startTls)).toEqual([invalid]);
    expect(typesOf(client, startTls, counted('x'))).toEqual([invalid]);
    expect(typesOf(client, 3).at(-1)).toBe(ack);
  });
});

describe('a TLS handshake that', () => {
  it('fails ends the session, with the reason in the log', () => {
    const client = greeted();
    client.option(startTls);
    security.fail(world, 'unknown ca');
    expect(client.isDropped).toBe(true);
    expect(world.warnings.join()).toContain('TLS failed: unknown ca');
  });

  it('takes too long is given up, and coming late changes nothing', () => {
    const client = greeted();
    world.pass(4000);
    client.option(startTls);
    world.pass(5999);
    expect(client.isDropped).toBe(false);
    world.pass(2);
    expect(client.isDropped).toBe(true);
    expect(security.succeed(world).isDropped).toBe(true);
  });

  it('succeeds leaves the negotiation the rest of the time', () => {
    const clear = greeted();
    world.pass(4000);
    clear.option(startTls);
    const client = security.succeed(world);
    world.pass(5999);
    expect(client.isDropped).toBe(false);
    world.pass(2);
    expect(client.isDropped).toBe(true);
  });

  it('is under way when the server stops is dropped', () => {
    const client = greeted();
    client.option(startTls);
    let isStopped = false;
    world.server.stop(1000, () => {
      isStopped = true;
    });
    world.run();
    expect([client.isDropped, isStopped]).toEqual([true, true]);
  });

  it('the client does not wait for leaves nothing', () => {
    const client = greeted();
    client.stream.isTaking = false;
    client.option(startTls);
    client.stream.break();
    world.run();
    expect(security.upgrades).toHaveLength(0);
    expect(world.exports.openCount).toBe(0);
  });
});

describe('doors', () => {
  it('without TLS stay without it, beside one that requires it', () => {
    const plain = world.connect();
    plain.greet();
    expect(typesOf(plain, startTls)).toEqual([0x80000001]);
    expect(typesOf(greeted(), 3)).toEqual([tlsRequired]);
  });

  it('are closed for all who came through them, and for nobody else', () => {
    const door = { security };
    const clear = world.connect(door);
    const other = world.open();
    clear.send(Buffer.concat([u32(3), optionBytes(startTls)]));
    const client = security.succeed(world);
    client.ask(7, infoData('disk'));
    expect(world.exports.openCount).toBe(2);
    world.server.disconnectDoor(door);
    world.run();
    expect([client.isDropped, other.isDropped]).toEqual([true, false]);
    expect(world.exports.openCount).toBe(1);
  });
});
