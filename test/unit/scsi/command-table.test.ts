/** The command table: what is refused before any handler, and what REPORT SUPPORTED OPERATION CODES says about it. */
import { describe, expect, it } from 'vitest';
import { commandSet } from '../../../src/scsi/command-set.ts';
import { put } from '../../support/scsi-blocks.ts';
import { ask, outcome } from '../../support/scsi-raw.ts';
import { type Initiator, ScsiWorld } from '../../support/scsi-world.ts';

function scene(): { world: ScsiWorld; host: Initiator } {
  const world = new ScsiWorld();
  world.map(0, world.makeDevice());
  return { world, host: world.open('host') };
}

const rows = commandSet.map((row) => ({ name: row.name, row }));

function report(option: number, opcode = 0, serviceAction = 0): string {
  return `a3 0c ${put(option, 2)} ${put(opcode, 2)} ${put(serviceAction, 4)} 0000ffff 00 00`;
}

describe('the command table', () => {
  it('refuses opcodes it does not know', () => {
    const { world, host } = scene();
    const known = new Set(commandSet.map(({ opcode }) => opcode));
    for (let opcode = 0; opcode < 256; opcode += 1) {
      if (known.has(opcode)) continue;
      expect(outcome(ask(world, host, Uint8Array.of(opcode)))).toBe('5/20/00');
    }
  });

  it('refuses unknown service actions of known opcodes as an invalid field', () => {
    const { world, host } = scene();
    for (const opcode of [0x5e, 0x5f, 0x83, 0x84, 0x9e, 0xa3]) {
      for (let action = 0; action < 32; action += 1) {
        const isKnown = commandSet.some(
          (row) => row.opcode === opcode && row.serviceAction === action,
        );
        if (isKnown) continue;
        const exchange = ask(world, host, Uint8Array.of(opcode, action));
        expect(outcome(exchange)).toBe('5/24/00');
        expect([...exchange.sense.subarray(15, 18)]).toEqual([0xcc, 0, 1]);
      }
    }
  });

  it.each(rows)('refuses every bit that $name does not use, and points at it', ({ row }) => {
    const { world, host } = scene();
    for (let bit = 8; bit < row.usage.length * 8; bit += 1) {
      const at = bit >> 3;
      const mask = 1 << (bit & 7);
      if (((row.usage[at] ?? 0) & mask) !== 0) continue;
      const cdb = new Uint8Array(row.usage.length);
      cdb[0] = row.opcode;
      cdb[1] = row.serviceAction ?? 0;
      cdb[at] = (cdb[at] ?? 0) | mask;
      const exchange = ask(world, host, cdb);
      expect(outcome(exchange)).toBe('5/24/00');
      expect([...exchange.sense.subarray(15, 18)]).toEqual([0xc8 | (bit & 7), 0, at]);
    }
  });

  it('reports all commands, with timeouts when asked', () => {
    const { world, host } = scene();
    const { data } = ask(world, host, report(0));
    const view = new DataView(data.buffer);
    expect(view.getUint32(0)).toBe(commandSet.length * 8);
    const withTimeouts = ask(world, host, report(0x80)).data;
    expect(new DataView(withTimeouts.buffer).getUint32(0)).toBe(commandSet.length * 20);
    for (let at = 4; at < withTimeouts.length; at += 20) {
      expect((withTimeouts[at + 5] ?? 0) & 2).toBe(2);
      const timeouts = new DataView(withTimeouts.buffer, at + 8, 12);
      expect(timeouts.getUint16(0)).toBe(10);
      expect(timeouts.getUint32(4)).toBeGreaterThan(0);
      expect(timeouts.getUint32(8)).toBeGreaterThan(timeouts.getUint32(4));
    }
  });

  it.each(rows)('reports $name alone, with its usage', ({ row }) => {
    const { world, host } = scene();
    const isAction = row.serviceAction !== undefined;
    const { data } = ask(world, host, report(isAction ? 2 : 1, row.opcode, row.serviceAction));
    const usage = [...row.usage];
    if (isAction) usage[1] = ((usage[1] ?? 0) & 0xe0) | (row.serviceAction ?? 0);
    expect([...data]).toEqual([0, 3, 0, usage.length, ...usage]);
    // The other option does not fit the opcode.
    const wrong = ask(world, host, report(isAction ? 1 : 2, row.opcode, row.serviceAction));
    expect(outcome(wrong)).toBe('5/24/00');
    const either = ask(world, host, report(3, row.opcode, row.serviceAction));
    expect(either.data).toEqual(data);
  });

  it('reports what is not there as not supported', () => {
    const { world, host } = scene();
    expect([...ask(world, host, report(1, 0x48)).data]).toEqual([0, 1, 0, 0]);
    expect([...ask(world, host, report(2, 0x9e, 0x1f)).data]).toEqual([0, 1, 0, 0]);
    expect([...ask(world, host, report(3, 0x28, 1)).data]).toEqual([0, 1, 0, 0]);
  });

  it('reports the task management functions', () => {
    const { world, host } = scene();
    expect([...ask(world, host, 'a3 0d 00 000000 0000ffff 00 00').data]).toEqual([0xda, 0, 0, 0]);
    const extended = ask(world, host, 'a3 0d 80 000000 0000ffff 00 00').data;
    expect([...extended.subarray(0, 4)]).toEqual([0xda, 0, 0, 12]);
    expect(extended.length).toBe(16);
  });
});
