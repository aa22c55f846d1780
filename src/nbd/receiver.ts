/**
 * Cuts the client's stream into requests and payload, wherever the chunks happen to end.
 *
 *     header ──complete──▶ admission ──take──▶ payload ──all taken──▶ header
 *                            │  │ └──skip──▶ skipping ──all skipped──▶ header
 *                            │  └──next──▶ header          (no payload)
 *                            ├──later──▶ admission         (asked again on the next call)
 *                            └──stop──▶ stopped            (nothing is read any more)
 *
 * The receiver knows layout and state only; whether a request is good is for its sink to say. Bytes that the sink
 * cannot take now are left to the caller, which stops reading the socket.
 */
import { unreachable } from '../base/assert.ts';
import { viewOf } from '../base/fields.ts';
import { Command, request, requestBytes, requestMagic } from './wire/request.ts';

/** The fields of the request at hand; overwritten by the next. */
export interface RequestHeader {
  flags: number;
  command: number;
  cookieHigh: number;
  cookieLow: number;
  /** May exceed every size there is. */
  offset: number;
  length: number;
}

export const Admission = { next: 0, take: 1, skip: 2, later: 3, stop: 4 } as const;
export type Admission = (typeof Admission)[keyof typeof Admission];

export interface RequestSink {
  /** `take` and `skip` are answers to WRITE only. After `later` the same header is presented again. */
  onRequest(header: RequestHeader): Admission;
  /** Payload of the WRITE that was admitted last. Returns how many bytes of `bytes[start, end)` were taken: fewer means wait. */
  onPayload(bytes: Uint8Array, start: number, end: number): number;
  /** The stream is out of step: no request begins here. */
  onBreach(reason: string): void;
}

type State = 'header' | 'admission' | 'payload' | 'skipping' | 'stopped';

export class Receiver {
  readonly header: RequestHeader = {
    flags: 0,
    command: 0,
    cookieHigh: 0,
    cookieLow: 0,
    offset: 0,
    length: 0,
  };
  readonly #sink: RequestSink;
  readonly #partial = new Uint8Array(requestBytes);
  readonly #partialView = viewOf(this.#partial);
  #partialBytes = 0;
  #state: State = 'header';
  /** Payload bytes still to take or to skip. */
  #remaining = 0;

  constructor(sink: RequestSink) {
    this.#sink = sink;
  }

  /** A request was told `later`: `consume` must be called again, even without new bytes. */
  get isWaiting(): boolean {
    return this.#state === 'admission';
  }

  /** Reads no more requests. */
  stop(): void {
    this.#state = 'stopped';
  }

  /** Takes what can be taken of `bytes[start, end)`, `view` being over the same bytes; returns where it stopped. */
  consume(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    let at = start;
    while (at < end || this.#state === 'admission') {
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
      case 'payload':
        return this.#pass(at, this.#sink.onPayload(bytes, at, Math.min(end, at + this.#remaining)));
      case 'skipping':
        return this.#pass(at, Math.min(end - at, this.#remaining));
      case 'stopped':
        return end;
      default:
        return unreachable(this.#state);
    }
  }

  #readHeader(bytes: Uint8Array, view: DataView, at: number, end: number): number {
    if (this.#partialBytes === 0 && end - at >= requestBytes) {
      this.#decode(view, at);
      return at + requestBytes;
    }
    const count = Math.min(end - at, requestBytes - this.#partialBytes);
    this.#partial.set(bytes.subarray(at, at + count), this.#partialBytes);
    this.#partialBytes += count;
    if (this.#partialBytes === requestBytes) {
      this.#partialBytes = 0;
      this.#decode(this.#partialView, 0);
    }
    return at + count;
  }

  #decode(view: DataView, at: number): void {
    if (request.magic.get(view, at) !== requestMagic) {
      this.#state = 'stopped';
      this.#sink.onBreach('a request does not begin with its magic');
      return;
    }
    const header = this.header;
    header.flags = request.flags.get(view, at);
    header.command = request.command.get(view, at);
    header.cookieHigh = request.cookieHigh.get(view, at);
    header.cookieLow = request.cookieLow.get(view, at);
    header.offset = request.offset.get(view, at);
    header.length = request.length.get(view, at);
    this.#state = 'admission';
    this.#admit();
  }

  #admit(): void {
    const admission = this.#sink.onRequest(this.header);
    // The sink may have stopped us while it looked at the request.
    if (this.#state === 'stopped') return;
    this.#remaining = this.header.command === Command.write ? this.header.length : 0;
    switch (admission) {
      case Admission.later:
        return;
      case Admission.stop:
        this.#state = 'stopped';
        return;
      case Admission.take:
        this.#state = this.#remaining > 0 ? 'payload' : 'header';
        return;
      case Admission.skip:
        this.#state = this.#remaining > 0 ? 'skipping' : 'header';
        return;
      case Admission.next:
        this.#state = 'header';
    }
  }

  #pass(at: number, count: number): number {
    this.#remaining -= count;
    if (this.#remaining === 0) this.#state = 'header';
    return at + count;
  }
}
