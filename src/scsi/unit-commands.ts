/** Commands about the unit as a whole that a virtual disk answers without doing much. */
import { IoKind, IoStatus } from '../device/block-device.ts';
import { byteAt } from './bytes.ts';
import type { Command } from './command.ts';
import { Mover } from './mover.ts';
import type { Part } from './part.ts';

/** TEST UNIT READY, SPC-4 6.47: whoever gets here is ready. */
export function testUnitReady(command: Command): void {
  command.succeed();
}

/** PREVENT ALLOW MEDIUM REMOVAL, SPC-4 6.17: the medium cannot be removed. */
export function preventAllow(command: Command): void {
  command.succeed();
}

/** SEND DIAGNOSTIC, SPC-4 6.42: the default self-test; the engine would not run if it could not serve. */
export function sendDiagnostic(command: Command): void {
  command.succeed();
}

const startBit = 0x01;
const noFlushBit = 0x04;

/** START STOP UNIT, SBC-3 5.25: there is nothing to spin; stopping makes what was answered durable. */
export function startStopUnit(command: Command): void {
  if ((byteAt(command.cdb, 4) & (startBit | noFlushBit)) === 0) startFlush(command);
  else command.succeed();
}

class Flush extends Mover {
  #isSubmitted = false;

  override settled(command: Command): void {
    if (this.#isSubmitted) {
      command.succeed();
      return;
    }
    this.#isSubmitted = true;
    const part = command.services.parts.take(command);
    part.io.kind = IoKind.flush;
    part.io.offset = 0;
    part.io.length = 0;
    command.submit(part);
  }

  override partDone(command: Command, part: Part): void {
    if (part.io.status !== IoStatus.ok) command.noteFailure(part.io);
    command.services.parts.give(part);
  }
}

/** Ends the command when everything that was answered before is durable. */
export function startFlush(command: Command): void {
  command.startWork(new Flush());
}
