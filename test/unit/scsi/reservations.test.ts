/** Reservations as several initiators see them, through ScsiTarget: SPC-2 5.5, SPC-4 5.9. */
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../src/base/fields.ts';
import { IoStatus } from '../../../src/device/block-device.ts';
import { PrType } from '../../../src/scsi/persistent-state.ts';
import { ScsiStatus } from '../../../src/scsi/status.ts';
import {
  block,
  clear,
  keys,
  preempt,
  preemptAndAbort,
  prOut,
  prOutGood,
  reads,
  register,
  release,
  reservation,
  reserve,
  restarted,
  startPrOut,
  world,
  writes,
} from '../../support/reservation-world.ts';
import {
  compareAndWrite,
  persistentReserveIn,
  persistentReserveOut,
  read16,
  reserveParameters,
  testUnitReady,
  write16,
} from '../../support/scsi-cdb.ts';
import { ScsiWorld } from '../../support/scsi-world.ts';

const { good, reservationConflict, checkCondition } = ScsiStatus;
const reserve6 = Uint8Array.of(0x16, 0, 0, 0, 0, 0);
const release6 = Uint8Array.of(0x17, 0, 0, 0, 0, 0);
const inquiry = Uint8Array.of(0x12, 0, 0, 0, 96, 0);
const requestSense = Uint8Array.of(0x03, 0, 0, 0, 18, 0);
const modeSense = Uint8Array.of(0x1a, 0, 0x3f, 0, 255, 0);
const reportLuns = Uint8Array.of(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0);
const readCapacity10 = Uint8Array.of(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const synchronizeCache = Uint8Array.of(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0);

describe('a persistent reservation', () => {
  // What the registered b and the unregistered c may do: read, write.
  it.each([
    ['write exclusive', PrType.writeExclusive, [true, false], [true, false]],
    ['exclusive access', PrType.exclusiveAccess, [false, false], [false, false]],
    [
      'write exclusive, registrants only',
      PrType.writeExclusiveRegistrantsOnly,
      [true, true],
      [true, false],
    ],
    [
      'exclusive access, registrants only',
      PrType.exclusiveAccessRegistrantsOnly,
      [true, true],
      [false, false],
    ],
    [
      'write exclusive, all registrants',
      PrType.writeExclusiveAllRegistrants,
      [true, true],
      [true, false],
    ],
    [
      'exclusive access, all registrants',
      PrType.exclusiveAccessAllRegistrants,
      [true, true],
      [false, false],
    ],
  ])('of type %s lets through what SPC-4 table 65 says', (_name, type, registered, stranger) => {
    const { a, b, c } = world();
    prOutGood(a, register, { actionKey: 1n });
    prOutGood(b, register, { actionKey: 2n });
    prOutGood(a, reserve, { key: 1n, type });
    expect([reads(a), writes(a)]).toEqual([true, true]);
    expect([reads(b), writes(b)]).toEqual(registered);
    expect([reads(c), writes(c)]).toEqual(stranger);
    for (const cdb of [testUnitReady(), inquiry, requestSense, reportLuns, readCapacity10]) {
      expect(c.run(0, cdb).status).toBe(good);
    }
    expect(c.run(0, synchronizeCache).status).toBe(reservationConflict);
    const seesModes = c.run(0, modeSense).status === good;
    expect(seesModes).toBe(stranger[0]);
    expect(prOut(c, register, { actionKey: 3n }).status).toBe(good);
  });

  it('is read back with its key, and without one when all registrants hold it', () => {
    const { a, b } = world();
    prOutGood(a, register, { actionKey: 1n });
    prOutGood(b, register, { actionKey: 2n });
    expect(reservation(b)).toBeUndefined();
    prOutGood(a, reserve, { key: 1n, type: PrType.exclusiveAccess });
    expect(keys(b)).toEqual([1n, 2n]);
    expect(reservation(b)).toEqual([1n, PrType.exclusiveAccess]);
    prOutGood(a, release, { key: 1n, type: PrType.exclusiveAccess });
    prOutGood(b, reserve, { key: 2n, type: PrType.writeExclusiveAllRegistrants });
    expect(reservation(a)).toEqual([0n, PrType.writeExclusiveAllRegistrants]);
  });

  it('survives the loss of its nexus and a LUN reset', () => {
    const { world: made, a, b } = world();
    prOutGood(a, register, { actionKey: 1n });
    prOutGood(a, reserve, { key: 1n, type: PrType.writeExclusive });
    a.close();
    made.target.manage('lunReset', b.nexus, 0, () => {});
    b.attentions();
    expect(writes(b)).toBe(false);
    const again = made.open('a');
    expect(writes(again)).toBe(true);
  });
});

describe('unit attentions', () => {
  it('of a released reservation go to the other registrants, never to the sender', () => {
    const { a, b, c } = world();
    const type = PrType.writeExclusiveRegistrantsOnly;
    prOutGood(a, register, { actionKey: 1n });
    prOutGood(b, register, { actionKey: 2n });
    prOutGood(a, reserve, { key: 1n, type });
    prOutGood(a, register, { key: 1n });
    expect([a.attentions(), b.attentions(), c.attentions()]).toEqual([[], ['6/2a/04'], []]);
  });

  it('of CLEAR and of preempted registrations say so', () => {
    const { a, b, c } = world();
    prOutGood(a, register, { actionKey: 1n });
    prOutGood(b, register, { actionKey: 2n });
    prOutGood(b, preempt, { key: 2n, actionKey: 1n, type: PrType.exclusiveAccess });
    expect([a.attentions(), b.attentions(), c.attentions()]).toEqual([['6/2a/05'], [], []]);
    expect(keys(a)).toEqual([2n]);
    prOutGood(a, register, { actionKey: 1n });
    prOutGood(b, clear, { key: 2n });
    expect([a.attentions(), b.attentions()]).toEqual([['6/2a/03'], []]);
    expect(keys(a)).toEqual([]);
  });
});

describe('who a registrant is', () => {
  it('is initiator name, ISID and target port', () => {
    const { world: made, a } = world();
    prOutGood(a, register, { actionKey: 1n });
    prOutGood(a, reserve, { key: 1n, type: PrType.writeExclusive });
    expect(writes(made.open('a', 2))).toBe(false);
    expect(writes(made.open('a', 1, 2))).toBe(false);
    expect(writes(made.open('a', 1, 1))).toBe(true);
  });

  it('is the name and the port alone where a unit ignores ISIDs', () => {
    const made = new ScsiWorld();
    made.map(0, made.makeDevice(), { ignoresIsid: true });
    const a = made.open('a', 1);
    prOutGood(a, register, { actionKey: 1n });
    prOutGood(a, reserve, { key: 1n, type: PrType.writeExclusive });
    expect(writes(made.open('a', 2))).toBe(true);
    expect(writes(made.open('b', 1))).toBe(false);
  });

  it('with ALL_TG_PT is every target port', () => {
    const { world: made, a } = world();
    const list = reserveParameters(0n, 1n, false).with(20, 0x04);
    expect(a.run(0, persistentReserveOut(register, 0), list).status).toBe(good);
    expect(keys(a)).toEqual([1n, 1n]);
    prOutGood(a, reserve, { key: 1n, type: PrType.writeExclusiveRegistrantsOnly });
    expect(writes(made.open('a', 1, 2))).toBe(true);
  });
});

describe('wrong requests', () => {
  it.each([4, 0x1f])(
    'PERSISTENT RESERVE IN with service action %i is an invalid field',
    (action) => {
      const { a } = world();
      expect(a.run(0, persistentReserveIn(action, 255)).senseText).toBe('5/24/00');
    },
  );

  it('PERSISTENT RESERVE OUT names unknown actions, types, lengths and fields', () => {
    const { a } = world();
    const list = reserveParameters(0n, 1n, false);
    expect(a.run(0, persistentReserveOut(0x1f, 0), list).senseText).toBe('5/24/00');
    prOutGood(a, register, { actionKey: 1n });
    const held = reserveParameters(1n, 0n, false);
    for (const type of [0, 2, 4, 9, 0x11]) {
      expect(a.run(0, persistentReserveOut(reserve, type), held).senseText).toBe('5/24/00');
    }
    const short = persistentReserveOut(register, 0);
    viewOf(short).setUint32(5, 23);
    expect(a.run(0, short, list.subarray(0, 23)).senseText).toBe('5/1a/00');
    expect(a.run(0, persistentReserveOut(6, 0), list.with(20, 0x08)).senseText).toBe('5/26/00');
    prOutGood(a, reserve, { key: 1n, type: PrType.writeExclusive });
    const wrong = persistentReserveOut(release, PrType.exclusiveAccess);
    expect(a.run(0, wrong, held).senseText).toBe('5/26/04');
  });
});

describe('APTPL', () => {
  it('keeps registrations and reservation over a restart, with generation zero', () => {
    const { device, a, b } = world();
    prOutGood(a, register, { actionKey: 1n, aptpl: true });
    prOutGood(b, register, { actionKey: 2n, aptpl: true });
    prOutGood(a, reserve, { key: 1n, type: PrType.exclusiveAccess });
    const later = restarted(device);
    expect(keys(later.b)).toEqual([1n, 2n]);
    expect(viewOf(later.b.run(0, persistentReserveIn(0, 255)).data).getUint32(0)).toBe(0);
    expect(reservation(later.b)).toEqual([1n, PrType.exclusiveAccess]);
    expect([writes(later.a), writes(later.b)]).toEqual([true, false]);
    // PTPL_A.
    expect((later.b.run(0, persistentReserveIn(2, 8)).data[3] ?? 0) & 1).toBe(1);
  });

  it('keeps nothing when the latest registration did not ask for it', () => {
    const { device, a } = world();
    prOutGood(a, register, { actionKey: 1n, aptpl: true });
    expect(keys(restarted(device).a)).toEqual([1n]);
    prOutGood(a, register, { key: 1n, actionKey: 1n });
    expect(keys(restarted(device).a)).toEqual([]);
  });

  it('keeps what a release and a clear left', () => {
    const { device, a } = world();
    prOutGood(a, register, { actionKey: 1n, aptpl: true });
    prOutGood(a, reserve, { key: 1n, type: PrType.writeExclusive });
    prOutGood(a, release, { key: 1n, type: PrType.writeExclusive });
    expect(reservation(restarted(device).b)).toBeUndefined();
    prOutGood(a, clear, { key: 1n });
    expect(keys(restarted(device).b)).toEqual([]);
  });

  it('answers after it is durable, and holds only then', () => {
    const { world: made, device, a, b } = world();
    device.isHolding = true;
    const registering = startPrOut(a, register, { actionKey: 1n, aptpl: true });
    made.run();
    expect(registering.isDone).toBe(false);
    expect(keys(b)).toEqual([]);
    device.isHolding = false;
    device.release();
    expect(registering.status).toBe(good);
    expect(keys(b)).toEqual([1n]);
  });

  it('that cannot be stored is refused, and nothing has changed', () => {
    const { device, a, b } = world();
    prOutGood(a, register, { actionKey: 1n, aptpl: true });
    device.changeStatus = IoStatus.ioError;
    expect(prOut(a, reserve, { key: 1n, type: PrType.exclusiveAccess }).status).toBe(
      checkCondition,
    );
    expect(reservation(b)).toBeUndefined();
    expect(reads(b)).toBe(true);
    device.changeStatus = undefined;
    prOutGood(a, reserve, { key: 1n, type: PrType.exclusiveAccess });
  });

  it('requests that wait for the disk take effect in order', () => {
    const { world: made, device, a, b } = world();
    device.isHolding = true;
    const first = startPrOut(a, register, { actionKey: 1n, aptpl: true });
    const second = startPrOut(a, reserve, { key: 1n, type: PrType.writeExclusive });
    const third = startPrOut(b, reserve, { key: 2n, type: PrType.writeExclusive });
    device.isHolding = false;
    device.release();
    made.run();
    expect([first.status, second.status, third.status]).toEqual([good, good, reservationConflict]);
  });
});

describe('PREEMPT AND ABORT', () => {
  it('is answered when nothing of the preempted nexus can be written any more', () => {
    const { world: made, device, a, b } = world();
    prOutGood(a, register, { actionKey: 1n });
    prOutGood(b, register, { actionKey: 2n });
    prOutGood(b, reserve, { key: 2n, type: PrType.writeExclusive });
    device.isHolding = true;
    const atDevice = b.start(0, write16(0, 1), block);
    // This one waits for its second half.
    b.sendBytesMax = 4096;
    const half = b.start(0, write16(64, 16), new Uint8Array(8192).fill(0x33));
    b.sendBytesMax = Number.POSITIVE_INFINITY;
    expect(half.isDone).toBe(false);
    const preempting = startPrOut(a, preemptAndAbort, {
      key: 1n,
      actionKey: 2n,
      type: PrType.writeExclusive,
    });
    made.run();
    expect([atDevice.isDone, preempting.isDone]).toEqual([false, false]);
    device.isHolding = false;
    device.release();
    made.run();
    expect(preempting.status).toBe(good);
    expect(atDevice.status).toBe(ScsiStatus.taskAborted);
    expect(half.status).toBe(ScsiStatus.taskAborted);
    device.isRecording = true;
    half.sendRest();
    made.pass(50);
    expect(device.record).toEqual([]);
    expect(b.attentions()).toEqual(['6/2a/05']);
    expect(writes(b)).toBe(false);
    expect(reservation(a)).toEqual([1n, PrType.writeExclusive]);
  });
});

describe('RESERVE(6)', () => {
  it('is exclusive: others may ask who is there, and release nothing', () => {
    const { a, b } = world();
    expect(a.run(0, reserve6).status).toBe(good);
    expect(a.run(0, reserve6).status).toBe(good);
    for (const cdb of [inquiry, requestSense, reportLuns, release6]) {
      expect(b.run(0, cdb).status).toBe(good);
    }
    const refused = [reserve6, modeSense, testUnitReady(), readCapacity10, synchronizeCache];
    for (const cdb of [...refused, read16(0, 1)]) {
      expect(b.run(0, cdb).status).toBe(reservationConflict);
    }
    expect([writes(a), writes(b)]).toEqual([true, false]);
    expect(a.run(0, release6).status).toBe(good);
    expect(b.run(0, reserve6).status).toBe(good);
  });

  it('ends with its nexus and with a LUN reset', () => {
    const { world: made, a, b, c } = world();
    a.run(0, reserve6);
    a.close();
    expect(b.run(0, reserve6).status).toBe(good);
    let isReset = false;
    made.target.manage('lunReset', c.nexus, 0, () => {
      isReset = true;
    });
    expect(isReset).toBe(true);
    c.attentions();
    expect(c.run(0, reserve6).status).toBe(good);
  });

  it('and persistent reservations keep out of each other', () => {
    const { a, b } = world();
    a.run(0, reserve6);
    for (const initiator of [a, b]) {
      expect(initiator.run(0, persistentReserveIn(0, 255)).status).toBe(reservationConflict);
      expect(prOut(initiator, register, { actionKey: 1n }).status).toBe(reservationConflict);
    }
    a.run(0, release6);
    prOutGood(a, register, { actionKey: 1n });
    expect(a.run(0, reserve6).status).toBe(reservationConflict);
    prOutGood(a, reserve, { key: 1n, type: PrType.exclusiveAccess });
    // Compatible handling: good for the holder, and without effect.
    expect(a.run(0, reserve6).status).toBe(good);
    expect(a.run(0, release6).status).toBe(good);
    expect(b.run(0, release6).status).toBe(reservationConflict);
    expect(writes(b)).toBe(false);
  });

  it('is answered after a COMPARE AND WRITE of another nexus that is at the device', () => {
    const { world: made, device, a, b } = world();
    const both = new Uint8Array(1024);
    both.fill(0x77, 512);
    device.isHolding = true;
    const swap = b.start(0, compareAndWrite(8, 1), both);
    const reserving = a.start(0, reserve6);
    made.run();
    expect([swap.isDone, reserving.isDone]).toEqual([false, false]);
    device.isHolding = false;
    device.release();
    made.run();
    expect([swap.status, reserving.status]).toEqual([good, good]);
    // One that comes later does not reach the device.
    expect(b.run(0, compareAndWrite(8, 1), both).status).toBe(reservationConflict);
  });
});

const reportGroups = (format: number, length: number): Uint8Array =>
  Uint8Array.of(0xa3, 0x0a | (format << 5), 0, 0, 0, 0, 0, 0, 0, length, 0, 0);

describe('the target ports', () => {
  it('are reported in both formats, cut to the allocation length', () => {
    const { a } = world();
    const basic = a.run(0, reportGroups(0, 255));
    expect(viewOf(basic.data).getUint32(0)).toBe(basic.data.length - 4);
    expect(a.run(0, reportGroups(1, 255)).data).toHaveLength(basic.data.length + 4);
    expect(a.run(0, reportGroups(0, 6)).data).toEqual(basic.data.subarray(0, 6));
    expect(a.run(0, reportGroups(2, 255)).senseText).toBe('5/24/00');
  });

  it('that get worse tell every nexus, and serve what a host needs to find out', () => {
    const { world: made, a } = world();
    made.groups.update([{ id: 1, state: 2, isPreferred: false, ports: [1, 2] }]);
    expect(a.attentions()).toEqual(['6/2a/06']);
    expect(a.run(0, read16(0, 1)).senseText).toBe('2/04/0b');
    expect(a.run(0, inquiry).status).toBe(good);
    made.groups.update([{ id: 1, state: 0, isPreferred: false, ports: [1, 2] }]);
    expect(a.attentions()).toEqual(['6/2a/06']);
    expect(reads(a)).toBe(true);
  });
});
