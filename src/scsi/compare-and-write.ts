/**
 * COMPARE AND WRITE, SBC-3 5.3: the lock of clustered file systems, and their heartbeat. All of it is one request to the
 * device, atomic under the line's range lock against every overlapping command of every session and of NBD.
 *
 *     data-out   ├── expected, n blocks ──┼── to write, n blocks ──┤
 */
import { IoKind, type IoRequest } from '../device/block-device.ts';
import type { Payload } from '../device/staging.ts';
import { range16, takeRange } from './block-range.ts';
import { byteAt } from './bytes.ts';
import type { Command } from './command.ts';
import { cdbField, SenseCode } from './sense.ts';
import { StagedMover } from './staged-mover.ts';

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

class CompareAndWrite extends StagedMover {
  readonly #data: Uint8Array;
  readonly #length: number;

  constructor(data: Uint8Array) {
    super();
    this.#data = data;
    this.#length = data.length / 2;
  }

  override pieceBytes(command: Command): number {
    return this.#length - command.cursor;
  }

  override fill(payload: Payload, io: IoRequest, command: Command): void {
    payload.fill(0, this.#data, this.#length, 2 * this.#length);
    io.kind = IoKind.compareAndWrite;
    io.expected = this.#data.subarray(0, this.#length);
    io.fua = command.fua;
  }
}
