/** CHAP, RFC 7143 section 12.1.3. The expected responses are computed here, from the standard's formula. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { ChapCredentials } from '../../../src/iscsi/hosts.ts';
import {
  Flags,
  initiatorName,
  type LoginPeer,
  LoginWorld,
  type SentResponse,
  whoKeys,
} from '../../support/login-world.ts';

const credentials: ChapCredentials = { userName: 'esx', secret: Buffer.from('secret of esx 1') };
const mutual: ChapCredentials = {
  ...credentials,
  outName: 'tidemark',
  outSecret: Buffer.from('secret of ours 1'),
};
const authenticationFailure = 0x0201;

const hashes: Readonly<Record<string, string>> = {
  5: 'md5',
  6: 'sha1',
  7: 'sha256',
  8: 'sha3-256',
};

function respond(asked: SentResponse, secret: Uint8Array, algorithm = '5'): Buffer {
  const challenge = Buffer.from(asked.keys['CHAP_C']?.slice(2) ?? '', 'hex');
  const identifier = Buffer.from([Number(asked.keys['CHAP_I'])]);
  return createHash(hashes[algorithm] ?? '')
    .update(identifier)
    .update(secret)
    .update(challenge)
    .digest();
}

function hexOf(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes).toString('hex')}`;
}

function worldWith(chap: ChapCredentials): LoginWorld {
  const world = new LoginWorld();
  world.hosts.chap = chap;
  return world;
}

/** Up to our challenge. */
function challenged(peer: LoginPeer, algorithms = '5'): SentResponse {
  const flags = Flags.security;
  peer.ask({ ...whoKeys, AuthMethod: 'CHAP,None' }, { flags });
  return peer.ask({ CHAP_A: algorithms }, { flags });
}

function finish(peer: LoginPeer, keys: Readonly<Record<string, string>>): SentResponse {
  return peer.ask(keys, { flags: Flags.securityToOperational });
}

function proof(
  asked: SentResponse,
  userName = 'esx',
  secret = credentials.secret,
): Record<string, string> {
  return { CHAP_N: userName, CHAP_R: hexOf(respond(asked, secret)) };
}

describe('CHAP', () => {
  it.each(['5', '6', '7', '8'])('algorithm %s: the right response logs in', (algorithm) => {
    const peer = worldWith(credentials).connect();
    const asked = challenged(peer, algorithm);
    expect(asked.keys['CHAP_A']).toBe(algorithm);
    expect(asked.isTransit).toBe(false);
    const response = respond(asked, credentials.secret, algorithm);
    const answer = finish(peer, { CHAP_N: 'esx', CHAP_R: hexOf(response) });
    expect(answer).toMatchObject({ status: 0, isTransit: true, nextStage: 1, keys: {} });
    expect(peer.ask({})).toMatchObject({ status: 0, isTransit: true, tsih: 1 });
    expect(peer.outcome).toMatchObject({ initiatorName, host: 'esx' });
  });

  it("takes the initiator's first algorithm that we have", () => {
    expect(challenged(worldWith(credentials).connect(), '5,6,7,8').keys['CHAP_A']).toBe('5');
    expect(challenged(worldWith(credentials).connect(), '8,5').keys['CHAP_A']).toBe('8');
    expect(challenged(worldWith(credentials).connect(), '99,56,7').keys['CHAP_A']).toBe('7');
  });

  it.each(['56', '', '5 ', '0x5', ',', '05'])('no algorithm in "%s": refused', (algorithms) => {
    const peer = worldWith(credentials).connect();
    expect(challenged(peer, algorithms).status).toBe(authenticationFailure);
    expect(peer.refusal?.reason).toContain('algorithm');
  });

  it('takes the response in base64', () => {
    const peer = worldWith(credentials).connect();
    const response = respond(challenged(peer), credentials.secret);
    const base64 = `0b${response.toString('base64')}`;
    expect(finish(peer, { CHAP_N: 'esx', CHAP_R: base64 }).status).toBe(0);
  });

  it.each([
    [
      'base64 that is too long',
      (right: Buffer) => `0b${Buffer.concat([right, right]).toString('base64')}`,
    ],
    ['hex that is too long', (right: Buffer) => `${hexOf(right)}00`],
    ['hex that is too short', (right: Buffer) => hexOf(right).slice(0, -2)],
    ['no prefix', (right: Buffer) => right.toString('hex')],
    ['nothing', () => ''],
    ['one bit wrong', (right: Buffer) => hexOf(right.fill((right[3] ?? 0) ^ 1, 3, 4))],
  ])('a response that is %s: refused', (_name, spoil) => {
    const peer = worldWith(credentials).connect();
    const response = respond(challenged(peer), credentials.secret);
    const answer = finish(peer, { CHAP_N: 'esx', CHAP_R: spoil(response) });
    expect(answer).toMatchObject({ status: authenticationFailure, isTransit: false });
    expect(peer.refusal?.status).toBe(authenticationFailure);
  });

  it('a wrong name is refused as a wrong secret is, with the same words', () => {
    const [one, other] = [worldWith(credentials).connect(), worldWith(credentials).connect()];
    finish(one, proof(challenged(one), 'esy'));
    finish(other, proof(challenged(other), 'esx', Buffer.from('wrong secret')));
    expect(one.refusal).toEqual(other.refusal);
    expect(one.refusal?.status).toBe(authenticationFailure);
  });

  it.each(['0xesx', '0x657378', '0b657378', '0bZXN4', '00ff'])(
    'the name %s is plain text',
    (userName) => {
      const peer = worldWith({ ...credentials, userName }).connect();
      expect(finish(peer, proof(challenged(peer), userName)).status).toBe(0);
      const other = worldWith(credentials).connect();
      expect(finish(other, proof(challenged(other), userName)).status).toBe(authenticationFailure);
    },
  );

  it('identifier and challenge are fresh for every attempt, and closed after it', () => {
    const world = worldWith(credentials);
    const seen = new Set<string | undefined>();
    for (let attempt = 0; attempt < 50; attempt += 1) {
      const peer = world.connect();
      const asked = challenged(peer);
      seen.add(asked.keys['CHAP_C']);
      expect(world.challenges.openCount).toBe(1);
      if (attempt % 3 === 0) finish(peer, proof(asked, 'wrong'));
      else if (attempt % 3 === 1) peer.login.close();
      else {
        finish(peer, proof(asked));
        peer.ask({});
      }
      expect(world.challenges.openCount).toBe(0);
    }
    expect(seen.size).toBe(50);
  });

  it('an old response does not answer a new challenge', () => {
    const world = worldWith(credentials);
    const first = world.connect();
    const keys = proof(challenged(first));
    expect(finish(first, keys).status).toBe(0);
    const second = world.connect();
    challenged(second);
    expect(finish(second, keys).status).toBe(authenticationFailure);
  });
});

describe('CHAP steps out of order', () => {
  const cases: readonly (readonly [string, (peer: LoginPeer) => SentResponse])[] = [
    [
      'CHAP_A with AuthMethod',
      (peer) => peer.ask({ ...whoKeys, AuthMethod: 'CHAP', CHAP_A: '5' }, { flags: 0 }),
    ],
    ['CHAP_A without AuthMethod', (peer) => peer.ask({ ...whoKeys, CHAP_A: '5' }, { flags: 0 })],
    [
      'a response before the challenge',
      (peer) => {
        peer.ask({ ...whoKeys, AuthMethod: 'CHAP' }, { flags: 0 });
        return peer.ask({ CHAP_N: 'esx', CHAP_R: '0x00' }, { flags: 0 });
      },
    ],
    [
      'a response without name',
      (peer) => {
        const { CHAP_R } = proof(challenged(peer));
        return finish(peer, { CHAP_R: CHAP_R ?? '' });
      },
    ],
    [
      'the algorithm asked twice',
      (peer) => {
        challenged(peer);
        return peer.ask({ CHAP_A: '5' }, { flags: 0 });
      },
    ],
    ['None only', (peer) => peer.ask({ ...whoKeys, AuthMethod: 'None' }, { flags: 0 })],
    ['no method, straight on', (peer) => peer.ask(whoKeys, { flags: Flags.securityToOperational })],
    ['no security stage', (peer) => peer.ask(whoKeys)],
    [
      'security keys in the operational stage',
      (peer) => {
        finish(peer, proof(challenged(peer)));
        return peer.ask({ CHAP_I: '5' });
      },
    ],
  ];

  it.each(cases)('%s: refused', (_name, act) => {
    const peer = worldWith(credentials).connect();
    expect([0x0200, 0x0201]).toContain(act(peer).status);
    expect(peer.refusal).toBeDefined();
    expect(peer.outcome).toBeUndefined();
  });

  it('asking for the next stage before the proof is not granted', () => {
    const peer = worldWith(credentials).connect();
    const flags = Flags.securityToFull;
    const first = peer.ask({ ...whoKeys, AuthMethod: 'None,CHAP' }, { flags });
    expect(first).toMatchObject({ status: 0, isTransit: false, keys: { AuthMethod: 'CHAP' } });
    expect(peer.ask({ CHAP_A: '5' }, { flags }).isTransit).toBe(false);
    expect(peer.ask({}, { flags }).isTransit).toBe(false);
    expect(peer.outcome).toBeUndefined();
  });

  it('a host without secrets is not asked, and cannot ask to be', () => {
    const open = new LoginWorld().connect();
    const answer = open.ask(
      { ...whoKeys, AuthMethod: 'CHAP,None' },
      { flags: Flags.securityToFull },
    );
    expect(answer.keys['AuthMethod']).toBe('None');
    expect(open.outcome).toBeDefined();
    const insisting = new LoginWorld().connect();
    expect(insisting.ask({ ...whoKeys, AuthMethod: 'CHAP' }, { flags: 0 }).status).toBe(0x0201);
  });

  it('discovery is proven with its own secrets', () => {
    const world = worldWith(credentials);
    const keys = {
      InitiatorName: initiatorName,
      SessionType: 'Discovery',
      AuthMethod: 'CHAP,None',
    };
    const open = world.connect();
    open.ask(keys, { flags: Flags.securityToFull });
    expect(open.outcome?.kind).toBe('discovery');
    world.hosts.discovery = { userName: 'finder', secret: Buffer.from('secret of discovery') };
    const closed = world.connect();
    closed.ask(keys, { flags: 0 });
    const asked = closed.ask({ CHAP_A: '7,5' }, { flags: 0 });
    const response = respond(asked, Buffer.from('secret of discovery'), '7');
    closed.ask({ CHAP_N: 'finder', CHAP_R: hexOf(response) }, { flags: Flags.securityToFull });
    expect(closed.outcome?.kind).toBe('discovery');
  });
});

const reflect = (peer: LoginPeer, asked: SentResponse, given: SentResponse): SentResponse =>
  finish(peer, { ...proof(asked), CHAP_I: '1', CHAP_C: given.keys['CHAP_C'] ?? '' });

describe('mutual CHAP', () => {
  it.each(['hex', 'base64'] as const)('we prove ourselves to a challenge in %s', (form) => {
    const peer = worldWith(mutual).connect();
    const asked = challenged(peer, '7');
    const theirs = Buffer.from('a challenge of the initiator');
    const CHAP_C = form === 'hex' ? hexOf(theirs) : `0b${theirs.toString('base64')}`;
    const CHAP_R = hexOf(respond(asked, mutual.secret, '7'));
    const answer = finish(peer, { CHAP_N: 'esx', CHAP_R, CHAP_I: '0x2a', CHAP_C });
    const ours = createHash('sha256')
      .update(Buffer.from([0x2a]))
      .update(mutual.outSecret ?? '')
      .update(theirs)
      .digest();
    expect(answer.keys).toEqual({ CHAP_N: 'tidemark', CHAP_R: hexOf(ours) });
    expect(answer.isTransit).toBe(true);
  });

  it('our own challenge given back is refused', () => {
    const peer = worldWith(mutual).connect();
    const asked = challenged(peer);
    expect(reflect(peer, asked, asked).status).toBe(authenticationFailure);
    expect(peer.refusal?.reason).toContain('reflected');
  });

  it('our challenge of another connection given back is refused, in base64, too', () => {
    const world = worldWith(mutual);
    const [one, other] = [world.connect(), world.connect()];
    const [asked, victim] = [challenged(one), challenged(other)];
    expect(reflect(one, asked, victim).status).toBe(authenticationFailure);
    const again = world.connect();
    const bytes = Buffer.from(victim.keys['CHAP_C']?.slice(2) ?? '', 'hex');
    const CHAP_C = `0b${bytes.toString('base64')}`;
    const answer = finish(again, { ...proof(challenged(again)), CHAP_I: '1', CHAP_C });
    expect(answer.status).toBe(authenticationFailure);
    expect(again.refusal?.reason).toContain('reflected');
  });

  it.each([
    ['no identifier', { CHAP_C: '0x0011' }],
    ['no challenge', { CHAP_I: '1' }],
    ['an identifier above 255', { CHAP_I: '256', CHAP_C: '0x0011' }],
    ['an empty challenge', { CHAP_I: '1', CHAP_C: '0x' }],
    ['a challenge that is no binary', { CHAP_I: '1', CHAP_C: 'zz' }],
  ] as readonly (readonly [string, Record<string, string>])[])('%s: refused', (_name, keys) => {
    const peer = worldWith(mutual).connect();
    expect(finish(peer, { ...proof(challenged(peer)), ...keys }).status).toBe(
      authenticationFailure,
    );
  });

  it('a challenge of 1024 bytes is taken, one of 1025 is refused', () => {
    for (const [size, status] of [
      [1024, 0],
      [1025, 0x0201],
    ] as const) {
      const peer = worldWith(mutual).connect();
      const CHAP_C = `0b${Buffer.alloc(size, 7).toString('base64')}`;
      expect(finish(peer, { ...proof(challenged(peer)), CHAP_I: '1', CHAP_C }).status).toBe(status);
    }
  });

  it('we do not prove ourselves to one that has not, nor without a secret, nor with the same one', () => {
    const ask = { CHAP_I: '1', CHAP_C: '0x0011' };
    const liar = worldWith(mutual).connect();
    const refused = finish(liar, {
      ...proof(challenged(liar), 'esx', Buffer.from('wrong')),
      ...ask,
    });
    expect(refused).toMatchObject({ status: authenticationFailure, keys: {} });
    const oneWay = worldWith(credentials).connect();
    expect(finish(oneWay, { ...proof(challenged(oneWay)), ...ask }).status).toBe(0x0201);
    const same = worldWith({ ...mutual, outSecret: mutual.secret }).connect();
    expect(finish(same, { ...proof(challenged(same)), ...ask })).toMatchObject({
      status: 0x0201,
      keys: {},
    });
  });
});
