/** Aborts: when the function is answered nothing of the task is written or answered any more. RFC 7143 sections 11.5, 11.6. */
import { describe, expect, it } from 'vitest';
import { IoKind } from '../../../src/device/block-device.ts';
import { managementMax } from '../../../src/iscsi/server-limits.ts';
import type { IscsiInitiator } from '../../support/iscsi-initiator.ts';
import { noTag, Opcode, senseCode } from '../../support/iscsi-payload.ts';
import { IscsiWorld } from '../../support/iscsi-world.ts';
import { read16, testUnitReady, write16 } from '../../support/scsi-cdb.ts';

const fn = {
  abortTask: 1,
  abortTaskSet: 2,
  clearAca: 3,
  clearTaskSet: 4,
  lunReset: 5,
  warmReset: 6,
  reassign: 8,
} as const;

const ones = new Uint8Array(4096).fill(1);

function answerOf(initiator: IscsiInitiator): number {
  return initiator.takeOne(Opcode.taskManagementResponse).header.getUint8(2);
}

function isZero(initiator: IscsiInitiator, lun = 0): boolean {
  const result = initiator.execute({ cdb: read16(0, 8), readBytes: 4096, lun });
  expect(result.status).toBe(0);
  return result.data.every((byte) => byte === 0);
}

describe('ABORT TASK', () => {
  it('of a write at the device is answered when the device has let go of it, and the write is not', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    world.device.isHolding = true;
    const refCmdSn = initiator.cmdSn;
    const rtt = initiator.postCommand({ cdb: write16(0, 8), writeBytes: 4096, data: ones });
    const itt = initiator.postTaskManagement(fn.abortTask, { rtt, refCmdSn });
    // The device may still write: nobody may be told that the task is over.
    expect(initiator.take()).toEqual([]);
    world.device.release();
    expect(initiator.takeOne(Opcode.taskManagementResponse).itt).toBe(itt);
    expect(initiator.expStatSn).toBeGreaterThan(0);
    world.device.isHolding = false;
    world.device.isRecording = true;
    world.pass(10_000);
    expect(world.device.record).toEqual([]);
    expect(initiator.execute({ cdb: testUnitReady() }).status).toBe(0);
  });

  it('of a write that waits for its data: what still comes of it is dropped in silence, never written', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const refCmdSn = initiator.cmdSn;
    const rtt = initiator.postCommand({ cdb: write16(0, 8), writeBytes: 4096 });
    const r2t = initiator.takeOne(Opcode.r2t);
    initiator.postTaskManagement(fn.abortTask, { rtt, refCmdSn });
    expect(answerOf(initiator)).toBe(0);
    world.device.isRecording = true;
    initiator.postDataOut(r2t, ones, 1024);
    expect(initiator.take()).toEqual([]);
    // The sequence was final: what comes now belongs to nothing.
    initiator.postDataOut(r2t, ones, 1024);
    expect(initiator.take().every(({ opcode }) => opcode === Opcode.reject)).toBe(true);
    expect(world.device.record).toEqual([]);
    expect(isZero(initiator)).toBe(true);
    expect(world.staging.freeBytes).toBe(world.staging.sizeBytes);
  });

  it('of a write of which a part is at the device: what still comes is dropped in silence, too', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    world.device.isHolding = true;
    const data = new Uint8Array(1 << 19).fill(1);
    const rtt = initiator.postCommand({ cdb: write16(0, 1024), writeBytes: data.length });
    initiator.postDataOut(initiator.takeOne(Opcode.r2t), data);
    const second = initiator.takeOne(Opcode.r2t);
    expect(world.device.heldCount).toBeGreaterThan(0);
    const itt = initiator.postTaskManagement(fn.abortTask, { rtt });
    initiator.postDataOut(second, data);
    expect(initiator.take()).toEqual([]);
    world.device.isHolding = false;
    world.device.release();
    expect(initiator.takeOne(Opcode.taskManagementResponse).itt).toBe(itt);
    const read = initiator.execute({ cdb: read16(512, 512), readBytes: 1 << 18 });
    expect(read.data.every((byte) => byte === 0)).toBe(true);
  });

  it('of a read that is half sent: nothing of it follows the answer', () => {
    const world = new IscsiWorld();
    const initiator = world.open({ keys: { MaxRecvDataSegmentLength: '4096' } });
    world.device.isHolding = true;
    const refCmdSn = initiator.cmdSn;
    const rtt = initiator.postCommand({ cdb: read16(0, 64), readBytes: 32_768 });
    world.run();
    world.device.release(3);
    initiator.postTaskManagement(fn.abortTask, { rtt, refCmdSn });
    world.run();
    world.device.release();
    const pdus = initiator.take();
    expect(pdus.at(-1)?.opcode).toBe(Opcode.taskManagementResponse);
    expect(
      pdus.slice(0, -1).every(({ opcode, flags }) => opcode === Opcode.dataIn && flags % 2 === 0),
    );
    world.device.isHolding = false;
    expect(initiator.execute({ cdb: testUnitReady() }).status).toBe(0);
  });

  it('of a finished task is complete; of one that was never sent the task does not exist', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const refCmdSn = initiator.cmdSn;
    initiator.execute({ cdb: testUnitReady(), itt: 77 });
    initiator.postTaskManagement(fn.abortTask, { rtt: 77, refCmdSn });
    expect(answerOf(initiator)).toBe(0);
    initiator.postTaskManagement(fn.abortTask, { rtt: 78, refCmdSn: initiator.cmdSn + 5 });
    expect(answerOf(initiator)).toBe(1);
    initiator.postTaskManagement(fn.abortTask, { rtt: 78, refCmdSn: initiator.cmdSn + 5000 });
    expect(answerOf(initiator)).toBe(1);
  });

  it('of a command that was lost counts as its arrival: what came behind it runs', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const lost = initiator.cmdSn;
    initiator.cmdSn += 1;
    const behind = initiator.postCommand({ cdb: testUnitReady() });
    expect(initiator.take()).toEqual([]);
    const itt = initiator.postTaskManagement(fn.abortTask, { rtt: 0xabc, refCmdSn: lost });
    const pdus = initiator.take();
    expect(pdus.map((pdu) => pdu.itt)).toEqual([itt, behind]);
    // It comes after all: it is outside the window now.
    const late = { cdb: write16(0, 8), writeBytes: 4096, data: ones, cmdSn: lost, itt: 0xabc };
    initiator.postCommand(late);
    expect(initiator.take()).toEqual([]);
    expect(isZero(initiator)).toBe(true);
  });

  it('of a command that waits for its turn: it never runs, and those behind it do', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const first = initiator.cmdSn;
    const cdb = write16(0, 8);
    const rtt = initiator.postCommand({ cdb, writeBytes: 4096, data: ones, cmdSn: first + 1 });
    const behind = initiator.postCommand({ cdb: testUnitReady(), cmdSn: first + 2 });
    const refCmdSn = first + 1;
    initiator.postTaskManagement(fn.abortTask, { rtt, refCmdSn, cmdSn: first + 3 });
    expect(answerOf(initiator)).toBe(0);
    const early = initiator.postCommand({ cdb: testUnitReady(), cmdSn: first });
    expect(initiator.take().map(({ itt }) => itt)).toEqual([early, behind]);
    initiator.cmdSn = first + 3;
    expect(isZero(initiator)).toBe(true);
  });

  it('of a set leaves alone what is held and was sent later, or is no command', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const first = initiator.cmdSn;
    const ping = { opcode: Opcode.nopOut, itt: 0x70, words: { 20: noTag, 24: first + 1 } };
    initiator.send(ping);
    const old = initiator.postCommand({ cdb: testUnitReady(), cmdSn: first + 2 });
    const late = initiator.postCommand({ cdb: testUnitReady(), cmdSn: first + 4 });
    initiator.postTaskManagement(fn.abortTaskSet, { cmdSn: first + 3 });
    expect(answerOf(initiator)).toBe(0);
    initiator.postCommand({ cdb: testUnitReady(), cmdSn: first, itt: 0x71 });
    initiator.postCommand({ cdb: testUnitReady(), cmdSn: first + 3, itt: 0x72 });
    const tags = initiator.take().map(({ itt }) => itt);
    expect(tags).toEqual([0x71, 0x70, 0x72, late]);
    expect(tags).not.toContain(old);
  });

  it('in masses is rejected, not remembered, and those that came first are answered', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    world.device.isHolding = true;
    initiator.postCommand({ cdb: write16(0, 8), writeBytes: 4096, data: ones });
    for (let count = 0; count < managementMax + 100; count += 1) {
      initiator.postTaskManagement(fn.lunReset, {});
    }
    const answers = initiator.take().map(({ header }) => header.getUint8(2));
    expect(answers).toEqual(new Array(100).fill(255));
    world.device.release();
    expect(initiator.take().map(({ header }) => header.getUint8(2))).toEqual(
      new Array(managementMax).fill(0),
    );
  });

  it('storms of aborts leave nothing behind, and nothing is written late', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    world.device.isHolding = true;
    const aborted = new Map<number, number>();
    for (let index = 0; index < 100; index += 1) {
      const refCmdSn = initiator.cmdSn;
      const isWhole = index % 2 === 0;
      const cdb = write16(index * 8, 8);
      const data = isWhole ? ones : ones.subarray(0, 512);
      const rtt = initiator.postCommand({ cdb, writeBytes: 4096, data });
      aborted.set(rtt, refCmdSn);
    }
    world.run();
    initiator.take();
    for (const [rtt, refCmdSn] of aborted) {
      initiator.postTaskManagement(fn.abortTask, { rtt, refCmdSn });
    }
    world.run();
    world.device.release();
    const pdus = initiator.take();
    expect(pdus.every(({ opcode }) => opcode === Opcode.taskManagementResponse)).toBe(true);
    expect(pdus).toHaveLength(100);
    // Everything was answered: from here on the device sees nothing of them.
    world.device.isHolding = false;
    world.device.isRecording = true;
    world.pass(20_000);
    expect(world.device.record.filter(({ kind }) => kind === IoKind.write)).toEqual([]);
    expect(world.staging.freeBytes).toBe(world.staging.sizeBytes);
    // We were silent long enough to be pinged.
    expect(initiator.takeOne(Opcode.nopIn).itt).toBe(noTag);
    initiator.execute({ cdb: testUnitReady() });
    expect(initiator.maxCmdSn - initiator.expCmdSn + 1).toBe(256);
  });
});

describe('functions for many tasks', () => {
  it('end the tasks of the LUN and leave those of others alone', () => {
    for (const which of [fn.abortTaskSet, fn.clearTaskSet, fn.lunReset]) {
      const world = new IscsiWorld();
      const other = world.addLun(1, 1 << 20);
      const initiator = world.open();
      world.device.isHolding = true;
      other.isHolding = true;
      for (let index = 0; index < 5; index += 1) {
        initiator.postCommand({ cdb: write16(0, 8), writeBytes: 4096, data: ones });
      }
      initiator.postCommand({ cdb: write16(0, 8), writeBytes: 4096 });
      const kept = initiator.postCommand({
        cdb: write16(0, 8),
        writeBytes: 4096,
        data: ones,
        lun: 1,
      });
      world.run();
      initiator.take();
      const itt = initiator.postTaskManagement(which, { lun: 0 });
      expect(initiator.take()).toEqual([]);
      world.device.release();
      expect(initiator.takeOne(Opcode.taskManagementResponse).itt).toBe(itt);
      other.release();
      other.isHolding = false;
      world.device.isHolding = false;
      expect(initiator.takeOne(Opcode.response).itt).toBe(kept);
      world.device.isRecording = true;
      world.pass(5000);
      expect(world.device.record).toEqual([]);
    }
  });

  it('a reset tells the other initiators, and ends what they had', () => {
    const world = new IscsiWorld();
    const one = world.open();
    const two = world.open({ isid: 2, initiatorName: 'iqn.1998-01.com.vmware:esx2' });
    world.device.isHolding = true;
    two.postCommand({ cdb: read16(0, 8), readBytes: 4096 });
    world.run();
    const itt = one.postTaskManagement(fn.lunReset, { lun: 0 });
    world.run();
    world.device.release();
    expect(one.takeOne(Opcode.taskManagementResponse).itt).toBe(itt);
    world.device.isHolding = false;
    // With TAS the other one is told TASK ABORTED, without it nothing.
    expect(two.take().every(({ header }) => header.getUint8(3) === 0x40)).toBe(true);
    const attention = two.execute({ cdb: testUnitReady() });
    expect(senseCode(attention.sense) >> 8).toBe(0x0629);
    expect(two.execute({ cdb: testUnitReady() }).status).toBe(0);
  });

  it('TARGET WARM RESET goes over all LUNs', () => {
    const world = new IscsiWorld();
    const other = world.addLun(1, 1 << 20);
    const initiator = world.open();
    world.device.isHolding = true;
    other.isHolding = true;
    for (const lun of [0, 1]) {
      initiator.postCommand({ cdb: write16(0, 8), writeBytes: 4096, data: ones, lun });
    }
    initiator.postTaskManagement(fn.warmReset, {});
    expect(initiator.take()).toEqual([]);
    world.device.release();
    expect(initiator.take()).toEqual([]);
    other.release();
    expect(answerOf(initiator)).toBe(0);
  });

  it('answers what it does not do', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    initiator.postTaskManagement(fn.clearAca, {});
    expect(answerOf(initiator)).toBe(5);
    initiator.postTaskManagement(fn.reassign, {});
    expect(answerOf(initiator)).toBe(4);
    initiator.postTaskManagement(fn.lunReset, { lun: 9 });
    expect(answerOf(initiator)).toBe(2);
    initiator.postTaskManagement(99, {});
    expect(answerOf(initiator)).toBe(5);
  });

  it('in the order of commands waits for its turn', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const first = initiator.cmdSn;
    initiator.cmdSn += 1;
    const itt = initiator.postTaskManagement(fn.abortTaskSet, { isImmediate: false });
    expect(initiator.take()).toEqual([]);
    const early = initiator.postCommand({ cdb: testUnitReady(), cmdSn: first });
    expect(initiator.take().map((pdu) => pdu.itt)).toEqual([early, itt]);
  });
});
