/** What several initiators do to one unit, across kills of the engine: counters, reservations, copies. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { IscsiAppliance } from '../support/iscsi-appliance.ts';
import { type Answer, IscsiClient } from '../support/iscsi-client.ts';
import { senseCode } from '../support/iscsi-payload.ts';
import { sleep } from '../support/run.ts';
import {
  compareAndWrite,
  copyParameters,
  extendedCopy,
  getLbaStatus,
  inquiryPage,
  naaOf,
  persistentReserveIn,
  persistentReserveOut,
  read16,
  reserveParameters,
  testUnitReady,
  write16,
} from '../support/scsi-cdb.ts';

const mebi = 1 << 20;
const good = 0;
const checkCondition = 2;
const reservationConflict = 0x18;
const miscompare = 0x0e_1d_00;
const blockBytes = 512;
const writeExclusive = 1;
const name = 'iqn.2026-11.org.tidemark.test:scsi';

let target: IscsiAppliance;

beforeAll(async () => {
  target = await IscsiAppliance.start();
});

afterAll(async () => {
  await target.remove();
});

async function login(isid: number, initiatorName = name): Promise<IscsiClient> {
  const client = await IscsiClient.login(target.ports[isid % 2] ?? 0, {
    initiatorName,
    targetName: target.targetName,
    isid,
  });
  return client;
}

/** A command whose unit attentions have been reported before; anything else comes back as it is. */
async function settled(client: IscsiClient, run: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await run();
    const isAttention = answer.status === checkCondition && senseCode(answer.sense) >> 16 === 6;
    if (!isAttention || !client.isOpen) return answer;
  }
}

async function makeLun(volume: string, host?: string): Promise<number> {
  await target.appliance.volumeCreate(volume, 16 * mebi);
  return await target.lunMap(volume, host === undefined ? {} : { host });
}

/**
 * One of two counters in one block, counted by compare-and-write. Its other half belongs to somebody else, so that every
 * success of the other makes a round miscompare. After a lost connection the block itself says whether the last try
 * happened: nobody else writes this half.
 */
class Counter {
  readonly #lun: number;
  readonly #half: number;
  counted = 0;
  miscompares = 0;
  reconnects = 0;

  constructor(lun: number, half: number) {
    this.#lun = lun;
    this.#half = half;
  }

  async run(isOver: () => boolean): Promise<void> {
    let client = await this.#connect();
    while (!isOver()) {
      try {
        await this.#count(client);
      } catch {
        client.destroy();
        client = await this.#connect();
        this.reconnects += 1;
        this.counted = (await this.#read(client)).getUint32(this.#half * 256);
      }
    }
    await client.logout();
  }

  /** Tries until the engine is back. */
  async #connect(): Promise<IscsiClient> {
    for (;;) {
      try {
        return await login(100 + this.#half);
      } catch {
        await sleep(20);
      }
    }
  }

  async #read(client: IscsiClient): Promise<DataView> {
    const lun = this.#lun;
    const answer = await settled(
      client,
      async () => await client.command(read16(0, 1), { lun, readBytes: blockBytes }),
    );
    if (answer.status !== good) throw new Error(`read: ${answer.status}`);
    return new DataView(answer.data.buffer, answer.data.byteOffset, blockBytes);
  }

  async #count(client: IscsiClient): Promise<void> {
    const before = await this.#read(client);
    const at = this.#half * 256;
    // What was acknowledged must be there: a lost or doubled count shows here.
    if (before.getUint32(at) !== this.counted) {
      throw new RangeError(`counted ${this.counted}, found ${before.getUint32(at)}`);
    }
    const write = new Uint8Array(2 * blockBytes);
    const old = new Uint8Array(before.buffer, before.byteOffset, blockBytes);
    write.set(old);
    write.set(old, blockBytes);
    new DataView(write.buffer).setUint32(blockBytes + at, this.counted + 1);
    const answer = await client.command(compareAndWrite(0, 1), { lun: this.#lun, write });
    if (answer.status === good) this.counted += 1;
    else if (senseCode(answer.sense) === miscompare) this.miscompares += 1;
    else throw new Error(`compare and write: ${senseCode(answer.sense).toString(16)}`);
  }
}

it('two initiators count with compare-and-write through kills of the engine, and lose nothing', async () => {
  const lun = await makeLun('counters');
  const counters = [new Counter(lun, 0), new Counter(lun, 1)];
  let isOver = false;
  const running = counters.map(async (counter) => {
    await counter.run(() => isOver);
  });
  for (let kill = 0; kill < 3; kill += 1) {
    await sleep(1000);
    await target.killEngine();
  }
  await sleep(1000);
  isOver = true;
  await Promise.all(running);
  const client = await login(110);
  const answer = await settled(
    client,
    async () => await client.command(read16(0, 1), { lun, readBytes: blockBytes }),
  );
  const block = new DataView(answer.data.buffer, answer.data.byteOffset);
  for (const [half, counter] of counters.entries()) {
    expect(block.getUint32(half * 256)).toBe(counter.counted);
    expect(counter.counted).toBeGreaterThan(20);
    expect(counter.reconnects).toBeGreaterThanOrEqual(3);
  }
  // They really competed.
  expect(counters.reduce((sum, each) => sum + each.miscompares, 0)).toBeGreaterThan(0);
  client.destroy();
});

async function reserve(client: IscsiClient, lun: number, isKept: boolean): Promise<void> {
  const register = reserveParameters(0n, 0xabcn, isKept);
  await settled(
    client,
    async () => await client.command(persistentReserveOut(6, 0), { lun, write: register }),
  );
  const answer = await client.command(persistentReserveOut(1, writeExclusive), {
    lun,
    write: reserveParameters(0xabcn, 0n, false),
  });
  expect(answer.status).toBe(good);
}

async function writeStatus(client: IscsiClient, lun: number): Promise<number> {
  const write = new Uint8Array(blockBytes);
  const run = async (): Promise<Answer> => await client.command(write16(0, 1), { lun, write });
  return (await settled(client, run)).status;
}

it.each([
  { isKept: true, after: reservationConflict, title: 'with APTPL outlives the engine' },
  { isKept: false, after: good, title: 'without APTPL ends with the engine' },
])('a persistent reservation $title', async ({ isKept, after }) => {
  const lun = await makeLun(isKept ? 'kept' : 'dropped');
  const owner = await login(120);
  const other = await login(121, `${name}-other`);
  await reserve(owner, lun, isKept);
  expect(await writeStatus(owner, lun)).toBe(good);
  expect(await writeStatus(other, lun)).toBe(reservationConflict);
  await target.killEngine();
  const ownerAgain = await login(120);
  const otherAgain = await login(121, `${name}-other`);
  expect(await writeStatus(otherAgain, lun)).toBe(after);
  expect(await writeStatus(ownerAgain, lun)).toBe(good);
  const keys = await settled(
    ownerAgain,
    async () => await ownerAgain.command(persistentReserveIn(0, 64), { lun, readBytes: 64 }),
  );
  expect(new DataView(keys.data.buffer, keys.data.byteOffset).getUint32(4)).toBe(isKept ? 8 : 0);
  for (const client of [owner, other, ownerAgain, otherAgain]) client.destroy();
});

async function naa(client: IscsiClient, lun: number): Promise<Uint8Array> {
  const page = await settled(
    client,
    async () => await client.command(inquiryPage(0x83, 1024), { lun, readBytes: 1024 }),
  );
  return naaOf(page.data);
}

it('EXTENDED COPY reaches every unit that the initiator sees, and no other', async () => {
  const tenant = `${name}-tenant`;
  await target.appliance.api('POST', '/v1/hosts', { name: 'tenant', initiators: [tenant] });
  const from = await makeLun('copied', 'tenant');
  const to = await makeLun('copy', 'tenant');
  const foreign = await makeLun('foreign');
  const client = await login(130, tenant);
  const stranger = await login(131);
  const secret = new Uint8Array(mebi).fill(0x77);
  const mine = new Uint8Array(mebi).fill(0x66);
  await settled(client, async () => await client.command(testUnitReady(), { lun: from }));
  await settled(client, async () => await client.command(testUnitReady(), { lun: to }));
  await settled(stranger, async () => await stranger.command(testUnitReady(), { lun: foreign }));
  await stranger.command(write16(0, 2048), { lun: foreign, write: secret });
  await client.command(write16(0, 2048), { lun: from, write: mine });
  const segment = { sourceLba: 0, destinationLba: 4096, blockCount: 2048 };
  const copy = async (source: Uint8Array, destination: Uint8Array): Promise<Answer> => {
    const write = copyParameters({ ...segment, sourceNaa: source, destinationNaa: destination });
    return await client.command(extendedCopy(write.length), { lun: to, write });
  };
  const naaOfForeign = await naa(stranger, foreign);
  const [naaFrom, naaTo] = [await naa(client, from), await naa(client, to)];

  const allowed = await copy(naaFrom, naaTo);
  expect(allowed.status).toBe(good);
  const copied = await client.command(read16(4096, 2048), { lun: to, readBytes: mebi });
  expect(Buffer.compare(copied.data, mine)).toBe(0);

  for (const [source, destination] of [
    [naaOfForeign, naaTo],
    [naaFrom, naaOfForeign],
  ] as const) {
    const refused = await copy(source, destination);
    expect(refused.status).toBe(checkCondition);
    // COPY ABORTED, COPY TARGET DEVICE NOT REACHABLE (SPC-4 6.3.3).
    expect(senseCode(refused.sense)).toBe(0x0a_0d_02);
  }
  const untouched = await stranger.command(read16(4096, 2048), { lun: foreign, readBytes: mebi });
  expect(untouched.data.every((byte) => byte === 0)).toBe(true);
  const unread = await client.command(read16(4096, 2048), { lun: to, readBytes: mebi });
  expect(Buffer.compare(unread.data, mine)).toBe(0);
  client.destroy();
  stranger.destroy();
});

it('GET LBA STATUS begins with the block that was asked for, also inside a physical block', async () => {
  const lun = await makeLun('status');
  const client = await login(140);
  await settled(client, async () => await client.command(testUnitReady(), { lun }));
  const write = new Uint8Array(8 * blockBytes).fill(1);
  await client.command(write16(8, 8), { lun, write });
  const descriptorOf = async (lba: number): Promise<DataView> => {
    const answer = await client.command(getLbaStatus(lba, 24), { lun, readBytes: 24 });
    expect(answer.status).toBe(good);
    return new DataView(answer.data.buffer, answer.data.byteOffset + 8, 16);
  };
  for (const [lba, blocks, provisioning] of [
    [0, 8, 1],
    [3, 5, 1],
    [8, 8, 0],
    [9, 7, 0],
    [15, 1, 0],
  ] as const) {
    const descriptor = await descriptorOf(lba);
    expect(Number(descriptor.getBigUint64(0))).toBe(lba);
    expect(descriptor.getUint32(8)).toBe(blocks);
    expect(descriptor.getUint8(12)).toBe(provisioning);
  }
  client.destroy();
});
