/**
 * COMPARE AND WRITE, SBC-3 5.3: the lock of clustered file systems, and their heartbeat. All of it is one request to the
 * device, atomic under the line's range lock against every overlapping command of every session and of NBD.
 *
 *     data-out   ├── expected, n blocks ──┼── to write, n blocks ──┤
 */
import { IoKind, IoStatus } from '../device/block-device.ts';
import { range16, takeRange } from './block-range.ts';
import { byteAt } from './bytes.ts';
import type { Command } from './command.ts';
import { Mover } from './mover.ts';
import type { Part } from './part.ts';
import { refuseReserved } from './refuse-reserved.ts';
import { cdbField, SenseCode } from './sense.ts';

const fuaMask = 0x0a;
const blocksAt = 13;

export function compareAndWrite(command: Command): void {
  const { cdb, task } = command;
  const blocks = byteAt(cdb, blocksAt);
  const length = takeRange(command, range16.lba(cdb), blocks);
  if (length < 0) return;
  // Half a comparison is none, and 256 blocks look like 0 in the CDB: the data must be there to the byte.
  if (task.dataOutBytes !== 2 * length) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(blocksAt, 7) });
    return;
  }
  if (length === 0) {
    command.succeed();
    return;
  }
  command.fua = (byteAt(cdb, 1) & fuaMask) !== 0;
  command.receiveParameters(2 * length, (_command, data) => {
    command.startWork(new CompareAndWrite(data));
  });
}

class CompareAndWrite extends Mover {
  readonly #data: Uint8Array;
  readonly #length: number;
  #isWaiting = false;
  #isSubmitted = false;

  constructor(data: Uint8Array) {
    super();
    this.#data = data;
    this.#length = data.length / 2;
  }

  override settled(command: Command): void {
    if (this.#isSubmitted) command.succeed();
    else if (!this.#isWaiting && !command.isAborting) this.#start(command);
  }

  override partDone(command: Command, part: Part): void {
    if (part.io.status !== IoStatus.ok) command.noteFailure(part.io);
    part.io.payload = undefined;
    command.services.parts.give(part);
  }

  override retry(command: Command): boolean {
    const { staging } = command.services;
    const payload = staging.allocateForWaiter(command.offset, this.#length);
    if (payload === undefined) return false;
    // The payload is not kept over the turn: the device gets it at once, or nobody.
    this.#isWaiting = false;
    this.#submit(command, payload);
    return true;
  }

  override cleanup(command: Command): void {
    if (this.#isWaiting) command.services.staging.leave(command);
  }

  #start(command: Command): void {
    const { staging } = command.services;
    const payload = staging.allocate(command.offset, this.#length);
    if (payload !== undefined) {
      this.#submit(command, payload);
      return;
    }
    this.#isWaiting = true;
    staging.wait(command, this.#length);
  }

  #submit(command: Command, payload: NonNullable<Part['io']['payload']>): void {
    if (refuseReserved(command)) {
      payload.release();
      return;
    }
    payload.fill(0, this.#data, this.#length, 2 * this.#length);
    this.#isSubmitted = true;
    const part = command.services.parts.take(command);
    const { io } = part;
    io.kind = IoKind.compareAndWrite;
    io.offset = command.offset;
    io.length = this.#length;
    io.expected = this.#data.subarray(0, this.#length);
    io.payload = payload;
    io.fua = command.fua;
    command.submit(part);
  }
}
