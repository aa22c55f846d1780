/**
 * Mover: how one kind of command moves its data. Those of READ and WRITE have no state of their own (it lies in the
 * command), so that nothing is made per request; rarer ones are made per command.
 *
 *     transport ─ accept ─▶ Command ─▶ mover ─ submit(part) ─▶ device ─▶ mover.partDone ─▶ mover.settled
 */
import { assert } from '../base/assert.ts';
import type { Command } from './command.ts';
import type { Part } from './part.ts';
import type { ReadDone } from './status.ts';

export class Mover {
  /** Takes data-out bytes; returns how many. The last ones may end the command inside the call. */
  accept(_command: Command, _bytes: Uint8Array, _start: number, _end: number): number {
    assert(false, 'this command takes no data');
  }

  /** Fetches data-in bytes. */
  read(_command: Command, _target: Uint8Array, _at: number, _done: ReadDone): void {
    assert(false, 'this command has no data');
  }

  /** The device finished `part`, which no longer counts as pending. The mover gives it back. */
  partDone(_command: Command, _part: Part): void {
    assert(false, 'this command has no device requests');
  }

  /** Nothing is at the device, nothing failed and nobody aborts: go on, or end the command. */
  settled(_command: Command): void {}

  /** Memory may be there; true when the command needs to wait no longer. */
  retry(_command: Command): boolean {
    return true;
  }

  /** The command ends, well or not: give back what is held. */
  cleanup(_command: Command): void {}
}
