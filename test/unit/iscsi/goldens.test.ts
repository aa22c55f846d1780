/** What real initiators send is understood, and what a real target sends is what we would have sent. */
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../src/base/fields.ts';
import { ChallengeLedger } from '../../../src/iscsi/chap.ts';
import { Login, type LoginOutcome, type LoginOwner } from '../../../src/iscsi/login.ts';
import { encodeDataIn } from '../../../src/iscsi/pdu/data-in.ts';
import { decodeDataOut, newDataOut } from '../../../src/iscsi/pdu/data-out.ts';
import { Opcode, opcodeOf } from '../../../src/iscsi/pdu/header.ts';
import { decodeLogoutRequest } from '../../../src/iscsi/pdu/logout-request.ts';
import { encodeLogoutResponse } from '../../../src/iscsi/pdu/logout-response.ts';
import { encodeR2t } from '../../../src/iscsi/pdu/r2t.ts';
import { decodeScsiCommand, newScsiCommand } from '../../../src/iscsi/pdu/scsi-command.ts';
import { encodeScsiResponse } from '../../../src/iscsi/pdu/scsi-response.ts';
import { decodeTextRequest } from '../../../src/iscsi/pdu/text-request.ts';
import { encodeTextResponse } from '../../../src/iscsi/pdu/text-response.ts';
import { TextExchange } from '../../../src/iscsi/text-exchange.ts';
import { type RecordedPdu, readGolden } from '../../support/iscsi-goldens.ts';
import {
  LoginWorld,
  MemoryHosts,
  readLoginResponse,
  type SentResponse,
} from '../../support/login-world.ts';

const target = 'iqn.2026-11.org.tidemark:golden';
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

class GoldenHosts extends MemoryHosts {
  override access(): ReturnType<MemoryHosts['access']> {
    const host = 'golden';
    return this.chap === undefined ? { kind: 'ok', host } : { kind: 'ok', host, chap: this.chap };
  }
}

const fail = (reason: unknown): never => {
  throw new Error(JSON.stringify(reason));
};

/** The recorded PDU with this first byte. */
function pduOf(pdus: readonly RecordedPdu[], firstByte: number): { header: Buffer; data: Buffer } {
  const found = pdus.find(({ header }) => header[0] === firstByte);
  if (found?.data === undefined) throw new Error(`nothing recorded begins with ${firstByte}`);
  return { header: found.header, data: found.data };
}

/** Plays the recorded login requests to our login. */
function replayLogin(
  pdus: readonly RecordedPdu[],
  change: Partial<LoginOwner> = {},
): { sent: SentResponse[]; outcome: LoginOutcome | undefined } {
  const world = new LoginWorld();
  const result: { sent: SentResponse[]; outcome: LoginOutcome | undefined } = {
    sent: [],
    outcome: undefined,
  };
  const login = new Login(
    {
      hosts: new GoldenHosts(),
      timers: world.timers,
      random: world.random,
      challenges: world.challenges,
      commandWindow: 128,
      send: (pdu) => result.sent.push(readLoginResponse(pdu)),
      hasSession: () => false,
      admit: (_candidate, done) => {
        done({ tsih: 1 });
      },
      onLoggedIn: (outcome) => {
        result.outcome = outcome;
      },
      onRefused: fail,
      onBreach: fail,
      ...change,
    },
    { address: '127.0.0.1', portalGroupTag: 1 },
  );
  for (const { header, data, isFromInitiator } of pdus) {
    const isLogin = opcodeOf(viewOf(header), 0) === Opcode.loginRequest;
    if (!isFromInitiator || !isLogin) continue;
    expect(login.onHeader(header, viewOf(header), 0)).toBe(true);
    login.onData(data ?? Buffer.alloc(0));
  }
  return result;
}

describe('recorded logins', () => {
  it.each(['iscsi-inq', 'qemu-io-write-read'])('%s logs in to a normal session', (name) => {
    const { outcome, sent } = replayLogin(readGolden(name));
    expect(sent).toHaveLength(1);
    expect(outcome).toMatchObject({ kind: 'normal', targetName: target, cid: 0 });
    expect(outcome?.parameters).toMatchObject({
      hasHeaderDigest: false,
      hasDataDigest: false,
      initialR2t: false,
      immediateData: true,
      initiatorMaxRecvDataSegmentLength: 262_144,
      maxBurstLength: 262_144,
      firstBurstLength: 262_144,
    });
    expect(Object.values(sent[0]?.keys ?? {})).not.toContain('NotUnderstood');
    expect(Object.values(sent[0]?.keys ?? {})).not.toContain('Reject');
  });

  it('a first command continues the CmdSN of the login', () => {
    const pdus = readGolden('iscsi-inq');
    const { outcome } = replayLogin(pdus);
    const first = pdus.find(({ header }) => opcodeOf(viewOf(header), 0) === Opcode.scsiCommand);
    expect(first?.header.readUInt32BE(24)).toBe(outcome?.expCmdSn);
  });

  it('mutual CHAP: with the challenge that the target gave, we answer byte for byte what it answered', () => {
    const pdus = readGolden('iscsi-inq-mutual-chap');
    const texts = pdus.map(({ data }) => Buffer.from(data ?? []).toString('latin1'));
    const challenge = /CHAP_I=2\0CHAP_C=0x([0-9a-f]+)/.exec(texts.join(''))?.[1] ?? '';
    class RecordedLedger extends ChallengeLedger {
      override issue(): Uint8Array {
        return Buffer.from(challenge, 'hex');
      }
    }
    const hosts = new GoldenHosts();
    hosts.chap = {
      userName: '0xUser',
      secret: Buffer.from('secret12345678'),
      outName: 'out',
      outSecret: Buffer.from('outsecret123456'),
    };
    const random = { fill: (bytes: Uint8Array) => bytes.fill(2) };
    const { outcome, sent } = replayLogin(pdus, {
      hosts,
      random,
      challenges: new RecordedLedger(),
    });
    expect(outcome?.kind).toBe('normal');
    const recorded = pdus.filter(({ header }) => header[0] === 0x23);
    expect(sent).toHaveLength(recorded.length);
    for (const index of [0, 1, 2])
      expect(hex(sent[index]?.text ?? Buffer.alloc(0))).toBe(
        hex(recorded[index]?.data ?? Buffer.alloc(1)),
      );
    expect(sent.map(({ isTransit }) => isTransit)).toEqual(
      recorded.map(({ header }) => ((header[1] ?? 0) & 0x80) !== 0),
    );
  });

  it('discovery: the question is understood, the answer is what the target gave', () => {
    const pdus = readGolden('iscsi-ls-discovery');
    const { outcome } = replayLogin(pdus);
    expect(outcome).toMatchObject({ kind: 'discovery', targetName: '' });
    const hosts = new GoldenHosts();
    hosts.entries = [{ name: target, portals: [{ address: '127.0.0.1', port: 3291, group: 1 }] }];
    const initiator = { name: outcome?.initiatorName ?? '', address: '127.0.0.1' };
    if (outcome === undefined) throw new Error('no session');
    const { parameters } = outcome;
    const exchange = new TextExchange({ asker: { initiator, targetName: '' }, hosts, parameters });
    const asked = pduOf(pdus, 0x44);
    const answered = pduOf(pdus, 0x24);
    const request = decodeTextRequest(viewOf(asked.header), 0);
    if (typeof request === 'string') throw new Error(request);
    const answer = exchange.onRequest(request, asked.data);
    if (typeof answer === 'string') throw new Error(answer);
    expect(hex(answer.data)).toBe(hex(answered.data));
    const bytes = new Uint8Array(48);
    encodeTextResponse(viewOf(bytes), 0, {
      ...answer,
      initiatorTaskTag: request.initiatorTaskTag,
      dataSegmentLength: answer.data.length,
      ...numbersOf(answered.header),
    });
    expect(hex(bytes)).toBe(hex(answered.header));
  });
});

const numbersOf = (header: Buffer): { statSn: number; expCmdSn: number; maxCmdSn: number } => ({
  statSn: header.readUInt32BE(24),
  expCmdSn: header.readUInt32BE(28),
  maxCmdSn: header.readUInt32BE(32),
});

/** Encodes anew, into noise, from what is read by hand. */
function encodeAgain(header: Buffer): Uint8Array {
  const bytes = new Uint8Array(64).fill(0xee);
  const view = viewOf(bytes);
  const flags = header.readUInt8(1);
  const common = {
    ...numbersOf(header),
    initiatorTaskTag: header.readUInt32BE(16),
    dataSegmentLength: header.readUIntBE(5, 3),
  };
  const residuals = { residualFlags: flags & 0x06, residual: header.readUInt32BE(44) };
  const status = header.readUInt8(3);
  switch (header.readUInt8(0)) {
    case 0x21:
      encodeScsiResponse(view, 8, {
        ...common,
        ...residuals,
        status,
        response: 0,
        expDataSn: header.readUInt32BE(36),
        bidirectionalResidual: 0,
      });
      break;
    case 0x25:
      encodeDataIn(view, 8, {
        ...common,
        ...residuals,
        status,
        isFinal: (flags & 0x80) !== 0,
        hasStatus: (flags & 0x01) !== 0,
        dataSn: header.readUInt32BE(36),
        bufferOffset: header.readUInt32BE(40),
      });
      break;
    case 0x26:
      encodeLogoutResponse(view, 8, { ...common, response: 0, time2Wait: 0, time2Retain: 0 });
      break;
    case 0x31:
      encodeR2t(view, 8, {
        ...common,
        lun: 1,
        targetTransferTag: header.readUInt32BE(20),
        r2tSn: header.readUInt32BE(36),
        bufferOffset: header.readUInt32BE(40),
        desiredLength: header.readUInt32BE(44),
      });
      break;
    default:
      throw new Error(`no encoder for ${header[0]}`);
  }
  expect(hex(bytes.subarray(0, 8)) + hex(bytes.subarray(56))).toBe('ee'.repeat(16));
  return bytes.subarray(8, 56);
}

describe.each(['iscsi-inq', 'iscsi-ls-discovery', 'iscsi-inq-mutual-chap', 'qemu-io-write-read'])(
  'full feature phase of %s',
  (name) => {
    const pdus = readGolden(name);

    it('what the target sent is what our encoders write', () => {
      const sent = pdus.filter(({ header }) => [0x21, 0x25, 0x26, 0x31].includes(header[0] ?? 0));
      expect(sent.length).toBeGreaterThan(0);
      for (const { header } of sent) expect(hex(encodeAgain(header))).toBe(hex(header));
    });

    it('what the initiator sent decodes', () => {
      const command = newScsiCommand();
      const piece = newDataOut();
      let dataOutBytes = 0;
      for (const { header } of pdus.filter(({ isFromInitiator }) => isFromInitiator)) {
        const view = viewOf(header);
        if (opcodeOf(view, 0) === Opcode.scsiCommand) {
          expect(decodeScsiCommand(view, 0, command)).toBeUndefined();
          expect(command).toMatchObject({
            isImmediate: false,
            isFinal: true,
            lun: 1,
            attribute: 1,
          });
          expect(hex(command.cdb)).toBe(hex(header.subarray(32)));
          expect(command.expectedDataTransferLength).toBe(header.readUInt32BE(20));
          dataOutBytes = header.readUIntBE(5, 3);
        } else if (opcodeOf(view, 0) === Opcode.dataOut) {
          decodeDataOut(view, 0, piece);
          expect(piece.initiatorTaskTag).toBe(command.initiatorTaskTag);
          expect(piece.bufferOffset).toBe(dataOutBytes);
          dataOutBytes += header.readUIntBE(5, 3);
          expect(piece.isFinal).toBe(dataOutBytes === command.expectedDataTransferLength);
        } else if (opcodeOf(view, 0) === Opcode.logoutRequest) {
          expect(decodeLogoutRequest(view, 0)).toMatchObject({
            isImmediate: true,
            reason: 0,
            cid: 0,
          });
        }
      }
    });
  },
);
