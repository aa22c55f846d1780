/** EXTENDED COPY and RECEIVE COPY RESULTS as initiators see them, through ScsiTarget: SPC-4 6.4 and 6.18 to 6.24. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../src/base/fields.ts';
import { IoKind, IoStatus } from '../../../src/device/block-device.ts';
import { copySegmentMaxBytes } from '../../../src/scsi/limits.ts';
import { PrType } from '../../../src/scsi/persistent-state.ts';
import { ScsiStatus } from '../../../src/scsi/status.ts';
import type { MemoryDevice } from '../../support/memory-device.ts';
import {
  persistentReserveOut,
  read16,
  reserveParameters,
  write16,
} from '../../support/scsi-cdb.ts';
import {
  copyList,
  copyResultsCdb,
  extendedCopyCdb,
  identificationDescriptor,
  segmentDescriptor,
  segmentWithOffset,
} from '../../support/scsi-copy-list.ts';
import { type Exchange, type Initiator, ScsiWorld } from '../../support/scsi-world.ts';

const { good, checkCondition } = ScsiStatus;
const mebibyte = 1 << 20;

interface Two {
  readonly world: ScsiWorld;
  readonly near: MemoryDevice;
  readonly far: MemoryDevice;
  readonly a: Initiator;
}

/** LUN 0 and LUN 1, of one pool or of two. */
function two(isOnePool: boolean): Two {
  const world = new ScsiWorld();
  const near = world.makeDevice({ sizeBytes: 64 * mebibyte });
  // A slab of its own makes the device one of another pool; payloads still come from the world's staging.
  const far = world.makeDevice({ sizeBytes: 64 * mebibyte });
  if (!isOnePool) far.canCloneFrom = () => false;
  world.map(0, near);
  world.map(1, far);
  return { world, near, far, a: world.open('a') };
}

function descriptors(devices: readonly MemoryDevice[]): Uint8Array[] {
  return devices.map(({ identity }) => identificationDescriptor(identity.naa));
}

function startCopy(initiator: Initiator, list: Uint8Array, lun = 0): Exchange {
  return initiator.start(lun, extendedCopyCdb(list.length), list);
}

function runCopy(initiator: Initiator, list: Uint8Array): Exchange {
  return initiator.run(0, extendedCopyCdb(list.length), list);
}

function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const period = Math.min(length, 1 << 17);
  for (let at = 0; at < period; at += 1) bytes[at] = (at * 31 + (at >> 9) * 17 + seed) & 0xff;
  for (let at = period; at < length; at += period)
    bytes.copyWithin(at, 0, Math.min(period, length - at));
  return bytes;
}

function put(initiator: Initiator, lun: number, lba: number, bytes: Uint8Array): void {
  const { status } = initiator.run(lun, write16(lba, bytes.length / 512), bytes);
  expect(status).toBe(good);
}

function get(initiator: Initiator, lun: number, lba: number, blockCount: number): Uint8Array {
  const { data } = initiator.run(lun, read16(lba, blockCount), undefined, blockCount * 512);
  expect(data).toHaveLength(blockCount * 512);
  return data;
}

function same(first: Uint8Array, second: Uint8Array): boolean {
  return Buffer.compare(first, second) === 0;
}

describe('a copy inside a pool', () => {
  it('of whole blocks is clones and nothing else: no data moves', () => {
    const { near, far, a } = two(true);
    const bytes = pattern(mebibyte, 1);
    put(a, 0, 0, bytes);
    far.isRecording = true;
    near.isRecording = true;
    const segment = segmentDescriptor({ target: 1, blockCount: 2048, targetLba: 4096 });
    expect(runCopy(a, copyList(descriptors([near, far]), [segment])).status).toBe(good);
    expect(far.record.map(({ kind }) => kind)).toEqual([IoKind.clone]);
    expect(near.record).toEqual([]);
    expect(same(get(a, 1, 4096, 2048), bytes)).toBe(true);
  });

  it('of the longest segment is done, and one block more is refused', () => {
    const { near, far, a } = two(true);
    put(a, 0, 0, pattern(mebibyte, 2));
    const blockCount = copySegmentMaxBytes / 512;
    const longest = segmentDescriptor({ target: 1, blockCount });
    expect(runCopy(a, copyList(descriptors([near, far]), [longest])).status).toBe(good);
    expect(same(get(a, 1, 0, 2048), pattern(mebibyte, 2))).toBe(true);
    const more = segmentDescriptor({ target: 1, blockCount: blockCount + 1 });
    expect(runCopy(a, copyList(descriptors([near, far]), [more])).senseText).toBe('5/26/00');
  });
});

describe('any copy', () => {
  const anySegment = fc.record({
    source: fc.nat(1),
    target: fc.nat(1),
    sourceLba: fc.nat(1500),
    targetLba: fc.oneof(
      fc.nat(1500),
      fc.nat(180).map((blocks) => blocks * 8),
    ),
    byteCount: fc.oneof(fc.nat(20_000), fc.nat(500_000)),
    sourceSkip: fc.oneof(fc.constant(0), fc.nat(511)),
    targetSkip: fc.oneof(fc.constant(0), fc.nat(511)),
  });

  it('makes the target what reading everything first and then writing it would', () => {
    const segments = fc.array(anySegment, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(segments, fc.boolean(), (list, isOnePool) => {
        const { world, near, far, a } = two(isOnePool);
        const model = [pattern(2 * mebibyte, 3), pattern(2 * mebibyte, 4)] as const;
        put(a, 0, 0, model[0]);
        put(a, 1, 0, model[1]);
        const exchange = startCopy(
          a,
          copyList(descriptors([near, far]), list.map(segmentWithOffset)),
        );
        for (let steps = 0; !exchange.isDone && steps < 1000; steps += 1) {
          world.run();
          world.pass(1);
        }
        expect(exchange.status).toBe(good);
        for (const segment of list) {
          const from = segment.sourceLba * 512 + segment.sourceSkip;
          const to = segment.targetLba * 512 + segment.targetSkip;
          const source = model[segment.source === 0 ? 0 : 1];
          const target = model[segment.target === 0 ? 0 : 1];
          target.set(source.slice(from, from + segment.byteCount), to);
        }
        expect(same(get(a, 0, 0, 4096), model[0])).toBe(true);
        expect(same(get(a, 1, 0, 4096), model[1])).toBe(true);
        expect(world.staging.freeBytes).toBe(world.staging.sizeBytes);
      }),
      { numRuns: 60 },
    );
  });

  it('between pools keeps a hole a hole', () => {
    const { world, near, far, a } = two(false);
    put(a, 1, 0, pattern(65_536, 5));
    far.isRecording = true;
    const segment = segmentDescriptor({ target: 1, blockCount: 128 });
    const exchange = startCopy(a, copyList(descriptors([near, far]), [segment]));
    world.run();
    expect(exchange.status).toBe(good);
    expect(far.record.map(({ kind }) => kind)).toEqual([IoKind.trim]);
    expect(same(get(a, 1, 0, 128), new Uint8Array(65_536))).toBe(true);
  });

  it('between pools has a bounded rate, shared by all', () => {
    const { world, near, far, a } = two(false);
    put(a, 0, 0, pattern(mebibyte, 6));
    const segment = segmentDescriptor({ target: 1, blockCount: 32_768 });
    const copies = [1, 2].map((listId) =>
      startCopy(a, copyList(descriptors([near, far]), [segment], { listId })),
    );
    // 32 MiB at 512 MiB/s are 62 ms.
    world.pass(40);
    expect(copies.map(({ isDone }) => isDone)).toEqual([false, false]);
    world.pass(40);
    expect(copies.map(({ status }) => status)).toEqual([good, good]);
    expect(same(get(a, 1, 0, 2048), pattern(mebibyte, 6))).toBe(true);
  });
});

describe('a copy that may not be', () => {
  const segment = segmentDescriptor({ target: 1, blockCount: 8 });

  it('names only LUNs that its initiator sees (CVE-2020-28374)', () => {
    const { world, near, far, a } = two(true);
    put(a, 0, 0, pattern(4096, 7));
    world.hidden.set('iqn.2026-11.test:b', new Set([1]));
    const b = world.open('b');
    far.isRecording = true;
    near.isRecording = true;
    const list = copyList(descriptors([near, far]), [segment]);
    expect(runCopy(b, list).senseText).toBe('a/0d/02');
    const back = copyList(descriptors([far, near]), [segment]);
    expect(runCopy(b, back).senseText).toBe('a/0d/02');
    expect([near.record, far.record]).toEqual([[], []]);
    expect(runCopy(a, list).status).toBe(good);
  });

  it('is aborted for a bad index, a null device, another designator, and blocks beyond the end', () => {
    const { near, far, a } = two(true);
    const [first, second] = descriptors([near, far]);
    if (first === undefined || second === undefined) throw new Error('two descriptors');
    const sense = (targets: Uint8Array[], given: Uint8Array): string =>
      runCopy(a, copyList(targets, [given])).senseText;
    expect(sense([first], segment)).toBe('a/08/04');
    expect(sense([first.with(1, 0x20), second], segment)).toBe('a/0d/02');
    expect(sense([first, second.with(5, 0x01)], segment)).toBe('a/0d/02');
    expect(sense([first, second.with(1, 0x05)], segment)).toBe('a/0d/03');
    const endLba = (64 * mebibyte) / 512;
    for (const lba of [endLba - 7, endLba, 2n ** 63n, 2n ** 64n - 1n]) {
      const away = segmentDescriptor({ target: 1, blockCount: 8, targetLba: lba });
      expect(sense([first, second], away)).toBe('a/00/00');
      const from = segmentDescriptor({ target: 1, blockCount: 8, sourceLba: lba });
      expect(sense([first, second], from)).toBe('a/00/00');
    }
    const last = segmentDescriptor({ target: 1, blockCount: 8, targetLba: endLba - 8 });
    expect(sense([first, second], last)).toBe('');
  });

  it('copies nothing at all when a later segment is bad', () => {
    const { near, far, a } = two(true);
    far.isRecording = true;
    const bad = segmentDescriptor({ target: 5, blockCount: 8 });
    const { sense, senseText } = runCopy(a, copyList(descriptors([near, far]), [segment, bad]));
    expect(senseText).toBe('a/08/04');
    // COMMAND-SPECIFIC INFORMATION ends with the number of the segment.
    expect([...sense.subarray(8, 12)]).toEqual([0, 0, 0, 1]);
    expect(far.record).toEqual([]);
  });

  it('respects what others reserved at its source and its destination', () => {
    const { world, near, far, a } = two(true);
    const b = world.open('b');
    const list = copyList(descriptors([near, far]), [segment]);
    const reserveAt = (lun: number, type: PrType): void => {
      b.run(lun, persistentReserveOut(6, 0), reserveParameters(0n, 9n, false));
      expect(
        b.run(lun, persistentReserveOut(1, type), reserveParameters(9n, 0n, false)).status,
      ).toBe(good);
    };
    const clearAt = (lun: number): void => {
      b.run(lun, persistentReserveOut(3, 0), reserveParameters(9n, 0n, false));
    };
    reserveAt(1, PrType.writeExclusive);
    expect(runCopy(a, list).senseText).toBe('a/0d/01');
    expect(runCopy(a, copyList(descriptors([far, near]), [segment])).status).toBe(good);
    clearAt(1);
    expect(runCopy(a, list).status).toBe(good);
    reserveAt(0, PrType.exclusiveAccess);
    expect(a.run(0, extendedCopyCdb(list.length), list).status).toBe(
      ScsiStatus.reservationConflict,
    );
    // Sent to the other unit it passes there, and meets the reservation at the source.
    expect(a.run(1, extendedCopyCdb(list.length), list).senseText).toBe('a/0d/01');
  });

  it('writes to no LUN that is read-only for its initiator', () => {
    const { world, near, far, a } = two(true);
    world.map(1, far, { isReadOnly: true });
    a.attentions(1);
    a.attentions(0);
    expect(runCopy(a, copyList(descriptors([near, far]), [segment])).senseText).toBe('a/0d/01');
    expect(runCopy(a, copyList(descriptors([far, near]), [segment])).status).toBe(good);
  });

  it('reports a failing disk as COPY ABORTED, a closing one as BUSY', () => {
    const { near, far, a } = two(true);
    const list = copyList(descriptors([near, far]), [segment]);
    far.changeStatus = IoStatus.noSpace;
    expect(runCopy(a, list).senseText).toBe('a/0d/01');
    far.changeStatus = IoStatus.shuttingDown;
    expect(runCopy(a, list).status).toBe(ScsiStatus.busy);
  });
});

/** It has one piece at the device, and several to go. */
function underWay(): Two & { readonly exchange: Exchange } {
  const all = two(false);
  const { world, near, far, a } = all;
  put(a, 0, 0, pattern(mebibyte, 8));
  far.isHolding = true;
  far.isRecording = true;
  const segment = segmentDescriptor({ target: 1, blockCount: 2048 });
  const exchange = startCopy(a, copyList(descriptors([near, far]), [segment]));
  world.run();
  expect(far.heldCount).toBe(1);
  return { ...all, exchange };
}

function goOn({ world, far }: Two): void {
  far.isHolding = false;
  far.release();
  world.pass(100);
}

describe('a copy under way', () => {
  it('stops when its target is taken out of the LUN map', () => {
    const copy = underWay();
    copy.world.hidden.set(copy.a.nexus.initiatorName, new Set([1]));
    copy.world.target.lunsChanged(undefined);
    goOn(copy);
    expect(copy.exchange.senseText).toBe('a/0d/02');
    expect(copy.far.record).toHaveLength(1);
    expect(copy.world.staging.freeBytes).toBe(copy.world.staging.sizeBytes);
  });

  it('stops with BUSY when its target, which is not where it was sent to, is suspended', () => {
    const copy = underWay();
    copy.world.luns.get(1)?.unit.suspend(() => undefined);
    goOn(copy);
    expect(copy.exchange.status).toBe(ScsiStatus.busy);
    expect(copy.far.record).toHaveLength(1);
  });
});

describe('aborting a copy', () => {
  it.each([true, false])(
    'writes nothing behind the piece that is at the device (one pool: %s)',
    (isOnePool) => {
      const { world, near, far, a } = two(isOnePool);
      put(a, 0, 0, pattern(mebibyte, 8));
      far.isHolding = true;
      far.isRecording = true;
      const segment = segmentDescriptor({ target: 1, blockCount: 32_768 });
      const exchange = startCopy(a, copyList(descriptors([near, far]), [segment], { listId: 1 }));
      world.run();
      expect(far.heldCount).toBe(1);
      let isOver = false;
      world.target.abortTask(exchange.task, () => {
        isOver = true;
      });
      world.pass(20);
      expect([isOver, exchange.isDone]).toEqual([false, false]);
      far.release();
      world.pass(20);
      expect([isOver, exchange.isDone, exchange.task.isAborted]).toEqual([true, true, true]);
      const submitted = far.record.length;
      world.pass(200);
      expect(far.record).toHaveLength(submitted);
      expect(submitted).toBe(1);
      expect(world.staging.freeBytes).toBe(world.staging.sizeBytes);
    },
  );

  it('that waits for its share of the rate ends at once', () => {
    const { world, near, far, a } = two(false);
    const segment = segmentDescriptor({ target: 1, blockCount: 32_768 });
    const list = copyList(descriptors([near, far]), [segment], { usage: 3 });
    const copies = Array.from({ length: 12 }, () => startCopy(a, list));
    world.pass(3);
    let over = 0;
    for (const { task } of copies) {
      world.target.abortTask(task, () => {
        over += 1;
      });
    }
    expect(over).toBe(12);
    far.isRecording = true;
    world.pass(100);
    expect(far.record).toEqual([]);
    // Every place and buffer was given back.
    const again = startCopy(a, list);
    world.pass(100);
    expect(again.status).toBe(good);
  });
});

describe('RECEIVE COPY RESULTS', () => {
  it('announces what is taken', () => {
    const { a } = two(true);
    const { data } = a.run(0, copyResultsCdb(3, 0, 1024));
    const view = viewOf(data);
    expect(view.getUint32(0)).toBe(data.length - 4);
    expect([view.getUint16(8), view.getUint16(10), view.getUint32(12)]).toEqual([8, 8, 512]);
    expect(view.getUint32(16)).toBe(16 * mebibyte);
    expect([...data.subarray(43)]).toEqual([3, 0x02, 0x0a, 0xe4]);
    expect(a.run(0, copyResultsCdb(3, 0, 8)).data).toEqual(data.subarray(0, 8));
  });

  it('tells once how a copy ended, to the nexus that started it', () => {
    const { world, near, far, a } = two(true);
    const segment = segmentDescriptor({ target: 1, blockCount: 8 });
    const list = copyList(descriptors([near, far]), [segment], { listId: 7, usage: 0 });
    expect(a.run(0, copyResultsCdb(0, 7, 255)).senseText).toBe('5/24/00');
    expect(runCopy(a, list).status).toBe(good);
    expect(world.open('b').run(0, copyResultsCdb(0, 7, 255)).senseText).toBe('5/24/00');
    const { data } = a.run(0, copyResultsCdb(0, 7, 255));
    expect([...data]).toEqual([0, 0, 0, 8, 0x81, 0, 1, 0, 0, 0, 16, 0]);
    expect(a.run(0, copyResultsCdb(0, 7, 255)).senseText).toBe('5/24/00');
  });

  it('has the sense of a failed copy', () => {
    const { near, far, a } = two(true);
    const bad = segmentDescriptor({ target: 4, blockCount: 8 });
    const list = copyList(descriptors([near, far]), [bad], { listId: 7, usage: 0 });
    expect(runCopy(a, list).status).toBe(checkCondition);
    const { data } = a.run(0, copyResultsCdb(4, 7, 255));
    expect(data[56]).toBe(checkCondition);
    expect([data[60 + 2], data[60 + 12], data[60 + 13]]).toEqual([0x0a, 0x08, 0x04]);
  });

  it('knows a copy that runs, whose identifier is taken', () => {
    const { world, near, far, a } = two(true);
    far.isHolding = true;
    const segment = segmentDescriptor({ target: 1, blockCount: 32_768 });
    const list = copyList(descriptors([near, far]), [segment], { listId: 7, usage: 0 });
    const exchange = startCopy(a, list);
    world.run();
    expect((a.run(0, copyResultsCdb(0, 7, 255)).data[4] ?? 0) & 0x7f).toBe(0);
    expect(runCopy(a, list).senseText).toBe('5/00/16');
    // Initiators that do not care about results use one identifier for copies side by side.
    const careless = startCopy(a, copyList(descriptors([near, far]), [segment], { listId: 7 }));
    far.isHolding = false;
    far.release();
    world.run();
    expect([exchange.status, careless.status]).toEqual([good, good]);
  });

  it('refuses unknown service actions, and lists of any length are answered', () => {
    const { a } = two(true);
    expect(a.run(0, copyResultsCdb(2, 0, 255)).senseText).toBe('5/24/00');
    expect(a.run(0, extendedCopyCdb(0)).status).toBe(good);
    expect(a.run(0, extendedCopyCdb(15), new Uint8Array(15)).senseText).toBe('5/1a/00');
    expect(a.run(0, extendedCopyCdb(4096), new Uint8Array(4096)).senseText).toBe('5/1a/00');
    const other = extendedCopyCdb(16);
    other[1] = 0x10;
    expect(a.run(0, other, new Uint8Array(16)).senseText).toBe('5/24/00');
  });
});
