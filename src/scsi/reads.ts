/** READ(6), (10), (12) and (16), SBC-3 5.15 to 5.18: data goes from the device straight into the transport's buffers. */
import { IoKind, IoStatus } from '../device/block-device.ts';
import { type RangeFields, range6, range10, range12, range16, takeRange } from './block-range.ts';
import type { Command } from './command.ts';
import type { Handler } from './command-row.ts';
import { Mover } from './mover.ts';
import type { Part } from './part.ts';
import type { ReadDone } from './status.ts';

class Reads extends Mover {
  override read(command: Command, target: Uint8Array, at: number, done: ReadDone): void {
    const part = command.services.parts.take(command);
    const { io } = part;
    part.at = at;
    part.done = done;
    io.kind = IoKind.read;
    io.offset = command.offset + at;
    io.length = target.length;
    io.target = target;
    command.submit(part);
  }

  override partDone(command: Command, part: Part): void {
    const { io, at, done } = part;
    const isOk = io.status === IoStatus.ok;
    if (!isOk) {
      // What lies before the first failure can have been sent.
      command.moved = command.hasFailed ? Math.min(command.moved, at) : at;
      command.noteFailure(io);
    } else if (io.isHole) {
      io.target?.fill(0);
    }
    command.services.parts.give(part);
    done?.(command.task, isOk && !command.hasFailed && !command.isAborting, at);
  }
}

const reads: Mover = new Reads();

function readHandler({ lba, blocks }: RangeFields): Handler {
  return (command) => {
    const { cdb } = command;
    const length = takeRange(command, lba(cdb), blocks(cdb));
    if (length < 0) return;
    command.startDataIn(reads, length);
  };
}

export const read6 = readHandler(range6);
export const read10 = readHandler(range10);
export const read12 = readHandler(range12);
export const read16 = readHandler(range16);
