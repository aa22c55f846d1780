/** What hosts read about a unit: INQUIRY, capacity, mode and log pages, and LUNs. */
import { describe, expect, it } from 'vitest';
import { LogicalUnit, type SpaceReport } from '../../../src/scsi/logical-unit.ts';
import { encodeLuState } from '../../../src/scsi/lu-state.ts';
import { scene } from '../../support/scsi-blocks.ts';
import {
  copyList,
  extendedCopyCdb,
  identificationDescriptor,
  segmentDescriptor,
} from '../../support/scsi-copy-list.ts';
import { ask, hex, outcome, pattern } from '../../support/scsi-raw.ts';
import { ScsiWorld } from '../../support/scsi-world.ts';

const ascii = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** Designators of page 83h as "association/type/code set: value". */
function designators(page: Uint8Array): string[] {
  const found: string[] = [];
  for (let at = 4; at < page.length; at += 4 + (page[at + 3] ?? 0)) {
    const [first = 0, second = 0, , length = 0] = page.subarray(at, at + 4);
    const value = page.subarray(at + 4, at + 4 + length);
    const isBinary = (first & 0x0f) === 1;
    const text = isBinary ? Buffer.from(value).toString('hex') : ascii(value).replaceAll('\0', '');
    found.push(`${(second >> 4) & 3}/${second & 0x0f}/${first & 0x0f} ${text}`);
  }
  return found;
}

const space = (): SpaceReport => ({ usedBytes: 0, availableBytes: 0 });

const control = (senseFlags: string, protectFlags: string, header = '00000000'): Uint8Array =>
  hex(`${header} 0a0a ${senseFlags} 10 ${protectFlags} 40 0000 ffff 0000`);

describe('INQUIRY', () => {
  it('says what hosts decide by', () => {
    const { world, host } = scene();
    const { data } = ask(world, host, '12 00 00 00ff 00');
    expect([...data.subarray(0, 8)]).toEqual([0, 0, 6, 0x12, 91, 0x18, 0x10, 0x02]);
    expect(ascii(data.subarray(8, 36))).toBe('TIDEMARKLUN             0001');
    expect(Buffer.from(data.subarray(58, 66)).toString('hex')).toBe('00a00960046004c0');
  });

  it.each([0, 5, 36, 95, 96, 255])('is cut to an allocation length of %i', (length) => {
    const { world, host } = scene();
    const cdb = Uint8Array.of(0x12, 0, 0, 0, length, 0);
    const exchange = ask(world, host, cdb, { inBytes: 255 });
    expect(exchange.data.length).toBe(Math.min(length, 96));
    expect(exchange.task.residual).toBe(255 - Math.min(length, 96));
  });

  it('refuses a page code without EVPD, and pages that are not there', () => {
    const { world, host } = scene();
    expect(outcome(ask(world, host, '12 00 83 00ff 00'))).toBe('5/24/00');
    expect(outcome(ask(world, host, '12 01 8f 00ff 00'))).toBe('5/24/00');
  });

  it('lists pages in ascending order, and each of them is there', () => {
    const { world, host } = scene();
    const { data } = ask(world, host, '12 01 00 00ff 00');
    const pages = [...data.subarray(4)];
    expect(pages).toEqual([0x00, 0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2]);
    for (const page of pages) {
      const answer = ask(world, host, Uint8Array.of(0x12, 1, page, 0xff, 0xff, 0)).data;
      expect([answer[0], answer[1]]).toEqual([0, page]);
      expect(((answer[2] ?? 0) << 8) + (answer[3] ?? 0)).toBe(answer.length - 4);
    }
  });

  it('names unit, port and target', () => {
    const { world, host, device } = scene();
    const { naa, serial } = device.identity;
    const { data } = ask(world, host, '12 01 83 00ff 00');
    expect(designators(data)).toEqual([
      `0/3/1 ${Buffer.from(naa).toString('hex')}`,
      `0/1/2 TIDEMARK${serial}`,
      `0/8/3 naa.${Buffer.from(naa).toString('hex')}`,
      '1/4/1 00000001',
      '1/5/1 00000001',
      '1/8/3 iqn.2026-11.test:target,t,0x0001',
      '2/8/3 iqn.2026-11.test:target',
    ]);
    expect(ascii(ask(world, host, '12 01 80 00ff 00').data.subarray(4))).toBe(serial);
  });

  it('gives limits that hosts take', () => {
    const { world, host } = scene();
    const { data } = ask(world, host, '12 01 b0 00ff 00');
    const view = new DataView(data.buffer);
    expect(data.length).toBe(64);
    expect([view.getUint8(4), view.getUint8(5), view.getUint16(6)]).toEqual([1, 255, 8]);
    expect([view.getUint32(8), view.getUint32(12)]).toEqual([65_536, 2048]);
    expect([view.getUint32(20), view.getUint32(24)]).toEqual([1 << 20, 256]);
    expect([view.getUint32(28), view.getUint32(32)]).toEqual([8, 0x80000000]);
    expect(Number(view.getBigUint64(36))).toBe(262_144);
    const provisioning = ask(world, host, '12 01 b2 00ff 00').data;
    expect([...provisioning.subarray(4, 8)]).toEqual([11, 0xe4, 2, 0]);
    expect([...ask(world, host, '12 01 b1 00ff 00').data.subarray(4, 6)]).toEqual([0, 1]);
  });

  it('says that a thick unit is resource provisioned, and has no thresholds and no log of them', () => {
    const { world, host, device } = scene();
    device.isThick = true;
    const provisioning = ask(world, host, '12 01 b2 00ff 00').data;
    expect([...provisioning.subarray(4, 8)]).toEqual([0, 0xe4, 1, 0]);
    // LBPME and LBPRZ: what is unmapped is given back, and reads as zero.
    expect(ask(world, host, '9e 10 0000000000000000 00000020 00 00').data[14]).toBe(0xc0);
    expect(ask(world, host, '4d 00 00 00 00 0000 00ff 00').data).toEqual(hex('0000 0001 00'));
    expect(outcome(ask(world, host, '4d 00 4c 00 00 0000 00ff 00'))).toBe('5/24/00');
  });

  it.each([
    [false, 0],
    [true, 1],
  ])('with write-back %s says V_SUP %i', (isWriteBack, expected) => {
    const { world, host } = scene({ isWriteBack });
    const { data } = ask(world, host, '12 01 86 00ff 00');
    expect([data[5], data[6], data[7]]).toEqual([7, expected, 1]);
  });
});

describe('capacity', () => {
  it('is of 512-byte blocks on 4 KiB ones, thin, zero when unmapped', () => {
    const { world, host } = scene();
    expect(ask(world, host, '25').data).toEqual(hex('0001ffff 00000200'));
    const { data } = ask(world, host, '9e 10 0000000000000000 00000020 00 00');
    expect(data).toEqual(hex(`000000000001ffff 00000200 00 03 c000 ${'00'.repeat(16)}`));
  });

  it.each([0, 8, 12, 32, 64])('(16) is cut to an allocation length of %i', (length) => {
    const { world, host } = scene();
    const cdb = `9e 10 0000000000000000 000000${length.toString(16).padStart(2, '0')} 00 00`;
    expect(ask(world, host, cdb).data.length).toBe(Math.min(length, 32));
  });

  it('of more than 2 TiB does not fit the short form', () => {
    const world = new ScsiWorld();
    world.map(0, world.makeDevice({ sizeBytes: 4 * 2 ** 40 }));
    const host = world.open('host');
    expect(ask(world, host, '25').data).toEqual(hex('ffffffff 00000200'));
    const { data } = ask(world, host, '9e 10 0000000000000000 00000020 00 00');
    expect(new DataView(data.buffer).getBigUint64(0)).toBe(2n ** 33n - 1n);
  });
});

describe('MODE SENSE', () => {
  it.each([
    ['01', '010a c000 0000 0080 0000 0000'],
    ['08', `0812 ${'00'.repeat(18)}`],
    ['1c', `1c0a ${'00'.repeat(10)}`],
  ])('shows page %s', (code, expected) => {
    const { world, host } = scene();
    const { data } = ask(world, host, `1a 08 ${code} 00 ff 00`);
    expect([data[0], data[2], data[3]]).toEqual([data.length - 1, 0x10, 0]);
    expect(data.subarray(4)).toEqual(hex(expected));
  });

  it('shows the control page: unrestricted order, TASK ABORTED, nothing protected', () => {
    const { world, host } = scene();
    const { data } = ask(world, host, '1a 08 0a 00 ff 00');
    expect([...data.subarray(4)]).toEqual([0x8a, 10, 2, 0x10, 0, 0x40, 0, 0, 0xff, 0xff, 0, 0]);
    const extension = ask(world, host, '1a 08 0a 01 ff 00').data;
    expect([...extension.subarray(4, 9)]).toEqual([0x4a, 1, 0, 0x1c, 1]);
    expect(extension.length).toBe(4 + 32);
  });

  it('shows what may change: D_SENSE, SWP and TAS', () => {
    const { world, host } = scene();
    const { data } = ask(world, host, '1a 08 4a 00 ff 00');
    expect([...data.subarray(4)]).toEqual([0x8a, 10, 0x04, 0, 0x08, 0x40, 0, 0, 0, 0, 0, 0]);
    const caching = ask(world, host, '1a 08 48 00 ff 00').data;
    expect(caching.subarray(6).every((byte) => byte === 0)).toBe(true);
  });

  it('says WCE as the volume is', () => {
    const { world, host, device } = scene({ isWriteBack: true });
    expect(ask(world, host, '1a 08 08 00 ff 00').data[6]).toBe(4);
    device.isWriteBack = false;
    expect(ask(world, host, '1a 08 08 00 ff 00').data[6]).toBe(0);
  });

  it('of all pages has each, with subpages when asked', () => {
    const { world, host } = scene();
    const plain = ask(world, host, '1a 08 3f 00 ff 00').data;
    expect(plain.length).toBe(4 + 12 + 20 + 12 + 12);
    const all = ask(world, host, '5a 08 3f ff 000000 ffff 00').data;
    expect(all.length).toBe(8 + 12 + 20 + 12 + 32 + 12);
    expect((all[0] ?? 0) * 256 + (all[1] ?? 0)).toBe(all.length - 2);
  });

  it('has block descriptors in both forms', () => {
    const { world, host } = scene();
    const short = ask(world, host, '1a 00 08 00 ff 00').data;
    expect(short.subarray(3, 12)).toEqual(hex('08 00020000 00000200'));
    const long = ask(world, host, '5a 10 08 00 000000 ffff 00').data;
    expect(long.subarray(4, 24)).toEqual(hex('01 00 0010 0000000000020000 00000000 00000200'));
  });

  it('refuses pages that are not there', () => {
    const { world, host } = scene();
    expect(outcome(ask(world, host, '1a 08 03 00 ff 00'))).toBe('5/24/00');
    expect(outcome(ask(world, host, '1a 08 08 01 ff 00'))).toBe('5/24/00');
  });

  it('says WP on a read-only mapping', () => {
    const { world, host } = scene({ isReadOnly: true });
    expect(ask(world, host, '1a 08 08 00 ff 00').data[2]).toBe(0x90);
  });
});

describe('MODE SELECT', () => {
  it('of SWP refuses writes with DATA PROTECT, and tells the others', () => {
    const { world, host } = scene();
    const other = world.open('other', 2);
    expect(outcome(ask(world, host, '15 10 0000 10 00', { out: control('02', '08') }))).toBe(
      'good',
    );
    expect(ask(world, host, '1a 08 0a 00 ff 00').data[2]).toBe(0x90);
    const write = ask(world, host, '2a 00 00000000 00 0001 00', { out: pattern(512) });
    expect(outcome(write)).toBe('7/27/00');
    expect(other.attentions()).toEqual(['6/2a/01']);
    expect(host.attentions()).toEqual([]);
    ask(world, host, '55 10 00000000 00 0014 00', { out: control('02', '00', '0000000000000000') });
    const again = ask(world, host, '2a 00 00000000 00 0001 00', { out: pattern(512) });
    expect(outcome(again)).toBe('good');
  });

  it('of D_SENSE makes sense come as descriptors', () => {
    const { world, host } = scene();
    ask(world, host, '15 10 0000 10 00', { out: control('06', '00') });
    const exchange = ask(world, host, '28 00 ffffffff 00 0001 00');
    expect([...exchange.sense]).toEqual([0x72, 5, 0x21, 0, 0, 0, 0, 0]);
    expect(outcome(ask(world, host, '12 00 83 00ff 00'))).toBe('5/24/00');
  });

  it.each([
    ['without PF', '15 00 0000 10 00', control('02', '08'), '5/24/00'],
    ['of a bit that may not change', '15 10 0000 10 00', control('00', '00'), '5/26/00'],
    ['of a page that is not there', '15 10 0000 06 00', hex('00000000 0300'), '5/26/00'],
    ['of a page of another length', '15 10 0000 08 00', hex('00000000 0a020000'), '5/26/00'],
    [
      'of a page that is cut off',
      '15 10 0000 0c 00',
      control('02', '08').subarray(0, 12),
      '5/1a/00',
    ],
    ['of another block length', '15 10 0000 0c 00', hex('00000008 00000000 00001000'), '5/26/00'],
    ['of less than a header', '15 10 0000 02 00', hex('0000'), '5/1a/00'],
    ['of less than it says', '15 10 0000 10 00', hex('00000000'), '5/1a/00'],
  ])('%s is refused and changes nothing', (_case, cdb, out, expected) => {
    const { world, host } = scene();
    const before = ask(world, host, '1a 08 0a 00 ff 00').data;
    expect(outcome(ask(world, host, cdb, { out }))).toBe(expected);
    expect(ask(world, host, '1a 08 0a 00 ff 00').data).toEqual(before);
  });

  it('of nothing, or of what is, is good', () => {
    const { world, host } = scene();
    expect(outcome(ask(world, host, '15 10 0000 00 00'))).toBe('good');
    const out = hex('00000008 00020000 00000200');
    expect(outcome(ask(world, host, '15 10 0000 0c 00', { out }))).toBe('good');
    const sensed = ask(world, host, '1a 00 3f 00 ff 00').data;
    sensed[0] = 0;
    const cdb = Uint8Array.of(0x15, 0x11, 0, 0, sensed.length, 0);
    expect(outcome(ask(world, host, cdb, { out: sensed }))).toBe('good');
  });

  it('with SP is durable, without it is gone after a reset', () => {
    const { world, host, device } = scene();
    ask(world, host, '15 10 0000 10 00', { out: control('02', '08') });
    expect(device.luState).toBeUndefined();
    world.target.manage('lunReset', host.nexus, 0, () => {});
    host.attentions();
    expect(ask(world, host, '1a 08 0a 00 ff 00').data[8]).toBe(0);
    ask(world, host, '15 11 0000 10 00', { out: control('06', '08') });
    world.target.manage('lunReset', host.nexus, 0, () => {});
    host.attentions();
    expect(ask(world, host, '1a 08 ca 00 ff 00').data[8]).toBe(8);
    const restarted = new LogicalUnit({ device, productRevision: '0001', space });
    expect([restarted.modePages.isDescriptorSense, restarted.modePages.isWriteProtected]).toEqual([
      true,
      true,
    ]);
  });
});

describe('a state that cannot be read', () => {
  const testUnitReady = '00 00 00 00 00 00';
  const write = '2a 00 00000000 00 0001 00';
  const readKeys = '5e 00 00 00 00 00 00 00 ff 00';
  const manualIntervention = '2/04/03';

  /** A unit whose state is `luState`, as LUN 3 of a host that is there already. */
  function damaged(luState: Uint8Array) {
    const { world, host } = scene();
    const device = world.makeDevice();
    device.luState = luState;
    const unit = world.map(3, device);
    expect(outcome(host.run(3, hex(testUnitReady)))).toBe('6/29/00');
    const on3 = (cdb: string, out?: Uint8Array): string => outcome(host.run(3, hex(cdb), out));
    return { world, host, device, unit, on3 };
  }

  it('leaves the unit NOT READY: nobody knows who may write to it', () => {
    const { device, unit, on3 } = damaged(new Uint8Array(40).fill(7));
    expect(unit.isStateDamaged).toBe(true);
    expect(on3(testUnitReady)).toBe(manualIntervention);
    expect(on3(write, new Uint8Array(512))).toBe(manualIntervention);
    expect(on3(readKeys)).toBe(manualIntervention);
    expect(on3('15 11 00 00 10 00', control('06', '08'))).toBe(manualIntervention);
    // Who it is can be asked.
    expect(on3('12 01 83 00 ff 00')).toBe('good');
    // What could not be read is still there: a later version may know it.
    expect(device.luState).toEqual(new Uint8Array(40).fill(7));
  });

  it('is no way around it for a copy from another unit', () => {
    const { world, host, device } = damaged(new Uint8Array(40).fill(7));
    const near = world.makeDevice();
    world.map(4, near);
    host.attentions(4);
    const targets = [near, device].map(({ identity }) => identificationDescriptor(identity.naa));
    const list = copyList(targets, [segmentDescriptor({ target: 1, blockCount: 8 })]);
    expect(outcome(host.run(4, extendedCopyCdb(list.length), list))).toBe('a/0d/01');
  });

  it('holds for the reservation alone, and ends when that is discarded', () => {
    const modePages = control('06', '08').subarray(4);
    const state = encodeLuState(
      new Map([
        [1, modePages],
        [2, Uint8Array.of(9, 9, 9)],
      ]),
    );
    const { device, unit, on3 } = damaged(state);
    expect(on3(testUnitReady)).toBe(manualIntervention);
    let isDiscarded = false;
    unit.discardState((isSaved) => {
      isDiscarded = isSaved;
    });
    expect(isDiscarded).toBe(true);
    const next = new LogicalUnit({ device, productRevision: '0001', space });
    expect([next.isStateDamaged, next.modePages.isWriteProtected]).toEqual([false, true]);
  });

  it('is not what a unit has that kept nothing yet', () => {
    const { device } = scene();
    const fresh = new LogicalUnit({ device, productRevision: '0001', space });
    expect(fresh.isStateDamaged).toBe(false);
  });
});

describe('LOG SENSE', () => {
  it('shows the space of the pool in threshold sets', () => {
    const { world, host } = scene();
    expect(ask(world, host, '4d 00 00 00 00 0000 00ff 00').data).toEqual(hex('0000 0002 000c'));
    const { data } = ask(world, host, '4d 00 4c 00 00 0000 00ff 00');
    expect(data).toEqual(
      hex('0c00 0018 0001 03 08 00000400 02 000000 0002 03 08 00000000 02 000000'),
    );
    expect(ask(world, host, '4d 00 4c 00 00 0002 00ff 00').data.length).toBe(16);
    expect(outcome(ask(world, host, '4d 00 4c 00 00 0003 00ff 00'))).toBe('5/24/00');
    expect(outcome(ask(world, host, '4d 00 4d 00 00 0000 00ff 00'))).toBe('5/24/00');
  });
});

describe('LUNs', () => {
  it('are reported in ascending order, in both formats', () => {
    const world = new ScsiWorld();
    for (const lun of [300, 0, 7]) world.map(lun, world.makeDevice());
    const host = world.open('host');
    const { data } = ask(world, host, 'a0 00 00 000000 00001000 00 00');
    expect(data).toEqual(
      hex('00000018 00000000 0000000000000000 0007000000000000 412c000000000000'),
    );
    const wellKnown = ask(world, host, 'a0 00 01 000000 00001000 00 00');
    expect(wellKnown.data).toEqual(new Uint8Array(8));
    expect(outcome(ask(world, host, 'a0 00 03 000000 00001000 00 00'))).toBe('5/24/00');
    expect(outcome(ask(world, host, 'a0 00 00 000000 0000000f 00 00'))).toBe('5/24/00');
  });

  it('that are not mapped answer what a scan needs, and nothing else', () => {
    const world = new ScsiWorld();
    world.map(5, world.makeDevice());
    const host = world.open('host');
    expect(ask(world, host, '12 00 00 00ff 00').data[0]).toBe(0x20);
    expect(ask(world, host, '12 00 00 00ff 00', { lun: 9 }).data[0]).toBe(0x7f);
    expect(ask(world, host, '12 00 00 00ff 00', { lun: -1 }).data[0]).toBe(0x7f);
    expect(ask(world, host, 'a0 00 00 000000 00001000 00 00').data.length).toBe(16);
    expect(ask(world, host, '03 00 0000 ff 00').data[12]).toBe(0x25);
    for (const cdb of ['00', '25', '28 00 00000000 00 0001 00', 'ff', '1a 08 3f 00 ff 00']) {
      expect(outcome(ask(world, host, cdb))).toBe('5/25/00');
    }
  });

  it('of a removable medium they are not, yet such commands are good', () => {
    const { world, host } = scene();
    for (const cdb of ['1b 00 00 00 01 00', '1b 00 00 00 00 00', '1e 00 00 00 01 00', '1d 04']) {
      expect(outcome(ask(world, host, cdb))).toBe('good');
    }
  });
});
