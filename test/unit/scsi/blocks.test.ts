/** READ and WRITE in all widths, byte for byte against the device. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IoKind, IoStatus } from '../../../src/device/block-device.ts';
import { block, capacity, forms, put, scene, stored } from '../../support/scsi-blocks.ts';
import { ask, outcome, pattern, send } from '../../support/scsi-raw.ts';

const reads = [
  { name: 'READ(6)', code: '08', form: forms[6] },
  { name: 'READ(10)', code: '28', form: forms[10] },
  { name: 'READ(12)', code: 'a8', form: forms[12] },
  { name: 'READ(16)', code: '88', form: forms[16] },
];
const writes = [
  { name: 'WRITE(6)', code: '0a', form: forms[6] },
  { name: 'WRITE(10)', code: '2a', form: forms[10] },
  { name: 'WRITE(12)', code: 'aa', form: forms[12] },
  { name: 'WRITE(16)', code: '8a', form: forms[16] },
  { name: 'WRITE AND VERIFY(10)', code: '2e', form: forms[10] },
  { name: 'WRITE AND VERIFY(12)', code: 'ae', form: forms[12] },
  { name: 'WRITE AND VERIFY(16)', code: '8e', form: forms[16] },
];

describe.each(reads)('$name', ({ code, form }) => {
  it.each([0, 5, capacity - 8])('returns what lies at LBA %i', (lba) => {
    const scenery = scene();
    const { world, host } = scenery;
    const data = pattern(8 * block);
    ask(world, host, forms[10]('2a', lba, 8), { out: data });
    const exchange = ask(world, host, form(code, lba, 8), { inBytes: 8 * block });
    expect(outcome(exchange)).toBe('good');
    expect(exchange.data).toEqual(data);
    expect(exchange.task.residual).toBe(0);
  });

  it('returns zeros where nothing was written', () => {
    const { world, host } = scene();
    const { data } = ask(world, host, form(code, 64, 8), { inBytes: 8 * block });
    expect(data).toEqual(new Uint8Array(8 * block));
  });

  it('beyond the last block is out of range', () => {
    const { world, host } = scene();
    expect(outcome(ask(world, host, form(code, capacity - 1, 2)))).toBe('5/21/00');
  });

  it('reports the LBA of the first bad block, and what lies before it is good', () => {
    const { world, host, device } = scene();
    ask(world, host, forms[10]('2a', 0, 24), { out: pattern(24 * block) });
    device.badBlocks.add(1);
    const exchange = ask(world, host, form(code, 4, 16), { inBytes: 16 * block });
    expect(outcome(exchange)).toBe('3/11/00');
    expect(exchange.sense[0]).toBe(0xf0);
    expect(new DataView(exchange.sense.buffer).getUint32(3)).toBe(8);
    expect(outcome(ask(world, host, form(code, 0, 8)))).toBe('good');
  });
});

describe.each(writes)('$name', ({ code, form }) => {
  it.each([0, 3, capacity - 8])('changes the blocks at LBA %i', (lba) => {
    const scenery = scene();
    const { world, host } = scenery;
    const data = pattern(8 * block, lba);
    expect(outcome(ask(world, host, form(code, lba, 8), { out: data }))).toBe('good');
    expect(stored(scenery, lba, 8)).toEqual(data);
  });

  it('beyond the last block changes nothing', () => {
    const scenery = scene();
    const { world, host } = scenery;
    const data = pattern(2 * block);
    expect(outcome(ask(world, host, form(code, capacity - 1, 2), { out: data }))).toBe('5/21/00');
    expect(stored(scenery, capacity - 1, 1)).toEqual(new Uint8Array(block));
  });

  it('writes what the initiator sends and reports the rest as overflow', () => {
    const scenery = scene();
    const { world, host } = scenery;
    const data = pattern(block);
    const exchange = ask(world, host, form(code, 0, 2), { out: data });
    expect(outcome(exchange)).toBe('good');
    expect(exchange.task).toMatchObject({ residual: block, isOverflow: true, isUnderflow: false });
    expect(stored(scenery, 0, 2)).toEqual(Uint8Array.from([...data, ...new Uint8Array(block)]));
  });

  it('takes no more than it needs and reports the rest as underflow', () => {
    const scenery = scene();
    const { world, host } = scenery;
    const exchange = ask(world, host, form(code, 0, 1), { out: pattern(10_000) });
    expect(exchange.task).toMatchObject({ residual: 9488, isOverflow: false, isUnderflow: true });
    expect(stored(scenery, 1, 1)).toEqual(new Uint8Array(block));
  });

  it('of which nothing is sent is overflow, but refused where the initiator expects to read', () => {
    const { world, host } = scene();
    const nothing = ask(world, host, form(code, 0, 1), { inBytes: 0 });
    expect([outcome(nothing), nothing.task.isOverflow, nothing.task.residual]).toEqual([
      'good',
      true,
      512,
    ]);
    expect(outcome(ask(world, host, form(code, 0, 1), { inBytes: 512 }))).toBe('5/24/00');
  });

  it('without space is refused as such, so that hypervisors stop only who writes', () => {
    const { world, host, device } = scene();
    device.changeStatus = IoStatus.noSpace;
    expect(outcome(ask(world, host, form(code, 0, 1), { out: pattern(block) }))).toBe('7/27/07');
  });

  it('is refused where the mapping is read-only', () => {
    const { world, host } = scene({ isReadOnly: true });
    expect(outcome(ask(world, host, form(code, 0, 1), { out: pattern(block) }))).toBe('7/27/00');
  });

  it('is answered BUSY by a device that is being replaced', () => {
    const { world, host, device } = scene();
    device.changeStatus = IoStatus.shuttingDown;
    expect(outcome(ask(world, host, form(code, 0, 1), { out: pattern(block) }))).toBe('status 8');
  });
});

describe('LBAs that do not exist', () => {
  const codes16 = ['88', '8a', '8f', '8e', '8b', '90', '91', '93'];

  it.each(codes16)('are out of range for %s, also where bytes would overflow', (code) => {
    const { world, host } = scene();
    for (const lba of [2n ** 63n, 2n ** 64n - 1n, 2n ** 55n, 2n ** 53n, BigInt(capacity) + 1n]) {
      const exchange = ask(world, host, forms[16](code, lba, 1), { out: pattern(block) });
      expect(outcome(exchange)).toBe('5/21/00');
    }
  });

  it.each(['88', '8a', '8f', '8e', '8b'])('are out of range for zero blocks of %s, too', (code) => {
    const { world, host } = scene();
    expect(outcome(ask(world, host, forms[16](code, 0, 0)))).toBe('good');
    expect(outcome(ask(world, host, forms[16](code, capacity + 1, 0)))).toBe('5/21/00');
    expect(outcome(ask(world, host, forms[16](code, 2n ** 63n, 0)))).toBe('5/21/00');
  });

  it('are out of range for GET LBA STATUS and COMPARE AND WRITE', () => {
    const { world, host } = scene();
    for (const lba of [2n ** 63n, 2n ** 64n - 1n, BigInt(capacity)]) {
      const status = ask(world, host, `9e 12 ${put(lba, 16)} 00000100 00 00`);
      expect(outcome(status)).toBe('5/21/00');
      const compare = ask(world, host, `89 00 ${put(lba, 16)} 000000 01 00 00`, {
        out: pattern(2 * block),
      });
      expect(outcome(compare)).toBe('5/21/00');
    }
  });
});

describe('data in pieces', () => {
  it('arrives as it was sent, however the segments are cut', () => {
    const length = fc.integer({ min: 1, max: 700 });
    const cuts = fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 30 });
    fc.assert(
      fc.property(fc.nat(20), length, cuts, (lba, blocks, segments) => {
        const scenery = scene();
        const { world, host } = scenery;
        const data = pattern(blocks * block, blocks);
        const exchange = send(world, host, forms[10]('2a', lba, blocks), {
          out: data,
          sendBytesMax: 0,
        });
        let at = 0;
        for (const segment of [...segments, data.length]) {
          const end = Math.min(data.length, at + segment);
          if (end > at) exchange.task.expect(end - at);
          while (at < end) {
            // A segment comes in chunks of the socket, which know nothing of it.
            const chunk = Math.min(end, at + 1448);
            at += exchange.task.accept(data, at, chunk);
          }
        }
        expect(outcome(exchange)).toBe('good');
        // Compared as bytes: a deep comparison of so many takes seconds.
        expect(Buffer.compare(stored(scenery, lba, blocks), data)).toBe(0);
        expect(world.staging.freeBytes).toBe(world.staging.sizeBytes);
      }),
      { numRuns: 60 },
    );
  });

  it('holds no staging between segments', () => {
    const { world, host } = scene();
    const free = world.staging.freeBytes;
    const exchange = send(world, host, forms[10]('2a', 0, 256), {
      out: pattern(256 * block),
      sendBytesMax: 5000,
    });
    expect(world.staging.freeBytes).toBe(free);
    exchange.sendRest();
    expect(outcome(exchange)).toBe('good');
  });

  it('waits for staging that others hold, and goes on when there is some', () => {
    const scenery = scene();
    const { world, host } = scenery;
    const held = [];
    let payload = world.staging.allocate(0, 1 << 20);
    while (payload !== undefined) {
      held.push(payload);
      payload = world.staging.allocate(0, 1 << 20);
    }
    const data = pattern(2048 * block);
    const exchange = send(world, host, forms[10]('2a', 0, 2048), { out: data });
    world.run();
    expect(exchange.isDone).toBe(false);
    for (const each of held) each.release();
    world.run();
    expect(outcome(exchange)).toBe('good');
    expect(stored(scenery, 0, 2048)).toEqual(data);
  });

  it('of a read of 32 MiB is all there', () => {
    const scenery = scene();
    const { world, host } = scenery;
    const data = pattern(32 << 20);
    ask(world, host, forms[12]('aa', 8, 65_536), { out: data });
    const exchange = ask(world, host, forms[12]('a8', 8, 65_536), { inBytes: 32 << 20 });
    expect(Buffer.compare(exchange.data, data)).toBe(0);
  });
});

describe('FUA', () => {
  it.each([
    ['0a', false],
    ['2a08', true],
    ['2a10', false],
    ['2a02', true],
  ])('%s reaches the device: %s', (code, isFua) => {
    const { world, host, device } = scene({ isWriteBack: true });
    device.isRecording = true;
    const flags = code.slice(2) || '00';
    const cdb = code === '0a' ? forms[6]('0a', 0, 1) : `2a ${flags} 00000000 00 0001 00`;
    ask(world, host, cdb, { out: pattern(block) });
    expect(device.record).toEqual([{ kind: IoKind.write, offset: 0, length: block, fua: isFua }]);
  });
});
