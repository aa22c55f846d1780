/** Requests are cut out of the stream in the same way wherever its chunks end. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../src/base/fields.ts';
import {
  Admission,
  Receiver,
  type RequestHeader,
  type RequestSink,
} from '../../../src/nbd/receiver.ts';
import { requestBytes } from '../../support/nbd-client.ts';

/** Notes what arrives; asks for patience now and then, as a connection under load does. */
class Notes implements RequestSink {
  readonly lines: string[] = [];
  #payload = '';
  #laterCount: number;
  readonly #laterEach: number;

  constructor(laterEach: number) {
    this.#laterEach = laterEach;
    this.#laterCount = laterEach;
  }

  onRequest(header: RequestHeader): Admission {
    if (this.#laterCount > 0) {
      this.#laterCount -= 1;
      return Admission.later;
    }
    this.#laterCount = this.#laterEach;
    this.#endPayload();
    const { command, flags, offset, length, cookieLow } = header;
    this.lines.push(`${command} ${flags} ${offset} ${length} ${cookieLow}`);
    if (command === 2) return Admission.stop;
    if (command !== 1) return Admission.next;
    return flags === 1 ? Admission.skip : Admission.take;
  }

  onPayload(bytes: Uint8Array, start: number, end: number): number {
    this.#payload += Buffer.from(bytes.subarray(start, end)).toString('hex');
    return end - start;
  }

  onBreach(reason: string): void {
    this.lines.push(reason);
  }

  #endPayload(): void {
    if (this.#payload !== '') this.lines.push(this.#payload);
    this.#payload = '';
  }
}

function feed(bytes: Uint8Array, cuts: readonly number[], laterEach: number): string[] {
  const notes = new Notes(laterEach);
  const receiver = new Receiver(notes);
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, bytes.length]) {
    const piece = bytes.slice(start, end);
    let at = 0;
    for (let round = 0; round <= 10_000; round += 1) {
      at = receiver.consume(piece, viewOf(piece), at, piece.length);
      if (at === piece.length && !receiver.isWaiting) break;
    }
    start = end;
  }
  return notes.lines;
}

const requests = fc.array(
  fc.record({
    command: fc.constantFrom(0, 1, 1, 3, 4, 7),
    flags: fc.constantFrom(0, 1),
    cookie: fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }),
    offset: fc.bigInt({ min: 0n, max: 2n ** 50n }),
    payload: fc.uint8Array({ maxLength: 100 }),
  }),
  { minLength: 1, maxLength: 8 },
);

describe('receiver', () => {
  it('sees the same requests and payloads for any split of the stream, and however often it must wait', () => {
    fc.assert(
      fc.property(
        requests,
        fc.array(fc.nat(1000), { maxLength: 12 }),
        fc.nat(2),
        (list, cuts, laterEach) => {
          const parts = list.map(({ payload, ...fields }) =>
            requestBytes(fields.command === 1 ? { ...fields, payload } : fields),
          );
          const bytes = Buffer.concat([...parts, requestBytes({ command: 2, cookie: 7n })]);
          const whole = feed(bytes, [], 0);
          expect(whole.at(-1)).toBe('2 0 0 0 7');
          expect(feed(bytes, cuts, laterEach)).toEqual(whole);
        },
      ),
    );
  });

  it('reads nothing after it was stopped', () => {
    const bytes = Buffer.concat([requestBytes({ command: 2 }), requestBytes({ command: 3 })]);
    expect(feed(bytes, [], 0)).toHaveLength(1);
  });

  it('reports a breach once and reads nothing after it', () => {
    const bytes = Buffer.concat([Buffer.alloc(28), requestBytes({ command: 3 })]);
    expect(feed(bytes, [5], 0)).toEqual(['a request does not begin with its magic']);
  });
});
