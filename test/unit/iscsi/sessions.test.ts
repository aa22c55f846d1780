/** Sessions: reinstatement, logout, dead and slow peers, many logins, the planned end. */
import { describe, expect, it } from 'vitest';
import { drainGraceMs } from '../../../src/iscsi/server-limits.ts';
import { noTag, Opcode, senseCode } from '../../support/iscsi-payload.ts';
import { IscsiWorld } from '../../support/iscsi-world.ts';
import { read16, testUnitReady, write16 } from '../../support/scsi-cdb.ts';

const ones = new Uint8Array(4096).fill(1);
const twos = new Uint8Array(4096).fill(2);

describe('reinstatement', () => {
  it('waits for what the old session has at the device before the new one is let in', () => {
    const world = new IscsiWorld();
    const old = world.open();
    world.device.isHolding = true;
    old.postCommand({ cdb: write16(0, 8), writeBytes: 4096, data: ones });
    world.run();
    const fresh = world.connect();
    fresh.postLogin();
    expect(fresh.takeLogin()).toBe(false);
    expect(old.isDropped).toBe(true);
    expect(fresh.isDropped).toBe(false);
    world.device.release();
    world.device.isHolding = false;
    expect(fresh.takeLogin()).toBe(true);
    expect(old.take()).toEqual([]);
    expect(fresh.tsih).not.toBe(0);
    // The new session begins with a unit attention, and nothing of the old one comes after its first write.
    expect(senseCode(fresh.execute({ cdb: testUnitReady() }).sense)).toBe(0x062900);
    fresh.execute({ cdb: write16(0, 8), writeBytes: 4096, data: twos });
    world.pass(10_000);
    expect(fresh.execute({ cdb: read16(0, 8), readBytes: 4096 }).data).toEqual(twos);
    expect(world.server.sessions()).toHaveLength(1);
    expect(world.warnings.join()).toContain('replaced');
  });

  it('under load, again and again: the last writer wins, and nothing is left over', () => {
    const world = new IscsiWorld();
    for (let round = 1; round <= 30; round += 1) {
      const initiator = world.open();
      const data = new Uint8Array(4096).fill(round);
      expect(initiator.execute({ cdb: write16(0, 8), writeBytes: 4096, data }).status).toBe(0);
      world.device.isHolding = round % 3 === 0;
      for (let index = 0; index < 20; index += 1) {
        initiator.postCommand({ cdb: write16(8 + index * 8, 8), writeBytes: 4096, data });
        initiator.postCommand({ cdb: write16(8 + index * 8, 8), writeBytes: 4096 });
        initiator.postCommand({ cdb: read16(0, 2048), readBytes: 1 << 20 });
      }
      world.run();
      const seen = world.connect();
      seen.postLogin();
      world.run();
      world.device.isHolding = false;
      world.device.release();
      expect(seen.takeLogin()).toBe(true);
      seen.execute({ cdb: testUnitReady() });
      const { data: found } = seen.execute({ cdb: read16(0, 8), readBytes: 4096 });
      expect(found).toEqual(data);
      expect(world.server.sessions()).toHaveLength(1);
    }
    expect(world.server.drop(() => true)).toBe(1);
    world.run();
    expect(world.server.sessions()).toEqual([]);
    expect(world.staging.freeBytes).toBe(world.staging.sizeBytes);
  });

  it('of a login that still waits: the newest is let in, the others are not', () => {
    const world = new IscsiWorld();
    const old = world.open();
    world.device.isHolding = true;
    old.postCommand({ cdb: write16(0, 8), writeBytes: 4096, data: ones });
    world.run();
    const waiting = [1, 2, 3].map(() => {
      const initiator = world.connect();
      initiator.postLogin();
      world.run();
      return initiator;
    });
    world.device.release();
    world.device.isHolding = false;
    expect(waiting.map((initiator) => initiator.takeLogin())).toEqual([false, false, true]);
    expect(waiting.map(({ isDropped }) => isDropped)).toEqual([true, true, false]);
    expect(world.server.sessions()).toHaveLength(1);
    expect(waiting[2]?.execute({ cdb: testUnitReady() }).status).toBe(2);
  });

  it('given up while it waits is forgotten, and the old commands are still waited for', () => {
    const world = new IscsiWorld();
    const old = world.open();
    world.device.isHolding = true;
    old.postCommand({ cdb: write16(0, 8), writeBytes: 4096, data: ones });
    world.run();
    for (let round = 0; round < 50; round += 1) {
      const impatient = world.connect();
      impatient.postLogin();
      expect(impatient.takeLogin()).toBe(false);
      if (round % 2 === 0) {
        impatient.stream.break();
        world.run();
      }
    }
    // The old one, and the last that waits.
    expect(world.server.sessions()).toHaveLength(2);
    const patient = world.connect();
    patient.postLogin();
    expect(patient.takeLogin()).toBe(false);
    world.device.release();
    expect(patient.takeLogin()).toBe(true);
    expect(world.server.sessions().map(({ id }) => id)).toEqual([patient.tsih]);
  });

  it('is for the same initiator port only: other ISIDs and names live side by side', () => {
    const world = new IscsiWorld();
    const all = [
      world.open(),
      world.open({ isid: 2 }),
      world.open({ initiatorName: 'iqn.1998-01.com.vmware:esx2' }),
    ];
    expect(world.server.sessions()).toHaveLength(3);
    for (const initiator of all) {
      expect(initiator.execute({ cdb: testUnitReady() }).status).toBe(0);
    }
    expect(new Set(all.map(({ tsih }) => tsih)).size).toBe(3);
  });
});

describe('the end of a session', () => {
  it('logout ends its tasks, is answered, and the connection is closed', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    world.device.isHolding = true;
    initiator.postCommand({ cdb: read16(0, 8), readBytes: 4096 });
    world.run();
    const words = { 24: initiator.cmdSn };
    initiator.send({ opcode: Opcode.logout, isImmediate: true, flags: 0x80, itt: 3, words });
    expect(initiator.take()).toEqual([]);
    world.device.release();
    const response = initiator.takeOne(Opcode.logoutResponse);
    expect(response.header.getUint8(2)).toBe(0);
    expect(initiator.stream.isEnded).toBe(true);
    expect(world.server.sessions()).toEqual([]);
    initiator.stream.sendEnd();
    world.run();
    world.pass(10_000);
    expect(world.timers.pendingCount).toBe(0);
  });

  it('logout of another connection and recovery are refused, and the session lives', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    const logout = { opcode: Opcode.logout, isImmediate: true, itt: 3 };
    initiator.send({ ...logout, flags: 0x82, words: { 20: 0, 24: initiator.cmdSn } });
    expect(initiator.takeOne(Opcode.logoutResponse).header.getUint8(2)).toBe(2);
    initiator.send({ ...logout, flags: 0x81, words: { 20: 7 << 16, 24: initiator.cmdSn } });
    expect(initiator.takeOne(Opcode.logoutResponse).header.getUint8(2)).toBe(1);
    expect(initiator.execute({ cdb: testUnitReady() }).status).toBe(0);
  });

  it('a drain asks for logout, lets go of the idle, and drops who stays', () => {
    const world = new IscsiWorld();
    const polite = world.open();
    const idle = world.open({ isid: 2 });
    const busy = world.open({ isid: 3 });
    world.device.isHolding = true;
    busy.postCommand({ cdb: read16(0, 8), readBytes: 4096 });
    world.run();
    let isOver = false;
    world.server.drain(10_000, () => {
      isOver = true;
    });
    const message = polite.takeOne(Opcode.asyncMessage);
    expect([message.header.getUint8(36), message.header.getUint16(42)]).toEqual([1, 10]);
    const words = { 24: polite.cmdSn };
    polite.send({ opcode: Opcode.logout, isImmediate: true, flags: 0x80, itt: 3, words });
    polite.takeOne(Opcode.logoutResponse);
    expect(world.connect().isDropped).toBe(true);
    world.pass(4000);
    idle.take();
    expect(idle.stream.isEnded).toBe(true);
    expect(busy.stream.isEnded || busy.isDropped).toBe(false);
    expect(isOver).toBe(false);
    world.pass(7000);
    expect(busy.isDropped).toBe(true);
    // Its read is at the device still, and whoever closes the device must wait for it.
    expect(isOver).toBe(false);
    world.device.release();
    world.run();
    expect(isOver).toBe(true);
    expect(world.server.sessions()).toEqual([]);
  });

  it('a drain does not wait for ever for a device that does not answer', () => {
    const world = new IscsiWorld();
    const busy = world.open();
    world.device.isHolding = true;
    busy.postCommand({ cdb: read16(0, 8), readBytes: 4096 });
    world.run();
    let overCount = 0;
    world.server.drain(5000, () => {
      overCount += 1;
    });
    world.pass(5000 + drainGraceMs);
    expect(overCount).toBe(1);
    world.device.release();
    world.pass(10_000);
    expect(overCount).toBe(1);
  });

  it('drop takes the sessions that match; what they are is told', () => {
    const world = new IscsiWorld();
    const one = world.open();
    const two = world.open({ isid: 2 });
    one.execute({ cdb: write16(0, 8), writeBytes: 4096, data: ones });
    one.execute({ cdb: read16(0, 16), readBytes: 8192 });
    const info = world.server.sessions().find(({ id }) => id === one.tsih);
    expect(info).toMatchObject({
      kind: 'normal',
      initiatorName: 'iqn.1998-01.com.vmware:esx1',
      isid: '800000000001',
      targetName: 'iqn.2026-11.org.tidemark:pool-0001',
      host: 'esx',
      portal: '127.0.0.1:3260',
      commandCount: 3,
      bytesRead: 8192,
      bytesWritten: 4096,
    });
    expect(world.server.drop(({ id }) => id === one.tsih)).toBe(1);
    world.run();
    expect([one.isDropped, two.isDropped]).toEqual([true, false]);
  });
});

describe('dead, slow and many peers', () => {
  it('a silent initiator is pinged, and dropped when it does not answer', () => {
    const world = new IscsiWorld();
    const dead = world.open();
    const alive = world.open({ isid: 2 });
    for (let round = 0; round < 4; round += 1) {
      world.pass(15_500);
      const [ping] = alive.take();
      if (ping === undefined) continue;
      expect(ping.itt).toBe(noTag);
      const words = { 20: ping.header.getUint32(20), 24: alive.cmdSn };
      alive.send({ opcode: Opcode.nopOut, isImmediate: true, itt: noTag, words });
    }
    expect(dead.isDropped).toBe(true);
    expect(alive.isDropped).toBe(false);
    expect(alive.execute({ cdb: testUnitReady() }).status).toBe(0);
    expect(world.warnings.join()).toContain('ping');
  });

  it('who never logs in is dropped; who connects in crowds does not lock others out', () => {
    const world = new IscsiWorld({ limits: { unfinishedLoginsMax: 20 } });
    const crowd = Array.from({ length: 40 }, () => world.connect());
    expect(crowd.filter(({ isDropped }) => isDropped)).toHaveLength(20);
    world.open();
    world.pass(20_000);
    expect(crowd.every(({ isDropped }) => isDropped)).toBe(true);
  });

  it('1,000 logins at once are all let in', () => {
    const world = new IscsiWorld();
    const all = Array.from({ length: 1000 }, () => world.connect());
    for (const [index, initiator] of all.entries()) {
      initiator.postLogin({ initiatorName: `iqn.2000-01.host:${index}` });
    }
    world.run();
    expect(all.every((initiator) => initiator.takeLogin())).toBe(true);
    expect(world.server.sessions()).toHaveLength(1000);
    for (const initiator of all) initiator.execute({ cdb: testUnitReady() });
    world.server.drop(() => true);
    world.run();
    expect(world.server.sessions()).toEqual([]);
  });

  it('who stops in the middle of its data gives way to those who wait for memory', () => {
    const world = new IscsiWorld({ slabBytes: 1 << 20 });
    const keys = { FirstBurstLength: '262144', MaxRecvDataSegmentLength: '262144' };
    const stuck = Array.from({ length: 4 }, (_, index) => world.open({ isid: 10 + index, keys }));
    const data = new Uint8Array(262_144);
    for (const initiator of stuck) {
      const words = { 20: data.length, 24: initiator.cmdSn };
      const shape = {
        opcode: Opcode.command,
        flags: 0xa1,
        itt: 1,
        words,
        cdb: write16(0, 512),
        data,
      };
      initiator.sendRaw(initiator.encode(shape).subarray(0, 100_000));
    }
    const waiting = world.open({ isid: 20, keys });
    const itt = waiting.postCommand({ cdb: write16(0, 512), writeBytes: data.length, data });
    expect(waiting.take()).toEqual([]);
    world.pass(8000);
    // Three hold all there is; the fourth waits for memory itself.
    expect(stuck.map(({ isDropped }) => isDropped)).toEqual([true, true, true, false]);
    expect(waiting.takeOne(Opcode.response).itt).toBe(itt);
  });

  it('who does not read its answers is not served without end', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    initiator.stream.isTaking = false;
    const ping = { opcode: Opcode.nopOut, isImmediate: true, itt: 1, words: { 20: noTag } };
    for (let index = 0; index < 200; index += 1) {
      initiator.post({ ...ping, data: new Uint8Array(100_000) });
    }
    world.run();
    expect(initiator.stream.pendingBytes).toBeLessThan(6 << 20);
    expect(initiator.stream.isPaused).toBe(true);
    initiator.stream.isTaking = true;
    expect(initiator.take()).toHaveLength(200);
  });

  it('who takes none of its answers is dropped, also when it goes on sending; who takes a little is not', () => {
    const world = new IscsiWorld();
    const [deaf, slow] = [world.open(), world.open({ isid: 2 })];
    for (const initiator of [deaf, slow]) {
      initiator.stream.isTaking = false;
      initiator.postCommand({ cdb: read16(0, 16_384), readBytes: 8 << 20 });
    }
    for (let round = 0; round < 12; round += 1) {
      world.pass(5000);
      const life = { opcode: Opcode.nopOut, isImmediate: true, itt: noTag, words: { 20: 1 } };
      for (const initiator of [deaf, slow]) if (!initiator.isDropped) initiator.post(life);
      slow.stream.takeOne();
    }
    expect([deaf.isDropped, slow.isDropped]).toEqual([true, false]);
    expect(world.warnings.join()).toContain('did not take its answers');
    expect(world.server.sessions()).toHaveLength(1);
  });

  it('who sends what can only be refused, and takes no answer, is not read from any more', () => {
    const world = new IscsiWorld();
    const initiator = world.open();
    initiator.stream.isTaking = false;
    // Data of no command, ten bytes of answer for five.
    const one = initiator.encode({ opcode: Opcode.dataOut, itt: 77, words: { 20: 5 } });
    const many = new Uint8Array(one.length * 20_000);
    for (let at = 0; at < many.length; at += one.length) many.set(one, at);
    for (let round = 0; round < 10; round += 1) initiator.stream.send(many);
    world.run();
    expect(initiator.stream.pendingBytes).toBeLessThan(6 << 20);
    expect(initiator.stream.isPaused).toBe(true);
    initiator.stream.isTaking = true;
    expect(initiator.take()).toHaveLength(200_000);
    expect(initiator.execute({ cdb: testUnitReady() }).status).toBe(0);
  });

  it('who discovers in crowds takes nobody the place: discoveries count as logins until they end', () => {
    const world = new IscsiWorld({ limits: { unfinishedLoginsMax: 20 } });
    const host = world.open();
    const crowd = Array.from({ length: 40 }, () => {
      const initiator = world.connect();
      initiator.login({ isDiscovery: true });
      return initiator;
    });
    expect(crowd.filter(({ isDropped }) => !isDropped)).toHaveLength(20);
    expect(host.execute({ cdb: testUnitReady() }).status).toBe(0);
    expect(world.open({ isid: 2 }).execute({ cdb: testUnitReady() }).status).toBe(0);
  });

  it('a discovery session lists targets and takes no commands', () => {
    const world = new IscsiWorld();
    const initiator = world.connect();
    initiator.login({ isDiscovery: true });
    const data = new Uint8Array(Buffer.from('SendTargets=All\0'));
    const words = { 20: noTag, 24: initiator.cmdSn };
    initiator.cmdSn += 1;
    initiator.send({ opcode: Opcode.text, itt: 2, words, data });
    const text = Buffer.from(initiator.takeOne(Opcode.textResponse).data).toString();
    expect(text).toContain('TargetAddress=[::1]:3261,2');
    initiator.postCommand({ cdb: testUnitReady() });
    initiator.postTaskManagement(5, {});
    const reasons = initiator.take().map(({ opcode, header }) => [opcode, header.getUint8(2)]);
    expect(reasons).toEqual([
      [Opcode.reject, 4],
      [Opcode.reject, 4],
    ]);
    expect(world.server.sessions()[0]).toMatchObject({ kind: 'discovery', targetName: '' });
    world.pass(31_000);
    expect(initiator.isDropped).toBe(true);
    expect(world.server.sessions()).toEqual([]);
  });
});
