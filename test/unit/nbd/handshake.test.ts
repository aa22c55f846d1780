/** The handshake, item by item, from the client's side of the wire. */
import { describe, expect, it } from 'vitest';
import {
  counted,
  infoData,
  metaData,
  type NbdClient,
  optionBytes,
  u16,
  u32,
} from '../../support/nbd-client.ts';
import { NbdWorld } from '../../support/nbd-world.ts';

const ack = 1;
const unsupported = 0x80000001;
const invalid = 0x80000003;
const unknown = 0x80000006;

const tooBig = 0x80000009;
function greeted(world = new NbdWorld()): NbdClient {
  const client = world.connect();
  client.greet();
  return client;
}

function typesOf(client: NbdClient, option: number, data?: Uint8Array): number[] {
  return client.ask(option, data).map(({ type }) => type);
}

const flagsOf = (client: NbdClient, name: string): number | undefined =>
  client.ask(6, infoData(name))[0]?.data.readUInt16BE(10);

describe('greeting', () => {
  it('is NBDMAGIC, IHAVEOPT, and exactly the flags fixed newstyle and no zeroes', () => {
    const greeting = new NbdWorld().connect().take(18);
    expect(greeting.toString('latin1', 0, 16)).toBe('NBDMAGICIHAVEOPT');
    expect(greeting.readUInt16BE(16)).toBe(3);
  });

  it.each([4, 0x80000000, 0xffffffff])('drops a client that sets unknown flags (%i)', (flags) => {
    const client = new NbdWorld().connect();
    client.greet(flags);
    expect(client.isDropped).toBe(true);
  });

  it('drops a client without fixed newstyle that sends another option than EXPORT_NAME', () => {
    const client = new NbdWorld().connect();
    client.greet(0);
    client.option(3);
    expect(client.isDropped).toBe(true);
  });

  it('drops a client whose option has no magic', () => {
    const client = greeted();
    client.send(Buffer.concat([Buffer.from('IHAVEOPX'), u32(3), u32(0)]));
    expect(client.isDropped).toBe(true);
  });

  it('accepts a bare close without a word in the log', () => {
    const world = new NbdWorld();
    const client = world.connect();
    client.stream.break();
    world.run();
    expect(world.warnings).toEqual([]);
  });
});

describe('EXPORT_NAME', () => {
  it('answers size, flags and 124 zeroes to a client that wants them', () => {
    const client = new NbdWorld().connect();
    client.greet(1);
    client.option(1, Buffer.from('disk'));
    const reply = client.take(134);
    expect(reply.readBigUInt64BE(0)).toBe(BigInt(64 << 20));
    expect(reply.readUInt16BE(8)).toBe(0b1101_0110_1101);
    expect(reply.subarray(10).every((byte) => byte === 0)).toBe(true);
    expect(client.readSimple(0, 512)).toEqual(Buffer.alloc(512));
  });

  it('leaves the zeroes out when both sides agreed to, also for an old client', () => {
    for (const flags of [3, 2]) {
      const client = new NbdWorld().connect();
      client.greet(flags);
      client.option(1, Buffer.from('disk'));
      client.take(10);
      expect(client.available).toBe(0);
      expect(client.write(0, Buffer.from('x'))).toBe(0);
    }
  });

  it.each(['nope', 'a\0b', 'x'.repeat(4097)])(
    'ends the session for a name that is none',
    (name) => {
      const client = greeted();
      client.option(1, Buffer.from(name));
      expect(client.isDropped).toBe(true);
    },
  );
});

describe('options', () => {
  it('ABORT is acknowledged, data ignored, and the session ends', () => {
    const client = greeted();
    expect(typesOf(client, 2, Buffer.from('bye'))).toEqual([ack]);
    expect(client.isEnded).toBe(true);
  });

  it('LIST names every export with its description', () => {
    const world = new NbdWorld();
    world.addDevice('a@snap', 4096, true);
    const answers = greeted(world).ask(3);
    expect(answers.map(({ type }) => type)).toEqual([2, 2, ack]);
    expect(answers[0]?.data).toEqual(
      Buffer.concat([counted('a@snap'), Buffer.from('memory device a@snap')]),
    );
  });

  it('LIST with data is invalid, and the next option is understood', () => {
    const client = greeted();
    expect(typesOf(client, 3, Buffer.from('?'))).toEqual([invalid]);
    expect(typesOf(client, 3)).toEqual([2, ack]);
  });

  it('LIST of tens of thousands of exports is complete', () => {
    const world = new NbdWorld();
    for (let index = 0; index < 20_000; index += 1) world.addDevice(`disk@s${index}`, 4096, true);
    expect(greeted(world).ask(3)).toHaveLength(20_002);
  });

  it.each([4, 5, 11, 12, 999, 0xffffffff])('option %i is not supported, with a text', (option) => {
    const client = greeted();
    const answers = client.ask(option, option === 5 ? undefined : Buffer.alloc(20_000));
    expect(answers.map(({ type }) => type)).toEqual([unsupported]);
    expect(answers[0]?.data.length).toBeGreaterThan(0);
    expect(typesOf(client, 8)).toEqual([ack]);
  });

  it('STARTTLS with data is invalid', () => {
    expect(typesOf(greeted(), 5, Buffer.from('x'))).toEqual([invalid]);
  });

  it('STRUCTURED_REPLY is acknowledged, again when repeated, and invalid with data', () => {
    const client = greeted();
    expect(typesOf(client, 8, Buffer.from('x'))).toEqual([invalid]);
    expect(typesOf(client, 8)).toEqual([ack]);
    expect(typesOf(client, 8)).toEqual([ack]);
  });

  it('data too long to keep is skipped and refused, absurdly long data ends the session', () => {
    const client = greeted();
    expect(typesOf(client, 7, Buffer.alloc(65_537))).toEqual([tooBig]);
    expect(typesOf(client, 77, Buffer.alloc(1 << 20))).toEqual([tooBig]);
    expect(typesOf(client, 8)).toEqual([ack]);
    client.send(Buffer.concat([Buffer.from('IHAVEOPT'), u32(7), u32((1 << 20) + 1)]));
    expect(client.isDropped).toBe(true);
  });

  it('options that arrive in one piece are answered one after the other', () => {
    const client = greeted();
    client.send(
      Buffer.concat([
        optionBytes(8),
        optionBytes(99),
        optionBytes(6, infoData('disk')),
        optionBytes(3),
      ]),
    );
    const types: number[] = [];
    while (client.available > 0) types.push(client.optionAnswer().type);
    expect(types).toEqual([ack, unsupported, 3, 3, 3, ack, 2, ack]);
  });
});

describe('INFO and GO', () => {
  it.each([6, 7])('option %i gives export, block size and description', (option) => {
    const client = greeted();
    const answers = client.ask(option, infoData('disk'));
    expect(answers.map(({ type }) => type)).toEqual([3, 3, 3, ack]);
    const [exportInfo, sizes, description] = answers.map(({ data }) => data);
    expect(exportInfo?.readUInt16BE(0)).toBe(0);
    expect(exportInfo?.readBigUInt64BE(2)).toBe(BigInt(64 << 20));
    expect(sizes).toEqual(Buffer.concat([u16(3), u32(1), u32(4096), u32(32 << 20)]));
    expect(description?.toString('utf8', 2)).toBe('memory device disk');
  });

  it('GO enters transmission, INFO does not', () => {
    const client = greeted();
    client.ask(6, infoData('disk'));
    expect(typesOf(client, 7, infoData('disk')).at(-1)).toBe(ack);
    expect(client.readSimple(0, 4)).toEqual(Buffer.alloc(4));
  });

  it('gives the name when asked, once though asked twice, and ignores what it does not know', () => {
    const answers = greeted().ask(7, infoData('disk', [1, 3, 1, 0x7777, 2]));
    expect(answers.map(({ data }) => (data.length === 0 ? -1 : data.readUInt16BE(0)))).toEqual([
      0, 3, 1, 2, -1,
    ]);
    expect(answers[2]?.data.toString('utf8', 2)).toBe('disk');
  });

  it.each([6, 7])('option %i for an unknown export says so and stays usable', (option) => {
    const client = greeted();
    const [answer] = client.ask(option, infoData('nope'));
    expect(answer?.type).toBe(unknown);
    expect(answer?.data.toString()).toContain("'nope'");
    expect(typesOf(client, 8)).toEqual([ack]);
  });

  it.each([
    ['empty', Buffer.alloc(0)],
    ['no count', counted('disk')],
    ['name longer than the data', Buffer.concat([u32(500), Buffer.from('disk'), u16(0)])],
    ['more infos than there are', Buffer.concat([counted('disk'), u16(2), u16(1)])],
    ['bytes left over', Buffer.concat([counted('disk'), u16(0), u16(1)])],
    ['a NUL in the name', infoData('di\0sk')],
    ['a name that is no UTF-8', Buffer.concat([u32(1), Buffer.from([0xff]), u16(0)])],
    ['a name too long', infoData('x'.repeat(4097))],
  ])('malformed data (%s) is invalid and the stream stays in step', (_, data) => {
    const client = greeted();
    expect(typesOf(client, 7, data)).toEqual([invalid]);
    expect(typesOf(client, 6, infoData('disk')).at(-1)).toBe(ack);
  });

  it('a name of 4096 bytes is looked up', () => {
    expect(typesOf(greeted(), 7, infoData('x'.repeat(4096)))).toEqual([unknown]);
  });
});

describe('transmission flags', () => {
  it('of a writable export: flush, fua, trim, zeroes, multi-conn, cache, fast zero; DF with structured replies', () => {
    const client = greeted();
    expect(flagsOf(client, 'disk')).toBe(0b1101_0110_1101);
    client.ask(8);
    expect(flagsOf(client, 'disk')).toBe(0b1101_1110_1101);
  });

  it('of a read-only export: read-only, flush, fua, multi-conn, cache', () => {
    const world = new NbdWorld();
    world.addDevice('disk@s', 4096, true);
    expect(flagsOf(greeted(world), 'disk@s')).toBe(0b101_0000_1111);
  });
});

describe('meta contexts', () => {
  it('LIST answers before structured replies, with id 0', () => {
    const client = greeted();
    for (const queries of [[], ['base:'], ['base:allocation'], ['base:allocation', 'base:']]) {
      const answers = client.ask(9, metaData('disk', queries));
      expect(answers.map(({ type }) => type)).toEqual([4, ack]);
      expect(answers[0]?.data).toEqual(Buffer.concat([u32(0), Buffer.from('base:allocation')]));
    }
    expect(typesOf(client, 9, metaData('disk', ['x-other:', 'nocolon']))).toEqual([ack]);
  });

  it('SET before structured replies is invalid', () => {
    expect(typesOf(greeted(), 10, metaData('disk', ['base:allocation']))).toEqual([invalid]);
  });

  it('SET selects what is named exactly, once', () => {
    const client = greeted();
    client.ask(8);
    const twice = metaData('disk', ['base:allocation', 'base:allocation']);
    expect(typesOf(client, 10, twice)).toEqual([4, ack]);
    for (const query of ['base:', 'qemu:dirty-bitmap:', 'nocolon', 'x-mine:thing', '']) {
      expect(typesOf(client, 10, metaData('disk', [query]))).toEqual([ack]);
    }
    expect(typesOf(client, 10, metaData('disk', []))).toEqual([ack]);
  });

  it.each([9, 10])('option %i for an unknown export says so', (option) => {
    const client = greeted();
    client.ask(8);
    expect(typesOf(client, option, metaData('nope', []))).toEqual([unknown]);
  });

  it.each([
    ['empty', Buffer.alloc(0)],
    ['no count', counted('disk')],
    ['fewer queries than stated', Buffer.concat([counted('disk'), u32(2), counted('base:')])],
    ['bytes left over', Buffer.concat([metaData('disk', []), Buffer.from('x')])],
    ['a query longer than the data', Buffer.concat([counted('disk'), u32(1), u32(99)])],
    ['a query too long', metaData('disk', ['x'.repeat(4097)])],
  ])('malformed data (%s) is invalid and the stream stays in step', (_, data) => {
    const client = greeted();
    client.ask(8);
    expect(typesOf(client, 10, data)).toEqual([invalid]);
    expect(typesOf(client, 10, metaData('disk', ['base:allocation']))).toEqual([4, ack]);
  });

  it('256 queries are looked at, 257 are too many', () => {
    const client = greeted();
    client.ask(8);
    const queries = Array.from({ length: 257 }, (_, index) => `x:${index}`);
    expect(typesOf(client, 10, metaData('disk', queries.slice(1)))).toEqual([ack]);
    expect(typesOf(client, 10, metaData('disk', queries))).toEqual([tooBig]);
  });

  it.each([
    ['a failed SET', metaData('nope', ['base:allocation'])],
    ['an empty SET', metaData('disk', [])],
    ['a SET for another export', metaData('other', ['base:allocation'])],
  ])('%s leaves no context selected for GO', (_, data) => {
    const world = new NbdWorld();
    world.addDevice('other', 4096);
    const client = greeted(world);
    client.ask(8);
    client.ask(10, metaData('disk', ['base:allocation']));
    client.ask(10, data);
    client.ask(7, infoData('disk'));
    client.request({ command: 7, offset: 0, length: 4096 });
    expect(client.chunk().type).toBe(0x8001);
  });
});

describe('opening', () => {
  it('an export that opens later is answered later, and what was sent meanwhile is not lost', () => {
    const world = new NbdWorld();
    world.exports.heldOpens = [];
    const client = greeted(world);
    client.send(Buffer.concat([optionBytes(6, infoData('disk')), optionBytes(99)]));
    expect(client.available).toBe(0);
    world.exports.heldOpens.shift()?.();
    world.run();
    const types: number[] = [];
    while (client.available > 0) types.push(client.optionAnswer().type);
    expect(types).toEqual([3, 3, 3, ack, unsupported]);
  });

  it('opens once for all questions about one export, and gives back what is not used', () => {
    const world = new NbdWorld();
    world.addDevice('other', 4096);
    const client = greeted(world);
    client.ask(6, infoData('other'));
    expect(world.exports.openCountOf('other')).toBe(1);
    client.ask(6, infoData('disk'));
    client.ask(9, metaData('disk', []));
    expect(world.exports.openCount).toBe(1);
    client.ask(7, infoData('disk'));
    expect(world.exports.openCount).toBe(1);
    expect(world.exports.openCountOf('disk')).toBe(1);
    client.stream.break();
    world.run();
    expect(world.exports.openCount).toBe(0);
  });

  it('an export that opens after the client left is given back', () => {
    const world = new NbdWorld();
    world.exports.heldOpens = [];
    const client = greeted(world);
    client.option(7, infoData('disk'));
    client.stream.break();
    world.run();
    world.exports.heldOpens.shift()?.();
    world.run();
    expect(world.exports.openCount).toBe(0);
  });

  it('a stopping server ends handshakes, takes no new ones, and gives back what opens late', () => {
    const world = new NbdWorld();
    world.exports.heldOpens = [];
    const client = greeted(world);
    client.option(6, infoData('disk'));
    world.server.stop(1000, () => undefined);
    expect(world.connect().isDropped).toBe(true);
    expect(client.isEnded).toBe(true);
    world.exports.heldOpens.shift()?.();
    world.run();
    expect(world.exports.openCount).toBe(0);
  });
});

describe('any split of the stream', () => {
  it('a handshake sent byte by byte is the same handshake', () => {
    const whole = Buffer.concat([
      u32(3),
      optionBytes(8),
      optionBytes(77, Buffer.alloc(100)),
      optionBytes(10, metaData('disk', ['base:allocation'])),
      optionBytes(7, infoData('disk', [1])),
    ]);
    const replies = [whole.length, 1, 2, 3, 7, 19, 64].map((chunkBytes) => {
      const client = new NbdWorld().connect();
      client.send(whole, chunkBytes);
      return client.take(client.available);
    });
    for (const reply of replies) expect(reply).toEqual(replies[0]);
  });
});
