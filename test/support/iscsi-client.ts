/**
 * An initiator for tests, over TCP, written from RFC 7143 with its own offsets: it shares nothing with the target that it
 * judges. It does what an initiator may do, and on request what one must not.
 *
 *     open() ─▶ loginStep() ... or login()         every PDU of a login under the test's control, or the usual one
 *     start(cdb) ─▶ Exchange { tag, answer }       many at once, within the target's window
 *     abortTask(tag), lunReset(lun), logout(), destroy()
 *
 * PDUs that belong to nothing (a response to an aborted task, say) are kept in `strays`.
 */
import net from 'node:net';
import {
  digestOf,
  type LoginOptions,
  noTag,
  Opcode,
  operationalKeys,
  pairsOf,
  textOf,
} from './iscsi-payload.ts';

const immediate = 0x40;
const final = 0x80;
const bhsBytes = 48;

export interface Pdu {
  readonly bhs: DataView;
  readonly data: Uint8Array;
}

export interface Answer {
  readonly status: number;
  /** Sense data without its length; empty when there is none. */
  readonly sense: Uint8Array;
  readonly data: Uint8Array;
}

export interface Exchange {
  readonly tag: number;
  /** Rejects when the connection ends first. */
  readonly answer: Promise<Answer>;
}

export interface CommandOptions {
  readonly lun?: number;
  readonly write?: Uint8Array;
  readonly readBytes?: number;
  /** Breaks the digest of the command's PDU, or of its immediate data. */
  readonly breakDigest?: 'header' | 'data';
}

export interface LoginAnswer {
  /** Class and detail: 0 = success. */
  readonly status: number;
  readonly isTransit: boolean;
  readonly nextStage: number;
  readonly keys: ReadonlyMap<string, string>;
}

interface Pending {
  readonly write: Uint8Array;
  readonly data: Uint8Array;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

const emptyBytes = new Uint8Array(0);

export class IscsiClient implements AsyncDisposable {
  /** PDUs that answered nothing that was asked. */
  readonly strays: Pdu[] = [];
  /** Resolves when the connection is gone, whoever ended it. */
  readonly closed: Promise<void>;
  readonly #socket: net.Socket;
  readonly #pending = new Map<number, Pending>();
  /** Also of commands that are over: whoever aborts one must name its number. */
  readonly #cmdSnByTag = new Map<number, number>();
  readonly #others = new Map<number, (pdu: Pdu) => void>();
  #received: Uint8Array = emptyBytes;
  #isClosed = false;
  #isDigested = false;
  #isid = 0;
  #tsih = 0;
  #nextTag = 1;
  #cmdSn = 1;
  #maxCmdSn = 1;
  #expStatSn = 0;
  #sendSegmentBytes = 8192;
  #waitingForWindow: (() => void)[] = [];

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.closed = promise;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#isClosed = true;
      const error = new Error('the connection ended');
      for (const pending of this.#pending.values()) pending.reject(error);
      this.#pending.clear();
      resolve(undefined);
    });
  }

  /** Connects, without a login. */
  static async open(port: number): Promise<IscsiClient> {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    socket.once('connect', () => {
      resolve(undefined);
    });
    socket.once('error', reject);
    await promise;
    return new IscsiClient(socket);
  }

  /** Connects and logs in without CHAP. */
  static async login(port: number, options: LoginOptions): Promise<IscsiClient> {
    const client = await IscsiClient.open(port);
    const answer = await client.loginStep(operationalKeys(options), { isid: options.isid ?? 1 });
    if (answer.status !== 0) {
      client.destroy();
      throw new Error(`login refused: ${answer.status.toString(16)}`);
    }
    return client;
  }

  get isOpen(): boolean {
    return !this.#isClosed;
  }

  get tsih(): number {
    return this.#tsih;
  }

  /** The socket, for tests that stop reading or cut a PDU in half. */
  get socket(): net.Socket {
    return this.#socket;
  }

  // ---- login

  /** One login request and its answer. Default: operational stage, straight to full feature phase. */
  async loginStep(
    pairs: Readonly<Record<string, string>>,
    step: { isid?: number; stage?: number; nextStage?: number; isTransit?: boolean } = {},
  ): Promise<LoginAnswer> {
    const { stage = 1, nextStage = 3, isTransit = true } = step;
    this.#isid = step.isid ?? this.#isid;
    const bhs = new DataView(new ArrayBuffer(bhsBytes));
    bhs.setUint8(0, Opcode.login | immediate);
    bhs.setUint8(1, (isTransit ? final : 0) | (stage << 2) | (isTransit ? nextStage : 0));
    // ISID of type "random" (10b), the rest is the test's number.
    bhs.setUint8(8, 0x80);
    bhs.setUint32(10, this.#isid);
    bhs.setUint16(14, this.#tsih);
    bhs.setUint32(16, 0);
    bhs.setUint32(24, this.#cmdSn);
    bhs.setUint32(28, this.#expStatSn);
    const answered = this.#answerTo(0);
    this.#send(bhs, textOf(pairs));
    const { bhs: response, data } = await answered;
    const flags = response.getUint8(1);
    const keys = pairsOf(data);
    const answer = {
      status: response.getUint16(36),
      isTransit: (flags & final) !== 0,
      nextStage: flags & 3,
      keys,
    };
    if (answer.status === 0 && answer.isTransit && answer.nextStage === 3) {
      this.#tsih = response.getUint16(14);
      this.#isDigested = keys.get('HeaderDigest') === 'CRC32C';
      this.#sendSegmentBytes = Number(keys.get('MaxRecvDataSegmentLength') ?? 8192);
    }
    return answer;
  }

  // ---- full feature phase

  /** Sends one command, waiting for the target's window first. */
  async start(cdb: Uint8Array, options: CommandOptions = {}): Promise<Exchange> {
    while (((this.#maxCmdSn - this.#cmdSn) | 0) < 0) {
      const { promise, resolve } = Promise.withResolvers<undefined>();
      this.#waitingForWindow.push(() => {
        resolve(undefined);
      });
      await promise;
      if (this.#isClosed) throw new Error('the connection ended');
    }
    return this.#sendCommand(cdb, options);
  }

  /** Sends one command and waits for its answer. */
  async command(cdb: Uint8Array, options: CommandOptions = {}): Promise<Answer> {
    return await (await this.start(cdb, options)).answer;
  }

  #sendCommand(cdb: Uint8Array, options: CommandOptions): Exchange {
    const { lun = 0, write = emptyBytes, readBytes = 0, breakDigest } = options;
    const tag = this.#takeTag();
    const bhs = new DataView(new ArrayBuffer(bhsBytes));
    const direction = (readBytes > 0 ? 0x40 : 0) | (write.length > 0 ? 0x20 : 0);
    bhs.setUint8(0, Opcode.command);
    bhs.setUint8(1, final | direction | 1);
    bhs.setUint8(9, lun);
    bhs.setUint32(16, tag);
    bhs.setUint32(20, Math.max(readBytes, write.length));
    bhs.setUint32(24, this.#cmdSn);
    bhs.setUint32(28, this.#expStatSn);
    new Uint8Array(bhs.buffer).set(cdb, 32);
    this.#cmdSnByTag.set(tag, this.#cmdSn);
    this.#cmdSn = (this.#cmdSn + 1) >>> 0;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    // A test may look at the answer later, or never.
    promise.catch(() => undefined);
    if (this.#isClosed) reject(new Error('the connection ended'));
    else this.#pending.set(tag, { write, data: new Uint8Array(readBytes), resolve, reject });
    const immediateData = write.subarray(0, Math.min(write.length, this.#sendSegmentBytes, 65_536));
    this.#send(bhs, immediateData, breakDigest);
    return { tag, answer: promise };
  }

  /** ABORT TASK; returns the target's response code (0 = function complete). */
  async abortTask(tag: number, lun = 0): Promise<number> {
    return await this.#manage(1, lun, tag);
  }

  /** LOGICAL UNIT RESET. */
  async lunReset(lun = 0): Promise<number> {
    return await this.#manage(5, lun, noTag);
  }

  async #manage(fn: number, lun: number, referenced: number): Promise<number> {
    const tag = this.#takeTag();
    const bhs = new DataView(new ArrayBuffer(bhsBytes));
    bhs.setUint8(0, Opcode.taskManagement | immediate);
    bhs.setUint8(1, final | fn);
    bhs.setUint8(9, lun);
    bhs.setUint32(16, tag);
    bhs.setUint32(20, referenced);
    bhs.setUint32(24, this.#cmdSn);
    bhs.setUint32(28, this.#expStatSn);
    bhs.setUint32(32, this.#cmdSnByTag.get(referenced) ?? 0);
    const answered = this.#answerTo(tag);
    this.#send(bhs, emptyBytes);
    const response = (await answered).bhs.getUint8(2);
    // What the abort took away is no longer expected; were it answered, it would be a stray.
    if (fn === 1) this.#pending.delete(referenced);
    else this.#pending.clear();
    return response;
  }

  /** A ping with data; returns what came back. */
  async nop(data: Uint8Array): Promise<Uint8Array> {
    const tag = this.#takeTag();
    const bhs = new DataView(new ArrayBuffer(bhsBytes));
    bhs.setUint8(0, Opcode.nopOut | immediate);
    bhs.setUint8(1, final);
    bhs.setUint32(16, tag);
    bhs.setUint32(20, noTag);
    bhs.setUint32(24, this.#cmdSn);
    bhs.setUint32(28, this.#expStatSn);
    const answered = this.#answerTo(tag);
    this.#send(bhs, data);
    return (await answered).data;
  }

  /** Ends the session as an initiator should. */
  async logout(): Promise<void> {
    const tag = this.#takeTag();
    const bhs = new DataView(new ArrayBuffer(bhsBytes));
    bhs.setUint8(0, Opcode.logout | immediate);
    bhs.setUint8(1, final);
    bhs.setUint32(16, tag);
    bhs.setUint32(24, this.#cmdSn);
    bhs.setUint32(28, this.#expStatSn);
    const answered = this.#answerTo(tag);
    this.#send(bhs, emptyBytes);
    await answered;
    this.#socket.end();
    await this.closed;
  }

  /** Ends the connection without a word. */
  destroy(): void {
    this.#socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    await this.closed;
  }

  // ---- PDUs

  #takeTag(): number {
    this.#nextTag += 1;
    return this.#nextTag;
  }

  async #answerTo(tag: number): Promise<Pdu> {
    const { promise, resolve, reject } = Promise.withResolvers<Pdu>();
    this.#others.set(tag, resolve);
    void this.closed.then(() => {
      reject(new Error('the connection ended'));
    });
    return await promise;
  }

  #send(bhs: DataView, data: Uint8Array, breakDigest?: 'header' | 'data'): void {
    bhs.setUint32(4, data.length);
    const head = new Uint8Array(bhs.buffer);
    const padded = new Uint8Array((data.length + 3) & ~3);
    padded.set(data);
    const parts = [head];
    if (this.#isDigested) parts.push(this.#digest(head, breakDigest === 'header'));
    if (padded.length > 0) parts.push(padded);
    if (this.#isDigested && padded.length > 0) {
      parts.push(this.#digest(padded, breakDigest === 'data'));
    }
    this.#socket.write(Buffer.concat(parts));
  }

  #digest(bytes: Uint8Array, isBroken: boolean): Uint8Array {
    const digest = digestOf(bytes);
    if (isBroken) digest[0] = (digest[0] ?? 0) ^ 1;
    return digest;
  }

  #take(chunk: Uint8Array): void {
    const joined = Buffer.concat([this.#received, chunk]);
    // A Buffer's slices are views; those of a plain array are copies, which is what PDUs are made of.
    this.#received = new Uint8Array(joined.buffer, joined.byteOffset, joined.length);
    for (let used = this.#takeOne(); used > 0; used = this.#takeOne()) {
      this.#received = this.#received.subarray(used);
    }
  }

  /** Handles the PDU at the front, when it is whole; returns its length, or 0. */
  #takeOne(): number {
    const bytes = this.#received;
    if (bytes.length < bhsBytes) return 0;
    const bhs = new DataView(bytes.buffer, bytes.byteOffset, bhsBytes);
    const ahsBytes = bhs.getUint8(4) * 4;
    const dataBytes = bhs.getUint32(4) & 0xff_ffff;
    const padded = (dataBytes + 3) & ~3;
    const headBytes = bhsBytes + ahsBytes;
    const digestBytes = this.#isDigested ? 4 : 0;
    const dataAt = headBytes + digestBytes;
    const total = dataAt + padded + (padded > 0 ? digestBytes : 0);
    if (bytes.length < total) return 0;
    if (this.#isDigested) {
      this.#check(bytes, 0, headBytes);
      if (padded > 0) this.#check(bytes, dataAt, dataAt + padded);
    }
    const copy = new DataView(bytes.slice(0, bhsBytes).buffer);
    this.#handle({ bhs: copy, data: bytes.slice(dataAt, dataAt + dataBytes) });
    return total;
  }

  #check(bytes: Uint8Array, from: number, to: number): void {
    const told = bytes.subarray(to, to + 4);
    if (Buffer.compare(digestOf(bytes.subarray(from, to)), told) === 0) return;
    this.#socket.destroy(new Error('the target sent a wrong digest'));
  }

  #handle(pdu: Pdu): void {
    const { bhs } = pdu;
    const opcode = bhs.getUint8(0) & 0x3f;
    const hasStatus = opcode !== Opcode.r2t && !(opcode === Opcode.dataIn && !hasStatusBit(bhs));
    if (hasStatus && !(opcode === Opcode.nopIn && bhs.getUint32(16) === noTag)) {
      this.#expStatSn = (bhs.getUint32(24) + 1) >>> 0;
    }
    this.#learnWindow(bhs.getUint32(32));
    if (opcode === Opcode.r2t) this.#sendData(bhs);
    else if (opcode === Opcode.dataIn) this.#takeData(pdu);
    else if (opcode === Opcode.response) this.#finish(pdu);
    else if (opcode === Opcode.nopIn && bhs.getUint32(20) !== noTag) this.#answerPing(bhs);
    else this.#settle(pdu);
  }

  #learnWindow(maxCmdSn: number): void {
    if (((maxCmdSn - this.#maxCmdSn) | 0) > 0) this.#maxCmdSn = maxCmdSn;
    const waiting = this.#waitingForWindow;
    this.#waitingForWindow = [];
    for (const wake of waiting) wake();
  }

  #settle(pdu: Pdu): void {
    const tag = pdu.bhs.getUint32(16);
    const settle = this.#others.get(tag);
    this.#others.delete(tag);
    if (settle === undefined) this.strays.push(pdu);
    else settle(pdu);
  }

  #sendData(r2t: DataView): void {
    const tag = r2t.getUint32(16);
    const pending = this.#pending.get(tag);
    if (pending === undefined) return;
    const from = r2t.getUint32(40);
    const to = from + r2t.getUint32(44);
    let dataSn = 0;
    for (let at = from; at < to; at += this.#sendSegmentBytes) {
      const end = Math.min(to, at + this.#sendSegmentBytes);
      const bhs = new DataView(new ArrayBuffer(bhsBytes));
      bhs.setUint8(0, Opcode.dataOut);
      bhs.setUint8(1, end === to ? final : 0);
      bhs.setUint32(16, tag);
      bhs.setUint32(20, r2t.getUint32(20));
      bhs.setUint32(28, this.#expStatSn);
      bhs.setUint32(36, dataSn);
      bhs.setUint32(40, at);
      this.#send(bhs, pending.write.subarray(at, end));
      dataSn += 1;
    }
  }

  #takeData(pdu: Pdu): void {
    const pending = this.#pending.get(pdu.bhs.getUint32(16));
    if (pending === undefined) {
      this.strays.push(pdu);
      return;
    }
    pending.data.set(pdu.data, pdu.bhs.getUint32(40));
    if (hasStatusBit(pdu.bhs)) this.#answer(pdu.bhs, emptyBytes);
  }

  #finish(pdu: Pdu): void {
    if (!this.#pending.has(pdu.bhs.getUint32(16))) {
      this.strays.push(pdu);
      return;
    }
    const senseBytes = pdu.data.length >= 2 ? ((pdu.data[0] ?? 0) << 8) | (pdu.data[1] ?? 0) : 0;
    this.#answer(pdu.bhs, pdu.data.slice(2, 2 + senseBytes));
  }

  #answer(bhs: DataView, sense: Uint8Array): void {
    const tag = bhs.getUint32(16);
    const pending = this.#pending.get(tag);
    this.#pending.delete(tag);
    pending?.resolve({ status: bhs.getUint8(3), sense, data: pending.data });
  }

  #answerPing(ping: DataView): void {
    const bhs = new DataView(new ArrayBuffer(bhsBytes));
    bhs.setUint8(0, Opcode.nopOut | immediate);
    bhs.setUint8(1, final);
    bhs.setUint32(16, noTag);
    bhs.setUint32(20, ping.getUint32(20));
    bhs.setUint32(24, this.#cmdSn);
    bhs.setUint32(28, this.#expStatSn);
    this.#send(bhs, emptyBytes);
  }
}

function hasStatusBit(bhs: DataView): boolean {
  return (bhs.getUint8(1) & 1) !== 0;
}
