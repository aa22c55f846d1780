/** Device requests of commands, pooled: no object is made per request once warm. */
import { assert, present } from '../base/assert.ts';
import { IoRequest, IoStatus } from '../device/block-device.ts';
import type { Command } from './command.ts';
import type { ReadDone } from './status.ts';

export class Part {
  readonly io: IoRequest;
  #command: Command | undefined;
  /** Reads for the transport: where in the data, and whom to tell. */
  at = 0;
  done: ReadDone | undefined;

  constructor() {
    this.io = new IoRequest(() => {
      this.command.partDone(this);
    });
  }

  get command(): Command {
    return present(this.#command, 'command of a part');
  }

  set command(command: Command | undefined) {
    this.#command = command;
  }
}

/** Free list of one engine. Bounded by what was in flight at once. */
export class PartPool {
  readonly #free: Part[] = [];

  take(command: Command): Part {
    const part = this.#free.pop() ?? new Part();
    part.command = command;
    part.io.status = IoStatus.ok;
    part.io.isHole = false;
    part.io.writer = command.nexus.writer;
    return part;
  }

  give(part: Part): void {
    const { io } = part;
    assert(io.payload === undefined, 'a part is given back without payload');
    part.command = undefined;
    part.done = undefined;
    io.target = undefined;
    io.expected = undefined;
    io.source = undefined;
    io.fua = false;
    io.noHole = false;
    this.#free.push(part);
  }
}
