/**
 * One connection: owns the stream, carries it from login to full feature phase, and ends it once.
 *
 *     accept ─▶ login ─▶ full feature ─▶ ending (logged out) ─▶ closed ─▶ gone
 *                 └──────────┴── drop ──────────────────────────▲         └ its session's tasks have ended
 *
 * Input that cannot be taken now is kept (at most what one read of the socket brought) while the socket is paused, and
 * is offered again at the end of a turn in which something went on.
 *
 * Invariants
 * 1. The session ends exactly once, with the connection: there is one connection per session.
 * 2. Nothing is written after `end` or `drop`.
 */
import { viewOf } from '../base/fields.ts';
import { HeldInput, type InputReader } from '../base/held-input.ts';
import { addressOfPeer } from '../base/ip-address.ts';
import { Output, type OutputOwner } from '../base/output.ts';
import type { ByteStream, Random, StreamHandler, Timer, Timers } from '../base/ports.ts';
import type { MemoryHolder } from '../base/stalls.ts';
import type { TurnList, TurnMember } from '../base/turn-list.ts';
import type { ChallengeLedger } from './chap.ts';
import { FullFeature, type FullFeatureOwner } from './full-feature.ts';
import type { IscsiHosts } from './hosts.ts';
import type { Shared } from './lane.ts';
import { type Admittance, Login, type LoginOutcome, type LoginOwner } from './login.ts';
import type { Refusal, RefusedLogin } from './login-identity.ts';
import type { Portal } from './portal.ts';
import { Admission, type PduHeader, type PduSink, Receiver } from './receiver.ts';
import { loginOutputMaxBytes, tickMs } from './server-limits.ts';
import type { Session } from './session.ts';
import { TextExchange } from './text-exchange.ts';

export interface ConnectionOwner {
  readonly hosts: IscsiHosts;
  readonly timers: Timers;
  readonly random: Random;
  readonly challenges: ChallengeLedger;
  readonly shared: Shared;
  readonly turns: TurnList;
  hasSession(initiatorName: string, isid: Uint8Array, tsih: number): boolean;
  /** Makes a session for the connection. `done` gets it when it is open, unless it ended before; or why there is none. */
  admit(
    connection: Connection,
    candidate: LoginOutcome,
    done: (answer: Session | Refusal) => void,
  ): Session | undefined;
  /** The login, or the discovery that followed it, is over, well or not. */
  onLoginOver(connection: Connection): void;
  onLoggedIn(connection: Connection, outcome: LoginOutcome): void;
  onRefused(connection: Connection, refusal: RefusedLogin): void;
  /** The initiator broke the protocol, or was too slow; it has been dropped. */
  onBreach(connection: Connection, reason: string): void;
  /** The stream is closed: forget the connection. */
  onClosed(connection: Connection): void;
}

export class Connection
  implements
    StreamHandler,
    OutputOwner,
    InputReader,
    MemoryHolder,
    TurnMember,
    PduSink,
    LoginOwner,
    FullFeatureOwner
{
  readonly id: number;
  readonly peer: string;
  readonly portal: Portal;
  readonly #owner: ConnectionOwner;
  readonly #stream: ByteStream;
  readonly #output: Output;
  readonly #receiver: Receiver;
  readonly #login: Login;
  #full: FullFeature | undefined;
  #session: Session | undefined;
  #timer: Timer | undefined;
  readonly #input = new HeldInput(this);
  #isInputOver = false;
  #isEnding = false;
  #isClosed = false;
  #isDraining = false;
  /** Ticks in which nothing came, and in which nothing was under way. */
  #silentTicks = 0;
  #idleTicks = 0;
  #isPinged = false;
  /** Ticks in which answers waited and the initiator took none, and what it had taken before. */
  #deafTicks = 0;
  #sentCount = 0;
  isMarked = false;
  readonly stall = { progress: 0, looks: 0 };

  constructor(id: number, stream: ByteStream, portal: Portal, owner: ConnectionOwner) {
    this.id = id;
    this.peer = stream.peer;
    this.portal = portal;
    this.#stream = stream;
    this.#owner = owner;
    this.#output = new Output(stream, owner.shared.pool, this);
    this.#receiver = new Receiver(this);
    const place = { address: addressOfPeer(stream.peer), portalGroupTag: portal.group };
    this.#login = new Login(this, place);
  }

  /** The initiator speaks first; it has a limited time to log in. */
  start(): void {
    this.#stream.start(this);
  }

  get hosts(): IscsiHosts {
    return this.#owner.hosts;
  }

  get timers(): Timers {
    return this.#owner.timers;
  }

  get random(): Random {
    return this.#owner.random;
  }

  get challenges(): ChallengeLedger {
    return this.#owner.challenges;
  }

  get commandWindow(): number {
    return this.#owner.shared.limits.windowSize;
  }

  get isInFullFeature(): boolean {
    return this.#full !== undefined;
  }

  get progress(): number {
    return this.#output.sentCount + (this.#full?.segmentCount ?? 0);
  }

  get holdsData(): boolean {
    return this.#full?.isHalfFilled === true && this.#input.isEmpty;
  }

  get holdsOutput(): boolean {
    return this.#stream.pendingBytes > 0;
  }

  /** Closes now, without a word. The devices may still finish requests; their answers are dropped. */
  drop(): void {
    if (this.#isClosed) return;
    this.#stream.destroy();
    this.#close();
  }

  /** Asks the initiator to log out; one that is idle is not waited for. An unfinished login ends at once. */
  drain(withinMs: number): void {
    if (this.#full === undefined) {
      this.drop();
      return;
    }
    this.#isDraining = true;
    this.#idleTicks = 0;
    this.#full.requestLogout(Math.max(1, Math.floor(withinMs / 1000)));
  }

  endTurn(): void {
    if (this.#isClosed) return;
    this.#full?.endTurn();
    // What was held is taken: the stream goes on.
    if (this.#input.retry()) this.#stream.resume();
    this.#output.flush();
  }

  /** Once a second: looks for dead peers, lets go of drained ones. */
  tick(): void {
    if (this.#full === undefined || this.isOver) return;
    if (!this.#input.isEmpty) this.markTurn();
    this.#checkTaking();
    this.#checkAlive(this.#full);
    this.#idleTicks = this.#full.isIdle ? this.#idleTicks + 1 : 0;
    if (this.#isDraining && this.#idleTicks > 1) this.#end();
  }

  /**
   * Who takes none of its answers for as long as a ping may go unanswered is as dead, whatever it sends and its kernel
   * acknowledges: its tasks and its reservation must not stay for ever.
   */
  #checkTaking(): void {
    const { pingAfterMs, pingAnswerMs } = this.#owner.shared.limits;
    const { sentCount } = this.#output;
    const isTaking = !this.holdsOutput || sentCount !== this.#sentCount;
    this.#sentCount = sentCount;
    this.#deafTicks = isTaking ? 0 : this.#deafTicks + 1;
    if (this.#deafTicks * tickMs >= pingAfterMs + pingAnswerMs) {
      this.onBreach('it did not take its answers');
    }
  }

  #checkAlive(full: FullFeature): void {
    if (this.isOver) return;
    const { pingAfterMs, pingAnswerMs } = this.#owner.shared.limits;
    // As long as we do not read, silence says nothing about the initiator.
    if (!this.#input.isEmpty) return;
    this.#silentTicks += 1;
    const silentMs = this.#silentTicks * tickMs;
    // Discovery sessions are short; nothing but text is said in them.
    const isDiscovery = this.#session?.candidate.kind === 'discovery';
    if (silentMs >= pingAfterMs + pingAnswerMs) {
      this.onBreach(isDiscovery ? 'its discovery was over' : 'it did not answer a ping');
    } else if (!isDiscovery && !this.#isPinged && silentMs >= pingAfterMs) {
      this.#isPinged = true;
      full.ping();
    }
  }

  // ---- stream

  onBytes(chunk: Uint8Array): void {
    if (this.isOver) return;
    this.#silentTicks = 0;
    this.#isPinged = false;
    if (this.#input.offer(chunk)) this.#stream.pause();
  }

  /** There is no half-closed connection in iSCSI: who ends without logout is gone. */
  onEnd(): void {
    if (this.#isClosed || this.#isInputOver) return;
    this.#isInputOver = true;
    if (!this.#isEnding) this.drop();
  }

  onClose(): void {
    this.#close();
  }

  // ---- output

  onOutputReady(): void {
    this.markTurn();
  }

  onOutputSent(): void {
    if (!this.#isClosed) this.markTurn();
  }

  markTurn(): void {
    this.#owner.turns.mark(this);
  }

  // ---- PDUs

  onHeader(pdu: PduHeader): Admission {
    if (this.#full !== undefined) return this.#full.onHeader(pdu);
    if (this.#stream.pendingBytes > loginOutputMaxBytes) return Admission.later;
    const isWanted = this.#login.onHeader(pdu.bytes, pdu.view, pdu.at);
    return isWanted ? Admission.gather : Admission.stop;
  }

  onData(bytes: Uint8Array, start: number, end: number): number {
    return this.#full?.onData(bytes, start, end) ?? end - start;
  }

  onDataEnd(isGood: boolean): void {
    this.#full?.onDataEnd(isGood);
  }

  onGathered(data: Uint8Array, isGood: boolean): void {
    if (this.#full === undefined) this.#login.onData(data);
    else this.#full.onGathered(data, isGood);
  }

  onBreach(reason: string): void {
    if (this.#isClosed) return;
    this.drop();
    this.#owner.onBreach(this, reason);
  }

  // ---- login

  send(pdu: Uint8Array): void {
    this.#stream.write(pdu, () => {
      if (!this.#input.isEmpty) this.markTurn();
    });
  }

  hasSession(initiatorName: string, isid: Uint8Array, tsih: number): boolean {
    return this.#owner.hasSession(initiatorName, isid, tsih);
  }

  admit(candidate: LoginOutcome, done: (answer: Admittance) => void): void {
    const session = this.#owner.admit(this, candidate, (answer) => {
      if ('status' in answer) {
        done(answer);
        return;
      }
      this.#session = answer;
      done({ tsih: answer.tsih });
    });
    // It may have been dropped meanwhile, by a login of the same initiator port.
    this.#session = session;
    if (this.#isClosed) session?.end();
  }

  onLoggedIn(outcome: LoginOutcome): void {
    const session = this.#session;
    if (session === undefined || this.#isClosed) return;
    const { hosts, shared } = this.#owner;
    const { parameters, initiatorName, targetName } = outcome;
    const initiator = { name: initiatorName, address: addressOfPeer(this.peer) };
    const text = new TextExchange({ asker: { initiator, targetName }, hosts, parameters });
    this.#full = new FullFeature({
      outcome,
      nexus: session.nexus,
      counters: session.counters,
      shared,
      output: this.#output,
      text,
      owner: this,
    });
    this.#receiver.hasHeaderDigest = parameters.hasHeaderDigest;
    this.#receiver.hasDataDigest = parameters.hasDataDigest;
    // Anybody may ask for targets: discoveries stay among the logins, which are bounded, so that they take no host's place.
    if (outcome.kind === 'normal') this.#owner.onLoginOver(this);
    this.#owner.onLoggedIn(this, outcome);
  }

  onRefused(refusal: RefusedLogin): void {
    this.#owner.onRefused(this, refusal);
    this.#end();
  }

  // ---- logout

  onLogout(done: () => void): void {
    if (this.#session === undefined) done();
    else this.#session.closeNexus(done);
  }

  onLoggedOut(): void {
    // The answer is in the output; what follows it is not listened to.
    this.#end();
  }

  // ---- input

  take(chunk: Uint8Array): number {
    return this.#receiver.consume(chunk, viewOf(chunk), 0, chunk.length);
  }

  get isWaiting(): boolean {
    return this.#receiver.isWaiting;
  }

  get isOver(): boolean {
    return this.#isEnding || this.#isClosed;
  }

  // ---- end

  /** What is collected leaves, then our half ends. The initiator has a moment to close its own. */
  #end(): void {
    if (this.isOver) return;
    this.#isEnding = true;
    this.#input.drop();
    this.#receiver.stop();
    this.#endLogin();
    this.#full?.close();
    this.#output.flush();
    this.#stream.end();
    // A paused stream would never report that the initiator closed.
    this.#stream.resume();
    this.#timer = this.#owner.timers.after(this.#owner.shared.limits.lingerMs, () => {
      this.drop();
    });
    this.#session?.end();
  }

  #endLogin(): void {
    this.#login.close();
    this.#owner.onLoginOver(this);
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#input.drop();
    this.#timer?.cancel();
    this.#receiver.stop();
    this.#endLogin();
    this.#full?.close();
    this.#output.close();
    this.#session?.end();
    this.#owner.onClosed(this);
  }
}
