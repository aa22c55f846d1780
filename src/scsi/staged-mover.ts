/**
 * Mover of a command that makes by itself what it writes: one payload after another goes to the device, in the turn in which
 * there is memory for it.
 *
 *     settled ─▶ pieceBytes ─▶ staging ── payload ──▶ fill ─▶ device ─▶ settled ...
 *                                 └─ none: waits ─▶ retry ─┘
 */
import { type IoRequest, IoStatus } from '../device/block-device.ts';
import type { Payload } from '../device/staging.ts';
import type { Command } from './command.ts';
import { Mover } from './mover.ts';
import type { Part } from './part.ts';
import { refuseReserved } from './refuse-reserved.ts';

export abstract class StagedMover extends Mover {
  #isWaiting = false;

  /** Bytes of the next request, which begins at the command's cursor; 0 when all was written. */
  abstract pieceBytes(command: Command): number;

  /** Fills the payload of the next request and says what it is; place, length and payload are set. */
  abstract fill(payload: Payload, io: IoRequest, command: Command): void;

  override settled(command: Command): void {
    const length = this.pieceBytes(command);
    if (length === 0) {
      command.succeed();
      return;
    }
    if (command.isAborting || this.#isWaiting) return;
    const { staging } = command.services;
    const payload = staging.allocate(command.offset + command.cursor, length);
    if (payload !== undefined) {
      this.#submit(command, payload);
      return;
    }
    this.#isWaiting = true;
    staging.wait(command, length);
  }

  override partDone(command: Command, part: Part): void {
    const { io } = part;
    if (io.status !== IoStatus.ok) command.noteFailure(io);
    io.payload = undefined;
    command.services.parts.give(part);
  }

  override retry(command: Command): boolean {
    const { staging } = command.services;
    const at = command.offset + command.cursor;
    const payload = staging.allocateForWaiter(at, this.pieceBytes(command));
    if (payload === undefined) return false;
    // The payload is not kept over the turn: the device gets it at once, or nobody.
    this.#isWaiting = false;
    this.#submit(command, payload);
    return true;
  }

  override cleanup(command: Command): void {
    if (this.#isWaiting) command.services.staging.leave(command);
  }

  #submit(command: Command, payload: Payload): void {
    if (refuseReserved(command)) {
      payload.release();
      return;
    }
    const part = command.services.parts.take(command);
    const { io } = part;
    io.offset = command.offset + command.cursor;
    io.length = payload.length;
    io.payload = payload;
    this.fill(payload, io, command);
    command.cursor += payload.length;
    command.submit(part);
  }
}
