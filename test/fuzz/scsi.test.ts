/**
 * Random commands, data and interruptions against the device server: every command ends exactly once, nothing throws, no
 * memory stays behind, and what was read is what a model says.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commandSet } from '../../src/scsi/command-set.ts';
import { TaskAttribute } from '../../src/scsi/status.ts';
import { ask, pattern, send } from '../support/scsi-raw.ts';
import { type Exchange, ScsiWorld } from '../support/scsi-world.ts';

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
  sent: fc.constantFrom(0, 100, 100_000),
  attribute: fc.constantFrom(...Object.values(TaskAttribute)),
  act: fc.constantFrom('none', 'abort', 'lunReset', 'clearTaskSet', 'suspend', 'release', 'run'),
  seed: fc.nat(255),
});

describe('random commands', () => {
  it('end once each and leave nothing behind', () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 40 }), (steps) => {
        const world = new ScsiWorld();
        const device = world.makeDevice({ sizeBytes: blocks * block });
        const second = world.makeDevice({ sizeBytes: blocks * block });
        const unit = world.map(0, device);
        world.map(1, second, { isReadOnly: true });
        const hosts = [world.open('a'), world.open('b', 2)];
        const free = world.staging.freeBytes;
        device.isHolding = true;
        const exchanges: Exchange[] = [];
        for (const step of steps) {
          const host = hosts[step.host] ?? world.open('c', 3);
          const exchange = send(world, host, step.cdb, {
            lun: step.lun,
            out: pattern(step.outBytes, step.seed),
            inBytes: step.inBytes,
            attribute: step.attribute,
            sendBytesMax: step.sent,
          });
          exchanges.push(exchange);
          if (step.act === 'abort') world.target.abortTask(exchange.task, () => {});
          else if (step.act === 'release') device.release(2);
          else if (step.act === 'run') world.run();
          else if (step.act === 'suspend') {
            unit.suspend(() => {});
            unit.resume();
          } else if (step.act !== 'none') {
            world.target.manage(step.act, host.nexus, 0, () => {});
          }
        }
        let closed = 0;
        for (const { nexus } of hosts) {
          world.target.closeNexus(nexus, () => {
            closed += 1;
          });
        }
        for (let turn = 0; turn < 2000 && closed < 2; turn += 1) {
          device.release();
          world.pass(1);
        }
        expect(closed).toBe(2);
        expect(exchanges.every(({ isDone }) => isDone)).toBe(true);
        expect(unit.tasks.count).toBe(0);
        expect(world.staging.freeBytes).toBe(free);
        for (const { task } of exchanges) {
          expect(task.residual).toBeGreaterThanOrEqual(0);
          expect(task.isOverflow && task.isUnderflow).toBe(false);
        }
      }),
      { numRuns: 300 },
    );
  });
});

type Model = Uint8Array;

const range = fc.record({ lba: fc.nat(blocks - 1), count: fc.integer({ min: 1, max: 40 }) });
const change = fc.record({
  kind: fc.constantFrom('write', 'same', 'zero', 'unmap', 'or', 'compare', 'miscompare', 'verify'),
  range,
  seed: fc.nat(255),
});

function long(code: string, lba: number, count: number, flags = '00'): string {
  const digits = (value: number, size: number): string => value.toString(16).padStart(size, '0');
  return `${code} ${flags} ${digits(lba, 16)} ${digits(count, 8)} 00 00`;
}

describe('any sequence of changes', () => {
  it('reads back as a model says', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 25 }), (changes) => {
        const world = new ScsiWorld();
        world.map(0, world.makeDevice({ sizeBytes: blocks * block }));
        const host = world.open('host');
        const model: Model = new Uint8Array(blocks * block);
        const run = (cdb: string, out?: Uint8Array): number =>
          ask(world, host, cdb, out === undefined ? {} : { out }).status;
        for (const { kind, seed, range: wanted } of changes) {
          const { lba } = wanted;
          const count = Math.min(wanted.count, blocks - lba);
          const place = model.subarray(lba * block, (lba + count) * block);
          const data = pattern(place.length, seed);
          if (kind === 'write') {
            expect(run(long('8a', lba, count), data)).toBe(0);
            place.set(data);
          } else if (kind === 'same') {
            expect(run(long('93', lba, count), pattern(block, seed))).toBe(0);
            for (let at = 0; at < place.length; at += block) place.set(pattern(block, seed), at);
          } else if (kind === 'zero') {
            expect(run(long('93', lba, count, seed < 128 ? '01' : '09'))).toBe(0);
            place.fill(0);
          } else if (kind === 'unmap') {
            const list = new Uint8Array(24);
            const view = new DataView(list.buffer);
            view.setUint16(0, 22);
            view.setUint16(2, 16);
            view.setBigUint64(8, BigInt(lba));
            view.setUint32(16, count);
            expect(run('42 00 00000000 00 0018 00', list)).toBe(0);
            place.fill(0);
          } else if (kind === 'or') {
            expect(run(long('8b', lba, count), data)).toBe(0);
            for (const [at, byte] of data.entries()) place[at] = (place[at] ?? 0) | byte;
          } else if (kind === 'verify') {
            expect(run(long('8f', lba, count, '02'), place.slice())).toBe(0);
          } else {
            const expected = place.slice();
            if (kind === 'miscompare') expected[seed] = (expected[seed] ?? 0) ^ 1;
            const out = Uint8Array.from([...expected, ...data]);
            const cdb = `89 00 ${lba.toString(16).padStart(16, '0')} 000000 ${count.toString(16).padStart(2, '0')} 00 00`;
            expect(run(cdb, out)).toBe(kind === 'miscompare' ? 2 : 0);
            if (kind === 'compare') place.set(data);
          }
        }
        const { data } = ask(world, host, long('88', 0, blocks), { inBytes: model.length });
        expect(Buffer.compare(data, model)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});
