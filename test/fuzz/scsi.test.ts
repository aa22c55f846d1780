/**
 * Random commands, data and interruptions against the device server: every command ends exactly once, nothing throws, no
 * memory stays behind, and what was read is what a model says.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commandSet } from '../../src/scsi/command-set.ts';
import type { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { TaskAttribute } from '../../src/scsi/status.ts';
import { put } from '../support/scsi-blocks.ts';
import { ask, pattern, send } from '../support/scsi-raw.ts';
import { type Exchange, type Initiator, ScsiWorld } from '../support/scsi-world.ts';

const block = 512;
const blocks = 256;

const anyCdb = fc
  .record({
    row: fc.nat(commandSet.length - 1),
    noise: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    keep: fc.constantFrom(0x00, 0x03, 0xff),
  })
  .map(({ row, noise, keep }) => {
    const { opcode, serviceAction, usage } = commandSet[row] ?? { opcode: 0, usage: [0] };
    // Mostly fields that are allowed, often small numbers, sometimes anything.
    const cdb = noise.map((byte, at) => (keep === 0xff ? byte : byte & keep & (usage[at] ?? 0)));
    cdb[0] = opcode;
    if (serviceAction !== undefined) cdb[1] = ((cdb[1] ?? 0) & 0xe0) | serviceAction;
    return cdb;
  });

const anyStep = fc.record({
  cdb: fc.oneof(anyCdb, fc.uint8Array({ minLength: 16, maxLength: 16 })),
  lun: fc.constantFrom(0, 0, 0, 1, 5, -1),
  host: fc.nat(1),
  outBytes: fc.constantFrom(0, 8, 16, 24, 40, 512, 1024, 5000, 70_000),
  inBytes: fc.constantFrom(0, 5, 96, 512, 65_536),
  /** -1: the segment is announced whole, and ends in the middle. */
  sent: fc.constantFrom(-1, 0, 100, 100_000),
  attribute: fc.constantFrom(...Object.values(TaskAttribute)),
  act: fc.constantFrom('none', 'abort', 'lunReset', 'clearTaskSet', 'suspend', 'release', 'run'),
  seed: fc.nat(255),
});

type Step = typeof anyStep extends fc.Arbitrary<infer T> ? T : never;

class Storm {
  readonly world = new ScsiWorld();
  readonly device = this.world.makeDevice({ sizeBytes: blocks * block });
  readonly unit: LogicalUnit = this.world.map(0, this.device);
  readonly hosts: readonly Initiator[];
  readonly exchanges: Exchange[] = [];
  #closedCount = 0;

  constructor() {
    this.world.map(1, this.world.makeDevice({ sizeBytes: blocks * block }), { isReadOnly: true });
    this.hosts = [this.world.open('a'), this.world.open('b', 2)];
    this.device.isHolding = true;
  }

  run(step: Step): void {
    const host = this.hosts[step.host] ?? this.world.open('c', 3);
    const out = pattern(step.outBytes, step.seed);
    const exchange = send(this.world, host, step.cdb, {
      lun: step.lun,
      out,
      inBytes: step.inBytes,
      attribute: step.attribute,
      sendBytesMax: Math.max(0, step.sent),
    });
    this.exchanges.push(exchange);
    const { task } = exchange;
    if (step.sent < 0 && !exchange.isDone && task.dataOutLength > 0) {
      task.expect(task.dataOutLength);
      task.accept(out, 0, Math.ceil(task.dataOutLength / 2));
    }
    this.#act(step, host, exchange);
  }

  #act({ act }: Step, host: Initiator, exchange: Exchange): void {
    const { target } = this.world;
    switch (act) {
      case 'none':
        break;
      case 'abort':
        target.abortTask(exchange.task, () => {});
        break;
      case 'release':
        this.device.release(2);
        break;
      case 'run':
        this.world.run();
        break;
      case 'suspend':
        this.unit.suspend(() => {});
        this.unit.resume();
        break;
      case 'lunReset':
      case 'clearTaskSet':
        target.manage(act, host.nexus, 0, () => {});
        break;
    }
  }

  /** Ends the sessions; false when they do not end. */
  close(): boolean {
    for (const { nexus } of this.hosts) {
      this.world.target.closeNexus(nexus, () => {
        this.#closedCount += 1;
      });
    }
    for (let turn = 0; turn < 2000 && this.#closedCount < this.hosts.length; turn += 1) {
      this.device.release();
      this.world.pass(1);
    }
    return this.#closedCount === this.hosts.length;
  }
}

describe('random commands', () => {
  it('end once each and leave nothing behind', () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 40 }), (steps) => {
        const storm = new Storm();
        const { staging } = storm.world;
        const free = staging.freeBytes;
        for (const step of steps) storm.run(step);
        expect(storm.close()).toBe(true);
        expect(storm.exchanges.every(({ isDone }) => isDone)).toBe(true);
        expect(storm.unit.tasks.count).toBe(0);
        expect(staging.freeBytes).toBe(free);
        for (const { task } of storm.exchanges) {
          expect(task.residual).toBeGreaterThanOrEqual(0);
          expect(task.isOverflow && task.isUnderflow).toBe(false);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

const kinds = ['write', 'same', 'zero', 'unmap', 'or', 'compare', 'miscompare', 'verify'] as const;
const change = fc.record({
  kind: fc.constantFrom(...kinds),
  range: fc.record({ lba: fc.nat(blocks - 1), count: fc.integer({ min: 1, max: 40 }) }),
  seed: fc.nat(255),
});

interface Change {
  readonly lba: number;
  readonly count: number;
  readonly seed: number;
  /** The range in the model, and what a command would write there. */
  readonly place: Uint8Array;
  readonly data: Uint8Array;
}

interface Applied {
  readonly cdb: string;
  readonly out?: Uint8Array;
  /** What the range holds afterwards. */
  readonly after: Uint8Array;
  readonly status?: number;
}

function long(code: string, { lba, count }: Change, flags = '00'): string {
  return `${code} ${flags} ${put(lba, 16)} ${put(count, 8)} 00 00`;
}

function repeated(seed: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += block) bytes.set(pattern(block, seed), at);
  return bytes;
}

function compared({ lba, count, place, data }: Change, spoiled: number): Applied {
  const expected = place.slice();
  if (spoiled >= 0) expected[spoiled] = (expected[spoiled] ?? 0) ^ 1;
  const cdb = `89 00 ${put(lba, 16)} 000000 ${put(count, 2)} 00 00`;
  const out = Uint8Array.from([...expected, ...data]);
  return spoiled < 0 ? { cdb, out, after: data } : { cdb, out, after: place.slice(), status: 2 };
}

function unmapped({ lba, count, place }: Change): Applied {
  const out = new Uint8Array(24);
  const view = new DataView(out.buffer);
  view.setUint16(0, 22);
  view.setUint16(2, 16);
  view.setBigUint64(8, BigInt(lba));
  view.setUint32(16, count);
  return { cdb: '42 00 00000000 00 0018 00', out, after: new Uint8Array(place.length) };
}

const apply: Readonly<Record<(typeof kinds)[number], (given: Change) => Applied>> = {
  write: (given) => ({ cdb: long('8a', given), out: given.data, after: given.data }),
  same: (given) => ({
    cdb: long('93', given),
    out: pattern(block, given.seed),
    after: repeated(given.seed, given.place.length),
  }),
  zero: (given) => ({
    cdb: long('93', given, given.seed < 128 ? '01' : '09'),
    after: new Uint8Array(given.place.length),
  }),
  unmap: unmapped,
  or: (given) => ({
    cdb: long('8b', given),
    out: given.data,
    after: given.place.map((byte, at) => byte | (given.data[at] ?? 0)),
  }),
  compare: (given) => compared(given, -1),
  miscompare: (given) => compared(given, given.seed),
  verify: (given) => ({
    cdb: long('8f', given, '02'),
    out: given.place.slice(),
    after: given.place.slice(),
  }),
};

describe('any sequence of changes', () => {
  it('reads back as a model says', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 25 }), (changes) => {
        const world = new ScsiWorld();
        world.map(0, world.makeDevice({ sizeBytes: blocks * block }));
        const host = world.open('host');
        const model = new Uint8Array(blocks * block);
        for (const { kind, seed, range } of changes) {
          const { lba } = range;
          const count = Math.min(range.count, blocks - lba);
          const place = model.subarray(lba * block, (lba + count) * block);
          const given = { lba, count, seed, place, data: pattern(place.length, seed) };
          const { cdb, out, after, status = 0 } = apply[kind](given);
          expect(ask(world, host, cdb, out === undefined ? {} : { out }).status).toBe(status);
          place.set(after);
        }
        const cdb = `88 00 ${put(0, 16)} ${put(blocks, 8)} 00 00`;
        const { data } = ask(world, host, cdb, { inBytes: model.length });
        expect(Buffer.compare(data, model)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});
