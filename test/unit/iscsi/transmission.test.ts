/** Commands and their data, PDU by PDU: windows, sequences, residuals, digests, pings. RFC 7143 sections 4.2 and 11. */
import { describe, expect, it } from 'vitest';
import { Collector, type IscsiInitiator } from '../../support/iscsi-initiator.ts';
import { pattern, readAll, writeAll } from '../../support/iscsi-io.ts';
import { noTag, Opcode, senseCode } from '../../support/iscsi-payload.ts';
import { IscsiWorld } from '../../support/iscsi-world.ts';
import { inquiryPage, read16, testUnitReady, write16 } from '../../support/scsi-cdb.ts';

const mebibyte = 1 << 20;

function rejectReason(initiator: IscsiInitiator): number {
  return initiator.takeOne(Opcode.reject).header.getUint8(2);
}

describe('data', () => {
  it('goes in and out again, in every size and with every kind of digest', () => {
    for (const [headerDigest, dataDigest] of [
      ['None', 'None'],
      ['CRC32C', 'None'],
      ['None', 'CRC32C'],
      ['CRC32C', 'CRC32C'],
    ] as const) {
      const world = new IscsiWorld();
      const keys = { HeaderDigest: headerDigest, DataDigest: dataDigest };
      const initiator = world.open({ keys });
      expect(initiator.keys['HeaderDigest']).toBe(headerDigest);
      for (const length of [512, 4096, 65_536, 300 * 1024, 3 * mebibyte]) {
        const bytes = pattern(length, length);
        expect(writeAll(initiator, 3, bytes).status).toBe(0);
        expect(Buffer.compare(readAll(initiator, 3, length), bytes)).toBe(0);
      }
      expect(world.staging.freeBytes).toBe(world.staging.sizeBytes);
    }
  });

  it('of 32 MiB is read and written whole, with little of our memory', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const bytes = pattern(32 * mebibyte);
    expect(writeAll(initiator, 8, bytes).status).toBe(0);
    initiator.stream.isTaking = false;
    const itt = initiator.postCommand({ cdb: read16(8, 65_536), readBytes: bytes.length });
    world.run();
    // A slow reader holds its share and no more.
    expect(initiator.stream.pendingBytes).toBeLessThan(5 * mebibyte);
    expect(initiator.stream.pendingBytes).toBeGreaterThan(3 * mebibyte);
    initiator.stream.isTaking = true;
    const collector = new Collector(bytes.length);
    let isOver = false;
    for (const pdu of initiator.take()) {
      expect(pdu.itt).toBe(itt);
      isOver = collector.add(pdu);
    }
    expect(isOver).toBe(true);
    expect(Buffer.compare(collector.result.data, bytes)).toBe(0);
  });

  it('comes in segments and bursts that the initiator asked for', () => {
    const world = new IscsiWorld();
    const keys = { MaxRecvDataSegmentLength: '1024', MaxBurstLength: '2560' };
    const initiator = world.open({ keys: { ...keys, FirstBurstLength: '512' } });
    const bytes = pattern(8192);
    expect(writeAll(initiator, 0, bytes).status).toBe(0);
    initiator.postCommand({ cdb: read16(0, 16), readBytes: 8192 });
    const pdus = initiator.take();
    const shapes = pdus.map(
      ({ data, flags }) => `${data.length}${(flags & 0x80) === 0 ? '' : 'F'}`,
    );
    const burst = ['1024', '1024', '512F'];
    expect(shapes).toEqual([...burst, ...burst, ...burst, '512F']);
    // Only the last one carries the status.
    expect(pdus.map(({ flags }) => flags & 1)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  });

  it('leaves in order of its offset though the device answers in another', () => {
    const world = new IscsiWorld();
    const initiator = world.open({ keys: { MaxRecvDataSegmentLength: '4096' } });
    const bytes = pattern(65_536);
    writeAll(initiator, 0, bytes);
    world.device.isHolding = true;
    initiator.postCommand({ cdb: read16(0, 128), readBytes: 65_536 });
    world.run();
    expect(world.device.heldCount).toBe(16);
    world.device.release(15, true);
    expect(initiator.take()).toEqual([]);
    world.device.release();
    const collector = new Collector(65_536);
    const isOver = initiator.take().map((pdu) => collector.add(pdu));
    expect(isOver.at(-1)).toBe(true);
    expect(collector.result.data).toEqual(bytes);
  });

  it('of a read that fails in the middle ends in CHECK CONDITION, and the connection goes on', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    writeAll(initiator, 0, pattern(mebibyte));
    world.device.badBlocks.add(100);
    const result = initiator.execute({ cdb: read16(0, 2048), readBytes: mebibyte });
    expect(result.status).toBe(2);
    expect(senseCode(result.sense)).toBe(0x031100);
    world.device.badBlocks.clear();
    expect(readAll(initiator, 0, mebibyte)).toEqual(pattern(mebibyte));
  });
});

describe('writes', () => {
  it('take immediate data, unsolicited data and what is asked for, in this order', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const bytes = pattern(400_384);
    const itt = initiator.postCommand({
      cdb: write16(0, 782),
      writeBytes: bytes.length,
      data: bytes.subarray(0, 1000),
      isFinal: false,
    });
    const middle = { dataSn: 0, offset: 1000, data: bytes.subarray(1000, 30_001), isFinal: false };
    initiator.postSegment(itt, noTag, middle);
    expect(initiator.take()).toEqual([]);
    const last = { dataSn: 1, offset: 30_001, data: bytes.subarray(30_001, 65_536), isFinal: true };
    initiator.postSegment(itt, noTag, last);
    const r2t = initiator.takeOne(Opcode.r2t);
    expect(r2t.header.getUint32(36)).toBe(0);
    expect(r2t.header.getUint32(40)).toBe(65_536);
    expect(r2t.header.getUint32(44)).toBe(262_144);
    initiator.postDataOut(r2t, bytes, 60_000);
    const second = initiator.takeOne(Opcode.r2t);
    expect(second.header.getUint32(36)).toBe(1);
    expect(second.header.getUint32(40)).toBe(65_536 + 262_144);
    expect(second.header.getUint32(44)).toBe(bytes.length - 65_536 - 262_144);
    initiator.postDataOut(second, bytes, 7000);
    const response = initiator.takeOne(Opcode.response);
    expect(response.header.getUint8(3)).toBe(0);
    expect(response.header.getUint32(36)).toBe(2);
    expect(readAll(initiator, 0, bytes.length)).toEqual(bytes);
  });

  it('end with an error when a DataSN, an offset or a length is wrong, once the sequence is over', () => {
    const bytes = pattern(8192);
    const cases: [string, number, { dataSn: number; offset: number; length: number }][] = [
      ['DataSN', 0x0b4b00, { dataSn: 2, offset: 4096, length: 4096 }],
      ['DataSN again', 0x0b4b00, { dataSn: 0, offset: 4096, length: 4096 }],
      ['offset', 0x0b4b05, { dataSn: 1, offset: 4608, length: 3584 }],
      ['too short', 0x0b0c0d, { dataSn: 1, offset: 4096, length: 2048 }],
      ['too long', 0x0b0c0d, { dataSn: 1, offset: 4096, length: 4608 }],
    ];
    for (const [name, code, { dataSn, offset, length }] of cases) {
      const world = new IscsiWorld();
      const initiator = world.open();
      const itt = initiator.postCommand({ cdb: write16(0, 16), writeBytes: 8192 });
      const tag = initiator.takeOne(Opcode.r2t).header.getUint32(20);
      const first = { dataSn: 0, offset: 0, data: bytes.subarray(0, 4096), isFinal: false };
      initiator.postSegment(itt, tag, first);
      const data = pattern(length);
      initiator.postSegment(itt, tag, { dataSn, offset, data, isFinal: true });
      const response = initiator.takeOne(Opcode.response);
      expect(response.header.getUint8(3), name).toBe(2);
      expect(senseCode(response.data.subarray(2)), name).toBe(code);
      // What came before the mistake may be on the device, as after every failed write.
      expect(
        readAll(initiator, 8, 4096).every((byte) => byte === 0),
        name,
      ).toBe(true);
      expect(writeAll(initiator, 0, bytes).status).toBe(0);
      expect(world.staging.freeBytes).toBe(world.staging.sizeBytes);
    }
  });

  it('wait with their error until the initiator has sent what it announced', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    // Beyond the end of the device: known at once.
    const itt = initiator.postCommand({
      cdb: write16(1 << 30, 16),
      writeBytes: 8192,
      data: pattern(512),
      isFinal: false,
    });
    expect(initiator.take()).toEqual([]);
    const segment = { dataSn: 0, offset: 512, data: pattern(7680), isFinal: true };
    initiator.postSegment(itt, noTag, segment);
    const response = initiator.takeOne(Opcode.response);
    expect(senseCode(response.data.subarray(2))).toBe(0x052100);
  });

  it('refuse unsolicited data that was not agreed, or too much of it', () => {
    const world = new IscsiWorld();
    const strict = world.open({ keys: { InitialR2T: 'Yes', ImmediateData: 'No' } });
    expect(strict.keys['ImmediateData']).toBe('No');
    strict.postCommand({ cdb: write16(0, 8), writeBytes: 4096, data: pattern(4096) });
    expect(senseCode(strict.takeOne(Opcode.response).data.subarray(2))).toBe(0x0b0c0c);
    const lax = world.open({ isid: 2 });
    const data = pattern(66_048);
    lax.postCommand({ cdb: write16(0, 129), writeBytes: data.length, data });
    expect(senseCode(lax.takeOne(Opcode.response).data.subarray(2))).toBe(0x0b0c0d);
    expect(readAll(lax, 0, 4096).every((byte) => byte === 0)).toBe(true);
  });

  it('reject Data-Out of no command and with a wrong tag', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const segment = { dataSn: 0, offset: 0, data: pattern(512), isFinal: true };
    initiator.postSegment(0x7777, noTag, segment);
    expect(rejectReason(initiator)).toBe(4);
    const itt = initiator.postCommand({ cdb: write16(0, 1), writeBytes: 512 });
    const r2t = initiator.takeOne(Opcode.r2t);
    initiator.postSegment(itt, 0x99, segment);
    expect(rejectReason(initiator)).toBe(9);
    initiator.postDataOut(r2t, pattern(512));
    expect(initiator.takeOne(Opcode.response).header.getUint8(3)).toBe(0);
  });

  it('many at once that need more memory than there is all come to their end', () => {
    const world = new IscsiWorld({ slabBytes: 4 << 20, limits: { solicitedMaxBytes: 8 << 20 } });
    const initiator = world.open();
    const bytes = pattern(mebibyte);
    const itts = new Set<number>();
    for (let index = 0; index < 48; index += 1) {
      const data = bytes.subarray(0, 65_536);
      const cdb = write16(index * 2048, 2048);
      itts.add(initiator.postCommand({ cdb, writeBytes: mebibyte, data }));
    }
    for (let round = 0; itts.size > 0 && round < 1000; round += 1) {
      // R2Ts of all are answered piece by piece and interleaved, as initiators with queues do.
      for (const pdu of initiator.take()) {
        if (pdu.opcode === Opcode.r2t) initiator.postDataOut(pdu, bytes, 40_000);
        else if (pdu.header.getUint8(3) === 0) itts.delete(pdu.itt);
      }
    }
    expect(itts.size).toBe(0);
    expect(readAll(initiator, 31 * 2048, mebibyte)).toEqual(bytes);
    expect(world.staging.freeBytes).toBe(world.staging.sizeBytes);
  });
});

describe('residuals', () => {
  it('are told where the initiator expects more or less than there is', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const bytes = pattern(2048);
    writeAll(initiator, 0, bytes);
    const under = initiator.execute({ cdb: read16(0, 2), readBytes: 2048 });
    expect([under.residualFlags, under.residual, under.data.length]).toEqual([2, 1024, 1024]);
    const over = initiator.execute({ cdb: read16(0, 4), readBytes: 1000 });
    expect([over.residualFlags, over.residual]).toEqual([4, 1048]);
    expect(over.data).toEqual(bytes.subarray(0, 1000));
    const none = initiator.execute({ cdb: read16(0, 1), readBytes: 512 });
    expect([none.residualFlags, none.residual]).toEqual([0, 0]);
    const page = initiator.execute({ cdb: inquiryPage(0x80, 255), readBytes: 255 });
    expect(page.residualFlags).toBe(2);
    expect(page.residual).toBe(255 - page.data.length);
  });

  it('of writes: never more is asked for or written than both say', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const bytes = pattern(4096);
    const more = initiator.execute({ cdb: write16(0, 2), writeBytes: 4096 }, bytes);
    expect([more.status, more.residualFlags, more.residual]).toEqual([0, 2, 3072]);
    expect(readAll(initiator, 0, 2048)).toEqual(
      Uint8Array.from([...bytes.subarray(0, 1024), ...new Uint8Array(1024)]),
    );
    const itt = initiator.postCommand({ cdb: write16(8, 2), writeBytes: 4096, data: bytes });
    const response = initiator.takeOne(Opcode.response);
    expect([response.itt, response.flags & 6, response.header.getUint32(44)]).toEqual([
      itt,
      2,
      3072,
    ]);
  });
});

describe('the command window', () => {
  it('holds at least 128 commands and moves on as they end', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    initiator.execute({ cdb: testUnitReady() });
    expect(initiator.maxCmdSn - initiator.expCmdSn + 1).toBeGreaterThanOrEqual(128);
    const room = initiator.maxCmdSn - initiator.expCmdSn + 1;
    world.device.isHolding = true;
    for (let index = 0; index < room; index += 1) {
      initiator.postCommand({ cdb: read16(0, 8), readBytes: 4096 });
    }
    // One too many: silently ignored, and sent again later.
    const extra = { cdb: read16(0, 8), readBytes: 4096, cmdSn: initiator.cmdSn };
    initiator.postCommand(extra);
    expect(initiator.take()).toEqual([]);
    expect(world.device.heldCount).toBe(room);
    // Pings and functions go through beside the stuck commands.
    initiator.send({ opcode: Opcode.nopOut, isImmediate: true, itt: 5, words: { 20: noTag } });
    const ping = initiator.takeOne(Opcode.nopIn);
    expect(ping.header.getUint32(28)).toBe(initiator.cmdSn);
    expect((initiator.maxCmdSn - initiator.expCmdSn + 1) >>> 0).toBe(0);
    world.device.release();
    world.device.isHolding = false;
    expect(initiator.take()).toHaveLength(room);
    expect(initiator.maxCmdSn - initiator.expCmdSn + 1).toBe(room);
    expect(initiator.execute(extra).status).toBe(0);
  });

  it('wraps around at 2^32', () => {
    const world = new IscsiWorld();
    const initiator = world.open({ cmdSn: 0xffff_fff0 });
    const bytes = pattern(4096);
    for (let index = 0; index < 40; index += 1) {
      expect(writeAll(initiator, index * 8, bytes).status).toBe(0);
    }
    expect(initiator.cmdSn).toBeLessThan(100);
    expect(initiator.expCmdSn).toBe(initiator.cmdSn);
  });

  it('ignores what lies outside, with its data, and the connection lives', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    initiator.execute({ cdb: testUnitReady() });
    for (const cmdSn of [
      initiator.expCmdSn - 1,
      initiator.maxCmdSn + 1,
      initiator.expCmdSn - 100,
    ]) {
      const cdb = write16(0, 8);
      initiator.postCommand({ cdb, writeBytes: 4096, data: pattern(4096), cmdSn });
      expect(initiator.take()).toEqual([]);
    }
    expect(readAll(initiator, 0, 4096).every((byte) => byte === 0)).toBe(true);
  });

  it('keeps commands that come before their turn, with their data, and runs them in order', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const first = initiator.cmdSn;
    const one = pattern(4096, 1);
    const two = pattern(4096, 2);
    const late = initiator.postCommand({
      cdb: write16(0, 8),
      writeBytes: 4096,
      data: two.subarray(0, 1024),
      isFinal: false,
      cmdSn: first + 2,
    });
    const rest = { dataSn: 0, offset: 1024, data: two.subarray(1024), isFinal: true };
    initiator.postSegment(late, noTag, rest);
    const middle = initiator.postCommand({
      cdb: write16(0, 8),
      writeBytes: 4096,
      data: one,
      cmdSn: first + 1,
    });
    expect(initiator.take()).toEqual([]);
    const early = initiator.postCommand({ cdb: testUnitReady(), cmdSn: first });
    expect(initiator.take().map(({ itt }) => itt)).toEqual([early, middle, late]);
    initiator.cmdSn = first + 3;
    expect(readAll(initiator, 0, 4096)).toEqual(two);
  });

  it('drops who fills the gap with endless data', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const first = initiator.cmdSn;
    const data = pattern(65_536);
    for (let index = 1; index < 100 && !initiator.isDropped; index += 1) {
      const cdb = write16(0, 128);
      initiator.postCommand({ cdb, writeBytes: 65_536, data, cmdSn: first + index });
      world.run();
    }
    expect(initiator.isDropped).toBe(true);
    expect(world.warnings.join()).toContain('before their turn');
  });

  it('bounds immediate commands, which are outside of it', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    world.device.isHolding = true;
    for (let index = 0; index < 80; index += 1) {
      initiator.postCommand({ cdb: read16(0, 8), readBytes: 4096, isImmediate: true });
    }
    const rejects = initiator.take();
    expect(rejects.length).toBe(80 - world.device.heldCount);
    expect(new Set(rejects.map(({ header }) => header.getUint8(2)))).toEqual(new Set([6]));
    world.device.release();
    expect(initiator.take()).toHaveLength(80 - rejects.length);
    world.device.isHolding = false;
    const again = { cdb: read16(0, 8), readBytes: 4096, isImmediate: true };
    expect(initiator.execute(again).status).toBe(0);
  });
});
