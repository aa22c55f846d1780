/**
 * The contract of `device/block-device.ts`, run against everything that implements it: the store's volume over real files
 * (durable and write-back), and the memory device that the protocol tests use. A random program of requests is checked
 * against plain bytes.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Outcome } from '../../src/base/errors.ts';
import {
  type BlockDevice,
  blockSizeBytes,
  type Extent,
  ExtentState,
  IoKind,
  IoRequest,
  IoStatus,
  luStateMaxBytes,
} from '../../src/device/block-device.ts';
import { Staging } from '../../src/device/staging.ts';
import { AckMode } from '../../src/volume/catalogue/records.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { openPool } from '../../src/volume/pool-open.ts';
import { inlineHost, smallSettings } from '../support/inline-host.ts';
import { MemoryDevice } from '../support/memory-device.ts';

const sizeBytes = 32 * blockSizeBytes;

interface Subject {
  readonly device: BlockDevice;
  /** Of the same pool and size. */
  readonly other: BlockDevice;
  /** Of another pool. */
  readonly foreign: BlockDevice;
  readonly staging: Staging;
  close(): void;
}

interface Implementation {
  readonly name: string;
  open(): Promise<Subject>;
}

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function outcomeOf<T>(start: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  start((outcome) => {
    if (outcome.ok) resolve(outcome.value);
    else reject(outcome.error);
  });
  return await promise;
}

const foreignSlab = new Uint8Array(new SharedArrayBuffer(4 << 20));
const foreign = new MemoryDevice({ sizeBytes, slab: foreignSlab });

async function openVolume(ack: AckMode): Promise<Subject> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-contract-'));
  const host = inlineHost(folder);
  const close = (): void => {
    host.abandon();
    fs.rmSync(folder, { recursive: true, force: true });
  };
  closers.push(close);
  const opened = await outcomeOf<{ readonly pool: Pool }>((done) => {
    const settings = smallSettings(folder);
    const options = { name: 'main', settings, capacityBytes: 2 ** 30, pageCacheBytes: 2 ** 30 };
    openPool(host, { ...options, onFailed: () => undefined }, done);
  });
  const { pool } = opened;
  for (const name of ['volume', 'other']) {
    await outcomeOf((done) => {
      pool.volumeCreate({ name, sizeBytes, ack }, done);
    });
  }
  const device = pool.volumeOpen('volume');
  return { device, other: pool.volumeOpen('other'), foreign, staging: pool.staging, close };
}

const implementations: readonly Implementation[] = [
  { name: 'the volume of the store', open: async () => await openVolume(AckMode.durable) },
  { name: 'its write-back volume', open: async () => await openVolume(AckMode.writeBack) },
  {
    name: 'the memory device of the tests',
    open: async () => {
      const staging = new Staging(new SharedArrayBuffer(4 << 20));
      const device = new MemoryDevice({ sizeBytes, slab: staging.bytes });
      const other = new MemoryDevice({ sizeBytes, slab: staging.bytes });
      return await Promise.resolve({ device, other, foreign, staging, close: () => undefined });
    },
  },
];

/** Runs one request to its end; `onDone` must come exactly once. */
async function submit(device: BlockDevice, set: Partial<IoRequest>): Promise<IoRequest> {
  const { promise, resolve } = Promise.withResolvers<IoRequest>();
  let doneCount = 0;
  const request = new IoRequest((finished) => {
    doneCount += 1;
    expect(doneCount).toBe(1);
    resolve(finished);
  });
  Object.assign(request, set);
  device.submit(request);
  return await promise;
}

/** Submits what brings a payload. */
async function submitBytes(
  subject: Subject,
  bytes: Uint8Array,
  set: Partial<IoRequest> & { readonly offset: number },
): Promise<IoRequest> {
  const payload = subject.staging.allocate(set.offset, bytes.length);
  if (payload === undefined) throw new Error('no room in staging');
  payload.fill(0, bytes, 0, bytes.length);
  return await submit(subject.device, { ...set, length: bytes.length, payload });
}

async function write(subject: Subject, offset: number, bytes: Uint8Array): Promise<IoStatus> {
  return (await submitBytes(subject, bytes, { kind: IoKind.write, offset })).status;
}

async function compareAndWrite(
  subject: Subject,
  offset: number,
  { expected, bytes }: { readonly expected: Uint8Array; readonly bytes: Uint8Array },
): Promise<IoRequest> {
  const kind = IoKind.compareAndWrite;
  return await submitBytes(subject, bytes, { kind, offset, expected });
}

async function saveLuState(device: BlockDevice, state: Uint8Array): Promise<IoStatus> {
  const { promise, resolve } = Promise.withResolvers<IoStatus>();
  device.saveLuState(state, resolve);
  return await promise;
}

async function read(device: BlockDevice, offset: number, length: number): Promise<Uint8Array> {
  const target = new Uint8Array(length).fill(0xee);
  const request = await submit(device, { kind: IoKind.read, offset, length, target });
  expect(request.status).toBe(IoStatus.ok);
  // A hole leaves the target alone: the reader treats it as zeros.
  return request.isHole ? new Uint8Array(length) : target;
}

async function extentsOf(device: BlockDevice, extentsMax = 1000): Promise<readonly Extent[]> {
  const { promise, resolve } = Promise.withResolvers<readonly Extent[]>();
  device.extents(0, device.sizeBytes, extentsMax, (extents) => {
    resolve(extents.map((extent) => ({ ...extent })));
  });
  return await promise;
}

type Step =
  | {
      readonly kind: 'compareAndWrite';
      readonly offset: number;
      readonly length: number;
      readonly fill: number;
      /** Which of the expected bytes is wrong; beyond the end = none. */
      readonly wrongAt: number;
    }
  | {
      readonly kind: 'orWrite';
      readonly offset: number;
      readonly length: number;
      readonly fill: number;
    }
  | {
      readonly kind: 'clone';
      readonly from: number;
      readonly to: number;
      readonly blocks: number;
      readonly way: 'inside' | 'to other' | 'from other';
    }
  | {
      readonly kind: 'write' | 'zero' | 'trim';
      readonly offset: number;
      readonly length: number;
      readonly fill: number;
    }
  | { readonly kind: 'flush' };

const range = fc
  .tuple(fc.nat(sizeBytes - 1), fc.integer({ min: 1, max: 3 * blockSizeBytes }), fc.boolean())
  .map(([start, size, isWhole]) => {
    const unit = isWhole ? blockSizeBytes : 1;
    const offset = Math.floor(start / unit) * unit;
    const length = Math.min(Math.ceil(size / unit) * unit, sizeBytes - offset);
    return { offset, length };
  });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc
      .record({
        kind: fc.constantFrom('write', 'zero', 'trim'),
        range,
        fill: fc.integer({ min: 1, max: 255 }),
      })
      .map((each) => ({ kind: each.kind, ...each.range, fill: each.fill })),
  },
  {
    weight: 4,
    arbitrary: fc
      .record({
        range,
        fill: fc.integer({ min: 0, max: 255 }),
        wrongAt: fc.nat(6 * blockSizeBytes),
      })
      .map(({ range: place, fill, wrongAt }) => ({
        kind: 'compareAndWrite' as const,
        ...place,
        fill,
        wrongAt,
      })),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({ range, fill: fc.integer({ min: 0, max: 255 }) })
      .map((each) => ({ kind: 'orWrite' as const, ...each.range, fill: each.fill })),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('clone' as const),
      from: fc.nat(31),
      to: fc.nat(31),
      blocks: fc.integer({ min: 1, max: 20 }),
      way: fc.constantFrom('inside', 'to other', 'from other'),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'flush' } as const) },
);

/** What the device and the other one must hold. */
interface Model {
  readonly device: Uint8Array;
  readonly other: Uint8Array;
}

function newModel(): Model {
  return { device: new Uint8Array(sizeBytes), other: new Uint8Array(sizeBytes) };
}

async function applyClone(
  subject: Subject,
  model: Model,
  each: Extract<Step, { kind: 'clone' }>,
): Promise<void> {
  const { from, to, blocks, way } = each;
  const [source, sourceModel] =
    way === 'from other' ? [subject.other, model.other] : [subject.device, model.device];
  const [device, deviceModel] =
    way === 'to other' ? [subject.other, model.other] : [subject.device, model.device];
  const [sourceOffset, offset] = [from * blockSizeBytes, to * blockSizeBytes];
  const length = blocks * blockSizeBytes;
  const { status } = await submit(device, {
    kind: IoKind.clone,
    offset,
    length,
    source,
    sourceOffset,
  });
  const isInside = Math.max(from, to) + blocks <= 32;
  const isOverlapping = way === 'inside' && Math.abs(from - to) < blocks;
  expect(status).toBe(isInside && !isOverlapping ? IoStatus.ok : IoStatus.invalid);
  if (status === IoStatus.ok) {
    deviceModel.set(sourceModel.slice(sourceOffset, sourceOffset + length), offset);
  }
}

async function applyCompareAndWrite(
  subject: Subject,
  model: Uint8Array,
  each: Extract<Step, { kind: 'compareAndWrite' }>,
): Promise<void> {
  const { offset, length, fill, wrongAt } = each;
  const expected = model.slice(offset, offset + length);
  if (wrongAt < length) expected[wrongAt] = (expected[wrongAt] ?? 0) ^ 0x10;
  const bytes = new Uint8Array(length).fill(fill);
  const request = await compareAndWrite(subject, offset, { expected, bytes });
  if (wrongAt < length) {
    expect(request.status).toBe(IoStatus.miscompare);
    expect(request.miscompareOffset).toBe(wrongAt);
  } else {
    expect(request.status).toBe(IoStatus.ok);
    model.set(bytes, offset);
  }
}

async function apply(subject: Subject, models: Model, each: Step): Promise<void> {
  const model = models.device;
  if (each.kind === 'flush') {
    expect((await submit(subject.device, { kind: IoKind.flush })).status).toBe(IoStatus.ok);
    return;
  }
  if (each.kind === 'clone') {
    await applyClone(subject, models, each);
    return;
  }
  if (each.kind === 'compareAndWrite') {
    await applyCompareAndWrite(subject, model, each);
    return;
  }
  const { offset, length } = each;
  if (each.kind === 'write') {
    const bytes = new Uint8Array(length).fill(each.fill);
    expect(await write(subject, offset, bytes)).toBe(IoStatus.ok);
    model.set(bytes, offset);
    return;
  }
  if (each.kind === 'orWrite') {
    const bytes = new Uint8Array(length).fill(each.fill);
    const request = await submitBytes(subject, bytes, { kind: IoKind.orWrite, offset });
    expect(request.status).toBe(IoStatus.ok);
    for (let at = offset; at < offset + length; at += 1) model[at] = (model[at] ?? 0) | each.fill;
    return;
  }
  const kind = each.kind === 'zero' ? IoKind.zero : IoKind.trim;
  expect((await submit(subject.device, { kind, offset, length })).status).toBe(IoStatus.ok);
  model.fill(0, offset, offset + length);
}

describe.each(implementations)('$name keeps the contract of a block device', (implementation) => {
  it('reads back what was written, compared, merged, cloned, zeroed and trimmed, whatever the offsets', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 25 }),
        fc.array(range, { minLength: 1, maxLength: 5 }),
        async (steps, reads) => {
          const subject = await implementation.open();
          const models = newModel();
          const model = models.device;
          for (const each of steps) await apply(subject, models, each);
          for (const { offset, length } of reads) {
            const found = await read(subject.device, offset, length);
            expect(Buffer.compare(found, model.subarray(offset, offset + length))).toBe(0);
          }
          expect(Buffer.compare(await read(subject.device, 0, sizeBytes), model)).toBe(0);
          expect(Buffer.compare(await read(subject.other, 0, sizeBytes), models.other)).toBe(0);
          subject.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it('reports extents that cover the range, fit the blocks, differ from their neighbours and are true', async () => {
    const subject = await implementation.open();
    const models = newModel();
    const model = models.device;
    const program: readonly Step[] = [
      { kind: 'write', offset: 2 * blockSizeBytes, length: 5 * blockSizeBytes, fill: 7 },
      { kind: 'trim', offset: 3 * blockSizeBytes, length: blockSizeBytes, fill: 1 },
      { kind: 'write', offset: 20 * blockSizeBytes + 100, length: 50, fill: 9 },
    ];
    for (const each of program) await apply(subject, models, each);
    const extents = await extentsOf(subject.device);
    let at = 0;
    let before: number | undefined;
    for (const extent of extents) {
      expect(extent.state).not.toBe(before);
      expect(extent.length % blockSizeBytes).toBe(0);
      const bytes = model.subarray(at, at + extent.length);
      if (extent.state !== ExtentState.data) expect(bytes.every((byte) => byte === 0)).toBe(true);
      at += extent.length;
      before = extent.state;
    }
    expect(at).toBe(sizeBytes);
    const data = extents.filter((extent) => extent.state === ExtentState.data);
    expect(data.map((extent) => extent.length / blockSizeBytes)).toEqual([1, 3, 1]);
    expect(await extentsOf(subject.device, 2)).toEqual(extents.slice(0, 2));
  });

  it('answers requests outside the device as invalid and changes nothing', async () => {
    const subject = await implementation.open();
    const outside = [
      { offset: sizeBytes, length: blockSizeBytes },
      { offset: sizeBytes - blockSizeBytes, length: 2 * blockSizeBytes },
    ];
    for (const { offset, length } of outside) {
      const target = new Uint8Array(length);
      const reading = await submit(subject.device, { kind: IoKind.read, offset, length, target });
      expect(reading.status).toBe(IoStatus.invalid);
      expect(await write(subject, offset, new Uint8Array(length).fill(1))).toBe(IoStatus.invalid);
      for (const kind of [IoKind.zero, IoKind.trim]) {
        const change = await submit(subject.device, { kind, offset, length });
        expect(change.status).toBe(IoStatus.invalid);
      }
    }
    expect((await read(subject.device, 0, sizeBytes)).every((byte) => byte === 0)).toBe(true);
  });

  it('gives every payload back to staging, also when it refuses the write', async () => {
    const subject = await implementation.open();
    const before = subject.staging.freeBytes;
    await write(subject, 0, new Uint8Array(3 * blockSizeBytes).fill(3));
    await write(subject, sizeBytes, new Uint8Array(blockSizeBytes));
    const bytes = new Uint8Array(100);
    for (const offset of [0, 50, sizeBytes]) {
      await compareAndWrite(subject, offset, { expected: bytes, bytes });
      await compareAndWrite(subject, offset, { expected: new Uint8Array(99), bytes });
      await submitBytes(subject, bytes, { kind: IoKind.orWrite, offset });
    }
    await submit(subject.device, { kind: IoKind.flush });
    expect(subject.staging.freeBytes).toBe(before);
  });

  it('keeps overlapping writes in flight whole: one of them, per block', async () => {
    const subject = await implementation.open();
    const fills = [1, 2, 3, 4, 5, 6, 7, 8];
    const writes = fills.map(async (fill) => {
      return await write(subject, 0, new Uint8Array(4 * blockSizeBytes).fill(fill));
    });
    expect(await Promise.all(writes)).toEqual(fills.map(() => IoStatus.ok));
    const found = await read(subject.device, 0, 4 * blockSizeBytes);
    for (let block = 0; block < 4; block += 1) {
      const bytes = found.subarray(block * blockSizeBytes, (block + 1) * blockSizeBytes);
      expect(fills).toContain(bytes[0]);
      expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
    }
  });

  it('lets exactly one of many compare-and-writes win each round', async () => {
    const subject = await implementation.open();
    for (const offset of [0, 3 * blockSizeBytes + 512]) {
      for (let round = 0; round < 5; round += 1) {
        const expected = new Uint8Array(512).fill(round);
        const bytes = new Uint8Array(512).fill(round + 1);
        const tries = Array.from({ length: 16 }, async () => {
          return (await compareAndWrite(subject, offset, { expected, bytes })).status;
        });
        const statuses = await Promise.all(tries);
        expect(statuses.filter((status) => status === IoStatus.ok)).toHaveLength(1);
        expect(statuses.filter((status) => status === IoStatus.miscompare)).toHaveLength(15);
      }
    }
  });

  it('loses no increment of a counter that is kept with compare-and-write among other writes', async () => {
    const subject = await implementation.open();
    const counterAt = 5 * blockSizeBytes + 1024;
    const increment = async (): Promise<void> => {
      for (;;) {
        const expected = await read(subject.device, counterAt, 512);
        const bytes = expected.slice();
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        view.setUint32(0, view.getUint32(0) + 1);
        const { status } = await compareAndWrite(subject, counterAt, { expected, bytes });
        if (status === IoStatus.ok) return;
        expect(status).toBe(IoStatus.miscompare);
      }
    };
    const around = Array.from({ length: 8 }, async (_, index) => {
      const offset = 5 * blockSizeBytes + (index % 2 === 0 ? 0 : 2048);
      return await write(subject, offset, new Uint8Array(512).fill(index));
    });
    await Promise.all([...Array.from({ length: 10 }, increment), ...around]);
    const counter = await read(subject.device, counterAt, 4);
    expect(new DataView(counter.buffer).getUint32(0)).toBe(10);
  });

  it('merges every bit of OR writes in flight together', async () => {
    const subject = await implementation.open();
    const bits = [1, 2, 4, 8, 16, 32, 64, 128];
    const offset = blockSizeBytes - 256;
    const merged = bits.map(async (bit) => {
      const bytes = new Uint8Array(512).fill(bit);
      return (await submitBytes(subject, bytes, { kind: IoKind.orWrite, offset })).status;
    });
    expect(await Promise.all(merged)).toEqual(bits.map(() => IoStatus.ok));
    expect((await read(subject.device, offset, 512)).every((byte) => byte === 255)).toBe(true);
  });

  it('refuses what can be neither compared nor cloned, and changes nothing', async () => {
    const subject = await implementation.open();
    await write(subject, 0, new Uint8Array(blockSizeBytes).fill(7));
    const bytes = new Uint8Array(512);
    const short = await compareAndWrite(subject, 0, { expected: new Uint8Array(511), bytes });
    expect(short.status).toBe(IoStatus.invalid);
    const clone = { kind: IoKind.clone, length: blockSizeBytes, source: subject.other };
    const wrong: readonly Partial<IoRequest>[] = [
      { offset: 512 },
      { offset: 0, sourceOffset: 512 },
      { offset: 0, length: 512 },
      { offset: 0, sourceOffset: sizeBytes },
      { offset: sizeBytes },
      { offset: 0, source: undefined },
      { offset: 0, source: subject.foreign },
      { offset: 0, source: subject.device },
    ];
    for (const each of wrong) {
      expect((await submit(subject.device, { ...clone, ...each })).status).toBe(IoStatus.invalid);
    }
    expect(subject.device.canCloneFrom(subject.other)).toBe(true);
    expect(subject.device.canCloneFrom(subject.device)).toBe(true);
    expect(subject.device.canCloneFrom(subject.foreign)).toBe(false);
    const found = await read(subject.device, 0, blockSizeBytes);
    expect(found.every((byte) => byte === 7)).toBe(true);
  });

  it('clones allocation as well as content', async () => {
    const subject = await implementation.open();
    await write(subject, 0, new Uint8Array(2 * blockSizeBytes).fill(1));
    const zeros = { kind: IoKind.zero, offset: 2 * blockSizeBytes, length: blockSizeBytes };
    await submit(subject.device, { ...zeros, noHole: true });
    await write(subject, 8 * blockSizeBytes, new Uint8Array(8 * blockSizeBytes).fill(2));
    const clone = { kind: IoKind.clone, length: 4 * blockSizeBytes, source: subject.device };
    const { status } = await submit(subject.device, { ...clone, offset: 10 * blockSizeBytes });
    expect(status).toBe(IoStatus.ok);
    const extents = await extentsOf(subject.device);
    const shape = extents.map(({ length, state }) => [length / blockSizeBytes, state]);
    const { data, zero, hole } = ExtentState;
    expect(shape).toEqual([
      [2, data],
      [1, zero],
      [5, hole],
      [4, data],
      [1, zero],
      [1, hole],
      [2, data],
      [16, hole],
    ]);
  });

  it('keeps the newest state of its identity, and answers in order', async () => {
    const { device, other } = await implementation.open();
    expect(device.luState).toBeUndefined();
    const states = [1, 2, 3].map((fill) => new Uint8Array(fill * 10).fill(fill));
    const order: number[] = [];
    const saves = states.map(async (state, index) => {
      const status = await saveLuState(device, state);
      order.push(index);
      state.fill(0xff);
      return status;
    });
    expect(await Promise.all(saves)).toEqual([IoStatus.ok, IoStatus.ok, IoStatus.ok]);
    expect(order).toEqual([0, 1, 2]);
    expect([...(device.luState ?? [])]).toEqual(Array.from({ length: 30 }, () => 3));
    expect(other.luState).toBeUndefined();
    const largest = new Uint8Array(luStateMaxBytes).fill(9);
    expect(await saveLuState(device, largest)).toBe(IoStatus.ok);
    expect(await saveLuState(device, new Uint8Array(luStateMaxBytes + 1))).toBe(IoStatus.invalid);
    expect(device.luState?.length).toBe(luStateMaxBytes);
  });

  it('has an identity of its own', async () => {
    const { device, other } = await implementation.open();
    for (const { identity } of [device, other]) {
      expect(identity.uuid.length).toBe(16);
      expect(identity.naa.length).toBe(16);
      expect((identity.naa[0] ?? 0) >>> 4).toBe(6);
      expect(identity.serial).toMatch(/^[\x21-\x7e]+$/);
    }
    expect([...device.identity.uuid]).not.toEqual([...other.identity.uuid]);
    expect([...device.identity.naa]).not.toEqual([...other.identity.naa]);
    expect(device.identity.serial).not.toBe(other.identity.serial);
  });
});
