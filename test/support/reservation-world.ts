/** Persistent reservations as initiators ask for them, over a ScsiTarget with memory devices. */
import { expect } from 'vitest';
import { viewOf } from '../../src/base/fields.ts';
import { ScsiStatus } from '../../src/scsi/status.ts';
import type { MemoryDevice } from './memory-device.ts';
import {
  persistentReserveIn,
  persistentReserveOut,
  read16,
  reserveParameters,
  write16,
} from './scsi-cdb.ts';
import { type Exchange, type Initiator, ScsiWorld } from './scsi-world.ts';

const { good, reservationConflict } = ScsiStatus;
export const register = 0;
export const reserve = 1;
export const release = 2;
export const clear = 3;
export const preempt = 4;
export const preemptAndAbort = 5;

export const block = new Uint8Array(512).fill(0x5a);

interface PrOut {
  readonly key?: bigint;
  readonly actionKey?: bigint;
  readonly type?: number;
  readonly aptpl?: boolean;
}

export function startPrOut(initiator: Initiator, action: number, given: PrOut): Exchange {
  const list = reserveParameters(given.key ?? 0n, given.actionKey ?? 0n, given.aptpl ?? false);
  return initiator.start(0, persistentReserveOut(action, given.type ?? 0), list);
}

export function prOut(initiator: Initiator, action: number, given: PrOut): Exchange {
  const list = reserveParameters(given.key ?? 0n, given.actionKey ?? 0n, given.aptpl ?? false);
  return initiator.run(0, persistentReserveOut(action, given.type ?? 0), list);
}

export function prOutGood(initiator: Initiator, action: number, given: PrOut): void {
  const { status, senseText } = prOut(initiator, action, given);
  expect({ status, senseText }).toEqual({ status: good, senseText: '' });
}

export function keys(initiator: Initiator): bigint[] {
  const { data, status } = initiator.run(0, persistentReserveIn(0, 4096));
  expect(status).toBe(good);
  const view = viewOf(data);
  const list: bigint[] = [];
  for (let at = 8; at < 8 + view.getUint32(4); at += 8) list.push(view.getBigUint64(at));
  return list;
}

/** Key and type of the reservation; undefined = none. */
export function reservation(initiator: Initiator): [bigint, number] | undefined {
  const { data } = initiator.run(0, persistentReserveIn(1, 4096));
  const view = viewOf(data);
  return view.getUint32(4) === 0 ? undefined : [view.getBigUint64(8), view.getUint8(21)];
}

export function world(): {
  world: ScsiWorld;
  device: MemoryDevice;
  a: Initiator;
  b: Initiator;
  c: Initiator;
} {
  const made = new ScsiWorld();
  const device = made.makeDevice();
  made.map(0, device);
  return { world: made, device, a: made.open('a'), b: made.open('b'), c: made.open('c') };
}

export function writes(initiator: Initiator): boolean {
  const { status } = initiator.run(0, write16(0, 1), block);
  expect([good, reservationConflict]).toContain(status);
  return status === good;
}

export function reads(initiator: Initiator): boolean {
  const { status } = initiator.run(0, read16(0, 1), undefined, 512);
  expect([good, reservationConflict]).toContain(status);
  return status === good;
}

/** The engine starts anew: another target, another device object, the same volume. */
export function restarted(device: MemoryDevice): { world: ScsiWorld; a: Initiator; b: Initiator } {
  const made = new ScsiWorld();
  const next = made.makeDevice({ identity: device.identity });
  next.luState = device.luState;
  made.map(0, next);
  return { world: made, a: made.open('a'), b: made.open('b') };
}
