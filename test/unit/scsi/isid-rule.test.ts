/** Registrants told apart with their ISID, or without it: the change, and what becomes of those who are registered. */
import { describe, expect, it } from 'vitest';
import { IoStatus } from '../../../src/device/block-device.ts';
import { PrType } from '../../../src/scsi/persistent-state.ts';
import { ScsiStatus } from '../../../src/scsi/status.ts';
import {
  clear,
  keys,
  prOutGood,
  register,
  release,
  reservation,
  reserve,
  restarted,
  startPrOut,
  world,
  writes,
} from '../../support/reservation-world.ts';
import type { ScsiWorld } from '../../support/scsi-world.ts';

const { good } = ScsiStatus;

function change(made: ScsiWorld, ignoresIsid: boolean): string {
  let answer = 'none';
  made.luns.get(0)?.unit.setIgnoresIsid(ignoresIsid, (refusal) => {
    answer = refusal ?? 'done';
  });
  made.run();
  return answer;
}

describe('a change of how registrants are told apart', () => {
  it('to the name alone gives an initiator that logged in with another ISID its registration back', () => {
    const { world: made, device, a, b } = world();
    prOutGood(a, register, { actionKey: 1n, aptpl: true });
    prOutGood(b, register, { actionKey: 2n, aptpl: true });
    prOutGood(a, reserve, { key: 1n, type: PrType.writeExclusiveRegistrantsOnly });
    const again = made.open('a', 9);
    expect(writes(again)).toBe(false);
    expect(change(made, true)).toBe('done');
    expect([again, a, b].map(writes)).toEqual([true, true, true]);
    expect(keys(b)).toEqual([1n, 2n]);
    expect(reservation(b)).toEqual([1n, PrType.writeExclusiveRegistrantsOnly]);
    prOutGood(again, release, { key: 1n, type: PrType.writeExclusiveRegistrantsOnly });
    expect(reservation(again)).toBeUndefined();
    // After a restart, too: rule and registrations are kept together.
    const later = restarted(device);
    expect(keys(later.b)).toEqual([1n, 2n]);
    prOutGood(later.world.open('a', 77), reserve, { key: 1n, type: PrType.writeExclusive });
    expect([writes(later.a), writes(later.b)]).toEqual([true, false]);
  });

  it('makes one registrant of several ISIDs of an initiator: the holder', () => {
    const { world: made, a } = world();
    const other = made.open('a', 2);
    const third = made.open('a', 1, 2);
    prOutGood(other, register, { actionKey: 5n });
    prOutGood(a, register, { actionKey: 6n });
    prOutGood(third, register, { actionKey: 7n });
    prOutGood(a, reserve, { key: 6n, type: PrType.writeExclusive });
    expect(change(made, true)).toBe('done');
    expect(keys(a).toSorted((x, y) => Number(x - y))).toEqual([6n, 7n]);
    expect(reservation(a)).toEqual([6n, PrType.writeExclusive]);
    expect([writes(other), writes(third)]).toEqual([true, false]);
  });

  it('back to name and ISID waits until nobody is registered', () => {
    const { world: made, a } = world();
    expect(change(made, true)).toBe('done');
    prOutGood(a, register, { actionKey: 1n });
    expect(change(made, false)).toBe('registered');
    prOutGood(a, clear, { key: 1n });
    expect(change(made, false)).toBe('done');
    prOutGood(a, register, { actionKey: 1n });
    prOutGood(a, reserve, { key: 1n, type: PrType.writeExclusive });
    expect(writes(made.open('a', 2))).toBe(false);
  });

  it('that cannot be kept changes nothing', () => {
    const { world: made, device, a } = world();
    prOutGood(a, register, { actionKey: 1n, aptpl: true });
    prOutGood(a, reserve, { key: 1n, type: PrType.writeExclusive });
    device.changeStatus = IoStatus.noSpace;
    expect(change(made, true)).toBe('notStored');
    device.changeStatus = undefined;
    const other = made.open('a', 2);
    expect([writes(a), writes(other)]).toEqual([true, false]);
    prOutGood(a, release, { key: 1n, type: PrType.writeExclusive });
    expect(restarted(device).world.luns.get(0)?.unit.ignoresIsid).toBe(false);
  });

  it('comes after the command that is being stored, and before the next', () => {
    const { world: made, device, a } = world();
    device.isHolding = true;
    const registering = startPrOut(a, register, { actionKey: 1n, aptpl: true });
    const answers: unknown[] = [];
    made.luns.get(0)?.unit.setIgnoresIsid(true, (refusal) => answers.push(refusal));
    const reserving = startPrOut(a, reserve, { key: 1n, type: PrType.writeExclusive });
    expect([registering.isDone, answers.length, reserving.isDone]).toEqual([false, 0, false]);
    device.isHolding = false;
    device.release();
    made.run();
    expect([registering.status, reserving.status, answers]).toEqual([good, good, [undefined]]);
    expect(writes(made.open('a', 2))).toBe(true);
  });
});
