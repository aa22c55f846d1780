/**
 * Puts PDUs into the output of one connection, with padding and digests.
 *
 *     ┌ header 48 ┬ digest 0/4 ┬ data ┬ padding ┬ digest 0/4 ┐
 *     start       dataAt = start + frontBytes                end
 *
 * Places for answers never wait for memory: their number is bounded by what they answer.
 */
import type { Output } from '../base/output.ts';
import { type OutputBuffer, smallBufferBytes } from '../base/output-pool.ts';
import { addToDigest, digestBytes, writeDigest } from './digest.ts';
import { headerBytes, paddedLength } from './pdu/header.ts';

export class PduWriter {
  readonly output: Output;
  /** From the start of a PDU to its data. */
  readonly frontBytes: number;
  readonly #hasHeaderDigest: boolean;
  readonly #hasDataDigest: boolean;

  constructor(output: Output, digests: { hasHeaderDigest: boolean; hasDataDigest: boolean }) {
    this.output = output;
    this.#hasHeaderDigest = digests.hasHeaderDigest;
    this.#hasDataDigest = digests.hasDataDigest;
    this.frontBytes = headerBytes + (digests.hasHeaderDigest ? digestBytes : 0);
  }

  /** Bytes of a PDU on the wire. */
  sizeFor(dataBytes: number): number {
    if (dataBytes === 0) return this.frontBytes;
    return this.frontBytes + paddedLength(dataBytes) + (this.#hasDataDigest ? digestBytes : 0);
  }

  /** A place for a PDU with `dataBytes` of data, ending at `used` of the buffer. Followed by one `finish`. */
  small(dataBytes: number): OutputBuffer {
    return this.output.reserveSmall(this.sizeFor(dataBytes));
  }

  /** Like `small` for data of any length. Whoever lets such answers in asks for memory before; a few may exceed the limit. */
  any(dataBytes: number): OutputBuffer {
    const size = this.sizeFor(dataBytes);
    if (size <= smallBufferBytes) return this.output.reserveSmall(size);
    return this.output.reserve(size) ?? this.output.reserveLarge(size);
  }

  /** Where the place that was just reserved begins. */
  startOf(buffer: OutputBuffer, dataBytes: number): number {
    return buffer.used - this.sizeFor(dataBytes);
  }

  /** Header and data are in place: adds what belongs around them, and lets the PDU leave. */
  finish(buffer: OutputBuffer, start: number, dataBytes: number): void {
    this.#seal(buffer, start, dataBytes);
    const end = start + this.sizeFor(dataBytes);
    this.output.commit(buffer, start, end, end);
  }

  #seal({ bytes, view }: OutputBuffer, start: number, dataBytes: number): void {
    if (this.#hasHeaderDigest) {
      const digest = addToDigest(0, bytes.subarray(start, start + headerBytes));
      writeDigest(view, start + headerBytes, digest);
    }
    if (dataBytes === 0) return;
    const dataAt = start + this.frontBytes;
    const dataEnd = dataAt + dataBytes;
    const paddedEnd = dataAt + paddedLength(dataBytes);
    if (paddedEnd > dataEnd) bytes.fill(0, dataEnd, paddedEnd);
    if (this.#hasDataDigest) {
      writeDigest(view, paddedEnd, addToDigest(0, bytes.subarray(dataAt, paddedEnd)));
    }
  }
}
