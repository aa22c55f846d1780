/**
 * Who was answered before the flush is done with it: what its request was made into since then is not answered by it.
 * Found by random runs on pools with volumes of both kinds (views, seeds 1, 6, 12 and 19).
 */
import { describe, expect, it } from 'vitest';
import { IoKind, IoRequest, IoStatus } from '../../src/device/block-device.ts';
import { AckMode } from '../../src/volume/catalogue/records.ts';
import { ContentTable, stampedBytes, zeroContent } from './content.ts';
import { crashed, loss } from './crash.ts';
import { Machine } from './machine.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';
import { LossStyle } from './virtual-file.ts';

const blockBytes = 4096;
const eventsMax = 10_000;

/** Orders of what runs beside the writes. */
const schedules = 20;

function start(machine: Machine, seed: number): StoreProcess {
  const process = new StoreProcess({ machine, random: new SeededRandom(seed) });
  process.open();
  return process;
}

function create(process: StoreProcess, name: string, ack: AckMode): void {
  let isDone = false;
  process.pool.volumeCreate({ name, sizeBytes: 16 * blockBytes, ack }, (outcome) => {
    isDone = outcome.ok;
  });
  process.runUntil(() => isDone, eventsMax, `volume ${name}`);
}

function flush(process: StoreProcess, name: string): void {
  const request = new IoRequest(() => undefined);
  request.kind = IoKind.flush;
  process.openVolume(name).submit(request);
}

/** Writes block 0 and waits for the answer; returns how often there was one. */
function write(process: StoreProcess, name: string, sequence: number, fua: boolean): () => number {
  let answers = 0;
  const request = new IoRequest(() => {
    answers += 1;
  });
  request.kind = IoKind.write;
  request.length = blockBytes;
  request.fua = fua;
  request.payload = process.allocate(0, blockBytes);
  request.payload?.fill(0, stampedBytes(1, sequence, 0, blockBytes), 0, blockBytes);
  process.openVolume(name).submit(request);
  process.runUntil(() => answers > 0, eventsMax, `write to ${name}`);
  expect(request.status).toBe(IoStatus.ok);
  return () => answers;
}

/** Submits a trim or zero and waits for the answer. */
function clear(process: StoreProcess, change: (request: IoRequest) => void): void {
  let isDone = false;
  const request = new IoRequest(() => {
    isDone = true;
  });
  change(request);
  process.openVolume('fast').submit(request);
  process.runUntil(() => isDone, eventsMax, 'a trim or zero');
}

/** A write is answered before its flush, the flush begins, another write follows: what is lost when the machine is. */
function requireDurableAnswer(name: string, fua: boolean, seed: number): void {
  const machine = new Machine();
  const process = start(machine, seed);
  create(process, 'safe', AckMode.durable);
  create(process, 'fast', AckMode.writeBack);
  write(process, 'fast', 1, false);
  flush(process, 'fast');
  const answers = write(process, name, 2, fua);
  const lost = crashed(machine, loss(LossStyle.none, 0));
  process.runSome(1000);
  expect(answers()).toBe(1);
  process.kill();

  const contents = new ContentTable();
  const observed = start(lost, seed).observe(contents);
  const written = contents.intern(stampedBytes(1, 2, 0, blockBytes));
  expect(observed.get(name)?.contents[0]).toBe(written);
}

describe('a write that follows one answered before its flush', () => {
  for (const { what, name, fua } of [
    { what: 'to a durable volume', name: 'safe', fua: false },
    { what: 'with FUA', name: 'fast', fua: true },
  ]) {
    it(`${what} is answered once, when it is durable`, () => {
      for (let seed = 1; seed <= schedules; seed += 1) requireDurableAnswer(name, fua, seed);
    });
  }
});

describe('a zero with FUA', () => {
  it('is answered when what it found to be zero already is durable', () => {
    const machine = new Machine();
    const process = start(machine, 1);
    create(process, 'fast', AckMode.writeBack);
    write(process, 'fast', 1, true);
    clear(process, (request) => {
      request.kind = IoKind.trim;
      request.length = blockBytes;
    });
    clear(process, (request) => {
      request.kind = IoKind.zero;
      request.offset = 100;
      request.length = 50;
      request.fua = true;
    });
    const lost = crashed(machine, loss(LossStyle.none, 0));
    process.kill();
    const observed = start(lost, 1).observe(new ContentTable());
    expect(observed.get('fast')?.contents[0]).toBe(zeroContent);
  });
});

describe('a log that has left a segment whose last frames are not durable yet', () => {
  it('is read up to its durable end', () => {
    const process = start(new Machine(), 1);
    create(process, 'fast', AckMode.writeBack);
    write(process, 'fast', 1, false);
    let isTaken = false;
    process.pool.snapshotCreate([{ volume: 'fast', name: 'one' }], () => {
      isTaken = true;
    });
    // Published before the snapshot is durable, so that the snapshot must be read from the log.
    write(process, 'fast', 2, false);
    process.runUntil(() => isTaken, eventsMax, 'the snapshot');
    const { durableThrough } = process.pool;
    for (let sequence = 3; sequence < 50; sequence += 1) write(process, 'fast', sequence, false);
    expect(process.pool.durableThrough).toBe(durableThrough);

    const contents = new ContentTable();
    const snapshot = process.observe(contents).get('fast')?.snapshotByName.get('one');
    expect(snapshot?.contents[0]).toBe(contents.intern(stampedBytes(1, 1, 0, blockBytes)));
    process.requireEqualRebuild();
  });
});
