/**
 * Well-behaved clients against a plain array: random requests, many in flight, completions in any order, chunks cut
 * anywhere. Every request is answered exactly once, and every byte read is what the model says.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type NbdClient, requestBytes } from '../support/nbd-client.ts';
import { NbdWorld } from '../support/nbd-world.ts';

const sizeBytes = 3 << 20;
const slotBytes = 96 << 10;

interface Step {
  readonly command: 0 | 1 | 4 | 6;
  /** Requests in flight at once touch different slots, so that their order does not matter. */
  readonly slot: number;
  readonly within: number;
  readonly length: number;
  readonly flags: number;
  readonly seed: number;
}

const slots = sizeBytes / slotBytes;
const step: fc.Arbitrary<Step> = fc
  .record({
    command: fc.constantFrom(0, 0, 1, 1, 4, 6),
    slot: fc.nat(slots - 1),
    within: fc.oneof(
      fc.nat(slotBytes - 1),
      fc.nat(23).map((block) => block * 4096),
    ),
    length: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: slotBytes })),
    flags: fc.constantFrom(0, 0, 4),
    seed: fc.nat(250),
  })
  .map((fields) => {
    const command = fields.command;
    const length = Math.min(fields.length, slotBytes - fields.within);
    const flags = command === 0 ? fields.flags : fields.flags === 4 && command === 6 ? 2 : 0;
    return { ...fields, command, length, flags };
  });

function payloadOf({ length, seed }: Step): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index += 1) bytes[index] = (seed + index * 13) & 0xff;
  return bytes;
}

function encode(one: Step, index: number, isStructured: boolean): Buffer {
  const offset = one.slot * slotBytes + one.within;
  const flags = one.command === 0 && !isStructured ? 0 : one.flags;
  const fields = { command: one.command, offset, length: one.length, flags, cookie: BigInt(index) };
  return requestBytes(one.command === 1 ? { ...fields, payload: payloadOf(one) } : fields);
}

function apply(model: Buffer, one: Step): void {
  const offset = one.slot * slotBytes + one.within;
  if (one.command === 1) payloadOf(one).copy(model, offset);
  else if (one.command !== 0) model.fill(0, offset, offset + one.length);
}

/** Takes every reply that is there; returns the data of reads by cookie. */
function collect(
  client: NbdClient,
  batch: readonly Step[],
  data: Map<number, Buffer>,
): Set<number> {
  const finished = new Set<number>();
  const finish = (cookie: number): void => {
    if (finished.has(cookie)) throw new Error(`request ${cookie} was answered twice`);
    finished.add(cookie);
  };
  while (client.available > 0) {
    const reply = client.reply();
    const cookie = Number(reply.cookie);
    const one = batch[cookie];
    if (one === undefined) throw new Error(`nobody asked ${cookie}`);
    const offset = one.slot * slotBytes + one.within;
    if (reply.kind === 'simple') {
      expect(reply.error).toBe(0);
      if (one.command === 0) data.set(cookie, client.take(one.length));
      finish(cookie);
      continue;
    }
    const target = data.get(cookie) ?? Buffer.alloc(one.length, 0xaa);
    data.set(cookie, target);
    const at = Number(reply.payload.readBigUInt64BE(0)) - offset;
    if (reply.type === 1) reply.payload.copy(target, at, 8);
    else target.fill(0, at, at + reply.payload.readUInt32BE(8));
    if (reply.isDone) finish(cookie);
  }
  return finished;
}

/** Different slots only, in the order of the steps. */
function withoutOverlap(steps: readonly Step[]): Step[] {
  const seen = new Set<number>();
  return steps.filter(({ slot }) => {
    const isNew = !seen.has(slot);
    seen.add(slot);
    return isNew;
  });
}

describe('any well-behaved client', () => {
  it('reads what was written, and gets one answer to each request', () => {
    const batches = fc.array(fc.array(step, { minLength: 1, maxLength: 24 }), { maxLength: 6 });
    const cuts = fc.integer({ min: 500, max: 70_000 });
    fc.assert(
      fc.property(
        batches,
        fc.boolean(),
        fc.boolean(),
        cuts,
        (list, isStructured, isHolding, cut) => {
          const world = new NbdWorld({ sizeBytes, slabBytes: 4 << 20 });
          const client = world.open({ isStructured });
          const model = Buffer.alloc(sizeBytes);
          for (const steps of list) {
            const batch = withoutOverlap(steps);
            world.device.isHolding = isHolding;
            client.send(
              Buffer.concat(batch.map((one, index) => encode(one, index, isStructured))),
              cut,
            );
            for (let round = 0; world.device.heldCount > 0; round += 1) {
              world.device.release(1 + (round % 5), round % 2 === 0);
              world.run();
            }
            for (const one of batch) apply(model, one);
            const data = new Map<number, Buffer>();
            expect(collect(client, batch, data).size).toBe(batch.length);
            for (const [cookie, bytes] of data) {
              const one = batch[cookie];
              const offset = (one?.slot ?? 0) * slotBytes + (one?.within ?? 0);
              expect(bytes.equals(model.subarray(offset, offset + bytes.length))).toBe(true);
            }
          }
          world.device.isHolding = false;
          const whole = isStructured
            ? client.readStructured(0, sizeBytes)
            : client.readSimple(0, sizeBytes);
          expect(whole.equals(model)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });
});
