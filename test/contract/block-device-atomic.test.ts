/**
 * The contract of `device/block-device.ts`, second part: what is atomic, what is refused, clones, and what belongs to a
 * device's identity.
 */
import { describe, expect, it } from 'vitest';
import {
  blockSizeBytes,
  ExtentState,
  IoKind,
  type IoRequest,
  IoStatus,
  luStateMaxBytes,
} from '../../src/device/block-device.ts';
import {
  compareAndWrite,
  extentsOf,
  implementations,
  read,
  saveLuState,
  sizeBytes,
  submit,
  submitBytes,
  write,
} from './subjects.ts';

describe.each(implementations)('$name keeps the contract of a block device', (implementation) => {
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
