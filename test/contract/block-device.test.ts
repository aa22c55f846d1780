/**
 * The contract of `device/block-device.ts`, run against everything that implements it: the store's volume over real files, its
 * snapshot, and the memory device that the NBD tests use. A random program of requests is checked against plain bytes.
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
} from '../../src/device/block-device.ts';
import { Staging } from '../../src/device/staging.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { openPool } from '../../src/volume/pool-open.ts';
import { inlineHost, smallSettings } from '../support/inline-host.ts';
import { MemoryDevice } from '../support/memory-device.ts';

const sizeBytes = 32 * blockSizeBytes;

interface Subject {
  readonly device: BlockDevice;
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

async function openVolume(): Promise<Subject> {
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
  await outcomeOf((done) => {
    pool.volumeCreate({ name: 'volume', sizeBytes }, done);
  });
  return { device: pool.volumeOpen('volume'), staging: pool.staging, close };
}

const implementations: readonly Implementation[] = [
  { name: 'the volume of the store', open: openVolume },
  {
    name: 'the memory device of the tests',
    open: async () => {
      const staging = new Staging(new SharedArrayBuffer(4 << 20));
      const device = new MemoryDevice({ sizeBytes, slab: staging.bytes });
      return await Promise.resolve({ device, staging, close: () => undefined });
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

async function write(subject: Subject, offset: number, bytes: Uint8Array): Promise<IoStatus> {
  const payload = subject.staging.allocate(offset, bytes.length);
  if (payload === undefined) throw new Error('no room in staging');
  payload.fill(0, bytes, 0, bytes.length);
  const request = { kind: IoKind.write, offset, length: bytes.length, payload };
  return (await submit(subject.device, request)).status;
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
  { weight: 1, arbitrary: fc.constant({ kind: 'flush' } as const) },
);

async function apply(subject: Subject, model: Uint8Array, each: Step): Promise<void> {
  if (each.kind === 'flush') {
    expect((await submit(subject.device, { kind: IoKind.flush })).status).toBe(IoStatus.ok);
    return;
  }
  const { offset, length } = each;
  if (each.kind === 'write') {
    const bytes = new Uint8Array(length).fill(each.fill);
    expect(await write(subject, offset, bytes)).toBe(IoStatus.ok);
    model.set(bytes, offset);
    return;
  }
  const kind = each.kind === 'zero' ? IoKind.zero : IoKind.trim;
  expect((await submit(subject.device, { kind, offset, length })).status).toBe(IoStatus.ok);
  model.fill(0, offset, offset + length);
}

describe.each(implementations)('$name keeps the contract of a block device', (implementation) => {
  it('reads back what was written, zeroed and trimmed, whatever the offsets', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 25 }),
        fc.array(range, { minLength: 1, maxLength: 5 }),
        async (steps, reads) => {
          const subject = await implementation.open();
          const model = new Uint8Array(sizeBytes);
          for (const each of steps) await apply(subject, model, each);
          for (const { offset, length } of reads) {
            const found = await read(subject.device, offset, length);
            expect(Buffer.compare(found, model.subarray(offset, offset + length))).toBe(0);
          }
          expect(Buffer.compare(await read(subject.device, 0, sizeBytes), model)).toBe(0);
          subject.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it('reports extents that cover the range, fit the blocks, differ from their neighbours and are true', async () => {
    const subject = await implementation.open();
    const model = new Uint8Array(sizeBytes);
    const program: readonly Step[] = [
      { kind: 'write', offset: 2 * blockSizeBytes, length: 5 * blockSizeBytes, fill: 7 },
      { kind: 'trim', offset: 3 * blockSizeBytes, length: blockSizeBytes, fill: 1 },
      { kind: 'write', offset: 20 * blockSizeBytes + 100, length: 50, fill: 9 },
    ];
    for (const each of program) await apply(subject, model, each);
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
});
