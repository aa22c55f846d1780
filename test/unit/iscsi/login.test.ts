/** Login phase, RFC 7143 section 6.3. */
import { describe, expect, it } from 'vitest';
import { loginMs, loginPdusMax } from '../../../src/iscsi/limits.ts';
import type { Admittance } from '../../../src/iscsi/login.ts';
import {
  type LoginEvent,
  type LoginState,
  loginEventOf,
  loginTable,
} from '../../../src/iscsi/login-table.ts';
import {
  Flags,
  initiatorName,
  type LoginPeer,
  LoginWorld,
  targetName,
  textBytes,
  textKeys,
  whoKeys,
} from '../../support/login-world.ts';

const connect = (): LoginPeer => new LoginWorld().connect();

describe('a login', () => {
  it('of one PDU: operational stage at once', () => {
    const peer = connect();
    const answer = peer.ask({
      ...whoKeys,
      InitiatorAlias: 'esx',
      HeaderDigest: 'CRC32C,None',
      Foo: '1',
    });
    expect(answer).toMatchObject({
      opcode: 0x23,
      status: 0,
      isTransit: true,
      isContinued: false,
      currentStage: 1,
      nextStage: 3,
      tsih: 1,
      statSn: 7,
      expCmdSn: 100,
      maxCmdSn: 227,
      keys: {
        TargetPortalGroupTag: '5',
        HeaderDigest: 'CRC32C',
        Foo: 'NotUnderstood',
        MaxRecvDataSegmentLength: '262144',
      },
    });
    expect(peer.outcome).toMatchObject({
      kind: 'normal',
      initiatorName,
      initiatorAlias: 'esx',
      targetName,
      host: 'esx',
      tsih: 1,
      cid: 1,
      portalGroupTag: 5,
      expCmdSn: 100,
      statSn: 8,
      parameters: { hasHeaderDigest: true, hasDataDigest: false },
    });
    expect(Buffer.from(peer.outcome?.isid ?? []).toString('hex')).toBe('00023d000001');
    expect(peer.outcome).not.toHaveProperty('chap');
  });

  it('of three stages, as a careful initiator does it', () => {
    const peer = connect();
    const first = peer.ask(
      { ...whoKeys, AuthMethod: 'None' },
      { flags: Flags.securityToOperational },
    );
    expect(first).toMatchObject({
      currentStage: 0,
      nextStage: 1,
      isTransit: true,
      tsih: 0,
      statSn: 7,
    });
    expect(first.keys).toEqual({ TargetPortalGroupTag: '5', AuthMethod: 'None' });
    const second = peer.ask({ InitialR2T: 'No' }, { flags: Flags.operational });
    expect(second).toMatchObject({ isTransit: false, nextStage: 0, statSn: 8 });
    expect(second.keys).toEqual({ InitialR2T: 'No', MaxRecvDataSegmentLength: '262144' });
    const third = peer.ask({ ImmediateData: 'Yes' });
    expect(third).toMatchObject({ isTransit: true, nextStage: 3, tsih: 1, statSn: 9 });
    expect(third.keys).toEqual({ ImmediateData: 'Yes' });
    expect(peer.outcome?.statSn).toBe(10);
  });

  it('from the security stage straight to full feature: the defaults hold', () => {
    const peer = connect();
    expect(peer.ask(whoKeys, { flags: Flags.securityToFull }).isTransit).toBe(true);
    expect(peer.outcome?.parameters.initiatorMaxRecvDataSegmentLength).toBe(8192);
  });

  it('of a discovery session has no target and no portal group', () => {
    const peer = connect();
    const answer = peer.ask({
      InitiatorName: initiatorName,
      SessionType: 'Discovery',
      MaxBurstLength: '512',
    });
    expect(answer.keys).toEqual({
      MaxBurstLength: 'Irrelevant',
      MaxRecvDataSegmentLength: '262144',
    });
    expect(peer.outcome).toMatchObject({ kind: 'discovery', targetName: '', host: '' });
  });

  it('folds names, so that one initiator is one initiator', () => {
    const peer = connect();
    peer.ask({ InitiatorName: initiatorName.toUpperCase(), TargetName: targetName.toUpperCase() });
    expect(peer.outcome).toMatchObject({ initiatorName, targetName });
  });

  it('tells the hosts where the initiator connects from', () => {
    const world = new LoginWorld();
    world.connect('192.0.2.7').ask(whoKeys);
    expect(world.hosts.asked).toContainEqual({ name: initiatorName, address: '192.0.2.7' });
    expect(new Set(world.hosts.asked.map(({ address }) => address)).size).toBe(1);
  });

  it('takes a request without the immediate bit', () => {
    const peer = connect();
    expect(peer.ask(whoKeys, { opcode: 0x03 }).status).toBe(0);
  });

  it('numbers wrap', () => {
    const peer = connect();
    const bits = { cmdSn: 0xffff_fffe, expStatSn: 0xffff_ffff };
    const first = peer.ask(whoKeys, { ...bits, flags: Flags.operational });
    expect(first).toMatchObject({ statSn: 0xffff_ffff, expCmdSn: 0xffff_fffe, maxCmdSn: 125 });
    expect(peer.ask({}, bits).statSn).toBe(0);
  });
});

describe('texts in several PDUs', () => {
  it('a text cut anywhere means the same', () => {
    const keys = { ...whoKeys, InitiatorAlias: 'a b', HeaderDigest: 'CRC32C', DataDigest: 'None' };
    const whole = connect();
    const expected = whole.ask(keys);
    const text = textBytes(keys);
    for (let cut = 0; cut <= text.length; cut += 1) {
      const peer = connect();
      const empty = peer.send({ flags: 0x44 }, text.subarray(0, cut));
      expect(empty).toMatchObject({ isTransit: false, isContinued: false, status: 0 });
      expect(empty?.text).toHaveLength(0);
      const answer = peer.send({}, text.subarray(cut));
      expect(answer?.keys).toEqual(expected.keys);
      expect(peer.outcome?.parameters).toEqual(whole.outcome?.parameters);
    }
  });

  it('an answer longer than 8 KiB comes in pieces, fetched by empty requests', () => {
    const keys = Object.fromEntries(
      Array.from({ length: 200 }, (_, index) => [`X-${'k'.repeat(50)}${index}`, '1']),
    );
    const peer = connect();
    let answer = peer.send({ flags: 0x44 }, textBytes({ ...whoKeys, ...keys }).subarray(0, 8192));
    answer = peer.send({}, textBytes({ ...whoKeys, ...keys }).subarray(8192));
    const pieces: Uint8Array[] = [];
    for (let round = 0; answer?.isContinued === true && round < 9; round += 1) {
      expect(answer).toMatchObject({ isTransit: false, status: 0 });
      expect(answer.text).toHaveLength(8192);
      pieces.push(answer.text);
      answer = peer.send({});
    }
    expect(pieces.length).toBeGreaterThan(0);
    pieces.push(answer?.text ?? Buffer.alloc(0));
    const all = textKeys(Buffer.concat(pieces));
    expect(Object.values(all).filter((value) => value === 'NotUnderstood')).toHaveLength(200);
    expect(answer?.isTransit).toBe(true);
    expect(peer.outcome).toBeDefined();
  });

  it('text before the rest of the answer was fetched is refused', () => {
    const keys = Object.fromEntries(
      Array.from({ length: 200 }, (_, index) => [`K${index}${'k'.repeat(50)}`, '']),
    );
    const text = textBytes({ ...whoKeys, ...keys });
    const peer = connect();
    peer.send({ flags: 0x44 }, text.subarray(0, 8000));
    expect(peer.send({}, text.subarray(8000))?.isContinued).toBe(true);
    expect(peer.ask({ More: '1' }).status).toBe(0x0200);
  });

  it('a text of more than 64 KiB is refused', () => {
    const peer = connect();
    const piece = Buffer.alloc(8192, 'x');
    for (let count = 0; count < 8; count += 1) {
      expect(peer.send({ flags: 0x44 }, piece)?.status).toBe(0);
    }
    expect(peer.send({ flags: 0x44 }, piece)?.status).toBe(0x0200);
  });
});

describe('a login is refused', () => {
  const cases: readonly (readonly [string, number, (peer: LoginPeer) => unknown])[] = [
    ['no InitiatorName', 0x0207, (peer) => peer.ask({ TargetName: targetName })],
    ['no TargetName', 0x0207, (peer) => peer.ask({ InitiatorName: initiatorName })],
    ['nothing said at all', 0x0207, (peer) => peer.send({})],
    ['an empty InitiatorName', 0x0200, (peer) => peer.ask({ ...whoKeys, InitiatorName: '' })],
    [
      'an InitiatorName with a space',
      0x0200,
      (peer) => peer.ask({ ...whoKeys, InitiatorName: 'iqn a' }),
    ],
    [
      'an InitiatorName of 224 bytes',
      0x0200,
      (peer) => peer.ask({ ...whoKeys, InitiatorName: 'i'.repeat(224) }),
    ],
    [
      'an unknown target',
      0x0203,
      (peer) => peer.ask({ ...whoKeys, TargetName: 'iqn.2026-11.org.tidemark:other' }),
    ],
    [
      'a session type that nobody knows',
      0x0209,
      (peer) => peer.ask({ ...whoKeys, SessionType: 'normal' }),
    ],
    ['a newer version only', 0x0205, (peer) => peer.ask(whoKeys, { versionMin: 1 })],
    ['a session that does not exist', 0x020a, (peer) => peer.ask(whoKeys, { tsih: 9 })],
    [
      'a key twice in one text',
      0x0200,
      (peer) => peer.ask(['InitiatorName=a', 'TargetName=b', 'K=1', 'K=1']),
    ],
    [
      'a key twice in two texts',
      0x0200,
      (peer) => {
        peer.ask({ ...whoKeys, MaxBurstLength: '512' }, { flags: Flags.operational });
        return peer.ask({ MaxBurstLength: '512' });
      },
    ],
    [
      'a name that changes',
      0x0200,
      (peer) => {
        peer.ask(whoKeys, { flags: Flags.operational });
        return peer.ask({ InitiatorName: 'iqn.2000-01.other:x' });
      },
    ],
    ['a text that is none', 0x0200, (peer) => peer.send({}, Buffer.from('nonsense\0'))],
    ['T with C', 0x0200, (peer) => peer.ask(whoKeys, { flags: 0xc7 })],
    ['stage 2', 0x0200, (peer) => peer.ask(whoKeys, { flags: 0x08 })],
    ['full feature as current stage', 0x0200, (peer) => peer.ask(whoKeys, { flags: 0x0c })],
    ['going back', 0x0200, (peer) => peer.ask(whoKeys, { flags: 0x84 })],
    ['staying with T', 0x0200, (peer) => peer.ask(whoKeys, { flags: 0x85 })],
    ['stage 2 as next', 0x0200, (peer) => peer.ask(whoKeys, { flags: 0x82 })],
    [
      'a stage that was not agreed',
      0x0200,
      (peer) => {
        peer.ask(whoKeys, { flags: Flags.security });
        return peer.ask({});
      },
    ],
    [
      'the stage before',
      0x0200,
      (peer) => {
        peer.ask(whoKeys, { flags: Flags.operational });
        return peer.ask({}, { flags: Flags.security });
      },
    ],
    [
      'an ISID that changes',
      0x0200,
      (peer) => {
        peer.ask(whoKeys, { flags: Flags.operational });
        return peer.ask({}, { isid: '00023d000002' });
      },
    ],
    [
      'a CID that changes',
      0x0200,
      (peer) => {
        peer.ask(whoKeys, { flags: Flags.operational });
        return peer.ask({}, { cid: 2 });
      },
    ],
    [
      'a command before the login is over',
      0x020b,
      (peer) => {
        peer.ask(whoKeys, { flags: Flags.operational });
        return peer.send({ opcode: 0x01 });
      },
    ],
  ];

  it.each(cases)('%s', (_name, status, act) => {
    const peer = connect();
    act(peer);
    expect(peer.sent.at(-1)).toMatchObject({ opcode: 0x23, status, isTransit: false });
    expect(peer.refusal?.status).toBe(status);
    expect(peer.outcome).toBeUndefined();
    const count = peer.sent.length;
    peer.send({}, textBytes(whoKeys));
    expect(peer.sent).toHaveLength(count);
  });

  it.each([
    ['notFound', 0x0203],
    ['forbidden', 0x0202],
    ['unavailable', 0x0301],
  ] as const)('by the hosts: %s', (kind, status) => {
    const world = new LoginWorld();
    world.hosts.otherwise = kind;
    expect(
      world.connect().ask({ ...whoKeys, TargetName: 'iqn.2026-11.org.tidemark:x' }).status,
    ).toBe(status);
  });

  it('a second connection for a session is one too many', () => {
    const world = new LoginWorld();
    world.connect().ask(whoKeys);
    const answer = world.connect().ask(whoKeys, { tsih: 1, cid: 2 });
    expect(answer).toMatchObject({ status: 0x0206, tsih: 1 });
  });

  it('a data segment of 8192 bytes is taken, a longer one refused by its header', () => {
    const text = textBytes({
      ...whoKeys,
      ...Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`K${i}`, 'v'.repeat(244)])),
    });
    const padded = (length: number): Buffer =>
      Buffer.concat([text, Buffer.alloc(length - text.length)]);
    expect(text.length).toBeLessThanOrEqual(8192);
    expect(connect().send({}, padded(8192))?.status).toBe(0);
    expect(connect().send({}, padded(8193))?.status).toBe(0x0200);
  });

  it('after too many requests', () => {
    const peer = connect();
    peer.ask(whoKeys, { flags: Flags.operational });
    for (let count = 1; count < loginPdusMax; count += 1) {
      expect(peer.send({ flags: Flags.operational })?.status).toBe(0);
    }
    expect(peer.send({ flags: Flags.operational })?.status).toBe(0x0200);
  });

  it('with an AHS', () => {
    const peer = connect();
    const header = new Uint8Array(48);
    header.set([0x43, 0x87, 0, 0, 1]);
    expect(peer.login.onHeader(header, new DataView(header.buffer), 0)).toBe(false);
    expect(peer.refusal?.status).toBe(0x0200);
  });
});

describe('a connection is dropped without a word', () => {
  it('when its first PDU is no login request', () => {
    const peer = connect();
    expect(peer.send({ opcode: 0x01 })).toBeUndefined();
    expect(peer.breach).toContain('first PDU');
  });

  it('when the login takes too long, wherever it is', () => {
    for (const act of [
      () => undefined,
      (peer: LoginPeer) => peer.ask(whoKeys, { flags: Flags.security }),
      (peer: LoginPeer) => peer.send({ flags: 0x44 }, Buffer.from('Initi')),
    ]) {
      const world = new LoginWorld();
      const peer = world.connect();
      act(peer);
      world.timers.advance(loginMs - 1);
      expect(peer.breach).toBeUndefined();
      world.timers.advance(1);
      expect(peer.breach).toContain('too long');
    }
  });
});

describe('admission', () => {
  interface Waiting {
    readonly world: LoginWorld;
    readonly peer: LoginPeer;
    done: (answer: Admittance) => void;
  }

  /** A login that waits for the registry. */
  function waiting(): Waiting {
    const world = new LoginWorld();
    const peer = world.connect();
    const waitingLogin: Waiting = { world, peer, done: () => undefined };
    world.admit = (candidate, done) => {
      expect(candidate).toMatchObject({ tsih: 0, initiatorName, targetName, cid: 1, statSn: 8 });
      waitingLogin.done = done;
    };
    peer.send({}, textBytes({ ...whoKeys, InitialR2T: 'No' }));
    expect(peer.sent).toEqual([]);
    return waitingLogin;
  }

  it('may come later: then the answer is complete', () => {
    const { peer, done, world } = waiting();
    done({ tsih: 77 });
    expect(peer.sent[0]).toMatchObject({ isTransit: true, tsih: 77, keys: { InitialR2T: 'No' } });
    expect(peer.outcome?.tsih).toBe(77);
    expect(world.timers.pendingCount).toBe(0);
  });

  it('may be refused', () => {
    const { peer, done } = waiting();
    done({ status: 0x0302, reason: 'too many sessions' });
    expect(peer.sent[0]).toMatchObject({ isTransit: false, status: 0x0302 });
    expect(peer.refusal).toEqual({ status: 0x0302, reason: 'too many sessions', initiatorName });
  });

  it('for a connection that is gone does nothing', () => {
    const { peer, done } = waiting();
    peer.login.close();
    done({ tsih: 77 });
    expect([peer.sent, peer.outcome, peer.refusal, peer.breach]).toEqual([
      [],
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('too late does nothing either', () => {
    const { peer, done, world } = waiting();
    world.timers.advance(loginMs);
    expect(peer.breach).toContain('too long');
    done({ tsih: 77 });
    expect(peer.outcome).toBeUndefined();
  });

  it.each([0x43, 0x01])('PDU %i meanwhile: dropped', (opcode) => {
    const { peer, done } = waiting();
    expect(peer.send({ opcode })).toBeUndefined();
    expect(peer.breach).toBeDefined();
    done({ tsih: 77 });
    expect(peer.outcome).toBeUndefined();
  });
});

const request = (flags: number): Parameters<typeof loginEventOf>[0] => ({
  isTransit: (flags & 0x80) !== 0,
  isContinued: (flags & 0x40) !== 0,
  currentStage: (flags >> 2) & 3,
  nextStage: flags & 3,
  versionMin: 0,
  isid: new Uint8Array(6),
  tsih: 0,
  initiatorTaskTag: 0,
  cid: 0,
  cmdSn: 0,
  expStatSn: 0,
});

describe('the login table', () => {
  const states: readonly LoginState[] = ['first', 'security', 'operational', 'admitting', 'over'];
  it('sorts every combination of bits', () => {
    const events = new Map<LoginEvent, number>();
    for (let flags = 0; flags < 256; flags += 1) {
      if ((flags & 0x30) !== 0) continue;
      const event = loginEventOf(request(flags));
      events.set(event, (events.get(event) ?? 0) + 1);
    }
    expect(Object.fromEntries(events)).toEqual({
      security: 8,
      securityToOperational: 1,
      securityToFull: 1,
      operational: 8,
      operationalToFull: 1,
      contradiction: 45,
    });
  });

  it('has a contradiction refused or worse in every state', () => {
    expect(states.map((state) => loginTable[state].contradiction)).toEqual([
      'refuse',
      'refuse',
      'refuse',
      'drop',
      'ignore',
    ]);
  });
});
