/**
 * Login phase of one connection, RFC 7143 section 6.3: from its first PDU to a session, or to a refusal.
 *
 *     onHeader ─▶ table (state × request) ─▶ onData ─▶ text whole? ─▶ who is it ─▶ security: AuthMethod, CHAP
 *                                               │                             └▶ operational: negotiation
 *                                               └ goes on (C bit): empty answer
 *     answer in pieces of 8 KiB (C bit) ─▶ last piece grants the transition ─▶ registry admits ─▶ onLoggedIn
 *
 * Invariants
 * 1. Nothing waits for the disk: hosts answer from memory. Only the registry may take its time (reinstatement waits for
 *    the old session's commands), and the login's own timer bounds that, too.
 * 2. Nobody whose host has secrets reaches the operational stage without having proven them.
 * 3. Exactly one of onLoggedIn, onRefused, onBreach is called, at most once, and nothing is sent after it.
 * 4. Memory is bounded: one text of 64 KiB each way, a few hundred short keys.
 *
 * Left to others: digests begin behind the last login response (connection), ISID and TSIH rules between sessions (registry).
 */
import { viewOf } from '../base/fields.ts';
import type { Random, Timer, Timers } from '../base/ports.ts';
import { type ChallengeLedger, ChapExchange, isSameProof } from './chap.ts';
import type { IscsiHosts } from './hosts.ts';
import { TextCollector, type TextPair, TextSender } from './keys.ts';
import { loginKeysMax, loginMs, loginPdusMax, loginSegmentMaxBytes } from './limits.ts';
import {
  claimedName,
  identify,
  identityKeys,
  initiatorNameOf,
  type LoginIdentity,
  type Refusal,
  type RefusedLogin,
} from './login-identity.ts';
import { type LoginState, loginEventOf, loginTable } from './login-table.ts';
import { declarations, negotiate, settle } from './negotiation.ts';
import { defaultParameters, type SessionParameters } from './parameters.ts';
import { header, headerBytes, Opcode, opcodeOf, paddedLength } from './pdu/header.ts';
import { decodeLoginRequest, type LoginRequest, Stage } from './pdu/login-request.ts';
import { encodeLoginResponse, LoginStatus, protocolVersion } from './pdu/login-response.ts';
import { serialAdd } from './serial-number.ts';

/** What a login ended in: all that full feature phase needs to know. */
export interface LoginOutcome extends Omit<LoginIdentity, 'chap'> {
  /** Six bytes of its own. */
  readonly isid: Uint8Array;
  readonly tsih: number;
  readonly cid: number;
  readonly portalGroupTag: number;
  readonly parameters: SessionParameters;
  /** CmdSN of the first command. */
  readonly expCmdSn: number;
  /** StatSN of the next response. */
  readonly statSn: number;
}

/** A new session's handle, or why there is none. */
export type Admittance = { readonly tsih: number } | Refusal;

export interface LoginOwner {
  readonly hosts: IscsiHosts;
  readonly timers: Timers;
  readonly random: Random;
  /** One for all logins of the server. */
  readonly challenges: ChallengeLedger;
  /** Commands that a session may have open. */
  readonly commandWindow: number;
  /** Takes over a whole PDU with its padding. */
  send(pdu: Uint8Array): void;
  /** Whether there is such a session. */
  hasSession(initiatorName: string, isid: Uint8Array, tsih: number): boolean;
  /** Asks for the session; in `candidate` the TSIH is 0. `done` may run inside the call or later; after `close` it does nothing. */
  admit(candidate: LoginOutcome, done: (answer: Admittance) => void): void;
  /** The last response was given to `send`; full feature phase begins. */
  onLoggedIn(outcome: LoginOutcome): void;
  /** The refusal was given to `send`: end the stream once it left. */
  onRefused(refusal: RefusedLogin): void;
  /** The initiator does not speak the protocol, or is too slow: drop it now. */
  onBreach(reason: string): void;
}

export interface LoginPlace {
  /** Where the initiator connects from, without port. */
  readonly address: string;
  /** Of the portal that it came in through. */
  readonly portalGroupTag: number;
}

function asMap(pairs: readonly TextPair[]): Map<string, string> {
  return new Map(pairs.map(({ key, value }) => [key, value]));
}

function initiatorError(reason: string): Refusal {
  return { status: LoginStatus.initiatorError, reason };
}

const authMethodKey = 'AuthMethod';
const isChapKey = (key: string): boolean => key.startsWith('CHAP_');

export class Login {
  readonly #owner: LoginOwner;
  readonly #place: LoginPlace;
  readonly #timer: Timer;
  readonly #collector = new TextCollector();
  readonly #sender = new TextSender();
  /** Every key that came, with its value. */
  readonly #keys = new Map<string, string>();
  readonly #parameters = defaultParameters();
  #state: LoginState = 'first';
  #first: LoginRequest | undefined;
  /** The request at hand: its header came, its data perhaps not yet. */
  #request: LoginRequest | undefined;
  #requestCount = 0;
  #statSn = 0;
  #identity: LoginIdentity | undefined;
  #chap: ChapExchange | undefined;
  /** The initiator has proven what it must, or must prove nothing. */
  #isProven = false;
  #hasNamedGroup = false;
  #hasDeclared = false;

  constructor(owner: LoginOwner, place: LoginPlace) {
    this.#owner = owner;
    this.#place = place;
    this.#timer = owner.timers.after(loginMs, () => {
      this.#drop('the login took too long');
    });
  }

  /** The connection is gone, or is dropped for other reasons. */
  close(): void {
    this.#end();
  }

  /**
   * The header of the next PDU. True: its data segment (perhaps empty) is to be given to `onData`. False: nothing more is
   * wanted from this connection.
   */
  onHeader(bytes: Uint8Array, view: DataView, at: number): boolean {
    if (this.#state === 'over') return false;
    if (opcodeOf(view, at) !== Opcode.loginRequest) {
      this.#refuseOtherPdu();
      return false;
    }
    const request = decodeLoginRequest(bytes, view, at);
    const event = loginEventOf(request);
    const action = loginTable[this.#state][event];
    if (action === 'drop') {
      this.#drop('a login request before the last one was answered');
      return false;
    }
    this.#request = request;
    this.#requestCount += 1;
    if (this.#first === undefined) {
      this.#first = request;
      this.#statSn = request.expStatSn;
    }
    const refusal = this.#judgeHeader(request, view, at, this.#first);
    if (refusal !== undefined) {
      this.#refuse(refusal.status, refusal.reason);
      return false;
    }
    if (action === 'refuse') {
      this.#refuse(LoginStatus.initiatorError, `${event} in state ${this.#state}`);
    }
    return action === 'negotiate';
  }

  /** The data segment of the PDU whose header was taken last; valid during the call. */
  onData(data: Uint8Array): void {
    const request = this.#request;
    if (request === undefined || this.#state === 'over' || this.#state === 'admitting') return;
    this.#state = request.currentStage === Stage.security ? 'security' : 'operational';
    if (this.#sender.isOpen) {
      if (data.length > 0 || request.isContinued) {
        this.#refuse(LoginStatus.initiatorError, 'text before the rest of the answer was fetched');
      } else this.#respond(request);
      return;
    }
    const pairs = this.#collector.add(data, request.isContinued);
    if (pairs === undefined) this.#send(request, { isTransit: false });
    else if ('problem' in pairs) this.#refuse(LoginStatus.initiatorError, pairs.problem);
    else this.#onText(pairs, request);
  }

  // ---- header

  /** RFC 7143 section 6.3: the first PDU must be a login; later anything else is answered before the end. */
  #refuseOtherPdu(): void {
    if (this.#first === undefined) this.#drop('the first PDU is not a login request');
    else if (this.#state === 'admitting') this.#drop('a PDU before the login was answered');
    else this.#refuse(LoginStatus.invalidDuringLogin, 'a PDU that is no login request');
  }

  #judgeHeader(
    request: LoginRequest,
    view: DataView,
    at: number,
    first: LoginRequest,
  ): Refusal | undefined {
    if (request.versionMin > protocolVersion) {
      const reason = `version ${request.versionMin} asked for`;
      return { status: LoginStatus.unsupportedVersion, reason };
    }
    if (this.#requestCount > loginPdusMax) return initiatorError('too many login requests');
    if (header.totalAhsLength.get(view, at) > 0) return initiatorError('AHS in a login request');
    if (header.dataSegmentLength.get(view, at) > loginSegmentMaxBytes) {
      return initiatorError('data segment too long for the login phase');
    }
    const isSame =
      request.cid === first.cid &&
      request.tsih === first.tsih &&
      request.isid.every((byte, index) => byte === first.isid[index]);
    return isSame ? undefined : initiatorError('ISID, TSIH or CID changed during the login');
  }

  // ---- text

  #onText(pairs: readonly TextPair[], request: LoginRequest): void {
    const fresh = this.#noteKeys(pairs);
    const refusal =
      fresh === undefined
        ? initiatorError('a key came twice, or too many keys')
        : this.#negotiateText(fresh, request);
    if (refusal === undefined) this.#respond(request);
    else this.#refuse(refusal.status, refusal.reason);
  }

  /** Those of `pairs` that have not come before; undefined when one came again that must not. */
  #noteKeys(pairs: readonly TextPair[]): TextPair[] | undefined {
    const fresh: TextPair[] = [];
    for (const pair of pairs) {
      const before = this.#keys.get(pair.key);
      if (before === undefined) {
        this.#keys.set(pair.key, pair.value);
        fresh.push(pair);
      } else if (before !== pair.value || !identityKeys.has(pair.key)) return undefined;
    }
    return this.#keys.size > loginKeysMax ? undefined : fresh;
  }

  #negotiateText(fresh: readonly TextPair[], request: LoginRequest): Refusal | undefined {
    if (this.#identity === undefined) {
      const refusal = this.#identify(request);
      if (refusal !== undefined) return refusal;
    }
    const pairs = fresh.filter(({ key }) => !identityKeys.has(key));
    this.#nameGroup();
    const refusal =
      this.#state === 'security' ? this.#secure(pairs, request) : this.#demandProof(pairs);
    if (refusal !== undefined) return refusal;
    const isDiscovery = this.#identity?.kind === 'discovery';
    const offers = pairs.filter(({ key }) => key !== authMethodKey && !isChapKey(key));
    const context = { parameters: this.#parameters, isDiscovery, isFullFeature: false };
    this.#sender.put(negotiate(offers, context));
    if (this.#state === 'operational' && !this.#hasDeclared) {
      this.#hasDeclared = true;
      this.#sender.put(declarations(this.#parameters));
    }
    return undefined;
  }

  #identify(request: LoginRequest): Refusal | undefined {
    const name = initiatorNameOf(this.#keys);
    if (typeof name !== 'string') return name;
    const { hosts } = this.#owner;
    if (request.tsih !== 0) {
      // One connection per session: nobody can join one, and to reinstate a session is to log in with TSIH 0.
      return this.#owner.hasSession(name, request.isid, request.tsih)
        ? { status: LoginStatus.tooManyConnections, reason: 'a second connection for a session' }
        : { status: LoginStatus.sessionDoesNotExist, reason: `no session ${request.tsih}` };
    }
    const found = identify(this.#keys, { name, address: this.#place.address }, hosts);
    if ('status' in found) return found;
    this.#identity = found;
    this.#isProven = found.chap === undefined;
    return undefined;
  }

  /** Section 13.9: the first answer in a normal session names the portal group. */
  #nameGroup(): void {
    if (this.#hasNamedGroup || this.#identity?.kind !== 'normal') return;
    this.#hasNamedGroup = true;
    const value = String(this.#place.portalGroupTag);
    this.#sender.put([{ key: 'TargetPortalGroupTag', value }]);
  }

  // ---- security

  #secure(pairs: readonly TextPair[], request: LoginRequest): Refusal | undefined {
    const chapKeys = asMap(pairs.filter(({ key }) => isChapKey(key)));
    const offer = pairs.find(({ key }) => key === authMethodKey)?.value;
    if (offer !== undefined) {
      if (chapKeys.size > 0) {
        return initiatorError('CHAP before it was agreed');
      }
      return this.#chooseMethod(offer.split(','));
    }
    if (chapKeys.size > 0) return this.#stepChap(chapKeys);
    const isEvading = request.isTransit && !this.#isProven && this.#chap === undefined;
    return isEvading ? this.#unproven('no AuthMethod was offered') : undefined;
  }

  #chooseMethod(methods: readonly string[]): Refusal | undefined {
    const credentials = this.#identity?.chap;
    const method = credentials === undefined ? 'None' : 'CHAP';
    if (!methods.includes(method)) return this.#unproven(`AuthMethod ${method} was not offered`);
    this.#sender.put([{ key: authMethodKey, value: method }]);
    if (credentials === undefined) return undefined;
    const { challenges, random } = this.#owner;
    this.#chap = new ChapExchange({ credentials, challenges, random });
    return undefined;
  }

  #stepChap(keys: ReadonlyMap<string, string>): Refusal | undefined {
    if (this.#chap === undefined) {
      return initiatorError('CHAP that was not agreed');
    }
    const step = this.#chap.step(keys);
    if (step.kind === 'failed') return this.#unproven(step.reason);
    this.#sender.put(step.answers);
    if (step.kind === 'proven') this.#isProven = true;
    return undefined;
  }

  /** In the operational stage: nobody gets here around security, and security keys are over. */
  #demandProof(pairs: readonly TextPair[]): Refusal | undefined {
    if (!this.#isProven) return this.#unproven('the security stage was left out');
    if (!pairs.some(({ key }) => key === authMethodKey || isChapKey(key))) return undefined;
    return initiatorError('security keys in the operational stage');
  }

  #unproven(reason: string): Refusal {
    return { status: LoginStatus.authenticationFailure, reason };
  }

  // ---- answers

  /** Sends the next piece of the answer; the last one grants the transition that the request asks for. */
  #respond(request: LoginRequest): void {
    const text = this.#sender.take(loginSegmentMaxBytes);
    if (this.#sender.isOpen) {
      this.#send(request, { text, isContinued: true, isTransit: false });
    } else if (!request.isTransit || !this.#isProven) {
      this.#send(request, { text, isTransit: false });
    } else if (request.nextStage === Stage.operational) {
      this.#state = 'operational';
      this.#send(request, { text, isTransit: true });
    } else this.#admit(request, text);
  }

  #admit(request: LoginRequest, text: Uint8Array): void {
    const first = this.#first;
    const identity = this.#judgeAgain();
    if (first === undefined || identity === undefined) return;
    if ('status' in identity) {
      this.#refuse(identity.status, identity.reason);
      return;
    }
    this.#state = 'admitting';
    settle(this.#parameters);
    const { chap: _chap, ...who } = identity;
    const candidate: LoginOutcome = {
      ...who,
      isid: first.isid,
      tsih: 0,
      cid: first.cid,
      portalGroupTag: this.#place.portalGroupTag,
      parameters: this.#parameters,
      expCmdSn: first.cmdSn,
      statSn: serialAdd(this.#statSn, 1),
    };
    this.#owner.admit(candidate, (answer) => {
      if (this.#state !== 'admitting') return;
      if ('status' in answer) {
        this.#refuse(answer.status, answer.reason);
        return;
      }
      const { tsih } = answer;
      this.#send(request, { text, isTransit: true, tsih });
      this.#end();
      this.#owner.onLoggedIn({ ...candidate, tsih });
    });
  }

  /** Hosts may have changed while the initiator took its time: what holds now decides, and what was proven must be enough. */
  #judgeAgain(): LoginIdentity | Refusal | undefined {
    const before = this.#identity;
    if (before === undefined) return undefined;
    const initiator = { name: before.initiatorName, address: this.#place.address };
    const now = identify(this.#keys, initiator, this.#owner.hosts);
    if ('status' in now || now.chap === undefined) return now;
    return before.chap !== undefined && isSameProof(now.chap, before.chap)
      ? now
      : this.#unproven('what must be proven changed during the login');
  }

  #send(
    request: LoginRequest,
    response: {
      readonly isTransit: boolean;
      readonly text?: Uint8Array;
      readonly isContinued?: boolean;
      readonly tsih?: number;
      readonly status?: LoginStatus;
    },
  ): void {
    const dataSegmentLength = response.text?.length ?? 0;
    const pdu = new Uint8Array(headerBytes + paddedLength(dataSegmentLength));
    const expCmdSn = this.#first?.cmdSn ?? request.cmdSn;
    encodeLoginResponse(pdu, viewOf(pdu), {
      isTransit: response.isTransit,
      isContinued: response.isContinued ?? false,
      currentStage: request.currentStage,
      nextStage: request.nextStage,
      isid: request.isid,
      tsih: response.tsih ?? request.tsih,
      initiatorTaskTag: request.initiatorTaskTag,
      status: response.status ?? LoginStatus.success,
      statSn: this.#statSn,
      expCmdSn,
      maxCmdSn: serialAdd(expCmdSn, this.#owner.commandWindow - 1),
      dataSegmentLength,
    });
    if (response.text !== undefined) pdu.set(response.text, headerBytes);
    this.#statSn = serialAdd(this.#statSn, 1);
    this.#owner.send(pdu);
  }

  // ---- ends

  #refuse(status: LoginStatus, reason: string): void {
    const request = this.#request;
    if (request === undefined || this.#state === 'over') return;
    this.#send(request, { isTransit: false, status });
    this.#end();
    this.#owner.onRefused({ status, reason, initiatorName: claimedName(this.#keys) });
  }

  #drop(reason: string): void {
    if (this.#state === 'over') return;
    this.#end();
    this.#owner.onBreach(reason);
  }

  #end(): void {
    this.#state = 'over';
    this.#timer.cancel();
    this.#chap?.close();
    this.#collector.reset();
    this.#sender.reset();
  }
}
