/** Trims and zeros ranges of the device, several requests at a time: UNMAP, and WRITE SAME of zeros. */
import { present } from '../base/assert.ts';
import { type IoKind, IoStatus } from '../device/block-device.ts';
import type { Command } from './command.ts';
import { requestsPerCommandMax } from './limits.ts';
import { Mover } from './mover.ts';
import type { Part } from './part.ts';
import { refuseReserved } from './refuse-reserved.ts';

/** In bytes of the device. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export class RangeWork extends Mover {
  readonly #kind: IoKind;
  readonly #ranges: readonly ByteRange[];
  #next = 0;

  constructor(kind: IoKind, ranges: readonly ByteRange[]) {
    super();
    this.#kind = kind;
    this.#ranges = ranges;
  }

  override settled(command: Command): void {
    if (this.#next === this.#ranges.length) {
      command.succeed();
      return;
    }
    if (command.isAborting || refuseReserved(command)) return;
    // With eight at the device the rest waits for `settled`; one that failed keeps the others from starting.
    const end = Math.min(this.#next + requestsPerCommandMax, this.#ranges.length);
    while (this.#next < end && this.#mayGoOn(command)) {
      const range = present(this.#ranges[this.#next], 'range of a command');
      this.#next += 1;
      this.#submit(command, range);
    }
  }

  override partDone(command: Command, part: Part): void {
    if (part.io.status !== IoStatus.ok) command.noteFailure(part.io);
    command.services.parts.give(part);
  }

  #mayGoOn(command: Command): boolean {
    return !command.hasFailed && !command.isAborting;
  }

  #submit(command: Command, { offset, length }: ByteRange): void {
    const part = command.services.parts.take(command);
    const { io } = part;
    io.kind = this.#kind;
    io.offset = offset;
    io.length = length;
    io.noHole = false;
    io.fua = command.fua;
    command.submit(part);
  }
}
