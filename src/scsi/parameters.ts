/** Parameter data and parameter lists: small data that lies in memory, not on the medium. */
import type { Command } from './command.ts';
import { Mover } from './mover.ts';
import type { ReadDone } from './status.ts';

class ParameterIn extends Mover {
  override read(command: Command, target: Uint8Array, at: number, done: ReadDone): void {
    const data = command.parameterData ?? target;
    target.set(data.subarray(at, at + target.length));
    done(command.task, true, at);
  }
}

/** Sends `command.parameterData`. */
export const parameterIn: Mover = new ParameterIn();

/** Collects a parameter list, then runs the next step of the handler. */
export class ParameterOut extends Mover {
  readonly #list: Uint8Array;
  readonly #then: (command: Command, list: Uint8Array) => void;

  constructor(list: Uint8Array, then: (command: Command, list: Uint8Array) => void) {
    super();
    this.#list = list;
    this.#then = then;
  }

  override accept(command: Command, bytes: Uint8Array, start: number, end: number): number {
    this.#list.set(bytes.subarray(start, end), command.moved);
    command.moved += end - start;
    if (command.moved === this.#list.length) command.run(() => this.#then(command, this.#list));
    return end - start;
  }
}

/** Collects what a dormant command sends, and wakes it when its turn came meanwhile. */
export class Preload extends Mover {
  readonly data: Uint8Array;
  #filled = 0;

  constructor(length: number) {
    super();
    this.data = new Uint8Array(length);
  }

  get isComplete(): boolean {
    return this.#filled === this.data.length;
  }

  override accept(command: Command, bytes: Uint8Array, start: number, end: number): number {
    this.data.set(bytes.subarray(start, end), this.#filled);
    this.#filled += end - start;
    if (this.isComplete) command.unit.tasks.advance();
    return end - start;
  }
}
