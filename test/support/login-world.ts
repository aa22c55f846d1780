/** Logins without sockets: hosts in memory, manual time, a seeded Random, and an initiator that speaks raw PDUs. */
import type { Random } from '../../src/base/ports.ts';
import { ChallengeLedger } from '../../src/iscsi/chap.ts';
import type {
  ChapCredentials,
  InitiatorIdentity,
  IscsiHosts,
  TargetAccess,
  TargetEntry,
} from '../../src/iscsi/hosts.ts';
import { Login, type LoginOutcome, type LoginOwner } from '../../src/iscsi/login.ts';
import type { Refusal } from '../../src/iscsi/login-identity.ts';
import { SeededRandom } from '../sim/random.ts';
import { ManualTimers } from './manual-timers.ts';

export const targetName = 'iqn.2026-11.org.tidemark:pool-0001';
export const initiatorName = 'iqn.1998-01.com.vmware:esx1';

export class MemoryHosts implements IscsiHosts {
  chap: ChapCredentials | undefined;
  discovery: ChapCredentials | undefined;
  /** What any other name than the target's gets. */
  otherwise: 'notFound' | 'forbidden' | 'unavailable' = 'notFound';
  entries: TargetEntry[] = [
    {
      name: targetName,
      portals: [
        { address: '127.0.0.1', port: 3260, group: 1 },
        { address: '::1', port: 3261, group: 2 },
      ],
    },
  ];
  readonly asked: InitiatorIdentity[] = [];

  targets(initiator: InitiatorIdentity): readonly TargetEntry[] {
    this.asked.push(initiator);
    return this.entries;
  }

  access(initiator: InitiatorIdentity, name: string): TargetAccess {
    this.asked.push(initiator);
    if (name !== targetName) return { kind: this.otherwise, reason: 'no host names it' };
    const host = 'esx';
    return this.chap === undefined ? { kind: 'ok', host } : { kind: 'ok', host, chap: this.chap };
  }

  discoveryChap(): ChapCredentials | undefined {
    return this.discovery;
  }
}

export interface SentResponse {
  readonly opcode: number;
  readonly isTransit: boolean;
  readonly isContinued: boolean;
  readonly currentStage: number;
  readonly nextStage: number;
  readonly status: number;
  readonly tsih: number;
  readonly statSn: number;
  readonly expCmdSn: number;
  readonly maxCmdSn: number;
  readonly text: Uint8Array;
  /** Values by key of this PDU alone. */
  readonly keys: Readonly<Record<string, string>>;
}

export function textBytes(keys: Readonly<Record<string, string>> | readonly string[]): Buffer {
  const lines = Array.isArray(keys)
    ? (keys as readonly string[])
    : Object.entries(keys).map(([key, value]) => `${key}=${value}`);
  return Buffer.from(lines.map((line) => `${line}\0`).join(''));
}

export function textKeys(text: Uint8Array): Record<string, string> {
  const lines = Buffer.from(text)
    .toString()
    .split('\0')
    .filter((line) => line !== '');
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

/** Read by hand, offset by offset, as RFC 7143 section 11.13 draws it. */
export function readLoginResponse(pdu: Uint8Array): SentResponse {
  const bytes = Buffer.from(pdu);
  const length = bytes.readUIntBE(5, 3);
  if (bytes.length !== 48 + Math.ceil(length / 4) * 4) throw new Error('wrong padding');
  const text = bytes.subarray(48, 48 + length);
  const flags = bytes.readUInt8(1);
  return {
    opcode: bytes.readUInt8(0),
    isTransit: (flags & 0x80) !== 0,
    isContinued: (flags & 0x40) !== 0,
    currentStage: (flags >> 2) & 3,
    nextStage: flags & 3,
    status: bytes.readUInt16BE(36),
    tsih: bytes.readUInt16BE(14),
    statSn: bytes.readUInt32BE(24),
    expCmdSn: bytes.readUInt32BE(28),
    maxCmdSn: bytes.readUInt32BE(32),
    text,
    keys: textKeys(text),
  };
}

export interface RequestBits {
  readonly opcode?: number;
  /** T, C, CSG, NSG as one byte; default: T, operational to full feature. */
  readonly flags?: number;
  readonly versionMin?: number;
  readonly isid?: string;
  readonly tsih?: number;
  readonly cid?: number;
  readonly cmdSn?: number;
  readonly expStatSn?: number;
}

function loginHeader(bits: RequestBits, length: number): Buffer {
  const bytes = Buffer.alloc(48);
  bytes.writeUInt8(bits.opcode ?? 0x43, 0);
  bytes.writeUInt8(bits.flags ?? 0x87, 1);
  bytes.writeUInt8(bits.versionMin ?? 0, 3);
  bytes.writeUIntBE(length, 5, 3);
  bytes.write(bits.isid ?? '00023d000001', 8, 'hex');
  bytes.writeUInt16BE(bits.tsih ?? 0, 14);
  bytes.writeUInt32BE(0x77, 16);
  bytes.writeUInt16BE(bits.cid ?? 1, 20);
  bytes.writeUInt32BE(bits.cmdSn ?? 100, 24);
  bytes.writeUInt32BE(bits.expStatSn ?? 7, 28);
  return bytes;
}

/** One connection in its login. */
export class LoginPeer {
  readonly sent: SentResponse[] = [];
  outcome: LoginOutcome | undefined;
  refusal: Refusal | undefined;
  breach: string | undefined;
  readonly login: Login;

  constructor(world: LoginWorld, address: string) {
    const { hosts, timers, random, challenges, commandWindow } = world;
    const owner: LoginOwner = {
      hosts,
      timers,
      random,
      challenges,
      commandWindow,
      send: (pdu) => {
        if (this.isOver) throw new Error('sent after the end');
        this.sent.push(readLoginResponse(pdu));
      },
      hasSession: (_name, _isid, tsih) => world.sessions.has(tsih),
      admit: (candidate, done) => {
        world.admit(candidate, done);
      },
      onLoggedIn: (outcome) => {
        this.#end();
        this.outcome = outcome;
      },
      onRefused: (refusal) => {
        this.#end();
        this.refusal = refusal;
      },
      onBreach: (reason) => {
        this.#end();
        this.breach = reason;
      },
    };
    this.login = new Login(owner, { address, portalGroupTag: 5 });
  }

  get isOver(): boolean {
    return (this.outcome ?? this.refusal ?? this.breach) !== undefined;
  }

  /** Sends one PDU; returns what came back for it, if anything. */
  send(bits: RequestBits, data: Uint8Array = Buffer.alloc(0)): SentResponse | undefined {
    const before = this.sent.length;
    const header = loginHeader(bits, data.length);
    // Behind noise, as in a receive buffer.
    const place = Buffer.concat([Buffer.alloc(5, 0xee), header]);
    const view = new DataView(place.buffer, place.byteOffset, place.length);
    if (this.login.onHeader(place, view, 5)) {
      place.fill(0xdd);
      const copy = Uint8Array.from(data);
      this.login.onData(copy);
      copy.fill(0xcc);
    }
    return this.sent[before];
  }

  /** Sends keys and expects an answer. */
  ask(
    keys: Readonly<Record<string, string>> | readonly string[],
    bits: RequestBits = {},
  ): SentResponse {
    const response = this.send(bits, textBytes(keys));
    if (response === undefined) throw new Error(`no answer: ${this.breach ?? 'nothing'}`);
    return response;
  }

  #end(): void {
    if (this.isOver) throw new Error('a login ended twice');
  }
}

export class LoginWorld {
  readonly hosts = new MemoryHosts();
  readonly timers = new ManualTimers();
  readonly random: Random;
  readonly challenges = new ChallengeLedger();
  readonly commandWindow = 128;
  readonly sessions = new Set<number>();
  /** How the registry answers; replaced by tests. */
  admit: LoginOwner['admit'] = (_candidate, done) => {
    const tsih = this.sessions.size + 1;
    this.sessions.add(tsih);
    done({ tsih });
  };

  constructor(seed = 1) {
    this.random = new SeededRandom(seed);
  }

  connect(address = '127.0.0.1'): LoginPeer {
    return new LoginPeer(this, address);
  }
}

/** Keys of a normal session's first text. */
export const whoKeys = { InitiatorName: initiatorName, TargetName: targetName } as const;
/** Flags by stage: security stays, security to operational, security to full, operational stays. */
export const Flags = {
  security: 0x00,
  securityToOperational: 0x81,
  securityToFull: 0x83,
  operational: 0x04,
  operationalToFull: 0x87,
} as const;
