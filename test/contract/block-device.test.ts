/**
 * The contract of `device/block-device.ts`, run against everything that implements it. A random program of requests is
 * checked against plain bytes.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blockSizeBytes, ExtentState, IoKind, IoStatus } from '../../src/device/block-device.ts';
import {
  compareAndWrite,
  extentsOf,
  implementations,
  read,
  type Subject,
  sizeBytes,
  submit,
  submitBytes,
  write,
} from './subjects.ts';

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
});
