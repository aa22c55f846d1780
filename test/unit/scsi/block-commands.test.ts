/** Commands that compare, repeat, unmap and look at blocks, byte for byte against the device. */
import { describe, expect, it } from 'vitest';
import { IoKind } from '../../../src/device/block-device.ts';
import { block, capacity, forms, put, scene, stored } from '../../support/scsi-blocks.ts';
import { ask, hex, outcome, pattern } from '../../support/scsi-raw.ts';

const compareCdb = (lba: number, blocks: number): string =>
  `89 00 ${put(lba, 16)} 000000 ${put(blocks, 2)} 00 00`;
const both = (expected: Uint8Array, next: Uint8Array): Uint8Array =>
  Uint8Array.from([...expected, ...next]);

const unmapList = (...ranges: readonly (readonly [number | bigint, number])[]): Uint8Array => {
  const bytes = ranges.map(([lba, blocks]) => `${put(lba, 16)} ${put(blocks, 8)} 00000000`);
  const size = ranges.length * 16;
  return hex(`${put(size + 6, 4)} ${put(size, 4)} 00000000 ${bytes.join('')}`);
};
const unmapCdb = (length: number): string => `42 00 00000000 00 ${put(length, 4)} 00`;

describe('VERIFY', () => {
  const codes = [
    { code: '2f', form: forms[10] },
    { code: 'af', form: forms[12] },
    { code: '8f', form: forms[16] },
  ];

  it.each(codes)('$code without data reads, and finds bad blocks', ({ code, form }) => {
    const { world, host, device } = scene();
    expect(outcome(ask(world, host, form(code, 0, 1000)))).toBe('good');
    device.badBlocks.add(3);
    ask(world, host, forms[10]('2a', 0, 8), { out: pattern(8 * block) });
    expect(outcome(ask(world, host, form(code, 0, 1000)))).toBe('3/11/00');
  });

  it.each(codes)('$code with data compares, and says where it differs', ({ code, form }) => {
    const { world, host } = scene();
    const data = pattern(1000 * block);
    ask(world, host, forms[10]('2a', 7, 1000), { out: data });
    const compare = form(code, 7, 1000).replace(`${code} 00`, `${code} 02`);
    expect(outcome(ask(world, host, compare, { out: data }))).toBe('good');
    const other = data.slice();
    other[300_001] = (other[300_001] ?? 0) ^ 1;
    const exchange = ask(world, host, compare, { out: other });
    expect(outcome(exchange)).toBe('e/1d/00');
    expect(new DataView(exchange.sense.buffer).getUint32(3)).toBe(300_001);
  });

  it('with BYTCHK 11b compares every block with the one that is sent', () => {
    const { world, host } = scene();
    const one = pattern(block);
    ask(world, host, `93 00 ${put(0, 16)} 00000800 00 00`, { out: one });
    expect(outcome(ask(world, host, '2f 06 00000000 00 0800 00', { out: one }))).toBe('good');
    ask(world, host, forms[10]('2a', 2000, 1), { out: pattern(block, 9) });
    expect(outcome(ask(world, host, '2f 06 00000000 00 0800 00', { out: one }))).toBe('e/1d/00');
    expect(outcome(ask(world, host, '2f 04 00000000 00 0800 00', { out: one }))).toBe('5/24/00');
  });
});

describe('COMPARE AND WRITE', () => {
  it.each([1, 2, 100, 255])('of %i blocks writes when they are as expected', (blocks) => {
    const scenery = scene();
    const { world, host } = scenery;
    const next = pattern(blocks * block);
    const out = both(new Uint8Array(blocks * block), next);
    expect(outcome(ask(world, host, compareCdb(capacity - blocks, blocks), { out }))).toBe('good');
    expect(stored(scenery, capacity - blocks, blocks)).toEqual(next);
  });

  it('writes nothing otherwise, and says where the first difference is', () => {
    const scenery = scene();
    const { world, host } = scenery;
    const before = pattern(4 * block);
    ask(world, host, forms[10]('2a', 1, 4), { out: before });
    const expected = before.slice();
    expected[700] = (expected[700] ?? 0) ^ 0x80;
    const exchange = ask(world, host, compareCdb(1, 4), {
      out: both(expected, pattern(4 * block, 5)),
    });
    expect(outcome(exchange)).toBe('e/1d/00');
    expect(new DataView(exchange.sense.buffer).getUint32(3)).toBe(700);
    expect(stored(scenery, 1, 4)).toEqual(before);
  });

  it('with other than twice the data is refused, 256 blocks among them', () => {
    const { world, host } = scene();
    for (const length of [0, 512, 1536, 2048]) {
      const exchange = ask(world, host, compareCdb(0, 1), {
        out: new Uint8Array(length),
        inBytes: 0,
      });
      expect(outcome(exchange)).toBe('5/24/00');
    }
    expect(outcome(ask(world, host, compareCdb(0, 0), { out: new Uint8Array(512 * block) }))).toBe(
      '5/24/00',
    );
    expect(outcome(ask(world, host, compareCdb(0, 0)))).toBe('good');
  });
});

describe('ORWRITE', () => {
  it('sets bits', () => {
    const scenery = scene();
    const { world, host } = scenery;
    const first = pattern(3000 * block);
    const second = pattern(3000 * block, 3);
    ask(world, host, forms[16]('8a', 3, 3000), { out: first });
    expect(outcome(ask(world, host, forms[16]('8b', 3, 3000), { out: second }))).toBe('good');
    const merged = first.map((byte, at) => byte | (second[at] ?? 0));
    const { data } = ask(world, host, forms[16]('88', 3, 3000), { inBytes: merged.length });
    expect(Buffer.compare(data, merged)).toBe(0);
  });
});

describe('WRITE SAME', () => {
  const codes = [
    { code: '41', form: forms[10] },
    { code: '93', form: forms[16] },
  ];

  it.each(codes)('$code repeats a block, also over ragged and long ranges', ({ code, form }) => {
    const scenery = scene();
    const { world, host } = scenery;
    const one = pattern(block);
    expect(outcome(ask(world, host, form(code, 3, 5000), { out: one }))).toBe('good');
    const { data } = ask(world, host, forms[10]('28', 2, 5002), { inBytes: 5002 * block });
    for (let at = 0; at < 5002; at += 1) {
      const isInside = at >= 1 && at < 5001;
      const found = data.subarray(at * block, (at + 1) * block);
      expect(Buffer.compare(found, isInside ? one : new Uint8Array(block))).toBe(0);
    }
    expect(world.staging.freeBytes).toBe(world.staging.sizeBytes);
  });

  it.each(codes)('$code of zeros is one request, whatever its length', ({ code, form }) => {
    const { world, host, device } = scene();
    device.isRecording = true;
    ask(world, host, form(code, 8, 60_000), { out: new Uint8Array(block) });
    expect(device.record).toEqual([
      { kind: IoKind.zero, offset: 4096, length: 60_000 * block, fua: false },
    ]);
  });

  it('with UNMAP trims zeros, and writes anything else', () => {
    const { world, host, device } = scene();
    device.isRecording = true;
    ask(world, host, `93 08 ${put(8, 16)} 00000008 00 00`, { out: new Uint8Array(block) });
    ask(world, host, `93 09 ${put(16, 16)} 00000008 00 00`);
    ask(world, host, `93 08 ${put(24, 16)} 00000008 00 00`, { out: pattern(block) });
    expect(device.record.map(({ kind }) => kind)).toEqual([IoKind.trim, IoKind.trim, IoKind.write]);
  });

  it.each([
    ['zero blocks', `93 00 ${put(0, 16)} 00000000 00 00`, block],
    ['more than is announced', `93 00 ${put(0, 16)} 00040001 00 00`, block],
    ['no data', `93 00 ${put(0, 16)} 00000001 00 00`, 0],
    ['two blocks of data', `93 00 ${put(0, 16)} 00000001 00 00`, 2 * block],
    ['ANCHOR', `93 18 ${put(0, 16)} 00000001 00 00`, block],
    ['NDOB in the short form', '41 01 00000000 00 0001 00', block],
  ])('with %s is refused', (_case, cdb, length) => {
    const { world, host } = scene();
    expect(outcome(ask(world, host, cdb, { out: new Uint8Array(length), inBytes: 0 }))).toBe(
      '5/24/00',
    );
  });
});

describe('UNMAP', () => {
  it('makes several ranges read as zero', () => {
    const scenery = scene();
    const { world, host } = scenery;
    ask(world, host, forms[10]('2a', 0, 64), { out: pattern(64 * block) });
    const out = unmapList([1, 8], [0, 0], [32, 16]);
    expect(outcome(ask(world, host, unmapCdb(out.length), { out }))).toBe('good');
    const expected = pattern(64 * block);
    expected.fill(0, block, 9 * block);
    expected.fill(0, 32 * block, 48 * block);
    expect(stored(scenery, 0, 64)).toEqual(expected);
  });

  it('does nothing at all when one range is wrong', () => {
    const scenery = scene();
    const { world, host } = scenery;
    ask(world, host, forms[10]('2a', 0, 8), { out: pattern(8 * block) });
    for (const wrong of [BigInt(capacity), 2n ** 63n, 2n ** 64n - 1n]) {
      const out = unmapList([0, 8], [wrong, 1]);
      expect(outcome(ask(world, host, unmapCdb(out.length), { out }))).toBe('5/21/00');
    }
    expect(stored(scenery, 0, 8)).toEqual(pattern(8 * block));
  });

  it('checks its list', () => {
    const { world, host } = scene();
    expect(outcome(ask(world, host, unmapCdb(0)))).toBe('good');
    expect(outcome(ask(world, host, unmapCdb(7), { out: new Uint8Array(7) }))).toBe('5/1a/00');
    const out = unmapList([0, 8]);
    expect(outcome(ask(world, host, unmapCdb(20), { out: out.subarray(0, 20) }))).toBe('5/1a/00');
    expect(outcome(ask(world, host, unmapCdb(24), { out: out.subarray(0, 20) }))).toBe('5/1a/00');
    const many = unmapList(...Array.from({ length: 257 }, () => [0, 1] as const));
    expect(outcome(ask(world, host, unmapCdb(many.length), { out: many }))).toBe('5/26/00');
    expect(outcome(ask(world, host, '42 01 00000000 00 0018 00', { out }))).toBe('5/24/00');
  });
});

describe('GET LBA STATUS', () => {
  it('tells mapped blocks from others, from the very LBA that was asked for', () => {
    const { world, host } = scene();
    ask(world, host, forms[10]('2a', 16, 8), { out: pattern(8 * block) });
    const { data } = ask(world, host, `9e 12 ${put(9, 16)} 00000100 00 00`);
    const view = new DataView(data.buffer);
    const descriptors = [0, 1, 2].map((index) => ({
      lba: Number(view.getBigUint64(8 + index * 16)),
      blocks: view.getUint32(16 + index * 16),
      status: view.getUint8(20 + index * 16),
    }));
    expect(view.getUint32(0)).toBe(3 * 16 + 4);
    expect(descriptors).toEqual([
      { lba: 9, blocks: 7, status: 1 },
      { lba: 16, blocks: 8, status: 0 },
      { lba: 24, blocks: capacity - 24, status: 1 },
    ]);
  });

  it('gives as many descriptors as there is room for', () => {
    const { world, host } = scene();
    ask(world, host, forms[10]('2a', 16, 8), { out: pattern(8 * block) });
    const { data } = ask(world, host, `9e 12 ${put(0, 16)} 00000018 00 00`);
    expect(data.length).toBe(24);
    expect(new DataView(data.buffer).getUint32(0)).toBe(20);
  });
});

describe('the cache', () => {
  it('is flushed by SYNCHRONIZE CACHE', () => {
    const { world, host, device } = scene({ isWriteBack: true });
    device.isRecording = true;
    expect(outcome(ask(world, host, '35 00 00000000 00 0000 00'))).toBe('good');
    expect(outcome(ask(world, host, `91 00 ${put(0, 16)} 00000000 00 00`))).toBe('good');
    expect(device.record.map(({ kind }) => kind)).toEqual([IoKind.flush, IoKind.flush]);
  });

  it('takes what PRE-FETCH reads ahead, as far as that fits', () => {
    const { world, host, device } = scene();
    device.isRecording = true;
    expect(outcome(ask(world, host, '34 00 00000000 00 0100 00'))).toBe('status 4');
    expect(device.record).toEqual([
      { kind: IoKind.read, offset: 0, length: 256 * block, fua: false },
    ]);
    expect(outcome(ask(world, host, '34 00 00000000 00 ffff 00'))).toBe('good');
    expect(outcome(ask(world, host, `34 00 ${put(capacity + 1, 8)} 00 0000 00`))).toBe('5/21/00');
  });
});
