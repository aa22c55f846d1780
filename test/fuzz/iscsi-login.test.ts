/**
 * Hostile logins as raw PDUs: whatever an initiator sends, in whatever order, nothing is thrown, every login ends once or
 * goes on within its limits, nobody gets in without proof, no challenge stays open, and a sound login works afterwards.
 * Long runs: ISCSI_FUZZ_RUNS=100000.
 */
import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loginMs, textMaxBytes } from '../../src/iscsi/limits.ts';
import { readGolden } from '../support/iscsi-goldens.ts';
import {
  Flags,
  initiatorName,
  type LoginPeer,
  LoginWorld,
  type RequestBits,
  targetName,
  textBytes,
  whoKeys,
} from '../support/login-world.ts';

const numRuns = Number(process.env['ISCSI_FUZZ_RUNS'] ?? 500);
const secret = Buffer.from('a secret that nobody knows');

const keyNames = [
  'InitiatorName',
  'TargetName',
  'SessionType',
  'InitiatorAlias',
  'AuthMethod',
  'CHAP_A',
  'CHAP_N',
  'CHAP_R',
  'CHAP_I',
  'CHAP_C',
  'HeaderDigest',
  'MaxRecvDataSegmentLength',
  'MaxBurstLength',
  'FirstBurstLength',
  'InitialR2T',
  'ErrorRecoveryLevel',
  'SendTargets',
  'TargetAddress',
  'iSCSIProtocolLevel',
  'X-com.example',
  '',
  'K'.repeat(64),
  '__proto__',
];
const values = fc.oneof(
  fc.constantFrom(
    initiatorName,
    targetName,
    'Discovery',
    'Normal',
    'CHAP,None',
    'CHAP',
    'None',
    '5',
    '8,7,6,5',
    '56',
    'Yes',
    'No',
    'Reject',
    'NotUnderstood',
    'Irrelevant',
    '0',
    '262144',
    '16777216',
    '512',
    '0x',
    '0b',
    `0x${'00'.repeat(16)}`,
    `0b${Buffer.alloc(2000).toString('base64')}`,
    ','.repeat(200),
    '',
  ),
  fc.string({ maxLength: 300 }),
);
const pair = fc
  .tuple(fc.constantFrom(...keyNames), values)
  .map(([key, value]) => `${key}=${value}`);
const text = fc.oneof(
  { weight: 6, arbitrary: fc.array(pair, { maxLength: 8 }).map((lines) => textBytes(lines)) },
  {
    weight: 3,
    arbitrary: fc
      .array(pair, { maxLength: 4 })
      .map((lines) => Buffer.concat([textBytes(whoKeys), textBytes(lines)])),
  },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(8192, 8193, 8100).map((size) => Buffer.alloc(size, 'A=1\0')),
  },
);
const flags = fc.oneof(fc.constantFrom(...Object.values(Flags), 0x40, 0x44), fc.nat(255));
const bits: fc.Arbitrary<RequestBits> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ flags }) },
  {
    weight: 1,
    arbitrary: fc.record({
      flags,
      opcode: fc.constantFrom(0x43, 0x03, 0x01, 0x44, 0x3f),
      versionMin: fc.constantFrom(0, 0, 1, 255),
      tsih: fc.constantFrom(0, 0, 1, 0xffff),
      cid: fc.nat(2),
      isid: fc.constantFrom('00023d000001', '000000000000'),
      cmdSn: fc.nat(0xffff_ffff),
    }),
  },
);
/** Steps of sound logins, with which hostile ones get further than the first PDU. */
const sound = fc.tuple(
  fc.constantFrom(...Object.values(Flags)).map((value): RequestBits => ({ flags: value })),
  fc.constantFrom(
    textBytes({ ...whoKeys, AuthMethod: 'CHAP,None' }),
    textBytes({ ...whoKeys }),
    textBytes({ InitiatorName: initiatorName, SessionType: 'Discovery', AuthMethod: 'CHAP' }),
    textBytes({ CHAP_A: '8,5' }),
    textBytes({ CHAP_N: 'esx', CHAP_R: `0x${'00'.repeat(32)}` }),
    textBytes({ MaxBurstLength: '262144', FirstBurstLength: '65536' }),
    Buffer.alloc(0),
  ),
);
const steps = fc.oneof(
  fc.array(sound, { maxLength: 8 }),
  fc.array(fc.tuple(bits, text), { maxLength: 30 }),
  fc
    .tuple(fc.array(sound, { maxLength: 4 }), fc.array(fc.tuple(bits, text), { maxLength: 20 }))
    .map(([first, then]) => [...first, ...then]),
);

/** A world whose only host has secrets. */
function closedWorld(seed: number): LoginWorld {
  const world = new LoginWorld(seed);
  const chap = {
    userName: 'esx',
    secret,
    outName: 'us',
    outSecret: Buffer.from('the other secret'),
  };
  world.hosts.chap = chap;
  world.hosts.discovery = chap;
  return world;
}

function play(peer: LoginPeer, list: readonly (readonly [RequestBits, Buffer])[]): void {
  for (const [request, data] of list) {
    const before = peer.sent.length;
    peer.send(request, data);
    expect(peer.sent.length - before).toBeLessThanOrEqual(1);
    for (const { text: sent } of peer.sent.slice(before))
      expect(sent.length).toBeLessThanOrEqual(8192);
  }
}

function logsIn(world: LoginWorld): boolean {
  const peer = world.connect();
  peer.ask({ ...whoKeys, AuthMethod: 'CHAP,None' }, { flags: Flags.security });
  const asked = peer.ask({ CHAP_A: '5' }, { flags: Flags.security });
  const response = createHash('md5')
    .update(Buffer.from([Number(asked.keys['CHAP_I'])]))
    .update(secret)
    .update(Buffer.from(asked.keys['CHAP_C']?.slice(2) ?? '', 'hex'))
    .digest('hex');
  peer.ask({ CHAP_N: 'esx', CHAP_R: `0x${response}` }, { flags: Flags.securityToFull });
  return peer.outcome !== undefined;
}

/** Time passes: what has not ended ends. */
function checkAfter(world: LoginWorld, peers: readonly LoginPeer[]): void {
  world.timers.advance(loginMs);
  for (const peer of peers) expect(peer.isOver).toBe(true);
  expect(world.challenges.openCount).toBe(0);
  expect(world.timers.pendingCount).toBe(0);
  expect(logsIn(world)).toBe(true);
}

describe('hostile logins', () => {
  it('two connections at once: nobody without the secret gets in', () => {
    fc.assert(
      fc.property(fc.nat(), steps, steps, (seed, ours, theirs) => {
        const world = closedWorld(seed);
        const peers = [world.connect(), world.connect()] as const;
        play(peers[0], ours.slice(0, 3));
        play(peers[1], theirs);
        play(peers[0], ours.slice(3));
        for (const { outcome } of peers) expect(outcome).toBeUndefined();
        checkAfter(world, peers);
      }),
      { numRuns },
    );
  });

  it('an open host: whoever gets in has said who it is, and its parameters are in range', () => {
    fc.assert(
      fc.property(fc.nat(), steps, (seed, list) => {
        const peer = new LoginWorld(seed).connect();
        play(peer, list);
        const { outcome } = peer;
        if (outcome === undefined) return;
        expect(outcome.initiatorName).not.toBe('');
        expect(outcome.targetName === '').toBe(outcome.kind === 'discovery');
        const { parameters } = outcome;
        expect(parameters.firstBurstLength).toBeLessThanOrEqual(parameters.maxBurstLength);
        expect(parameters.initiatorMaxRecvDataSegmentLength).toBeGreaterThanOrEqual(512);
        expect(parameters.initiatorMaxRecvDataSegmentLength).toBeLessThan(2 ** 24);
      }),
      { numRuns },
    );
  });

  it('recorded logins with bytes changed, cut off or repeated', () => {
    const recorded = readGolden('iscsi-inq-mutual-chap').filter(({ header }) => header[0] === 0x43);
    const change = fc.record({
      pdu: fc.nat(recorded.length - 1),
      at: fc.nat(500),
      value: fc.nat(255),
    });
    fc.assert(
      fc.property(fc.nat(), fc.array(change, { maxLength: 4 }), (seed, changes) => {
        const world = closedWorld(seed);
        const peer = world.connect();
        recorded.forEach(({ header, data }, index) => {
          const bytes = Buffer.concat([header, data ?? Buffer.alloc(0)]);
          for (const { pdu, at, value } of changes) {
            if (pdu === index && at < bytes.length) bytes.writeUInt8(value, at);
          }
          const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
          const length = bytes.readUIntBE(5, 3);
          if (peer.login.onHeader(bytes, view, 0)) {
            peer.login.onData(bytes.subarray(48, 48 + Math.min(length, textMaxBytes)));
          }
        });
        expect(peer.outcome).toBeUndefined();
        checkAfter(world, [peer]);
      }),
      { numRuns },
    );
  });
});
