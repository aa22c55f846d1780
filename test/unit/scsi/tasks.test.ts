/** Order, aborts, resets and what else happens to commands besides running. */
import { describe, expect, it } from 'vitest';
import { TaskAttribute } from '../../../src/scsi/status.ts';
import type { ManagementFunction } from '../../../src/scsi/target.ts';
import type { MemoryDevice } from '../../support/memory-device.ts';
import { ask, outcome, pattern, send } from '../../support/scsi-raw.ts';
import { type Exchange, type Initiator, ScsiWorld } from '../../support/scsi-world.ts';

const block = 512;
const write1 = '2a 00 00000000 00 0008 00';
const read1 = '28 00 00000000 00 0008 00';
const data = pattern(8 * block);

interface Scene {
  readonly world: ScsiWorld;
  readonly device: MemoryDevice;
  readonly host: Initiator;
  readonly other: Initiator;
}

function scene(): Scene {
  const world = new ScsiWorld();
  const device = world.makeDevice();
  world.map(0, device);
  return { world, device, host: world.open('host'), other: world.open('other', 2) };
}

/** Runs a task management function; the outcome once it is there. */
function manage(
  { world }: Scene,
  fn: ManagementFunction,
  initiator: Initiator,
  lun = 0,
): { outcome: string | undefined } {
  const result: { outcome: string | undefined } = { outcome: undefined };
  world.target.manage(fn, initiator.nexus, lun, (given) => {
    result.outcome = given;
  });
  return result;
}

function isStored({ world, host, device }: Scene): boolean {
  device.isHolding = false;
  const exchange = ask(world, host, read1, { inBytes: 8 * block });
  return Buffer.compare(exchange.data, data) === 0;
}

const whoIsDone = (exchanges: readonly Exchange[]): boolean[] =>
  exchanges.map(({ isDone }) => isDone);

describe('order', () => {
  const ordered = { attribute: TaskAttribute.ordered };
  it('of simple commands is theirs', () => {
    const { world, host, device } = scene();
    device.isHolding = true;
    const first = send(world, host, write1, { out: data });
    const second = send(world, host, read1);
    expect(device.heldCount).toBe(2);
    device.release(1, true);
    expect(whoIsDone([first, second])).toEqual([false, true]);
  });

  it('keeps an ORDERED command behind older ones, and newer ones behind it', () => {
    const { world, host, other, device } = scene();
    device.isHolding = true;
    const first = send(world, host, write1, { out: data });
    const second = send(world, other, '2a 00 00000010 00 0008 00', { ...ordered, out: data });
    const third = send(world, host, read1);
    const head = send(world, host, '00', { attribute: TaskAttribute.headOfQueue });
    expect(whoIsDone([first, second, third, head])).toEqual([false, false, false, true]);
    expect(device.heldCount).toBe(1);
    device.release();
    world.run();
    expect(whoIsDone([first, second, third])).toEqual([true, false, false]);
    device.release();
    world.run();
    expect(whoIsDone([first, second, third])).toEqual([true, true, false]);
    device.release();
    expect([first, second, third].map(outcome)).toEqual(['good', 'good', 'good']);
  });

  it('takes data of commands that wait, and writes it when their turn comes', () => {
    const scenery = scene();
    const { world, host, device } = scenery;
    device.isHolding = true;
    const first = send(world, host, read1);
    const second = send(world, host, write1, { ...ordered, out: data, sendBytesMax: 1000 });
    device.release();
    world.run();
    expect(first.isDone).toBe(true);
    expect(device.heldCount).toBe(0);
    second.sendRest();
    world.run();
    device.release();
    expect(outcome(second)).toBe('good');
    expect(isStored(scenery)).toBe(true);
  });

  it('bounds what waiting commands may hold', () => {
    const { world, host, device } = scene();
    device.isHolding = true;
    const first = send(world, host, read1);
    const large = new Uint8Array(6 << 20);
    const cdb = `aa 00 00000000 ${(large.length / block).toString(16).padStart(8, '0')} 00 00`;
    const second = send(world, host, cdb, { ...ordered, out: large });
    const third = send(world, host, cdb, { ...ordered, out: large });
    expect([second.isDone, outcome(third)]).toEqual([false, 'status 28']);
    while (!second.isDone) {
      device.release();
      world.run();
    }
    expect([first, second].map(outcome)).toEqual(['good', 'good']);
  });

  it('has no ACA', () => {
    const { world, host } = scene();
    const exchange = ask(world, host, '00', { attribute: TaskAttribute.aca });
    expect(outcome(exchange)).toBe('5/49/00');
  });
});

describe('ABORT TASK', () => {
  it('waits for the device, then neither answers nor writes', () => {
    const { world, host, device } = scene();
    device.isHolding = true;
    const exchange = send(world, host, write1, { out: data });
    let isOver = false;
    world.target.abortTask(exchange.task, () => {
      isOver = true;
    });
    expect([isOver, exchange.isDone]).toEqual([false, false]);
    device.release();
    expect([isOver, exchange.isDone, exchange.task.isAborted]).toEqual([true, true, true]);
    device.isRecording = true;
    world.run();
    expect(device.record).toEqual([]);
  });

  it('ends at once what waits for its initiator, and gives memory back', () => {
    const scenery = scene();
    const { world, host } = scenery;
    const free = world.staging.freeBytes;
    const exchange = send(world, host, write1, { out: data, sendBytesMax: 0 });
    exchange.task.expect(8 * block);
    exchange.task.accept(data, 0, 1000);
    expect(world.staging.freeBytes).toBeLessThan(free);
    let isOver = false;
    world.target.abortTask(exchange.task, () => {
      isOver = true;
    });
    expect([isOver, exchange.task.isAborted]).toEqual([true, true]);
    expect(world.staging.freeBytes).toBe(free);
    expect(isStored(scenery)).toBe(false);
  });

  it('of a command behind an ORDERED one lets the rest go on', () => {
    const { world, host, device } = scene();
    device.isHolding = true;
    send(world, host, read1);
    const second = send(world, host, write1, { out: data, attribute: TaskAttribute.ordered });
    const third = send(world, host, '00');
    world.target.abortTask(second.task, () => {});
    expect([second.task.isAborted, outcome(third)]).toEqual([true, 'good']);
  });

  it('of a command that is over is complete', () => {
    const { world, host } = scene();
    const exchange = ask(world, host, '00');
    let isOver = false;
    world.target.abortTask(exchange.task, () => {
      isOver = true;
    });
    expect(isOver).toBe(true);
  });

  it('of a read under way waits for its buffers', () => {
    const { world, host, device } = scene();
    device.isHolding = true;
    const exchange = send(world, host, '28 00 00000000 00 1800 00', { inBytes: 3 << 20 });
    expect(device.heldCount).toBe(3);
    let isOver = false;
    world.target.abortTask(exchange.task, () => {
      isOver = true;
    });
    device.release(2);
    expect(isOver).toBe(false);
    device.release();
    expect([isOver, exchange.task.isAborted]).toEqual([true, true]);
  });
});

describe('aborting sets of tasks', () => {
  it('ABORT TASK SET ends those of its nexus only', () => {
    const scenery = scene();
    const { world, host, other, device } = scenery;
    device.isHolding = true;
    const own = send(world, host, write1, { out: data });
    const foreign = send(world, other, read1);
    const result = manage(scenery, 'abortTaskSet', host);
    expect(result.outcome).toBeUndefined();
    device.release(1);
    expect([result.outcome, own.task.isAborted, foreign.isDone]).toEqual(['complete', true, false]);
    device.release();
    expect(outcome(foreign)).toBe('good');
  });

  it('CLEAR TASK SET ends those of others with TASK ABORTED', () => {
    const scenery = scene();
    const { world, host, other, device } = scenery;
    device.isHolding = true;
    const own = send(world, host, write1, { out: data });
    const foreign = send(world, other, write1, { out: data });
    const result = manage(scenery, 'clearTaskSet', host);
    device.release();
    expect(result.outcome).toBe('complete');
    expect(own.task.isAborted).toBe(true);
    expect([foreign.task.isAborted, outcome(foreign)]).toEqual([false, 'status 40']);
    expect(other.attentions()).toEqual([]);
  });

  it('without TAS the others get a unit attention and no response', () => {
    const scenery = scene();
    const { world, host, other, device } = scenery;
    const control = '0a0a 02 10 00 00 00 00 ff ff 00 00';
    ask(world, host, '15 10 00 00 10 00', {
      out: Uint8Array.from(Buffer.from(`00000000${control}`.replaceAll(' ', ''), 'hex')),
    });
    other.attentions();
    device.isHolding = true;
    const foreign = send(world, other, write1, { out: data });
    manage(scenery, 'clearTaskSet', host);
    device.release();
    expect(foreign.task.isAborted).toBe(true);
    expect(other.attentions()).toEqual(['6/2f/00']);
  });

  it('LOGICAL UNIT RESET ends all, ends RESERVE(6), and tells everybody', () => {
    const scenery = scene();
    const { world, host, other, device } = scenery;
    expect(outcome(ask(world, other, '16'))).toBe('good');
    expect(outcome(ask(world, host, '00'))).toBe('status 18');
    device.isHolding = true;
    const foreign = send(world, other, write1, { out: data });
    const result = manage(scenery, 'lunReset', host);
    expect(result.outcome).toBeUndefined();
    device.release();
    expect([result.outcome, outcome(foreign)]).toEqual(['complete', 'status 40']);
    expect(host.attentions()).toEqual(['6/29/03']);
    expect(other.attentions()).toEqual(['6/29/03']);
    expect(outcome(ask(world, host, '00'))).toBe('good');
  });

  it('TARGET WARM RESET resets every unit the nexus sees', () => {
    const scenery = scene();
    scenery.world.map(3, scenery.world.makeDevice());
    scenery.host.attentions();
    scenery.host.attentions(3);
    expect(manage(scenery, 'targetWarmReset', scenery.host).outcome).toBe('complete');
    expect(scenery.host.attentions(0)).toEqual(['6/29/02']);
    expect(scenery.host.attentions(3)).toEqual(['6/29/02']);
  });

  it('of a LUN that does not exist says so', () => {
    const scenery = scene();
    expect(manage(scenery, 'lunReset', scenery.host, 9).outcome).toBe('lunDoesNotExist');
  });
});

describe('the end of a nexus', () => {
  it('comes when nothing of it can be written any more', () => {
    const { world, host, device } = scene();
    device.isHolding = true;
    const writing = send(world, host, write1, { out: data });
    const waiting = send(world, host, write1, { out: data, sendBytesMax: 0 });
    let isOver = false;
    world.target.closeNexus(host.nexus, () => {
      isOver = true;
    });
    expect([isOver, waiting.task.isAborted]).toEqual([false, true]);
    device.release();
    expect([isOver, writing.task.isAborted]).toEqual([true, true]);
    const late = send(world, host, write1, { out: data });
    expect(late.task.isAborted).toBe(true);
  });

  it('ends RESERVE(6)', () => {
    const { world, host, other } = scene();
    ask(world, other, '16');
    expect(outcome(ask(world, host, '00'))).toBe('status 18');
    other.close();
    expect(outcome(ask(world, host, '00'))).toBe('good');
  });

  it('waits for commands at units that were unmapped meanwhile', () => {
    const { world, host, device } = scene();
    device.isHolding = true;
    const exchange = send(world, host, write1, { out: data });
    world.luns.delete(0);
    world.target.lunsChanged(undefined);
    let isOver = false;
    world.target.closeNexus(host.nexus, () => {
      isOver = true;
    });
    expect([isOver, exchange.isDone]).toEqual([false, false]);
    device.release();
    expect([isOver, exchange.isDone]).toEqual([true, true]);
  });
});

describe('a suspended unit', () => {
  it('answers BUSY, and is still when what ran has ended', () => {
    const scenery = scene();
    const { world, host, device } = scenery;
    const unit = [...host.nexus.luns.values()][0]?.unit;
    device.isHolding = true;
    const writing = send(world, host, write1, { out: data });
    const waiting = send(world, host, write1, { out: data, sendBytesMax: 0 });
    let isStill = false;
    unit?.suspend(() => {
      isStill = true;
    });
    expect([isStill, outcome(waiting)]).toEqual([false, 'status 8']);
    expect(outcome(send(world, host, '00'))).toBe('status 8');
    device.release();
    // It was complete: what has taken effect is not answered BUSY.
    expect([isStill, outcome(writing)]).toEqual([true, 'good']);
    unit?.resume();
    expect(outcome(send(world, host, '00'))).toBe('good');
  });

  it('never answers BUSY to a COMPARE AND WRITE that took effect', () => {
    const { world, host, device } = scene();
    const unit = [...host.nexus.luns.values()][0]?.unit;
    device.isHolding = true;
    const out = Uint8Array.from([...new Uint8Array(block), ...pattern(block)]);
    const exchange = send(world, host, '89 00 0000000000000000 000000 01 00 00', { out });
    unit?.suspend(() => {});
    device.release();
    expect(outcome(exchange)).toBe('good');
  });

  it('shows the new device after it was replaced, and says what changed', () => {
    const { world, host } = scene();
    const unit = [...host.nexus.luns.values()][0]?.unit;
    unit?.suspend(() => {});
    unit?.replaceDevice(world.makeDevice({ sizeBytes: 32 << 20 }));
    expect(host.attentions()).toEqual(['6/3f/03', '6/2a/09']);
    const { data: capacity } = ask(world, host, '25');
    expect(new DataView(capacity.buffer).getUint32(0)).toBe(65_535);
  });

  it('that is closed is gone for good', () => {
    const { world, host } = scene();
    const unit = [...host.nexus.luns.values()][0]?.unit;
    unit?.close();
    expect(outcome(ask(world, host, '00'))).toBe('5/25/00');
  });
});

describe('unit attentions', () => {
  it('come first, once per nexus, and INQUIRY, REPORT LUNS and REQUEST SENSE leave them alone', () => {
    const { world, host, other } = scene();
    const unit = [...host.nexus.luns.values()][0]?.unit;
    unit?.resized();
    expect(outcome(ask(world, host, '12 00 00 00ff 00'))).toBe('good');
    expect(outcome(ask(world, host, 'a0 00 00 000000 00001000 00 00'))).toBe('good');
    expect(outcome(ask(world, host, 'ff'))).toBe('6/2a/09');
    expect(outcome(ask(world, host, 'ff'))).toBe('5/20/00');
    expect([...ask(world, other, '03 00 0000 ff 00').data.subarray(0, 14)]).toEqual([
      0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 0x09,
    ]);
    expect(other.attentions()).toEqual([]);
  });

  it('of the soft threshold come once per nexus, also to those who log in later', () => {
    const { world, host } = scene();
    const unit = [...host.nexus.luns.values()][0]?.unit;
    unit?.spaceLow();
    unit?.spaceLow();
    expect(host.attentions()).toEqual(['6/38/07']);
    const late = world.target.openNexus({
      initiatorName: 'iqn.2026-11.test:late',
      isid: new Uint8Array(6),
      targetName: 'iqn.2026-11.test:target',
      portalGroupTag: 1,
      relativePort: 1,
      writer: 9,
    });
    const place = late.luns.get(0);
    expect([place?.attentions.take(), place?.attentions.take()]).toEqual([0x062900, 0x063807]);
    unit?.spaceRecovered();
    unit?.spaceLow();
    expect(host.attentions()).toEqual(['6/38/07']);
  });

  it('tell a host that another unit is at a LUN it knew', () => {
    const { world, host } = scene();
    world.map(0, world.makeDevice());
    expect(host.attentions()).toEqual(['6/29/00', '6/3f/03']);
  });

  it('tell that the LUNs changed, until REPORT LUNS was asked', () => {
    const { world, host } = scene();
    world.map(7, world.makeDevice());
    expect(outcome(ask(world, host, 'a0 00 00 000000 00001000 00 00'))).toBe('good');
    expect(host.attentions()).toEqual([]);
    world.map(8, world.makeDevice());
    expect(host.attentions()).toEqual(['6/3f/0e']);
  });
});
