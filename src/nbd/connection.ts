/**
 * One client: owns the stream, carries it from handshake to transmission, and ends it once.
 *
 *     accept ─▶ handshake ─▶ transmission ─▶ ending ─▶ closed ─▶ gone
 *                  │ ▲ └─────────┴── drop ───────────────▲         └ the device has finished with it, the export is given back
 *                  ▼ │
 *             TLS: another stream, another handshake
 *
 * Input that cannot be taken now is kept (at most what one read of the socket brought) while the socket is paused, and
 * is offered again at the end of a turn in which something went on.
 *
 * Invariants
 * 1. The export is given back exactly once, when no request of ours is with the device any more.
 * 2. Nothing is written after `end` or `drop`.
 * 3. No byte that came in the clear is interpreted after STARTTLS, and nothing negotiated before holds after it.
 */
import { present } from '../base/assert.ts';
import { viewOf } from '../base/fields.ts';
import { HeldInput, type InputReader } from '../base/held-input.ts';
import { Output, type OutputOwner } from '../base/output.ts';
import type { ByteStream, SecuredStream, StreamHandler, Timer, Timers } from '../base/ports.ts';
import type { MemoryHolder } from '../base/stalls.ts';
import type { TurnList, TurnMember } from '../base/turn-list.ts';
import type { NbdDoor } from './door.ts';
import type { NbdExports, NbdOpenExport } from './exports.ts';
import { Handshake, type HandshakeOwner, type HandshakeResult } from './handshake.ts';
import { handshakeOutputMaxBytes } from './limits.ts';
import { type Shared, Transmission, type TransmissionOwner } from './transmission.ts';

const bytesInTheClear = 'bytes came in the clear after STARTTLS';

export interface ConnectionOwner {
  readonly exports: NbdExports;
  readonly timers: Timers;
  readonly shared: Shared;
  readonly turns: TurnList;
  readonly isStopping: boolean;
  onCrowded(): void;
  /** The handshake is over, well or not. */
  onHandshakeOver(connection: Connection): void;
  onOpened(connection: Connection): void;
  /** The client broke the protocol, or was too slow; it has been dropped. */
  onBreach(connection: Connection, reason: string): void;
  /** The stream is closed and the export given back: forget it. */
  onGone(connection: Connection): void;
}

export class Connection
  implements
    StreamHandler,
    OutputOwner,
    InputReader,
    MemoryHolder,
    TurnMember,
    HandshakeOwner,
    TransmissionOwner
{
  readonly id: number;
  readonly peer: string;
  /** Through which it came in. */
  readonly door: NbdDoor;
  /** Who the client proved to be; undefined when nobody asked. */
  identity: string | undefined;
  /** Version of TLS in use. */
  tlsProtocol: string | undefined;
  readonly #owner: ConnectionOwner;
  #stream: ByteStream;
  #handshake: Handshake;
  #output: Output | undefined;
  #transmission: Transmission | undefined;
  #opened: NbdOpenExport | undefined;
  #timer: Timer | undefined;
  readonly #input = new HeldInput(this);
  /** STARTTLS was granted and TLS is not up yet: nothing may come in the clear. */
  #isUpgrading = false;
  #isInputOver = false;
  #isEnding = false;
  #isClosed = false;
  #isGone = false;
  isMarked = false;
  readonly stall = { progress: 0, looks: 0 };

  constructor(id: number, stream: ByteStream, door: NbdDoor, owner: ConnectionOwner) {
    this.id = id;
    this.peer = stream.peer;
    this.door = door;
    this.#stream = stream;
    this.#owner = owner;
    this.#handshake = new Handshake(this, door.security === undefined ? 'off' : 'required');
  }

  /** Greets the client; it has a limited time to finish the handshake. */
  start(): void {
    this.#stream.start(this);
    this.#handshake.greet();
    this.#timer = this.#owner.timers.after(this.#owner.shared.limits.handshakeMs, () => {
      this.onBreach('the handshake took too long');
    });
  }

  get exports(): NbdExports {
    return this.#owner.exports;
  }

  get isStopping(): boolean {
    return this.#owner.isStopping;
  }

  /** Canonical name of the export that the client has open; undefined when none. */
  get exportName(): string | undefined {
    return this.openExport?.name;
  }

  /** What the client has open, also while the handshake still goes on. */
  get openExport(): NbdOpenExport | undefined {
    return this.#opened ?? this.#handshake.opened;
  }

  get isInTransmission(): boolean {
    return this.#transmission !== undefined;
  }

  get progress(): number {
    return (this.#output?.sentCount ?? 0) + (this.#transmission?.pieceCount ?? 0);
  }

  get holdsData(): boolean {
    return this.#transmission?.isHalfFilled ?? false;
  }

  get holdsOutput(): boolean {
    return this.#stream.pendingBytes > 0;
  }

  /** Closes now, without a word. The device may still finish requests; their answers are dropped. */
  drop(): void {
    if (this.#isClosed) return;
    this.#stream.destroy();
    this.#close();
  }

  /** Lets requests in flight finish, then ends. An unfinished handshake ends at once. */
  drain(): void {
    if (this.#isUpgrading) this.drop();
    else if (this.#transmission === undefined) this.onEnd();
    else this.#transmission.drain();
  }

  endTurn(): void {
    if (this.#isClosed) return;
    this.#transmission?.endTurn();
    if (this.#input.retry()) this.#goOnReading();
    this.#output?.flush();
  }

  // ---- stream

  onBytes(chunk: Uint8Array): void {
    if (this.isOver) return;
    if (this.#isUpgrading) {
      this.onBreach(bytesInTheClear);
      return;
    }
    if (this.#input.offer(chunk)) this.#stream.pause();
  }

  /** Half-closed: the client may still read the answers to what it asked. */
  onEnd(): void {
    if (this.#isClosed || this.#isInputOver) return;
    this.#isInputOver = true;
    if (this.#input.isEmpty) this.#endInput();
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

  // ---- handshake and transmission

  send(bytes: Uint8Array): void {
    this.#stream.write(bytes, () => {
      if (!this.#input.isEmpty) this.markTurn();
    });
  }

  canSend(): boolean {
    return this.#stream.pendingBytes <= handshakeOutputMaxBytes;
  }

  onReady(): void {
    this.markTurn();
  }

  onStartTls(ack: Uint8Array): void {
    this.#isUpgrading = true;
    this.#stream.pause();
    this.#stream.write(ack, () => {
      this.#upgrade();
    });
  }

  onAgreed(result: HandshakeResult): void {
    this.#opened = result.opened;
    this.#endHandshake();
    const { shared } = this.#owner;
    this.#output = new Output(this.#stream, shared.pool, this);
    this.#transmission = new Transmission({
      agreement: result.agreement,
      shared,
      output: this.#output,
      owner: this,
      id: this.id,
    });
    this.#owner.onOpened(this);
    if (this.#owner.isStopping) this.#transmission.drain();
  }

  onBreach(reason: string): void {
    if (this.#isClosed) return;
    this.drop();
    this.#owner.onBreach(this, reason);
  }

  markTurn(): void {
    this.#owner.turns.mark(this);
  }

  onCrowded(): void {
    this.#owner.onCrowded();
  }

  onFinished(): void {
    if (this.#isClosed) this.#checkGone();
    else this.#end();
  }

  // ---- input

  take(chunk: Uint8Array): number {
    let at = 0;
    if (this.#transmission === undefined) at = this.#handshake.consume(chunk, 0, chunk.length);
    if (this.#transmission !== undefined) {
      at = this.#transmission.consume(chunk, viewOf(chunk), at, chunk.length);
    }
    if (this.#isUpgrading && at < chunk.length) this.onBreach(bytesInTheClear);
    return at;
  }

  get isWaiting(): boolean {
    return this.#transmission?.isWaiting ?? this.#handshake.isWaiting;
  }

  get isOver(): boolean {
    return this.#isEnding || this.#isClosed;
  }

  /** What was held is taken. */
  #goOnReading(): void {
    if (this.#isInputOver) this.#endInput();
    else if (!this.#isUpgrading) this.#stream.resume();
  }

  #endInput(): void {
    if (this.#transmission === undefined) this.#end();
    else this.#transmission.endInput();
  }

  // ---- TLS

  /** The client has our answer to STARTTLS in the clear; everything from here on is TLS. */
  #upgrade(): void {
    if (this.isOver) return;
    const security = present(this.door.security, 'security of a door that grants STARTTLS');
    security.secure(this.#stream, (secured, reason) => {
      if (this.isOver) secured?.stream.destroy();
      else if (secured === undefined) this.onBreach(`TLS failed: ${reason}`);
      else this.#goOn(secured);
    });
  }

  /** A new handshake over the new stream; the time it may take still runs from the beginning. */
  #goOn(secured: SecuredStream): void {
    this.identity = secured.identity;
    this.tlsProtocol = secured.protocol;
    this.#stream = secured.stream;
    this.#handshake = new Handshake(this, 'done', this.#handshake.flags);
    this.#isUpgrading = false;
    this.#stream.start(this);
  }

  // ---- end

  /** Everything was answered: what is collected leaves, then our half ends. The client has a moment to close its own. */
  #end(): void {
    if (this.isOver) return;
    this.#isEnding = true;
    this.#input.drop();
    this.#endHandshake();
    this.#output?.flush();
    this.#stream.end();
    // A paused stream would never report that the client closed.
    this.#stream.resume();
    this.#timer = this.#owner.timers.after(this.#owner.shared.limits.lingerMs, () => {
      this.drop();
    });
  }

  #endHandshake(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#handshake.close();
    this.#owner.onHandshakeOver(this);
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#input.drop();
    this.#endHandshake();
    this.#transmission?.close();
    this.#output?.close();
    this.#checkGone();
  }

  #checkGone(): void {
    if (this.#isGone || this.#transmission?.isIdle === false) return;
    this.#isGone = true;
    this.#opened?.close();
    this.#opened = undefined;
    this.#owner.onGone(this);
  }
}
