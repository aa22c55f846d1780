/**
 * WRITE(6), (10), (12), (16) and ORWRITE(16), SBC-3 5.40 to 5.43 and 5.14: payload goes from the receive buffer into staging,
 * in pieces that are submitted as soon as each is complete.
 *
 *     data segments   ├──────────┼──────────┼───┤          each announced before its bytes come
 *     pieces          ├────────┼──────────┼─────┤          end on block boundaries of the device
 *                              └ the ragged rest of a segment waits in a small buffer for the next
 *
 * Invariants
 * 1. A piece is opened only when all of its bytes were announced: of the commands that share a connection at most one has a
 *    half-filled payload, and its bytes are the next ones on the wire.
 * 2. One nexus holds at most its share of staging, or a single piece.
 */
import { blockSizeBytes, IoKind, IoStatus, writeAtomicBytes } from '../device/block-device.ts';
import type { Payload } from '../device/staging.ts';
import {
  endWithoutData,
  type RangeFields,
  range6,
  range10,
  range12,
  range16,
  takeRange,
} from './block-range.ts';
import { byteAt } from './bytes.ts';
import type { Command } from './command.ts';
import type { Handler } from './command-row.ts';
import { Mover } from './mover.ts';
import type { Part } from './part.ts';
import { refuseReserved } from './refuse-reserved.ts';

class Writes extends Mover {
  override accept(command: Command, bytes: Uint8Array, start: number, end: number): number {
    const { serial } = command;
    let at = start;
    while (at < end) {
      // What comes behind a failure has nowhere to go; the command ends when the device is done with it.
      if (command.hasFailed || command.isAborting) return end - start;
      const payload = command.payload ?? this.#open(command);
      if (payload === undefined) {
        if (command.wanted > 0) break;
        at += keepRagged(command, bytes, at, end);
        continue;
      }
      const count = Math.min(end - at, payload.length - command.filled);
      payload.fill(command.filled, bytes, at, at + count);
      command.filled += count;
      at += count;
      countTaken(command, count);
      if (command.filled < payload.length) continue;
      this.#submit(command, payload);
      if (command.serial !== serial) return end - start;
    }
    return at - start;
  }

  override partDone(command: Command, part: Part): void {
    const { io } = part;
    const { nexus } = command;
    nexus.stagedBytes -= io.length;
    if (io.status !== IoStatus.ok) command.noteFailure(io);
    io.payload = undefined;
    command.services.parts.give(part);
    const { shareQueue } = nexus;
    if (shareQueue.length > 0) for (const waiting of shareQueue.splice(0)) waiting.room();
  }

  override settled(command: Command): void {
    if (command.cursor === command.task.dataOutLength) command.succeed();
  }

  override retry(command: Command): boolean {
    if (command.payload !== undefined || command.wanted === 0) return true;
    const { staging } = command.services;
    const at = command.offset + command.cursor;
    const payload = staging.allocateForWaiter(at, command.wanted);
    if (payload === undefined) return false;
    this.#begin(command, payload);
    command.room();
    return true;
  }

  override cleanup(command: Command): void {
    const { payload, nexus, services } = command;
    if (command.wanted > 0) services.staging.leave(command);
    command.wanted = 0;
    const queued = nexus.shareQueue.indexOf(command);
    if (queued >= 0) nexus.shareQueue.splice(queued, 1);
    if (payload === undefined) return;
    nexus.stagedBytes -= payload.length;
    command.payload = undefined;
    payload.release();
  }

  /** Opens the next piece; undefined when there is no memory (`wanted` is set) or not even one whole block to come. */
  #open(command: Command): Payload | undefined {
    command.wanted = 0;
    const length = pieceLength(command);
    if (length <= 0) return undefined;
    const { nexus, services } = command;
    const { staging } = services;
    if (nexus.stagedBytes > 0 && nexus.stagedBytes + length > staging.shareBytes) {
      command.wanted = length;
      if (!nexus.shareQueue.includes(command)) nexus.shareQueue.push(command);
      return undefined;
    }
    const payload = staging.allocate(command.offset + command.cursor, length);
    if (payload === undefined) {
      command.wanted = length;
      staging.wait(command, length);
      return undefined;
    }
    this.#begin(command, payload);
    return payload;
  }

  #begin(command: Command, payload: Payload): void {
    command.wanted = 0;
    command.payload = payload;
    command.nexus.stagedBytes += payload.length;
    command.filled = command.raggedBytes;
    const { ragged } = command;
    if (ragged !== undefined && command.raggedBytes > 0) {
      payload.fill(0, ragged, 0, command.raggedBytes);
    }
    command.raggedBytes = 0;
  }

  #submit(command: Command, payload: Payload): void {
    // Somebody may have reserved the unit while the data was on its way.
    if (refuseReserved(command)) return;
    const part = command.services.parts.take(command);
    const { io } = part;
    io.kind = command.kind;
    io.offset = command.offset + command.cursor;
    io.length = payload.length;
    io.payload = payload;
    io.fua = command.fua;
    command.payload = undefined;
    command.filled = 0;
    command.cursor += payload.length;
    command.submit(part);
  }
}

/** Bytes of the next piece: what is known to come, up to a block boundary; 0 when less than that is known to come. */
function pieceLength(command: Command): number {
  const at = command.offset + command.cursor;
  const rest = command.task.dataOutLength - command.cursor;
  const known = Math.min(rest, command.raggedBytes + command.announced);
  const length = Math.min(known, writeAtomicBytes - (at % blockSizeBytes));
  return length === rest ? length : length - ((at + length) % blockSizeBytes);
}

/** Keeps the rest of a segment, which ends inside a block, for the next piece. */
function keepRagged(command: Command, bytes: Uint8Array, start: number, end: number): number {
  command.ragged ??= new Uint8Array(blockSizeBytes);
  const count = Math.min(end - start, blockSizeBytes - command.raggedBytes);
  command.ragged.set(bytes.subarray(start, start + count), command.raggedBytes);
  command.raggedBytes += count;
  countTaken(command, count);
  return count;
}

function countTaken(command: Command, count: number): void {
  command.moved += count;
  command.announced = Math.max(0, command.announced - count);
}

const writes: Mover = new Writes();

/** FUA, and FUA_NV of older standards, which asks for less. */
const fuaMask = 0x0a;

function startWrite(command: Command, length: number, kind: IoKind): void {
  if (length < 0) return;
  command.kind = kind;
  if (command.outBytes(length) > 0) command.startDataOut(writes, length);
  else endWithoutData(command, length);
}

function writeHandler({ lba, blocks }: RangeFields, hasFua = true): Handler {
  return (command) => {
    const { cdb } = command;
    command.fua = hasFua && (byteAt(cdb, 1) & fuaMask) !== 0;
    startWrite(command, takeRange(command, lba(cdb), blocks(cdb)), IoKind.write);
  };
}

export const write6 = writeHandler(range6, false);
export const write10 = writeHandler(range10);
export const write12 = writeHandler(range12);
export const write16 = writeHandler(range16);

/** Each piece is made under the line's range lock, so blocks are never half of one writer. */
export const orWrite16: Handler = (command) => {
  const { cdb } = command;
  command.fua = (byteAt(cdb, 1) & fuaMask) !== 0;
  startWrite(command, takeRange(command, range16.lba(cdb), range16.blocks(cdb)), IoKind.orWrite);
};
