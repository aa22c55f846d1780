/** Digests that are wrong, pings, text, and PDUs that are refused. RFC 7143 sections 7.8 and 11. */
import { describe, expect, it } from 'vitest';
import type { IscsiInitiator } from '../../support/iscsi-initiator.ts';
import { pattern, readAll, writeAll } from '../../support/iscsi-io.ts';
import { noTag, Opcode, senseCode } from '../../support/iscsi-payload.ts';
import { IscsiWorld } from '../../support/iscsi-world.ts';
import { read16, write16 } from '../../support/scsi-cdb.ts';

function rejectReason(initiator: IscsiInitiator): number {
  return initiator.takeOne(Opcode.reject).header.getUint8(2);
}

describe('digests', () => {
  it('a wrong header digest ends the connection', () => {
    const world = new IscsiWorld();
    const initiator = world.open({ keys: { HeaderDigest: 'CRC32C' } });
    const pdu = initiator.encode({ opcode: Opcode.nopOut, isImmediate: true, itt: 9 });
    pdu[50] = (pdu[50] ?? 0) ^ 1;
    initiator.sendRaw(pdu);
    expect(initiator.isDropped).toBe(true);
    expect(world.server.sessions()).toEqual([]);
  });

  it('a wrong data digest is rejected and ends the write with an error; nothing of it is written', () => {
    const world = new IscsiWorld();
    const initiator = world.open({ keys: { DataDigest: 'CRC32C' } });
    const bytes = pattern(8192);
    const itt = initiator.postCommand({ cdb: write16(0, 16), writeBytes: 8192 });
    const tag = initiator.takeOne(Opcode.r2t).header.getUint32(20);
    const words = { 20: tag, 36: 0, 40: 0 };
    const pdu = initiator.encode({ opcode: Opcode.dataOut, itt, words, data: bytes });
    pdu[100] = (pdu[100] ?? 0) ^ 0x40;
    initiator.sendRaw(pdu);
    const [reject, response] = initiator.take();
    expect(reject?.opcode).toBe(Opcode.reject);
    expect(reject?.header.getUint8(2)).toBe(2);
    // The refused header comes back.
    expect(reject?.data).toEqual(pdu.subarray(0, 48));
    expect(senseCode((response?.data ?? bytes).subarray(2))).toBe(0x0b4705);
    expect(readAll(initiator, 0, 8192).every((byte) => byte === 0)).toBe(true);
    expect(writeAll(initiator, 0, bytes).status).toBe(0);
  });

  it('the same holds for immediate data and for pings', () => {
    const world = new IscsiWorld();
    const initiator = world.open({ keys: { DataDigest: 'CRC32C' } });
    const words = { 20: 4096, 24: initiator.cmdSn };
    initiator.cmdSn += 1;
    const cdb = write16(0, 8);
    const flags = 0xa1;
    const command = { opcode: Opcode.command, flags, itt: 3, words, cdb, data: pattern(4096) };
    const pdu = initiator.encode(command);
    pdu[60] = (pdu[60] ?? 0) ^ 1;
    initiator.sendRaw(pdu);
    const [reject, response] = initiator.take();
    expect(reject?.header.getUint8(2)).toBe(2);
    expect(senseCode((response?.data ?? cdb).subarray(2))).toBe(0x0b4705);
    const ping = initiator.encode({
      opcode: Opcode.nopOut,
      isImmediate: true,
      itt: 4,
      words: { 20: noTag },
      data: pattern(5),
    });
    ping[49] = (ping[49] ?? 0) ^ 1;
    initiator.sendRaw(ping);
    expect(rejectReason(initiator)).toBe(2);
    expect(readAll(initiator, 0, 4096).every((byte) => byte === 0)).toBe(true);
  });
});

describe('other PDUs', () => {
  it('pings come back with their data, of any length', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    for (const length of [0, 1, 100, 4096, 60_000, 262_144]) {
      const data = pattern(length, 9);
      const words = { 20: noTag, 24: initiator.cmdSn };
      initiator.send({ opcode: Opcode.nopOut, isImmediate: true, itt: 0x55, words, data });
      const answer = initiator.takeOne(Opcode.nopIn);
      expect(answer.itt).toBe(0x55);
      expect(answer.header.getUint32(20)).toBe(noTag);
      expect(answer.data).toEqual(data);
    }
    // A ping in the order of commands takes a number.
    const words = { 20: noTag, 24: initiator.cmdSn };
    initiator.send({ opcode: Opcode.nopOut, itt: 0x56, words });
    initiator.takeOne(Opcode.nopIn);
    initiator.cmdSn += 1;
    expect(initiator.expCmdSn).toBe(initiator.cmdSn);
  });

  it('SNACK, unknown opcodes, a second login and a tag in use are rejected', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    initiator.send({ opcode: Opcode.snack, itt: 1 });
    expect(rejectReason(initiator)).toBe(3);
    initiator.send({ opcode: 0x1c, itt: 1 });
    expect(rejectReason(initiator)).toBe(5);
    initiator.send({ opcode: Opcode.login, isImmediate: true, flags: 0x87, itt: 1 });
    expect(rejectReason(initiator)).toBe(4);
    world.device.isHolding = true;
    initiator.postCommand({ cdb: read16(0, 8), readBytes: 4096, itt: 7 });
    initiator.postCommand({ cdb: read16(0, 8), readBytes: 4096, itt: 7 });
    expect(rejectReason(initiator)).toBe(7);
    world.device.release();
    expect(initiator.takeOne(Opcode.dataIn).itt).toBe(7);
    expect(initiator.isDropped).toBe(false);
  });

  it('a data segment longer than agreed ends the connection', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const data = pattern(262_145);
    initiator.send({
      opcode: Opcode.nopOut,
      isImmediate: true,
      itt: 1,
      words: { 20: noTag },
      data,
    });
    expect(initiator.isDropped).toBe(true);
  });

  it('SendTargets is answered in a normal session', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const data = new Uint8Array(Buffer.from('SendTargets=All\0'));
    const words = { 20: noTag, 24: initiator.cmdSn };
    initiator.cmdSn += 1;
    initiator.send({ opcode: Opcode.text, itt: 2, words, data });
    const text = Buffer.from(initiator.takeOne(Opcode.textResponse).data).toString();
    expect(text).toContain('TargetName=iqn.2026-11.org.tidemark:pool-0001');
    expect(text).toContain('TargetAddress=127.0.0.1:3260,1');
  });
});
