/**
 * What initiators may rely on, whatever happens: three of them read and write the same blocks with every kind of data transfer
 * and order, abort, reset, log in anew and stop reading, while the device finishes requests in any order and the unit is
 * suspended and replaced. Every block that is read holds the value of one write that the answers so far leave possible: an
 * acknowledged write is there, and nothing of an aborted one shows up after the answer to its abort.
 * Long runs: ISCSI_INTEGRITY_RUNS=1000, from seed ISCSI_INTEGRITY_SEED.
 */
import { describe, expect, it } from 'vitest';
import { assert } from '../../src/base/assert.ts';
import { SeededRandom } from '../sim/random.ts';
import type { IscsiInitiator, Pdu } from '../support/iscsi-initiator.ts';
import { Opcode } from '../support/iscsi-payload.ts';
import { IscsiWorld } from '../support/iscsi-world.ts';
import { read16, testUnitReady, write16 } from '../support/scsi-cdb.ts';

const runs = Number(process.env['ISCSI_INTEGRITY_RUNS'] ?? 30);
const firstSeed = Number(process.env['ISCSI_INTEGRITY_SEED'] ?? 1);
const stepCount = 400;
const blockBytes = 4096;
const blockCount = 40;
const unfinished = Number.POSITIVE_INFINITY;

interface Write {
  readonly kind: 'write';
  readonly value: number;
  readonly first: number;
  readonly count: number;
  readonly began: number;
  /** When nothing of it can be written any more. */
  ended: number;
  isGood: boolean;
  readonly data: Uint8Array;
  /** Was not answered yet. */
  r2t: Pdu | undefined;
}

interface Read {
  readonly kind: 'read';
  readonly first: number;
  readonly count: number;
  readonly began: number;
  readonly data: Uint8Array;
}

interface Abort {
  readonly kind: 'abort';
  readonly tags: readonly number[];
}

type Operation = Write | Read | Abort;

/** Every write there was, and what a reader may see of them. */
class History {
  readonly #writes: Write[] = [];

  add(write: Write): void {
    this.#writes.push(write);
  }

  /** Values that `block` may have for a read from `began` to `ended`. 0: it was never written. */
  possible(block: number, began: number, ended: number): Set<number> {
    const zero = { value: 0, began: -2, ended: -1, isGood: true };
    const here = this.#writes.filter(
      ({ first, count, began: at }) => first <= block && block < first + count && at <= ended,
    );
    const all = [zero, ...here];
    const isOverwritten = (one: { readonly ended: number }): boolean =>
      all.some((other) => other.isGood && other.began > one.ended && other.ended < began);
    return new Set(all.filter((one) => !isOverwritten(one)).map(({ value }) => value));
  }
}

function filled(value: number, count: number): Uint8Array {
  const data = new Uint8Array(count * blockBytes);
  const view = new DataView(data.buffer);
  for (let at = 0; at < data.length; at += 4) view.setUint32(at, value);
  return data;
}

/** Value of one block, all of which must have it. */
function valueOf(data: Uint8Array, index: number): number {
  const view = new DataView(data.buffer, data.byteOffset + index * blockBytes, blockBytes);
  const value = view.getUint32(0);
  for (let at = 4; at < blockBytes; at += 4) assert(view.getUint32(at) === value, 'a torn block');
  return value;
}

class Run {
  readonly #random: SeededRandom;
  readonly #world = new IscsiWorld({
    sizeBytes: 1 << 20,
    slabBytes: 2 << 20,
    limits: {
      windowSize: 32,
      outputMaxBytes: 1 << 19,
      outputPoolMaxBytes: 1 << 20,
      solicitedMaxBytes: 1 << 19,
    },
  });
  readonly #history = new History();
  readonly #initiators: IscsiInitiator[] = [];
  readonly #operations: Map<number, Operation>[] = [];
  #now = 0;
  #lastValue = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    for (const index of [0, 1, 2]) this.#login(index);
  }

  play(): void {
    for (let step = 0; step < stepCount; step += 1) {
      this.#now += 1;
      this.#step(this.#pick(3));
      this.#pump();
    }
    this.#finish();
    this.#check();
  }

  #pick(count: number): number {
    return this.#random.below(count);
  }

  #initiator(index: number): IscsiInitiator {
    const initiator = this.#initiators[index];
    assert(initiator !== undefined, 'an initiator');
    return initiator;
  }

  #step(index: number): void {
    const { device } = this.#world;
    const initiator = this.#initiator(index);
    const choice = this.#pick(100);
    if (initiator.isDropped || choice < 2) this.#login(index);
    else if (choice < 37) this.#write(index);
    else if (choice < 57) this.#read(index);
    else if (choice < 66) this.#abort(index, choice < 64);
    else if (choice < 72) device.isHolding = true;
    else if (choice < 80) device.release(1 + this.#pick(4), this.#pick(2) === 0);
    else if (choice < 84) this.#letGo();
    else if (choice < 86) initiator.stream.isTaking = false;
    else if (choice < 90) this.#listen();
    else if (choice < 92) this.#suspend();
    else this.#answerLate(index);
  }

  // ---- what initiators do

  /** The session before, if any, ends; what it had under way may have happened until now, and not later. */
  #login(index: number): void {
    const initiator = this.#world.connect();
    const yes = (): string => (this.#pick(2) === 0 ? 'Yes' : 'No');
    const digest = this.#pick(3) === 0 ? 'CRC32C' : 'None';
    initiator.postLogin({
      isid: index + 1,
      keys: {
        ImmediateData: yes(),
        InitialR2T: yes(),
        MaxBurstLength: '8192',
        FirstBurstLength: '4096',
        HeaderDigest: digest,
        DataDigest: digest,
      },
    });
    if (!initiator.takeLogin()) {
      this.#letGo();
      assert(initiator.takeLogin(), 'a login once the device is done with the old session');
    }
    this.#now += 1;
    for (const operation of this.#operations[index]?.values() ?? []) this.#isOver(operation);
    this.#initiators[index] = initiator;
    this.#operations[index] = new Map();
    this.#now += 1;
  }

  #write(index: number): void {
    const initiator = this.#initiator(index);
    if (!hasWindow(initiator)) return;
    const count = 1 + this.#pick(6);
    const first = this.#pick(blockCount - count);
    this.#lastValue += 1;
    const value = this.#lastValue;
    const data = filled(value, count);
    const place = { first, count, began: this.#now, ended: unfinished };
    const write: Write = { kind: 'write', value, ...place, isGood: false, data, r2t: undefined };
    this.#history.add(write);
    const isImmediate = initiator.keys['ImmediateData'] === 'Yes' && this.#pick(2) === 0;
    const immediateBytes = [512, 1000, 4096][this.#pick(3)] ?? 0;
    const tag = initiator.postCommand({
      cdb: write16(first * 8, count * 8),
      writeBytes: data.length,
      attribute: this.#attribute(),
      ...(isImmediate ? { data: data.subarray(0, immediateBytes) } : {}),
    });
    this.#operations[index]?.set(tag, write);
  }

  #read(index: number): void {
    const initiator = this.#initiator(index);
    if (!hasWindow(initiator)) return;
    const count = 1 + this.#pick(6);
    const first = this.#pick(blockCount - count);
    const data = new Uint8Array(count * blockBytes);
    const cdb = read16(first * 8, count * 8);
    const attribute = this.#attribute();
    const tag = initiator.postCommand({ cdb, readBytes: data.length, attribute });
    this.#operations[index]?.set(tag, { kind: 'read', first, count, began: this.#now, data });
  }

  /** Simple, mostly; ordered; head of queue. */
  #attribute(): number {
    return [1, 1, 1, 1, 2, 3][this.#pick(6)] ?? 1;
  }

  /** ABORT TASK, or ABORT TASK SET and LOGICAL UNIT RESET. */
  #abort(index: number, isOfOne: boolean): void {
    const operations = this.#operations[index] ?? new Map<number, Operation>();
    const tags = [...operations].filter(([, { kind }]) => kind !== 'abort').map(([tag]) => tag);
    const initiator = this.#initiator(index);
    const rtt = tags[this.#pick(Math.max(1, tags.length))];
    if (rtt === undefined) return;
    const shape = isOfOne ? { rtt, refCmdSn: (initiator.cmdSn - 1) >>> 0 } : {};
    const fn = isOfOne ? 1 : this.#pick(2) === 0 ? 2 : 5;
    const tag = initiator.postTaskManagement(fn, shape);
    operations.set(tag, { kind: 'abort', tags: isOfOne ? [rtt] : tags });
  }

  #answerLate(index: number): void {
    const initiator = this.#initiator(index);
    for (const operation of this.#operations[index]?.values() ?? []) {
      if (operation.kind !== 'write' || operation.r2t === undefined) continue;
      if (!initiator.isDropped) initiator.postDataOut(operation.r2t, operation.data, blockBytes);
      operation.r2t = undefined;
    }
  }

  // ---- what happens to them

  #letGo(): void {
    const { device } = this.#world;
    device.isHolding = false;
    device.release(undefined, this.#pick(2) === 0);
  }

  #listen(): void {
    for (const { stream } of this.#initiators) stream.isTaking = true;
  }

  #suspend(): void {
    const unit = this.#world.luns.get(0)?.unit;
    unit?.suspend(() => undefined);
    this.#pump();
    if (this.#pick(2) === 0) unit?.replaceDevice(this.#world.device);
    else unit?.resume();
  }

  #pump(): void {
    this.#world.run();
    for (const [index, initiator] of this.#initiators.entries()) {
      if (!initiator.stream.isTaking || initiator.isDropped) continue;
      for (const pdu of initiator.take()) this.#onPdu(index, pdu);
    }
    this.#world.run();
  }

  #onPdu(index: number, pdu: Pdu): void {
    this.#now += 1;
    assert(pdu.opcode !== Opcode.reject, 'nothing is rejected');
    const operations = this.#operations[index];
    const operation = operations?.get(pdu.itt);
    assert(operation !== undefined, `opcode ${pdu.opcode.toString(16)} for what is over`);
    if (operation.kind === 'abort') this.#onAborted(index, operation);
    else if (operation.kind === 'write') this.#onWrite(index, pdu, operation);
    else this.#onRead(pdu, operation);
    const hasStatus =
      pdu.opcode !== Opcode.r2t && !(pdu.opcode === Opcode.dataIn && (pdu.flags & 1) === 0);
    if (hasStatus) operations?.delete(pdu.itt);
  }

  #onWrite(index: number, pdu: Pdu, write: Write): void {
    if (pdu.opcode === Opcode.r2t) {
      write.r2t = pdu;
      if (this.#pick(7) > 0) this.#answerLate(index);
      return;
    }
    write.isGood = pdu.header.getUint8(3) === 0;
    write.ended = this.#now;
  }

  #onRead(pdu: Pdu, read: Read): void {
    if (pdu.opcode === Opcode.dataIn) read.data.set(pdu.data, pdu.header.getUint32(40));
    const isOver = pdu.opcode === Opcode.response || (pdu.flags & 1) !== 0;
    if (!isOver || pdu.header.getUint8(3) !== 0) return;
    this.#checkBlocks(read);
  }

  #onAborted(index: number, { tags }: Abort): void {
    for (const tag of tags) {
      const operation = this.#operations[index]?.get(tag);
      if (operation !== undefined) this.#isOver(operation);
      this.#operations[index]?.delete(tag);
    }
  }

  #isOver(operation: Operation): void {
    if (operation.kind === 'write') operation.ended = this.#now;
  }

  // ---- what must hold

  #checkBlocks({ first, count, began, data }: Read): void {
    for (let index = 0; index < count; index += 1) {
      const possible = this.#history.possible(first + index, began, this.#now);
      const value = valueOf(data, index);
      const found = `block ${first + index} has ${value}, possible are ${[...possible].join(' ')}`;
      assert(possible.has(value), found);
    }
  }

  /** Everybody behaves; then everything that was begun is answered. */
  #finish(): void {
    this.#listen();
    for (let round = 0; round < 60; round += 1) {
      this.#letGo();
      for (const index of [0, 1, 2]) this.#answerLate(index);
      this.#pump();
    }
    for (const [index, operations] of this.#operations.entries()) {
      assert(this.#initiator(index).isDropped || operations.size === 0, 'all are answered');
    }
  }

  #check(): void {
    this.#login(0);
    const initiator = this.#initiator(0);
    while (initiator.execute({ cdb: testUnitReady() }).status !== 0);
    const began = this.#now;
    const cdb = read16(0, blockCount * 8);
    const { data } = initiator.execute({ cdb, readBytes: blockCount * blockBytes });
    this.#checkBlocks({ kind: 'read', first: 0, count: blockCount, began, data });
    this.#world.server.drop(() => true);
    this.#world.run();
    expect(this.#world.staging.freeBytes).toBe(this.#world.staging.sizeBytes);
  }
}

function hasWindow({ maxCmdSn, cmdSn }: IscsiInitiator): boolean {
  return ((maxCmdSn - cmdSn) | 0) >= 0;
}

describe('three initiators of one unit', () => {
  it.each(Array.from({ length: runs }, (_, index) => firstSeed + index))(
    'find what was acknowledged and nothing that was aborted, seed %i',
    (seed) => {
      new Run(seed).play();
    },
  );
});
