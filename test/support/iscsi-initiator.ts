/**
 * An iSCSI initiator that does what a test says, PDU by PDU, and takes nothing for granted: it checks lengths, padding,
 * digests and StatSN of all it gets. Written from RFC 7143 with offsets of its own, not from our encoders.
 */
import { crc32c } from '@node-rs/crc32';
import { assert } from '../../src/base/assert.ts';
import { digestOf, noTag, Opcode, pairsOf, textOf } from './iscsi-payload.ts';
import type { MemoryStream } from './memory-stream.ts';

/** Fields of a header by their offset and size; what is left out is zero. */
export interface PduShape {
  readonly opcode: number;
  readonly isImmediate?: boolean;
  /** Second byte. */
  readonly flags?: number;
  readonly lun?: number;
  readonly itt?: number;
  /** Bytes 20 to 47 as 32-bit words, by offset. */
  readonly words?: Readonly<Record<number, number>>;
  readonly cdb?: Uint8Array;
  readonly data?: Uint8Array;
}

export interface Pdu {
  readonly opcode: number;
  readonly flags: number;
  readonly itt: number;
  readonly header: DataView;
  readonly data: Uint8Array;
}

export interface LoginShape {
  readonly initiatorName?: string;
  readonly targetName?: string;
  /** Last byte of the ISID. */
  readonly isid?: number;
  readonly cmdSn?: number;
  readonly isDiscovery?: boolean;
  readonly keys?: Readonly<Record<string, string>>;
}

export interface CommandShape {
  readonly cdb: Uint8Array;
  readonly lun?: number;
  /** Bytes to read or to write: EDTL. */
  readonly readBytes?: number;
  readonly writeBytes?: number;
  /** Immediate data. */
  readonly data?: Uint8Array;
  /** Default true. */
  readonly isFinal?: boolean;
  readonly isImmediate?: boolean;
  readonly cmdSn?: number;
  readonly itt?: number;
  /** Default 1, simple. */
  readonly attribute?: number;
}

/** What became of a command. */
export interface Result {
  readonly status: number;
  readonly sense: Uint8Array;
  readonly data: Uint8Array;
  /** 4 overflow, 2 underflow. */
  readonly residualFlags: number;
  readonly residual: number;
}

const initiatorName = 'iqn.1998-01.com.vmware:esx1';
const targetName = 'iqn.2026-11.org.tidemark:pool-0001';

export class IscsiInitiator {
  readonly stream: MemoryStream;
  readonly #run: () => void;
  cmdSn = 1;
  #itt = 0x1000;
  expStatSn = 0;
  expCmdSn = 0;
  maxCmdSn = 0;
  tsih = 0;
  hasHeaderDigest = false;
  hasDataDigest = false;
  /** Text of the last login, by key. */
  keys: Record<string, string> = {};
  loginStatus = -1;
  #bytes = new Uint8Array(0);
  #pdus: Pdu[] = [];

  constructor(stream: MemoryStream, run: () => void) {
    this.stream = stream;
    this.#run = run;
  }

  get isDropped(): boolean {
    return this.stream.isDestroyed;
  }

  nextItt(): number {
    this.#itt += 1;
    return this.#itt;
  }

  // ---- sending

  /** A whole PDU as bytes. */
  encode(shape: PduShape): Uint8Array {
    const data = shape.data ?? new Uint8Array(0);
    const padded = Math.ceil(data.length / 4) * 4;
    const front = 48 + (this.hasHeaderDigest ? 4 : 0);
    const tail = data.length > 0 && this.hasDataDigest ? 4 : 0;
    const bytes = new Uint8Array(front + padded + tail);
    const view = new DataView(bytes.buffer);
    view.setUint8(0, shape.opcode | (shape.isImmediate === true ? 0x40 : 0));
    view.setUint8(1, shape.flags ?? 0x80);
    view.setUint32(4, data.length);
    view.setUint16(8, shape.lun ?? 0);
    view.setUint32(16, shape.itt ?? noTag);
    for (const [offset, value] of Object.entries(shape.words ?? {})) {
      view.setUint32(Number(offset), value);
    }
    if (shape.cdb !== undefined) bytes.set(shape.cdb, 32);
    if (this.hasHeaderDigest) bytes.set(digestOf(bytes.subarray(0, 48)), 48);
    bytes.set(data, front);
    if (tail > 0) {
      bytes.set(digestOf(bytes.subarray(front, front + padded)), front + padded);
    }
    return bytes;
  }

  /** Sends without letting anything happen. */
  post(shape: PduShape): void {
    this.stream.send(this.encode(shape));
  }

  send(shape: PduShape): void {
    this.post(shape);
    this.#run();
  }

  sendRaw(bytes: Uint8Array): void {
    this.stream.send(bytes);
    this.#run();
  }

  // ---- receiving

  /** Everything that came and was not taken yet. */
  take(): Pdu[] {
    this.#run();
    this.#parse();
    return this.#pdus.splice(0);
  }

  /** The only PDU that came. */
  takeOne(opcode: number): Pdu {
    const pdus = this.take();
    const [pdu] = pdus;
    const found = pdus.map((one) => one.opcode.toString(16)).join(' ');
    assert(pdu !== undefined && pdus.length === 1, `one PDU expected, there is "${found}"`);
    assert(pdu.opcode === opcode, `opcode ${opcode.toString(16)} expected, there is "${found}"`);
    return pdu;
  }

  #parse(): void {
    const parts = [this.#bytes, ...this.stream.received.splice(0)];
    const bytes = Uint8Array.from(Buffer.concat(parts));
    let at = 0;
    for (let size = this.#sizeAt(bytes, at); size > 0; size = this.#sizeAt(bytes, at)) {
      this.#accept(bytes.slice(at, at + size));
      at += size;
    }
    this.#bytes = bytes.slice(at);
  }

  /** Bytes of the PDU at `at`; 0 when not all of it is there. */
  #sizeAt(bytes: Uint8Array, at: number): number {
    if (bytes.length - at < 48) return 0;
    const view = new DataView(bytes.buffer, at, 48);
    const length = view.getUint32(4) & 0xffffff;
    const tail = length > 0 && this.hasDataDigest ? 4 : 0;
    const size = 48 + (this.hasHeaderDigest ? 4 : 0) + Math.ceil(length / 4) * 4 + tail;
    return bytes.length - at >= size ? size : 0;
  }

  #accept(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer);
    const length = view.getUint32(4) & 0xffffff;
    const front = 48 + (this.hasHeaderDigest ? 4 : 0);
    const padded = Math.ceil(length / 4) * 4;
    if (this.hasHeaderDigest) {
      assert(view.getUint32(48, true) === crc32c(bytes.subarray(0, 48)), 'header digest');
    }
    if (length > 0 && this.hasDataDigest) {
      const digest = crc32c(bytes.subarray(front, front + padded));
      assert(view.getUint32(front + padded, true) === digest, 'data digest');
    }
    for (const byte of bytes.subarray(front + length, front + padded)) {
      assert(byte === 0, 'padding is zero');
    }
    const opcode = view.getUint8(0);
    const pdu: Pdu = {
      opcode,
      flags: view.getUint8(1),
      itt: view.getUint32(16),
      header: view,
      data: bytes.slice(front, front + length),
    };
    this.#count(pdu);
    this.#pdus.push(pdu);
  }

  /** StatSN goes up by one with every status, and stays with what carries none. */
  #count({ opcode, flags, itt, header }: Pdu): void {
    if (opcode === Opcode.loginResponse) return;
    this.expCmdSn = header.getUint32(28);
    this.maxCmdSn = header.getUint32(32);
    const hasStatus =
      opcode !== Opcode.r2t &&
      !(opcode === Opcode.dataIn && (flags & 1) === 0) &&
      !(opcode === Opcode.nopIn && itt === noTag);
    if (opcode === Opcode.dataIn && !hasStatus) return;
    assert(header.getUint32(24) === this.expStatSn, `StatSN of opcode ${opcode.toString(16)}`);
    if (hasStatus) this.expStatSn = (this.expStatSn + 1) >>> 0;
  }

  // ---- login

  /** One PDU: operational stage to full feature. */
  postLogin(shape: LoginShape = {}): void {
    const keys: Record<string, string> = {
      InitiatorName: shape.initiatorName ?? initiatorName,
      ...(shape.isDiscovery === true
        ? { SessionType: 'Discovery' }
        : { SessionType: 'Normal', TargetName: shape.targetName ?? targetName }),
      HeaderDigest: 'None',
      DataDigest: 'None',
      ImmediateData: 'Yes',
      InitialR2T: 'No',
      MaxBurstLength: '262144',
      FirstBurstLength: '65536',
      MaxRecvDataSegmentLength: '262144',
      ...shape.keys,
    };
    this.cmdSn = shape.cmdSn ?? 1;
    const data = textOf(keys);
    const pdu = this.encode({ opcode: Opcode.login, isImmediate: true, flags: 0x87, itt: 1, data });
    const view = new DataView(pdu.buffer);
    pdu.set([0x80, 0, 0, 0, 0, shape.isid ?? 1], 8);
    view.setUint32(24, this.cmdSn);
    this.stream.send(pdu);
  }

  login(shape: LoginShape = {}): void {
    this.postLogin(shape);
    this.#run();
    assert(this.takeLogin(), `login refused: ${this.loginStatus.toString(16)}`);
  }

  /** Looks at the answer to a login; false when it was refused, or did not come. */
  takeLogin(): boolean {
    const [pdu] = this.take();
    if (pdu === undefined) return false;
    assert(pdu.opcode === Opcode.loginResponse, 'a login response');
    this.loginStatus = pdu.header.getUint16(36);
    if (this.loginStatus !== 0) return false;
    this.tsih = pdu.header.getUint16(14);
    this.expStatSn = (pdu.header.getUint32(24) + 1) >>> 0;
    this.expCmdSn = pdu.header.getUint32(28);
    this.maxCmdSn = pdu.header.getUint32(32);
    this.keys = Object.fromEntries(pairsOf(pdu.data));
    this.hasHeaderDigest = this.keys['HeaderDigest'] === 'CRC32C';
    this.hasDataDigest = this.keys['DataDigest'] === 'CRC32C';
    return true;
  }

  // ---- commands

  /** Posts a command; returns its tag. */
  postCommand(shape: CommandShape): number {
    const itt = shape.itt ?? this.nextItt();
    const isImmediate = shape.isImmediate ?? false;
    const cmdSn = shape.cmdSn ?? this.cmdSn;
    if (!isImmediate && shape.cmdSn === undefined) this.cmdSn = (this.cmdSn + 1) >>> 0;
    const cdb = new Uint8Array(16);
    cdb.set(shape.cdb);
    const flags =
      (shape.isFinal === false ? 0 : 0x80) |
      (shape.readBytes === undefined ? 0 : 0x40) |
      (shape.writeBytes === undefined ? 0 : 0x20) |
      (shape.attribute ?? 1);
    const expected = shape.writeBytes ?? shape.readBytes ?? 0;
    const words = { 20: expected, 24: cmdSn, 28: this.expStatSn };
    const { lun = 0, data = new Uint8Array(0) } = shape;
    this.post({ opcode: Opcode.command, isImmediate, flags, lun, itt, words, cdb, data });
    return itt;
  }

  /** Answers an R2T from `source`, in PDUs of at most `segmentBytes`. */
  postDataOut(r2t: Pdu, source: Uint8Array, segmentBytes = 65536): void {
    const start = r2t.header.getUint32(40);
    const end = start + r2t.header.getUint32(44);
    let dataSn = 0;
    for (let at = start; at < end; at += segmentBytes) {
      const to = Math.min(end, at + segmentBytes);
      this.postSegment(r2t.itt, r2t.header.getUint32(20), {
        dataSn,
        offset: at,
        data: source.subarray(at, to),
        isFinal: to === end,
      });
      dataSn += 1;
    }
  }

  postSegment(
    itt: number,
    ttt: number,
    segment: { dataSn: number; offset: number; data: Uint8Array; isFinal: boolean },
  ): void {
    const words = { 20: ttt, 28: this.expStatSn, 36: segment.dataSn, 40: segment.offset };
    const flags = segment.isFinal ? 0x80 : 0;
    this.post({ opcode: Opcode.dataOut, flags, itt, words, data: segment.data });
  }

  /** Does a whole command: data in, R2Ts answered from `source`, until its status. */
  execute(shape: CommandShape, source?: Uint8Array): Result {
    const itt = this.postCommand(shape);
    const collector = new Collector(shape.readBytes ?? 0);
    for (let round = 0; round < 10_000; round += 1) {
      for (const pdu of this.take()) {
        assert(pdu.itt === itt, `a PDU (${pdu.opcode.toString(16)}) of another command`);
        if (pdu.opcode === Opcode.r2t) {
          assert(source !== undefined, 'an R2T for a command without data');
          this.postDataOut(pdu, source);
        } else if (collector.add(pdu)) return collector.result;
      }
      assert(!this.isDropped, 'the connection was dropped');
    }
    throw new Error('the command does not end');
  }

  /** A task management function; returns its tag. */
  postTaskManagement(
    fn: number,
    shape: { lun?: number; rtt?: number; refCmdSn?: number; cmdSn?: number; isImmediate?: boolean },
  ): number {
    const itt = this.nextItt();
    const isImmediate = shape.isImmediate ?? true;
    const cmdSn = shape.cmdSn ?? this.cmdSn;
    if (!isImmediate) this.cmdSn += 1;
    const words = {
      20: shape.rtt ?? noTag,
      24: cmdSn,
      28: this.expStatSn,
      32: shape.refCmdSn ?? 0,
    };
    const { lun = 0 } = shape;
    this.post({ opcode: Opcode.taskManagement, isImmediate, flags: 0x80 | fn, lun, itt, words });
    return itt;
  }
}

/** Puts the Data-In of one command together and checks that it comes as it must. */
export class Collector {
  readonly #data: Uint8Array;
  #dataSn = 0;
  #offset = 0;
  result: Result = {
    status: -1,
    sense: new Uint8Array(0),
    data: new Uint8Array(0),
    residualFlags: 0,
    residual: 0,
  };

  constructor(readBytes: number) {
    this.#data = new Uint8Array(readBytes);
  }

  /** Returns whether the command is over. */
  add({ opcode, flags, header, data }: Pdu): boolean {
    if (opcode === Opcode.dataIn) {
      assert(header.getUint32(36) === this.#dataSn, 'DataSN');
      assert(header.getUint32(40) === this.#offset, 'Buffer Offset');
      this.#data.set(data, this.#offset);
      this.#dataSn += 1;
      this.#offset += data.length;
      if ((flags & 1) === 0) return false;
      assert((flags & 0x80) !== 0, 'status without F');
    } else {
      assert(opcode === Opcode.response, `opcode ${opcode.toString(16)} for a command`);
      assert(header.getUint8(2) === 0, 'service response');
    }
    const senseLength = opcode === Opcode.response && data.length > 0 ? data.length - 2 : 0;
    this.result = {
      status: header.getUint8(3),
      sense: opcode === Opcode.response ? data.slice(2, 2 + senseLength) : new Uint8Array(0),
      data: this.#data.subarray(0, this.#offset),
      residualFlags: flags & 0x06,
      residual: header.getUint32(44),
    };
    return true;
  }
}
