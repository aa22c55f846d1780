/** PDUs are cut out of the stream in the same way wherever its chunks end, and no byte is used before its digest was seen. */
import { crc32c } from '@node-rs/crc32';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../src/base/fields.ts';
import { Admission, type PduHeader, type PduSink, Receiver } from '../../../src/iscsi/receiver.ts';

/** What the sink says to a PDU is its flags byte; the first `laterEach` times it says "later". */
class Notes implements PduSink {
  readonly lines: string[] = [];
  readonly #laterEach: number;
  #laterCount: number;
  #data = '';
  /** Data that is refused until it is offered again. */
  isStubborn: boolean;

  constructor(laterEach: number, isStubborn: boolean) {
    this.#laterEach = laterEach;
    this.#laterCount = laterEach;
    this.isStubborn = isStubborn;
  }

  onHeader(header: PduHeader): Admission {
    if (this.#laterCount > 0) {
      this.#laterCount -= 1;
      return Admission.later;
    }
    this.#laterCount = this.#laterEach;
    const { view, bytes, at, ahsBytes, dataBytes } = header;
    const tag = view.getUint32(at + 16);
    const ahs = Buffer.from(bytes.subarray(at + 48, at + 48 + ahsBytes)).toString('hex');
    this.lines.push(`pdu ${tag} ahs ${ahs} data ${dataBytes}`);
    const wish = view.getUint8(at + 1);
    if (wish === Admission.next && dataBytes > 0) return Admission.skip;
    return wish as Admission;
  }

  onData(bytes: Uint8Array, start: number, end: number): number {
    const count = this.isStubborn ? Math.min(3, end - start) : end - start;
    if (this.isStubborn && (start + this.#data.length) % 2 === 1) {
      this.isStubborn = false;
      return 0;
    }
    this.#data += Buffer.from(bytes.subarray(start, start + count)).toString('hex');
    return count;
  }

  onDataEnd(isGood: boolean): void {
    this.lines.push(`taken ${isGood} ${this.#data}`);
    this.#data = '';
  }

  onGathered(data: Uint8Array, isGood: boolean): void {
    this.lines.push(`gathered ${isGood} ${Buffer.from(data).toString('hex')}`);
  }

  onBreach(reason: string): void {
    this.lines.push(reason);
  }
}

interface Shape {
  readonly wish: number;
  readonly ahsWords: number;
  readonly dataBytes: number;
}

interface Digests {
  readonly header: boolean;
  readonly data: boolean;
}

function build(shape: Shape, tag: number, digests: Digests): Uint8Array {
  const { wish, ahsWords, dataBytes } = shape;
  const covered = 48 + ahsWords * 4;
  const padded = Math.ceil(dataBytes / 4) * 4;
  const front = covered + (digests.header ? 4 : 0);
  const bytes = new Uint8Array(front + padded + (digests.data && dataBytes > 0 ? 4 : 0));
  const view = viewOf(bytes);
  view.setUint8(1, wish);
  view.setUint32(4, dataBytes);
  view.setUint8(4, ahsWords);
  view.setUint32(16, tag);
  for (let index = 48; index < covered; index += 1) bytes[index] = tag + index;
  for (let index = 0; index < dataBytes; index += 1) bytes[front + index] = tag * 7 + index;
  if (digests.header) view.setUint32(covered, crc32c(bytes.subarray(0, covered)), true);
  if (digests.data && dataBytes > 0) {
    view.setUint32(front + padded, crc32c(bytes.subarray(front, front + padded)), true);
  }
  return bytes;
}

function feed(stream: Uint8Array, cuts: readonly number[], digests: Digests, notes: Notes): void {
  const receiver = new Receiver(notes);
  receiver.hasHeaderDigest = digests.header;
  receiver.hasDataDigest = digests.data;
  const ends = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b);
  let carry = new Uint8Array(0);
  let start = 0;
  for (const end of [...ends, stream.length]) {
    const chunk = new Uint8Array(Buffer.concat([carry, stream.subarray(start, end)]));
    let at = receiver.consume(chunk, viewOf(chunk), 0, chunk.length);
    for (let patience = 0; patience < 100 && at < chunk.length; patience += 1) {
      at = receiver.consume(chunk, viewOf(chunk), at, chunk.length);
    }
    carry = chunk.slice(at);
    chunk.fill(0xdd);
    start = end;
  }
  for (let patience = 0; patience < 100 && receiver.isWaiting; patience += 1) {
    receiver.consume(carry, viewOf(carry), 0, 0);
  }
}

const shapes = fc.array(
  fc.record({
    wish: fc.constantFrom(Admission.next, Admission.take, Admission.gather, Admission.skip),
    ahsWords: fc.constantFrom(0, 0, 0, 1, 5),
    dataBytes: fc.constantFrom(0, 1, 2, 3, 4, 17, 60),
  }),
  { minLength: 1, maxLength: 6 },
);
const digestsArbitrary = fc.record({ header: fc.boolean(), data: fc.boolean() });

describe('the iSCSI receiver', () => {
  it('cuts PDUs the same way however the stream is chopped, and whoever is impatient', () => {
    fc.assert(
      fc.property(
        shapes,
        digestsArbitrary,
        fc.array(fc.nat(2000), { maxLength: 12 }),
        fc.record({ laterEach: fc.nat(2), isStubborn: fc.boolean() }),
        (list, digests, cuts, { laterEach, isStubborn }) => {
          const parts = list.map((shape, index) => build(shape, index + 1, digests));
          const stream = new Uint8Array(Buffer.concat(parts));
          const whole = new Notes(0, false);
          feed(stream, [], digests, whole);
          const chopped = new Notes(laterEach, isStubborn);
          feed(stream, cuts, digests, chopped);
          expect(chopped.lines).toEqual(whole.lines);
          expect(whole.lines.filter((line) => line.startsWith('pdu'))).toHaveLength(list.length);
          expect(whole.lines.some((line) => line.includes('false'))).toBe(false);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('stops at a header whose digest is wrong, wherever the wrong bit is', () => {
    const digests = { header: true, data: false };
    for (let bit = 0; bit < 52 * 8; bit += 1) {
      const stream = build({ wish: Admission.take, ahsWords: 0, dataBytes: 8 }, 1, digests);
      const at = Math.floor(bit / 8);
      // The length of the AHS says where the digest is: a wrong one asks for more bytes than there are.
      if (at === 4) continue;
      stream[at] = (stream[at] ?? 0) ^ (1 << (bit % 8));
      const notes = new Notes(0, false);
      feed(stream, [], digests, notes);
      expect(notes.lines).toEqual(['the digest of a header is wrong']);
    }
  });

  it('hands out nothing of a data segment whose digest is wrong, padding included', () => {
    const digests = { header: false, data: true };
    for (const wish of [Admission.take, Admission.gather]) {
      for (let at = 48; at < 48 + 8 + 4; at += 1) {
        const stream = build({ wish, ahsWords: 0, dataBytes: 6 }, 1, digests);
        stream[at] = (stream[at] ?? 0) ^ 0x10;
        const notes = new Notes(0, false);
        feed(stream, [50], digests, notes);
        expect(notes.lines[1]).toContain('false');
        if (wish === Admission.take) expect(notes.lines[1]).toBe('taken false ');
      }
    }
  });
});
