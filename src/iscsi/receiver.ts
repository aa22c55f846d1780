/**
 * Cuts the initiator's stream into PDUs, wherever the chunks happen to end.
 *
 *     header ──complete, digest good──▶ admission ──next──▶ header           (no data segment)
 *                                         │ │ │ └──skip────▶ skipping ─▶ tail
 *                                         │ │ └────gather──▶ gathering ─▶ tail ─▶ onGathered
 *                                         │ └──────take────▶ passing ─▶ tail ─▶ onDataEnd
 *                                         └──later──▶ admission (asked again on the next call)     stop ─▶ stopped
 *     tail = padding and data digest
 *
 * A header that lies whole in the chunk is looked at in place, and the data of a `take` goes to the sink straight from
 * the chunk. With a data digest nothing may be used before the digest was seen: then `take` gathers first and passes on
 * from the gathered bytes.
 *
 * The receiver knows layout only; whether a PDU is good is for its sink to say. Bytes that the sink cannot take now are
 * left to the caller, which stops reading the socket. RFC 7143 section 11.2, digests section 11.2.3.
 */
import { unreachable } from '../base/assert.ts';
import { viewOf } from '../base/fields.ts';
import { addToDigest, digestBytes, readDigest } from './digest.ts';
import { header, headerBytes, paddedLength } from './pdu/header.ts';

const ahsUnitBytes = 4;
const ahsMaxBytes = 255 * ahsUnitBytes;
const headerMaxBytes = headerBytes + ahsMaxBytes + digestBytes;
/** The gathering buffer grows in steps of this. */
const gatherStepBytes = 8192;
/** A larger gathering buffer is not kept for the next PDU unless digests need it every time. */
const gatherKeepBytes = 64 * 1024;

/** The PDU at hand. Views are valid during the call only. */
export interface PduHeader {
  bytes: Uint8Array;
  view: DataView;
  /** Where the basic header segment begins in both. */
  at: number;
  /** Additional header segments, behind the basic one. */
  ahsBytes: number;
  /** Data segment without padding. */
  dataBytes: number;
}

export const Admission = { next: 0, take: 1, gather: 2, skip: 3, later: 4, stop: 5 } as const;
export type Admission = (typeof Admission)[keyof typeof Admission];

export interface PduSink {
  /** After `later` the same PDU is presented again. `next` goes with an empty data segment only. */
  onHeader(header: PduHeader): Admission;
  /** Data of the PDU that was admitted with `take`. Returns how many bytes of `bytes[start, end)` were taken: fewer means wait. */
  onData(bytes: Uint8Array, start: number, end: number): number;
  /** The data segment of a `take` is over. When its digest was wrong none of it was passed on. */
  onDataEnd(isGood: boolean): void;
  /** The data segment of a `gather`, whole; valid during the call. With a wrong digest it is not to be used. */
  onGathered(data: Uint8Array, isGood: boolean): void;
  /** A header's digest is wrong: where the next PDU begins is unknown. */
  onBreach(reason: string): void;
}

type State =
  | 'header'
  | 'admission'
  | 'passing'
  | 'gathering'
  | 'skipping'
  | 'tail'
  | 'handing'
  | 'stopped';

const empty = new Uint8Array(0);

export class Receiver {
  /** Both take effect with the next PDU. */
  hasHeaderDigest = false;
  hasDataDigest = false;
  readonly #sink: PduSink;
  readonly #partial = new Uint8Array(headerMaxBytes);
  readonly #partialView = viewOf(this.#partial);
  readonly #pdu: PduHeader;
  #partialBytes = 0;
  /** Header with AHS and digest. */
  #wholeBytes = 0;
  #state: State = 'header';
  #admission: Admission = Admission.next;
  /** Data bytes still to pass, gather or skip. */
  #remaining = 0;
  #gathered = empty;
  #gatheredBytes = 0;
  /** Gathered bytes that the sink has. */
  #handedBytes = 0;
  /** Padding and data digest of the PDU at hand. */
  readonly #tail = new Uint8Array(8);
  readonly #tailView = viewOf(this.#tail);
  #tailBytes = 0;
  #tailFilled = 0;

  constructor(sink: PduSink) {
    this.#sink = sink;
    const [bytes, view] = [this.#partial, this.#partialView];
    this.#pdu = { bytes, view, at: 0, ahsBytes: 0, dataBytes: 0 };
  }

  /** Something was put off: `consume` must be called again, even without new bytes. */
  get isWaiting(): boolean {
    return this.#state === 'admission' || this.#state === 'handing';
  }

  /** Reads no more PDUs. */
  stop(): void {
    this.#state = 'stopped';
  }

  /** Takes what can be taken of `bytes[start, end)`, `view` being over the same bytes; returns where it stopped. */
  consume(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    let at = start;
    while (at < end || this.isWaiting) {
      const before = at;
      const stateBefore = this.#state;
      at = this.#step(bytes, view, at, end);
      if (at === before && this.#state === stateBefore) break;
    }
    return at;
  }

  #step(bytes: Uint8Array, view: DataView, at: number, end: number): number {
    switch (this.#state) {
      case 'header':
        return this.#readHeader(bytes, view, at, end);
      case 'admission':
        this.#admit();
        return at;
      case 'passing':
        return this.#pass(bytes, at, end);
      case 'gathering':
        return this.#gather(bytes, at, end);
      case 'skipping':
        return this.#skip(at, end);
      case 'tail':
        return this.#readTail(bytes, at, end);
      case 'handing':
        this.#hand();
        return at;
      case 'stopped':
        return end;
      default:
        return unreachable(this.#state);
    }
  }

  // ---- header

  #readHeader(bytes: Uint8Array, view: DataView, at: number, end: number): number {
    if (this.#partialBytes === 0 && end - at >= headerBytes) {
      const size = this.#sizeOfHeader(view, at);
      if (end - at >= size) {
        this.#present(bytes, view, at, size);
        return at + size;
      }
    }
    return this.#collectHeader(bytes, at, end);
  }

  #collectHeader(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    if (this.#partialBytes < headerBytes) {
      at = this.#collect(bytes, at, end, headerBytes);
      if (this.#partialBytes < headerBytes) return at;
      this.#wholeBytes = this.#sizeOfHeader(this.#partialView, 0);
    }
    at = this.#collect(bytes, at, end, this.#wholeBytes);
    if (this.#partialBytes === this.#wholeBytes) {
      this.#partialBytes = 0;
      this.#present(this.#partial, this.#partialView, 0, this.#wholeBytes);
    }
    return at;
  }

  #collect(bytes: Uint8Array, at: number, end: number, until: number): number {
    const count = Math.min(end - at, until - this.#partialBytes);
    this.#partial.set(bytes.subarray(at, at + count), this.#partialBytes);
    this.#partialBytes += count;
    return at + count;
  }

  #sizeOfHeader(view: DataView, at: number): number {
    const ahsBytes = header.totalAhsLength.get(view, at) * ahsUnitBytes;
    return headerBytes + ahsBytes + (this.hasHeaderDigest ? digestBytes : 0);
  }

  #present(bytes: Uint8Array, view: DataView, at: number, size: number): void {
    const pdu = this.#pdu;
    if (this.hasHeaderDigest) {
      const covered = size - digestBytes;
      const digest = addToDigest(0, bytes.subarray(at, at + covered));
      if (readDigest(view, at + covered) !== digest) {
        this.#state = 'stopped';
        this.#sink.onBreach('the digest of a header is wrong');
        return;
      }
    }
    pdu.bytes = bytes;
    pdu.view = view;
    pdu.at = at;
    pdu.ahsBytes = header.totalAhsLength.get(view, at) * ahsUnitBytes;
    pdu.dataBytes = header.dataSegmentLength.get(view, at);
    this.#state = 'admission';
    this.#admit();
    if (this.isWaiting) this.#keepHeader();
  }

  /** The chunk goes away: a PDU that was put off is looked at again in our own copy. */
  #keepHeader(): void {
    const pdu = this.#pdu;
    if (pdu.bytes === this.#partial) return;
    const size = headerBytes + pdu.ahsBytes;
    this.#partial.set(pdu.bytes.subarray(pdu.at, pdu.at + size));
    pdu.bytes = this.#partial;
    pdu.view = this.#partialView;
    pdu.at = 0;
  }

  #admit(): void {
    const admission = this.#sink.onHeader(this.#pdu);
    // The sink may have stopped us while it looked at the PDU.
    if (this.#state === 'stopped' || admission === Admission.later) return;
    if (admission === Admission.stop) {
      this.#state = 'stopped';
      return;
    }
    const { dataBytes } = this.#pdu;
    this.#admission = admission;
    this.#remaining = dataBytes;
    this.#gatheredBytes = 0;
    this.#handedBytes = 0;
    if (dataBytes === 0) this.#endEmpty();
    else this.#begin(dataBytes);
  }

  #endEmpty(): void {
    this.#state = 'header';
    if (this.#admission === Admission.take) this.#sink.onDataEnd(true);
    else if (this.#admission === Admission.gather) this.#sink.onGathered(empty, true);
  }

  #begin(dataBytes: number): void {
    const padBytes = paddedLength(dataBytes) - dataBytes;
    this.#tailBytes = padBytes + (this.hasDataDigest ? digestBytes : 0);
    this.#tailFilled = 0;
    if (this.#admission === Admission.skip || this.#admission === Admission.next) {
      this.#state = 'skipping';
    } else if (this.#admission === Admission.gather || this.hasDataDigest) {
      this.#state = 'gathering';
      this.#makeRoom(dataBytes);
    } else {
      this.#state = 'passing';
    }
  }

  // ---- data

  #makeRoom(dataBytes: number): void {
    if (this.#gathered.length >= dataBytes) return;
    const size = Math.ceil(dataBytes / gatherStepBytes) * gatherStepBytes;
    this.#gathered = new Uint8Array(size);
  }

  #pass(bytes: Uint8Array, at: number, end: number): number {
    const taken = this.#sink.onData(bytes, at, Math.min(end, at + this.#remaining));
    this.#remaining -= taken;
    if (this.#remaining === 0) this.#endData();
    return at + taken;
  }

  #gather(bytes: Uint8Array, at: number, end: number): number {
    const count = Math.min(end - at, this.#remaining);
    this.#gathered.set(bytes.subarray(at, at + count), this.#gatheredBytes);
    this.#gatheredBytes += count;
    this.#remaining -= count;
    if (this.#remaining === 0) this.#endData();
    return at + count;
  }

  #skip(at: number, end: number): number {
    const count = Math.min(end - at, this.#remaining);
    this.#remaining -= count;
    if (this.#remaining === 0) this.#endData();
    return at + count;
  }

  #endData(): void {
    if (this.#state === 'stopped') return;
    this.#state = 'tail';
    if (this.#tailBytes === 0) this.#endTail();
  }

  #readTail(bytes: Uint8Array, at: number, end: number): number {
    const count = Math.min(end - at, this.#tailBytes - this.#tailFilled);
    this.#tail.set(bytes.subarray(at, at + count), this.#tailFilled);
    this.#tailFilled += count;
    if (this.#tailFilled === this.#tailBytes) this.#endTail();
    return at + count;
  }

  #endTail(): void {
    this.#state = 'header';
    const isGood = this.#isDigestGood();
    if (this.#admission === Admission.gather) {
      this.#sink.onGathered(this.#gathered.subarray(0, this.#gatheredBytes), isGood);
      this.#dropLarge();
    } else if (this.#admission === Admission.take) {
      if (this.#gatheredBytes === 0 || !isGood) this.#sink.onDataEnd(isGood);
      else this.#state = 'handing';
    }
  }

  /** Padding counts: the digest is over the data segment as it was sent. */
  #isDigestGood(): boolean {
    if (!this.hasDataDigest || this.#gatheredBytes === 0) return true;
    const padBytes = this.#tailBytes - digestBytes;
    const data = addToDigest(0, this.#gathered.subarray(0, this.#gatheredBytes));
    const digest = padBytes > 0 ? addToDigest(data, this.#tail.subarray(0, padBytes)) : data;
    return digest === readDigest(this.#tailView, padBytes);
  }

  /** Passes on what was gathered and found good. */
  #hand(): void {
    const [from, to] = [this.#handedBytes, this.#gatheredBytes];
    this.#handedBytes += this.#sink.onData(this.#gathered, from, to);
    if (this.#handedBytes < this.#gatheredBytes || this.#state === 'stopped') return;
    this.#state = 'header';
    this.#sink.onDataEnd(true);
  }

  #dropLarge(): void {
    if (!this.hasDataDigest && this.#gathered.length > gatherKeepBytes) this.#gathered = empty;
  }
}
