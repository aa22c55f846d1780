/** Clients that want in without the right to, or that send what no initiator sends. Whatever they do, honest ones are served. */
import crypto from 'node:crypto';
import net from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IscsiAppliance } from '../support/iscsi-appliance.ts';
import { IscsiClient, type LoginAnswer } from '../support/iscsi-client.ts';
import { operationalKeys } from '../support/iscsi-payload.ts';
import { sleep } from '../support/run.ts';
import { testUnitReady } from '../support/scsi-cdb.ts';

const initiatorName = 'iqn.2026-11.org.tidemark.test:hostile';
const user = 'the-host';
const secret = 'secret-of-the-host';
const targetUser = 'the-pool';
const targetSecret = 'secret-of-the-pool';
const authenticationFailed = 0x02_01;
const security = { stage: 0, nextStage: 1, isTransit: false };
/** Numbers of CHAP's algorithms, RFC 7143 section 12.1.4 and RFC 7143's registry. */
const md5 = '5';
const fuzzRounds = 300;
const seed = Number(process.env['ISCSI_FUZZ_SEED'] ?? crypto.randomInt(2 ** 31));

let target: IscsiAppliance;

beforeAll(async () => {
  console.log(`ISCSI_FUZZ_SEED=${seed}`);
  target = await IscsiAppliance.start();
  await target.appliance.api('POST', '/v1/hosts', {
    name: 'guarded',
    initiators: [initiatorName],
    chapIn: { user, secret },
    chapOut: { user: targetUser, secret: targetSecret },
  });
  await target.appliance.volumeCreate('guarded', 16 << 20);
  await target.lunMap('guarded', { host: 'guarded', lun: 0 });
});

afterAll(async () => {
  await target.remove();
});

async function open(): Promise<IscsiClient> {
  return await IscsiClient.open(target.ports[0] ?? 0);
}

function identity(): Record<string, string> {
  return { InitiatorName: initiatorName, SessionType: 'Normal', TargetName: target.targetName };
}

function responseTo(challenge: string, id: string, withSecret: string): string {
  const hash = crypto.createHash('md5');
  hash.update(Buffer.from([Number(id)]));
  hash.update(withSecret);
  hash.update(bytesOf(challenge));
  return `0x${hash.digest('hex')}`;
}

/** A large binary value: 0x in hex or 0b in base64. */
function bytesOf(value: string): Buffer {
  return Buffer.from(value.slice(2), /^0b/i.test(value) ? 'base64' : 'hex');
}

interface Challenge {
  readonly client: IscsiClient;
  readonly id: string;
  readonly challenge: string;
}

/** Goes as far as an honest initiator goes before it must know the secret. */
async function challenged(algorithms = md5): Promise<Challenge> {
  const client = await open();
  const first = await client.loginStep({ ...identity(), AuthMethod: 'CHAP' }, security);
  expect(first.keys.get('AuthMethod')).toBe('CHAP');
  const second = await client.loginStep({ CHAP_A: algorithms }, security);
  const id = second.keys.get('CHAP_I') ?? '';
  const challenge = second.keys.get('CHAP_C') ?? '';
  expect(bytesOf(challenge).length).toBeGreaterThanOrEqual(16);
  return { client, id, challenge };
}

async function refused(client: IscsiClient, answer: Promise<LoginAnswer>): Promise<void> {
  // A refusal is a login response with an error class, or the end of the connection.
  const status = await answer.then(
    (each) => each.status,
    () => authenticationFailed,
  );
  expect(status >> 8).toBe(2);
  await client.closed;
}

const finish = { stage: 0, nextStage: 1, isTransit: true };

describe('CHAP', () => {
  it('the right secret opens the session, and the target proves its own', async () => {
    const { client, id, challenge } = await challenged();
    const mine = crypto.randomBytes(16).toString('hex');
    const answer = await client.loginStep(
      {
        CHAP_N: user,
        CHAP_R: responseTo(challenge, id, secret),
        CHAP_I: '77',
        CHAP_C: `0x${mine}`,
      },
      finish,
    );
    expect(answer.status).toBe(0);
    expect(answer.keys.get('CHAP_N')).toBe(targetUser);
    const proof = bytesOf(answer.keys.get('CHAP_R') ?? '0x');
    expect(`0x${proof.toString('hex')}`).toBe(responseTo(`0x${mine}`, '77', targetSecret));
    const done = await client.loginStep({ HeaderDigest: 'None', InitialR2T: 'Yes' }, { stage: 1 });
    expect(done.status).toBe(0);
    expect((await client.command(testUnitReady())).status).toBe(2);
    expect((await client.command(testUnitReady())).status).toBe(0);
    await client.logout();
  });

  it('a reflected challenge is refused: the target does not compute our answer for us', async () => {
    const { client, challenge, id } = await challenged();
    const keys = { CHAP_N: user, CHAP_R: `0x${'00'.repeat(16)}`, CHAP_I: id, CHAP_C: challenge };
    await refused(client, client.loginStep(keys, finish));
  });

  it('the challenge of one connection, sent on another, is refused as well', async () => {
    const first = await challenged();
    const second = await challenged();
    const keys = {
      CHAP_N: user,
      CHAP_R: responseTo(first.challenge, first.id, secret),
      CHAP_I: '1',
      CHAP_C: `0x${'ab'.repeat(16)}`,
    };
    await refused(second.client, second.client.loginStep(keys, finish));
    first.client.destroy();
  });

  it.each([
    [
      'a wrong secret',
      (c: Challenge) => ({ CHAP_N: user, CHAP_R: responseTo(c.challenge, c.id, 'x') }),
    ],
    [
      'a wrong user',
      (c: Challenge) => ({ CHAP_N: 'x', CHAP_R: responseTo(c.challenge, c.id, secret) }),
    ],
    [
      'the secret of the target',
      (c: Challenge) => ({ CHAP_N: user, CHAP_R: responseTo(c.challenge, c.id, targetSecret) }),
    ],
    ['an empty response', () => ({ CHAP_N: user, CHAP_R: '0x' })],
    ['a response without a number', () => ({ CHAP_N: user, CHAP_R: 'zz' })],
    ['a response of a mebibyte', () => ({ CHAP_N: user, CHAP_R: `0x${'41'.repeat(3900)}` })],
    ['no response', () => ({ CHAP_N: user })],
    ['no name', (c: Challenge) => ({ CHAP_R: responseTo(c.challenge, c.id, secret) })],
  ])('%s is refused', async (_, keysOf) => {
    const challenge = await challenged();
    const keys: Record<string, string> = keysOf(challenge);
    await refused(challenge.client, challenge.client.loginStep(keys, finish));
  });

  it.each(['56', '0', '', '999999999999', '-5', 'MD5'])('CHAP_A=%s fails', async (algorithm) => {
    const client = await open();
    await client.loginStep({ ...identity(), AuthMethod: 'CHAP' }, security);
    await refused(client, client.loginStep({ CHAP_A: algorithm }, security));
  });

  it('nobody gets past the security stage without proof', async () => {
    const attempts: readonly (readonly [Record<string, string>, object])[] = [
      [{ ...identity(), ...operationalKeys({ initiatorName }) }, { stage: 1 }],
      [
        { ...identity(), AuthMethod: 'None' },
        { stage: 0, nextStage: 1 },
      ],
      [
        { ...identity(), AuthMethod: 'None' },
        { stage: 0, nextStage: 3 },
      ],
      [identity(), { stage: 0, nextStage: 3 }],
      [identity(), { stage: 1 }],
      [
        { ...identity(), AuthMethod: 'KRB5,SRP' },
        { stage: 0, nextStage: 1 },
      ],
    ];
    for (const [keys, step] of attempts) {
      const client = await open();
      const answer = await client.loginStep(keys, step).catch(() => undefined);
      const isIn = answer?.status === 0 && answer.isTransit && answer.nextStage === 3;
      expect(isIn).toBe(false);
      if (answer?.status === 0) expect(answer.isTransit).toBe(false);
      client.destroy();
    }
  });

  it('asking for full feature phase in the middle of CHAP gets nobody in', async () => {
    const { client } = await challenged();
    const answer = client.loginStep({ CHAP_N: user }, { stage: 0, nextStage: 3, isTransit: true });
    await refused(client, answer);
    const other = await challenged();
    const skipped = other.client.loginStep(operationalKeys({ initiatorName }), { stage: 1 });
    await refused(other.client, skipped);
  });

  it('saying nothing gets nobody further', async () => {
    const { client } = await challenged();
    const answer = await client.loginStep({}, finish);
    expect(answer.isTransit).toBe(false);
    client.destroy();
  });

  it('200 failures leave no session and no trouble behind', async () => {
    await Promise.all(
      Array.from({ length: 200 }, async () => {
        const { client, challenge, id } = await challenged();
        const keys = { CHAP_N: user, CHAP_R: responseTo(challenge, id, 'guess') };
        await refused(client, client.loginStep(keys, finish));
      }),
    );
    const { sessions } = (await target.appliance.api('GET', '/v1/sessions')) as {
      readonly sessions: readonly unknown[];
    };
    expect(sessions).toEqual([]);
  });

  it('no secret is told by the API', async () => {
    for (const path of ['/v1/hosts', '/v1/hosts/guarded', '/v1/luns', '/v1/sessions', '/v1/pool']) {
      const text = JSON.stringify(await target.appliance.api('GET', path));
      expect(text).not.toContain(secret);
      expect(text).not.toContain(targetSecret);
    }
    expect(target.appliance.output).not.toContain(secret);
  });
});

/** A repeatable sequence of numbers below `limit`. */
function randomSequence(start: number): (limit: number) => number {
  let state = start >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** Sends bytes and waits a moment for whatever comes; the connection is ours to end. */
async function throwAt(port: number, bytes: Uint8Array): Promise<void> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.resume();
  socket.write(bytes);
  await sleep(5);
  socket.destroy();
}

/** A login request as it should be, to be damaged. */
function soundLogin(): Uint8Array {
  const text = Buffer.from(
    Object.entries(
      operationalKeys({ initiatorName: `${initiatorName}-2`, targetName: target.targetName }),
    )
      .map(([key, value]) => `${key}=${value}\0`)
      .join(''),
  );
  const padded = (text.length + 3) & ~3;
  const bytes = new Uint8Array(48 + padded);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x43);
  view.setUint8(1, 0x87);
  view.setUint32(4, text.length);
  view.setUint8(8, 0x80);
  view.setUint32(24, 1);
  bytes.set(text, 48);
  return bytes;
}

describe('raw PDUs', () => {
  it(`${fuzzRounds} damaged logins and ${fuzzRounds} damaged sessions harm nobody`, async () => {
    const random = randomSequence(seed);
    const port = target.ports[0] ?? 0;
    for (let round = 0; round < fuzzRounds; round += 1) {
      const bytes = soundLogin();
      const isHeader = round % 2 === 0;
      for (let flips = 1 + random(6); flips > 0; flips -= 1) {
        const at = isHeader ? random(48) : random(bytes.length);
        bytes[at] = random(256);
      }
      const cut = random(3) === 0 ? random(bytes.length) : bytes.length;
      await throwAt(port, bytes.subarray(0, cut));
    }
    for (let round = 0; round < fuzzRounds; round += 1) {
      // A good login, and at once a PDU of random bytes with a likely opcode and a bounded length.
      const junk = new Uint8Array(48 + 4 * random(64));
      for (let at = 0; at < junk.length; at += 1) junk[at] = random(256);
      junk[0] = [0, 1, 2, 3, 4, 5, 6, 0x10, 0x1c, 0x41, 0x42, 0x44][random(12)] ?? 0;
      junk[4] = random(4) === 0 ? random(4) : 0;
      junk[5] = 0;
      junk[6] = random(4);
      await throwAt(port, Buffer.concat([soundLogin(), junk]));
    }
    // The engine is the same as before, and serves.
    const client = await IscsiClient.login(port, {
      initiatorName: `${initiatorName}-3`,
      targetName: target.targetName,
    });
    await client.command(testUnitReady());
    expect((await client.command(testUnitReady())).status).toBe(0);
    await client.logout();
    expect(target.appliance.output).not.toMatch(/assert|uncaught|engine ended/i);
  });
});
