/**
 * VERIFY and WRITE AND VERIFY (10), (12), (16), SBC-3 5.36 to 5.39 and 5.44 to 5.47.
 *
 *     BYTCHK   VERIFY                                     WRITE AND VERIFY
 *     00b      every block can be read                    write, then every block can be read
 *     01b      medium equals the data that is sent        write, then medium equals the data
 *     11b      each block equals the one block sent       reserved
 *
 * Reading checks the store's checksums, so "can be read" is a real verification.
 */
import { IoKind, IoStatus } from '../device/block-device.ts';
import type { Payload } from '../device/staging.ts';
import {
  endWithoutData,
  type RangeFields,
  range10,
  range12,
  range16,
  takeRange,
} from './block-range.ts';
import { byteAt } from './bytes.ts';
import type { Command } from './command.ts';
import type { Handler } from './command-row.ts';
import { firstDifference } from './compare.ts';
import { miscompare } from './failure.ts';
import { logicalBlockBytes, scratchBytes } from './limits.ts';
import { MediumScan } from './medium-scan.ts';
import { Mover } from './mover.ts';
import type { Part } from './part.ts';
import { refuseReserved } from './refuse-reserved.ts';
import { cdbField, SenseCode } from './sense.ts';

const ByteCheck = { none: 0, data: 1, reserved: 2, oneBlock: 3 } as const;

function byteCheckOf(cdb: Uint8Array): number {
  return (byteAt(cdb, 1) >> 1) & 3;
}

function verify({ lba, blocks }: RangeFields): Handler {
  return (command) => {
    const { cdb } = command;
    const check = byteCheckOf(cdb);
    if (check === ByteCheck.reserved) {
      refuseByteCheck(command);
      return;
    }
    const length = takeRange(command, lba(cdb), blocks(cdb));
    if (length < 0) return;
    if (length === 0) command.succeed();
    else if (check === ByteCheck.none)
      command.startWork(new MediumScan(length, { kind: 'readable' }));
    else if (check === ByteCheck.oneBlock) verifyPattern(command, length);
    else startCheck(command, length, { writes: false, compares: true });
  };
}

export const verify10 = verify(range10);
export const verify12 = verify(range12);
export const verify16 = verify(range16);

function writeAndVerify({ lba, blocks }: RangeFields): Handler {
  return (command) => {
    const { cdb } = command;
    const check = byteCheckOf(cdb);
    if (check > ByteCheck.data) {
      refuseByteCheck(command);
      return;
    }
    const length = takeRange(command, lba(cdb), blocks(cdb));
    if (length < 0) return;
    startCheck(command, length, { writes: true, compares: check === ByteCheck.data });
  };
}

export const writeAndVerify10 = writeAndVerify(range10);
export const writeAndVerify12 = writeAndVerify(range12);
export const writeAndVerify16 = writeAndVerify(range16);

function refuseByteCheck(command: Command): void {
  command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(1, 2) });
}

function verifyPattern(command: Command, length: number): void {
  command.receiveParameters(logicalBlockBytes, (_command, block) => {
    command.startWork(new MediumScan(length, { kind: 'pattern', block }));
  });
}

interface CheckMode {
  readonly writes: boolean;
  readonly compares: boolean;
}

function startCheck(command: Command, length: number, mode: CheckMode): void {
  if (command.outBytes(length) > 0) command.startDataOut(new DataCheck(mode), length);
  else endWithoutData(command, length);
}

const Step = { receiving: 0, staging: 1, writing: 2, reading: 3 } as const;
type Step = (typeof Step)[keyof typeof Step];

/** Half of a scratch buffer holds what was sent, the other half what the medium has. */
const pieceBytesMax = scratchBytes / 2;

/**
 * Works piece by piece: receive, write, read back, compare. A piece never reaches further than the data segment that was
 * announced, so a command that waits for its initiator holds no buffer.
 */
class DataCheck extends Mover {
  readonly #mode: CheckMode;
  #step: Step = Step.receiving;
  #scratch: Uint8Array | undefined;
  #isWaiting = false;
  #pieceBytes = 0;
  #filled = 0;
  #payload: Payload | undefined;

  constructor(mode: CheckMode) {
    super();
    this.#mode = mode;
  }

  override accept(command: Command, bytes: Uint8Array, start: number, end: number): number {
    const { serial } = command;
    let at = start;
    while (at < end) {
      if (command.hasFailed || command.isAborting) return end - start;
      const sent = this.#step === Step.receiving ? this.#buffer(command) : undefined;
      if (sent === undefined) break;
      if (this.#filled === 0) this.#pieceBytes = pieceLength(command);
      const count = Math.min(end - at, this.#pieceBytes - this.#filled);
      sent.set(bytes.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      command.moved += count;
      command.announced = Math.max(0, command.announced - count);
      if (this.#filled < this.#pieceBytes) continue;
      this.#step = this.#mode.writes ? Step.staging : Step.reading;
      command.settle();
      if (command.serial !== serial) return end - start;
    }
    return at - start;
  }

  override settled(command: Command): void {
    if (command.isAborting || this.#isWaiting) return;
    if (this.#step === Step.staging) this.#write(command);
    else if (this.#step === Step.reading) this.#readBack(command);
    else if (command.cursor === command.task.dataOutLength) command.succeed();
  }

  override partDone(command: Command, part: Part): void {
    const { io } = part;
    if (io.status !== IoStatus.ok) command.noteFailure(io);
    else if (this.#step === Step.writing) this.#step = Step.reading;
    else this.#compare(command, part);
    io.payload = undefined;
    command.services.parts.give(part);
  }

  override retry(command: Command): boolean {
    const { staging, scratch } = command.services;
    if (this.#step === Step.staging) {
      const at = command.offset + command.cursor;
      this.#payload = staging.allocateForWaiter(at, this.#pieceBytes);
      if (this.#payload === undefined) return false;
      this.#isWaiting = false;
      command.pause();
      return true;
    }
    this.#scratch = scratch.takeForWaiter();
    if (this.#scratch === undefined) return false;
    this.#isWaiting = false;
    command.room();
    return true;
  }

  override cleanup(command: Command): void {
    const { staging, scratch } = command.services;
    if (this.#isWaiting && this.#step === Step.staging) staging.leave(command);
    else if (this.#isWaiting) scratch.leave(command);
    this.#payload?.release();
    this.#payload = undefined;
    this.#giveBuffer(command);
  }

  #buffer(command: Command): Uint8Array | undefined {
    if (this.#scratch !== undefined || this.#isWaiting) return this.#scratch;
    const { scratch } = command.services;
    this.#scratch = scratch.take();
    if (this.#scratch !== undefined) return this.#scratch;
    this.#isWaiting = true;
    scratch.wait(command);
    return undefined;
  }

  #giveBuffer(command: Command): void {
    const buffer = this.#scratch;
    this.#scratch = undefined;
    if (buffer !== undefined) command.services.scratch.give(buffer);
  }

  #write(command: Command): void {
    const { staging, parts } = command.services;
    const at = command.offset + command.cursor;
    const length = this.#pieceBytes;
    this.#payload ??= staging.allocate(at, length);
    const payload = this.#payload;
    if (payload === undefined) {
      this.#isWaiting = true;
      staging.wait(command, length);
      return;
    }
    if (this.#scratch !== undefined) payload.fill(0, this.#scratch, 0, length);
    if (refuseReserved(command)) return;
    this.#payload = undefined;
    this.#step = Step.writing;
    const part = parts.take(command);
    const { io } = part;
    io.kind = IoKind.write;
    io.offset = at;
    io.length = length;
    io.payload = payload;
    // Verified is what lies on the medium, not in a cache.
    io.fua = true;
    command.submit(part);
  }

  #readBack(command: Command): void {
    const part = command.services.parts.take(command);
    const { io } = part;
    io.kind = IoKind.read;
    io.offset = command.offset + command.cursor;
    io.length = this.#pieceBytes;
    io.target = this.#scratch?.subarray(pieceBytesMax, pieceBytesMax + this.#pieceBytes);
    command.submit(part);
  }

  /** The piece was read: compares it, and goes on to the next one or ends. */
  #compare(command: Command, { io }: Part): void {
    const { target } = io;
    const sent = this.#scratch;
    if (this.#mode.compares && target !== undefined && sent !== undefined) {
      if (io.isHole) target.fill(0);
      const difference = firstDifference(sent, target, this.#pieceBytes);
      if (difference >= 0) {
        const { status, detail } = miscompare(command.cursor + difference);
        command.fail(status, SenseCode.miscompareDuringVerify, detail);
        return;
      }
    }
    command.cursor += this.#pieceBytes;
    this.#filled = 0;
    this.#pieceBytes = 0;
    this.#giveBuffer(command);
    this.#step = Step.receiving;
    if (command.cursor < command.task.dataOutLength) command.room();
  }
}

/** Bytes of the next piece: what was announced, as far as a buffer goes. */
function pieceLength(command: Command): number {
  const rest = command.task.dataOutLength - command.cursor;
  return Math.min(rest, command.announced, pieceBytesMax);
}
