/** Sessions that end badly, many at once, slow, deaf or damaged: what one initiator does must not harm another, nor the data. */
import net from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { IscsiAppliance } from '../support/iscsi-appliance.ts';
import { type Exchange, IscsiClient } from '../support/iscsi-client.ts';
import { Opcode } from '../support/iscsi-payload.ts';
import { sleep, until } from '../support/run.ts';
import { read16, testUnitReady, write16 } from '../support/scsi-cdb.ts';

const mebi = 1 << 20;
const blockBytes = 512;
const good = 0;
const initiatorName = 'iqn.2026-11.org.tidemark.test:sessions';

let target: IscsiAppliance;
let lun: number;
const clients: IscsiClient[] = [];

beforeAll(async () => {
  target = await IscsiAppliance.start();
  await target.appliance.volumeCreate('sessions', 128 * mebi);
  lun = await target.lunMap('sessions');
});

afterEach(async () => {
  for (const client of clients.splice(0)) {
    client.destroy();
    await client.closed;
  }
});

afterAll(async () => {
  await target.remove();
});

interface SessionOptions {
  readonly isid: number;
  readonly portal?: number;
  readonly isDigested?: boolean;
  readonly name?: string;
}

/** Logs in and clears the unit attention that every new nexus finds. */
async function login(options: SessionOptions): Promise<IscsiClient> {
  const { isid, portal = 0, isDigested = false, name = initiatorName } = options;
  const client = await IscsiClient.login(target.ports[portal] ?? 0, {
    initiatorName: name,
    targetName: target.targetName,
    isid,
    isDigested,
  });
  clients.push(client);
  await client.command(testUnitReady(), { lun });
  return client;
}

function pattern(sizeBytes: number, byte: number): Uint8Array {
  return new Uint8Array(sizeBytes).fill(byte);
}

async function mustWrite(client: IscsiClient, lba: number, data: Uint8Array): Promise<void> {
  const answer = await client.command(write16(lba, data.length / blockBytes), { lun, write: data });
  expect(answer.status).toBe(good);
}

async function mustRead(client: IscsiClient, lba: number, sizeBytes: number): Promise<Uint8Array> {
  const cdb = read16(lba, sizeBytes / blockBytes);
  const answer = await client.command(cdb, { lun, readBytes: sizeBytes });
  expect(answer.status).toBe(good);
  return answer.data;
}

/** Compares without printing a mebibyte when they differ. */
function expectSame(actual: Uint8Array, expected: Uint8Array): void {
  expect(Buffer.compare(actual, expected)).toBe(0);
}

async function sessionCount(): Promise<number> {
  const { sessions } = (await target.appliance.api('GET', '/v1/sessions')) as {
    readonly sessions: readonly { readonly initiatorName: string }[];
  };
  return sessions.filter((each) => each.initiatorName.startsWith(initiatorName)).length;
}

describe('reinstatement', () => {
  it('a session that takes the place of another finds none of its writes coming later', async () => {
    const size = 64 * 1024;
    const places = 32;
    for (let round = 1; round <= 40; round += 1) {
      const old = await login({ isid: 7, portal: round % 2 });
      for (let place = 0; place < places; place += 1) {
        const write = pattern(size, 0xee);
        await old.start(write16((place * size) / blockBytes, size / blockBytes), { lun, write });
      }
      // In the middle of those 2 MiB the same initiator port comes again, as after a network failure.
      const young = await login({ isid: 7, portal: round % 2 });
      const mine = pattern(size, round);
      for (let place = 0; place < places; place += 1) {
        await mustWrite(young, (place * size) / blockBytes, mine);
      }
      await old.closed;
      for (let place = 0; place < places; place += 1) {
        expectSame(await mustRead(young, (place * size) / blockBytes, size), mine);
      }
      await young.logout();
    }
  });

  it('two ports of one initiator are two sessions', async () => {
    const first = await login({ isid: 8, portal: 0 });
    const other = await login({ isid: 9, portal: 1 });
    expect(first.tsih).not.toBe(other.tsih);
    expect((await first.command(testUnitReady(), { lun })).status).toBe(good);
    expect((await other.command(testUnitReady(), { lun })).status).toBe(good);
  });
});

describe('abort storms', () => {
  const size = 128 * 1024;
  const places = 48;

  async function storm(
    client: IscsiClient,
    end: (exchanges: readonly Exchange[]) => Promise<void>,
    round: number,
  ): Promise<void> {
    const exchanges: Exchange[] = [];
    for (let place = 0; place < places; place += 1) {
      const write = pattern(size, 0xdd);
      const cdb = write16((place * size) / blockBytes, size / blockBytes);
      exchanges.push(await client.start(cdb, { lun, write }));
    }
    await end(exchanges);
    const strays = client.strays.length;
    const mine = pattern(size, round);
    for (let place = 0; place < places; place += 1) {
      let answer = await client.command(write16((place * size) / blockBytes, size / blockBytes), {
        lun,
        write: mine,
      });
      // A reset leaves a unit attention for this nexus, reported once.
      if (answer.status !== good) {
        answer = await client.command(write16((place * size) / blockBytes, size / blockBytes), {
          lun,
          write: mine,
        });
      }
      expect(answer.status).toBe(good);
    }
    await sleep(20);
    for (let place = 0; place < places; place += 1) {
      expectSame(await mustRead(client, (place * size) / blockBytes, size), mine);
    }
    // Nothing of an aborted task was answered after the abort was.
    const late = client.strays
      .slice(strays)
      .filter(({ bhs }) => (bhs.getUint8(0) & 0x3f) === Opcode.response);
    expect(late).toEqual([]);
  }

  it('ABORT TASK: an aborted write never lands on what was written after it', async () => {
    const client = await login({ isid: 20 });
    for (let round = 1; round <= 15; round += 1) {
      await storm(
        client,
        async (exchanges) => {
          const codes = await Promise.all(
            exchanges.map(async ({ tag }) => await client.abortTask(tag, lun)),
          );
          expect(codes.every((code) => code === 0)).toBe(true);
        },
        round,
      );
    }
  });

  it('LOGICAL UNIT RESET: the same for all tasks at once', async () => {
    const client = await login({ isid: 21 });
    for (let round = 1; round <= 15; round += 1) {
      await storm(
        client,
        async () => {
          expect(await client.lunReset(lun)).toBe(0);
        },
        round,
      );
    }
  });

  it('ABORT TASK of a task that is finished is complete, not unknown', async () => {
    const client = await login({ isid: 22 });
    const { tag, answer } = await client.start(testUnitReady(), { lun });
    await answer;
    expect(await client.abortTask(tag, lun)).toBe(0);
  });
});

describe('sizes', () => {
  it('32 MiB in one read, and in one write', async () => {
    const client = await login({ isid: 30 });
    const size = 32 * mebi;
    const data = new Uint8Array(size);
    const words = new Uint32Array(data.buffer);
    for (let index = 0; index < words.length; index += 1)
      words[index] = Math.imul(index, 2654435761);
    await mustWrite(client, 0, data);
    expectSame(await mustRead(client, 0, size), data);
    // Whole segments of it, from odd places.
    expectSame(
      await mustRead(client, 3, 8 * mebi),
      data.subarray(3 * blockBytes, 3 * blockBytes + 8 * mebi),
    );
  });

  it('many sessions with deep queues of large reads share the memory, and all finish', async () => {
    const sessions = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => await login({ isid: 40 + index })),
    );
    const size = 4 * mebi;
    const expected = await mustRead(sessions[0] ?? (await login({ isid: 39 })), 0, size);
    const reads = await Promise.all(
      sessions.flatMap((client) =>
        Array.from({ length: 8 }, async () => await mustRead(client, 0, size)),
      ),
    );
    for (const data of reads) expectSame(data, expected);
  });
});

describe('digests', () => {
  it('reads and writes are right with CRC32C on headers and data', async () => {
    const client = await login({ isid: 50, isDigested: true });
    const data = pattern(mebi, 0x5a);
    await mustWrite(client, 0, data);
    expectSame(await mustRead(client, 0, mebi), data);
  });

  it('a PDU with a broken header digest ends the connection, and its command is not done', async () => {
    const client = await login({ isid: 51, isDigested: true });
    const before = pattern(4096, 0x11);
    await mustWrite(client, 64, before);
    const lost = await client.start(write16(64, 8), {
      lun,
      write: pattern(4096, 0x22),
      breakDigest: 'header',
    });
    await expect(lost.answer).rejects.toThrow();
    const again = await login({ isid: 52 });
    expectSame(await mustRead(again, 64, 4096), before);
  });

  it('data with a broken digest is never written', async () => {
    const client = await login({ isid: 53, isDigested: true });
    const before = pattern(4096, 0x33);
    await mustWrite(client, 128, before);
    const broken = await client.start(write16(128, 8), {
      lun,
      write: pattern(4096, 0x44),
      breakDigest: 'data',
    });
    const status = await broken.answer.then(
      (answer) => answer.status,
      () => undefined,
    );
    expect(status).not.toBe(good);
    const again = await login({ isid: 54 });
    expectSame(await mustRead(again, 128, 4096), before);
  });
});

describe('many and strange peers', () => {
  it('1,000 logins at once all succeed, and all sessions work', async () => {
    const count = 1000;
    const open = await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const name = `${initiatorName}-${index}`;
        return await login({ isid: 1, portal: index % 2, name });
      }),
    );
    expect(new Set(open.map((client) => client.tsih)).size).toBe(count);
    expect(await sessionCount()).toBe(count);
    const statuses = await Promise.all(
      open.map(
        async (client) => (await client.command(read16(0, 8), { lun, readBytes: 4096 })).status,
      ),
    );
    expect(statuses.every((status) => status === good)).toBe(true);
    await Promise.all(
      open.map(async (client) => {
        await client.logout();
      }),
    );
    await until('all sessions are gone', 10_000, async () => (await sessionCount()) === 0);
  });

  it('a peer that says nothing, and one that stops in the middle of a header, hold nobody up', async () => {
    const idle = net.connect(target.ports[0] ?? 0, '127.0.0.1');
    const halting = net.connect(target.ports[0] ?? 0, '127.0.0.1');
    idle.on('error', () => undefined);
    halting.on('error', () => undefined);
    halting.write(Buffer.from([0x43, 0x87, 0, 0, 0, 0, 0]));
    const client = await login({ isid: 60 });
    await mustWrite(client, 0, pattern(4096, 1));
    // Both are cut off when their time for a login is over.
    await until('both are cut off', 40_000, () => idle.destroyed && halting.destroyed);
    expect((await client.command(testUnitReady(), { lun })).status).toBe(good);
  });

  it('a peer that asks for much and reads nothing does not keep others from their data', async () => {
    const deaf = await login({ isid: 61 });
    deaf.socket.pause();
    for (let index = 0; index < 64; index += 1) {
      const asked = deaf.start(read16(0, 8192), { lun, readBytes: 4 * mebi });
      asked.catch(() => undefined);
    }
    const client = await login({ isid: 62 });
    for (let index = 0; index < 50; index += 1) {
      await mustWrite(client, 0, pattern(64 * 1024, index));
      expectSame(await mustRead(client, 0, 64 * 1024), pattern(64 * 1024, index));
    }
    // In the end the deaf one is dropped: it answers no ping.
    deaf.socket.resume();
    deaf.destroy();
  });

  it('a ping comes back with its data while writes are under way', async () => {
    const client = await login({ isid: 63 });
    for (let index = 0; index < 32; index += 1) {
      await client.start(write16(0, 512), { lun, write: pattern(256 * 1024, 9) });
    }
    const word = new TextEncoder().encode('are you there');
    expectSame(await client.nop(word), word);
  });
});
