/**
 * Hostile streams: whatever bytes a client sends, in whatever pieces, nothing is thrown, nothing hangs, what was taken
 * is given back, and a fresh connection works. Long runs: NBD_FUZZ_RUNS=100000.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { infoData, metaData, optionBytes, requestBytes, u32 } from '../support/nbd-client.ts';
import { NbdWorld } from '../support/nbd-world.ts';

const numRuns = Number(process.env['NBD_FUZZ_RUNS'] ?? 300);
const sizeBytes = 1 << 20;

/** A world that is small enough for every limit to be met. */
function smallWorld(): NbdWorld {
  return new NbdWorld({
    sizeBytes,
    slabBytes: 2 << 20,
    limits: {
      requestsInFlightMax: 8,
      bytesInFlightMax: 1 << 20,
      outputMaxBytes: 1 << 19,
      outputPoolMaxBytes: 1 << 20,
    },
  });
}

/** The client leaves; then everything must be as before, for everybody. */
function checkAfter(world: NbdWorld, freeBytes: number): void {
  world.device.isHolding = false;
  world.device.release();
  world.run();
  expect(world.staging.freeBytes).toBe(freeBytes);
  expect(world.exports.openCount).toBe(0);
  const fresh = world.open({ isStructured: true, hasContext: true });
  expect(fresh.write(5, Buffer.from('alive'))).toBe(0);
  expect(fresh.readStructured(5, 5).toString()).toBe('alive');
  expect(fresh.readStructured(0, sizeBytes)).toHaveLength(sizeBytes);
  // An assembled read of this size needs more than all output memory: it is served when none is in use by others.
  expect(fresh.readStructured(0, sizeBytes, 4)).toHaveLength(sizeBytes);
}

interface Step {
  readonly bytes: Uint8Array;
  /** What happens before the bytes are sent. */
  readonly event: 'none' | 'hold' | 'release' | 'release-newest' | 'stop-taking' | 'take';
}

function play(world: NbdWorld, prologue: Uint8Array, steps: readonly Step[], cut: number): void {
  const client = world.connect();
  client.send(prologue);
  for (const { bytes, event } of steps) {
    const { device } = world;
    if (event === 'hold') device.isHolding = true;
    else if (event === 'release') device.release(3);
    else if (event === 'release-newest') device.release(3, true);
    else if (event !== 'none') client.stream.isTaking = event === 'take';
    // Small pieces only for small messages: a megabyte byte by byte proves nothing more.
    client.send(bytes, bytes.length < 4096 ? cut : bytes.length);
  }
  expect(client.stream.pendingBytes).toBeLessThan(4 << 20);
  client.stream.break();
  world.run();
}

const events = fc.constantFrom(
  'none' as const,
  'none' as const,
  'hold' as const,
  'release' as const,
  'release-newest' as const,
  'stop-taking' as const,
  'take' as const,
);

/** Bytes of a valid message with some of them changed, cut off or repeated. */
function mutated(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const change = fc.record({ at: fc.nat(200), value: fc.nat(255) });
  return fc
    .tuple(bytes, fc.array(change, { maxLength: 3 }), fc.option(fc.nat(200), { freq: 8 }))
    .map(([original, changes, cutAt]) => {
      const copy = new Uint8Array(original);
      for (const { at, value } of changes) if (at < copy.length) copy[at] = value;
      return cutAt === null ? copy : copy.subarray(0, cutAt);
    });
}

const names = fc.constantFrom('disk', '', 'nope', 'disk\0', 'x'.repeat(5000));
const options = fc.oneof(
  fc
    .tuple(fc.constantFrom(6, 7), names, fc.array(fc.nat(65_535), { maxLength: 5 }))
    .map(([option, name, types]) => optionBytes(option, infoData(name, types))),
  fc
    .tuple(
      fc.constantFrom(9, 10),
      names,
      fc.array(fc.constantFrom('base:', 'base:allocation', 'x:y', ''), { maxLength: 5 }),
    )
    .map(([option, name, queries]) => optionBytes(option, metaData(name, queries))),
  names.map((name) => optionBytes(1, Buffer.from(name))),
  fc.constantFrom(2, 3, 5, 8, 77).map((option) => optionBytes(option)),
  fc
    .tuple(fc.nat(20), fc.nat(100_000))
    .map(([option, length]) => optionBytes(option, Buffer.alloc(length))),
  fc.uint8Array({ maxLength: 64 }),
);

const offsets = fc.oneof(
  fc.nat(sizeBytes).map(BigInt),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(0n, 4095n, BigInt(sizeBytes - 1)),
);
const lengths = fc.oneof(
  fc.nat(5000),
  fc.nat(sizeBytes),
  fc.constantFrom(0, 4096, 65_537, 262_145, sizeBytes, 0xffffffff),
);
const requests = fc
  .record({
    command: fc.constantFrom(0, 0, 0, 1, 1, 3, 4, 5, 6, 7, 8, 65_535),
    flags: fc.constantFrom(0, 0, 1, 2, 4, 8, 16, 18, 0xffff),
    cookie: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    offset: offsets,
    length: lengths,
  })
  .map((fields) => {
    const isHonestWrite = fields.command === 1 && fields.length <= sizeBytes;
    const payload = isHonestWrite ? Buffer.alloc(fields.length, 3) : Buffer.alloc(0);
    return requestBytes({ ...fields, payload });
  });

function stepsOf(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Step[]> {
  return fc.array(fc.record({ bytes, event: events }), { minLength: 1, maxLength: 25 });
}

describe('hostile clients', () => {
  it('of the handshake', () => {
    const prologues = fc.constantFrom(u32(3), u32(0), u32(1), u32(2), Buffer.alloc(0));
    fc.assert(
      fc.property(
        prologues,
        stepsOf(mutated(options)),
        fc.integer({ min: 1, max: 70 }),
        (...all) => {
          const world = smallWorld();
          const { freeBytes } = world.staging;
          play(world, ...all);
          checkAfter(world, freeBytes);
        },
      ),
      { numRuns },
    );
  });

  it('of transmission', () => {
    const prologues = fc.constantFrom(
      Buffer.concat([u32(3), optionBytes(1, Buffer.from('disk'))]),
      Buffer.concat([u32(3), optionBytes(8), optionBytes(7, infoData('disk'))]),
      Buffer.concat([
        u32(3),
        optionBytes(8),
        optionBytes(10, metaData('disk', ['base:allocation'])),
        optionBytes(7, infoData('disk')),
      ]),
    );
    const messages = fc.oneof(
      { weight: 9, arbitrary: requests },
      { weight: 1, arbitrary: mutated(requests) },
    );
    fc.assert(
      fc.property(prologues, stepsOf(messages), fc.integer({ min: 1, max: 70 }), (...all) => {
        const world = smallWorld();
        const { freeBytes } = world.staging;
        play(world, ...all);
        checkAfter(world, freeBytes);
      }),
      { numRuns },
    );
  });
});
