/**
 * EXTENDED COPY(LID1), SPC-4 6.4: the appliance copies between LUNs of the initiator.
 *
 *     choose ─▶ clone ───────────────────────────────────────▶ advance ─▶ choose ...
 *        └────▶ acquire (place, buffer, rate) ─▶ read ─▶ fill ──▲
 *
 * Whole blocks inside a pool are cloned: map entries are shared, no data moves. Ragged edges, and everything between
 * pools, are read and written; what is a hole stays one.
 *
 * Invariants
 * 1. At most one device request of a copy is under way, so an abort waits for one piece and nothing is written after it.
 * 2. Reservations, write protection and the initiator's LUN map were looked at before each piece.
 * 3. Data moves through one buffer per copy; the number of buffers and the rate are bounded.
 */
import { assert, present, unreachable } from '../base/assert.ts';
import type { Timer } from '../base/ports.ts';
import type { Waiter } from '../base/turnstile.ts';
import { type BlockDevice, IoKind, IoStatus } from '../device/block-device.ts';
import type { Payload } from '../device/staging.ts';
import { u32At } from './bytes.ts';
import type { Command } from './command.ts';
import type { CopyRecord } from './copy-desk.ts';
import {
  type CopyProblem,
  copyHeaderBytes,
  copyListMaxBytes,
  decodeCopyList,
} from './copy-parameters.ts';
import { type CopyPiece, type CopyRange, copyRefusal, nextPiece, planCopy } from './copy-plan.ts';
import { Mover } from './mover.ts';
import type { Part } from './part.ts';
import { cdbField, encodeSense, SenseCode, senseMaxBytes } from './sense.ts';
import { ScsiStatus } from './status.ts';

/** Handler of 83h with service action 00h. */
export function extendedCopy(command: Command): void {
  const length = u32At(command.cdb, 10);
  if (length === 0) {
    command.succeed();
  } else if (length < copyHeaderBytes || length > copyHeaderBytes + copyListMaxBytes) {
    command.check(SenseCode.parameterListLengthError, { keySpecific: cdbField(10) });
  } else {
    command.receiveParameters(length, startCopy);
  }
}

function startCopy(command: Command, source: Uint8Array): void {
  const { list, problem } = decodeCopyList(source);
  if (problem !== undefined) {
    command.check(problem.code, problem.detail);
    return;
  }
  const { copies } = command.services;
  const { listId, isListIdStrict } = list;
  let record: CopyRecord | undefined;
  if (listId !== undefined) {
    const isTaken = copies.record(command.place, listId)?.state === 'running';
    if (isTaken && isListIdStrict) {
      command.check(SenseCode.operationInProgress);
      return;
    }
    record = copies.open(command.place, listId);
  }
  const plan = planCopy(command.nexus, list);
  if (plan.problem !== undefined) {
    fail(command, plan.problem, record);
    return;
  }
  command.startWork(new CopyMover(plan.ranges, record));
}

function fail(command: Command, { code, detail }: CopyProblem, record?: CopyRecord): void {
  if (record !== undefined) {
    const sense = new Uint8Array(senseMaxBytes);
    record.state = 'failed';
    record.sense = sense.subarray(0, encodeSense(sense, code, detail, false));
  }
  command.check(code, detail);
}

type Stage = 'choose' | 'clone' | 'acquire' | 'read' | 'fill' | 'advance';

class CopyMover extends Mover {
  readonly #ranges: readonly CopyRange[];
  readonly #record: CopyRecord | undefined;
  #stage: Stage = 'choose';
  #index = 0;
  /** Bytes of the range that are copied. */
  #done = 0;
  #piece: CopyPiece | undefined;
  #status: IoStatus = IoStatus.ok;
  #isHole = false;
  /** A request that counts against reservations of the target is at its device. */
  #writing: CopyRange | undefined;

  #hasPlace = false;
  #buffer: Uint8Array | undefined;
  #payload: Payload | undefined;
  /** Gives up what is being waited for. */
  #stopWaiting: (() => void) | undefined;

  constructor(ranges: readonly CopyRange[], record: CopyRecord | undefined) {
    super();
    this.#ranges = ranges;
    this.#record = record;
  }

  override settled(command: Command): void {
    // Each step but the last submits, waits, or leads to the next one.
    while (this.#stopWaiting === undefined && this.#step(command));
  }

  override partDone(command: Command, part: Part): void {
    const { io } = part;
    this.#status = io.status;
    this.#isHole = io.isHole;
    io.payload = undefined;
    command.services.parts.give(part);
    this.#writing?.target.unit.reservations.copyEnded();
    this.#writing = undefined;
  }

  override cleanup(command: Command): void {
    const { services } = command;
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
    if (this.#record?.state === 'running') this.#record.state = 'failed';
    this.#payload?.release();
    if (this.#buffer !== undefined) services.scratch.give(this.#buffer);
    if (this.#hasPlace) services.copies.give();
    this.#payload = undefined;
    this.#buffer = undefined;
    this.#hasPlace = false;
  }

  get #range(): CopyRange {
    return present(this.#ranges[this.#index], 'range of a copy');
  }

  get #pieceNow(): CopyPiece {
    return present(this.#piece, 'piece of a copy');
  }

  /** Whether the next step can follow at once. */
  #step(command: Command): boolean {
    if (this.#status !== IoStatus.ok) {
      this.#failPiece(command);
      return false;
    }
    const isOver = this.#stage === 'choose' && this.#index === this.#ranges.length;
    // Interrupted: what is complete ends well, anything else ends with what the abort says.
    if (command.isAborting && this.#stage !== 'advance' && !isOver) return false;
    switch (this.#stage) {
      case 'choose':
        return this.#choose(command);
      case 'clone':
        this.#submitClone(command);
        return false;
      case 'acquire':
        return this.#acquire(command);
      case 'read':
        this.#submitRead(command);
        return false;
      case 'fill':
        return this.#fill(command);
      case 'advance':
        this.#advance();
        return true;
      default:
        return unreachable(this.#stage);
    }
  }

  #choose(command: Command): boolean {
    if (this.#index === this.#ranges.length) {
      if (this.#record !== undefined) this.#record.state = 'done';
      command.succeed();
      return false;
    }
    const range = this.#range;
    const source = range.source.unit.device;
    const target = range.target.unit.device;
    const isInPlace = source === target && range.sourceOffset === range.targetOffset;
    if (range.length === 0 || isInPlace) {
      this.#nextRange();
      return true;
    }
    // Its own unit's suspension interrupts the command; that of another one it must look for.
    if (range.source.unit.isSuspended || range.target.unit.isSuspended) {
      this.#giveUp(command);
      return false;
    }
    const code = copyRefusal(command.nexus, range);
    if (code !== undefined) {
      this.#fail(command, code);
      return false;
    }
    const shape = {
      sourceOffset: range.sourceOffset,
      targetOffset: range.targetOffset,
      length: range.length,
      isOneDevice: source === target,
      canClone: target.canCloneFrom(source),
    };
    this.#piece = nextPiece(shape, this.#done);
    this.#stage = this.#piece.isClone ? 'clone' : 'acquire';
    return true;
  }

  #submitClone(command: Command): void {
    const { source, target, sourceOffset, targetOffset } = this.#range;
    const { at, length } = this.#pieceNow;
    const part = command.services.parts.take(command);
    const { io } = part;
    io.kind = IoKind.clone;
    io.offset = targetOffset + at;
    io.length = length;
    io.source = source.unit.device;
    io.sourceOffset = sourceOffset + at;
    this.#stage = 'advance';
    this.#submitWriting(command, part, target.unit.device);
  }

  /** A place among the copies that move data, a buffer, and the piece's share of the rate. */
  #acquire(command: Command): boolean {
    const { copies, scratch, timers } = command.services;
    if (!this.#hasPlace) {
      this.#hasPlace = copies.take();
      if (!this.#hasPlace) {
        this.#waitAt(command, copies, () => (this.#hasPlace = copies.takeForWaiter()));
        return false;
      }
    }
    if (this.#buffer === undefined) {
      this.#buffer = scratch.take();
      if (this.#buffer === undefined) {
        this.#waitAt(command, scratch, () => {
          this.#buffer = scratch.takeForWaiter();
          return this.#buffer !== undefined;
        });
        return false;
      }
    }
    this.#stage = 'read';
    const delayMs = copies.delayMs(this.#pieceNow.length);
    if (delayMs < 1) return true;
    const timer: Timer = timers.after(delayMs, () => {
      this.#resume(command);
    });
    this.#stopWaiting = () => {
      timer.cancel();
    };
    return false;
  }

  #submitRead(command: Command): void {
    const { source, sourceOffset } = this.#range;
    const { at, length } = this.#pieceNow;
    const part = command.services.parts.take(command);
    const { io } = part;
    io.kind = IoKind.read;
    io.offset = sourceOffset + at;
    io.length = length;
    io.target = present(this.#buffer, 'buffer of a copy').subarray(0, length);
    this.#stage = 'fill';
    command.submit(part, source.unit.device);
  }

  /** Writes what was read; a hole becomes one. */
  #fill(command: Command): boolean {
    const { target, targetOffset } = this.#range;
    const { at, length } = this.#pieceNow;
    const offset = targetOffset + at;
    const { staging, parts } = command.services;
    if (!this.#isHole) {
      this.#payload ??= staging.allocate(offset, length);
      if (this.#payload === undefined) {
        const waiter = this.#waiter(command, () => {
          this.#payload = staging.allocateForWaiter(offset, length);
          return this.#payload !== undefined;
        });
        staging.wait(waiter, length);
        this.#stopWaiting = () => {
          staging.leave(waiter);
        };
        return false;
      }
      this.#payload.fill(0, present(this.#buffer, 'buffer of a copy'), 0, length);
    }
    const part = parts.take(command);
    const { io } = part;
    io.kind = this.#isHole ? IoKind.trim : IoKind.write;
    io.offset = offset;
    io.length = length;
    io.payload = this.#payload;
    this.#payload = undefined;
    this.#stage = 'advance';
    this.#submitWriting(command, part, target.unit.device);
    return false;
  }

  #submitWriting(command: Command, part: Part, device: BlockDevice): void {
    assert(this.#writing === undefined, 'one request of a copy at a time');
    this.#writing = this.#range;
    this.#writing.target.unit.reservations.copyStarted();
    command.submit(part, device);
  }

  #advance(): void {
    const { length } = this.#pieceNow;
    this.#done += length;
    if (this.#record !== undefined) this.#record.bytesDone += length;
    this.#stage = 'choose';
    if (this.#done === this.#range.length) this.#nextRange();
  }

  #nextRange(): void {
    this.#index += 1;
    this.#done = 0;
    if (this.#record !== undefined) this.#record.segmentsDone += 1;
  }

  // ---- waiting

  #waitAt(
    command: Command,
    queue: { wait(waiter: Waiter): void; leave(waiter: Waiter): void },
    attempt: () => boolean,
  ): void {
    const waiter = this.#waiter(command, attempt);
    queue.wait(waiter);
    this.#stopWaiting = () => {
      queue.leave(waiter);
    };
  }

  #waiter(command: Command, attempt: () => boolean): Waiter {
    return {
      retry: () => {
        if (!attempt()) return false;
        // The queue is being worked off by somebody else's call: go on in a turn of our own.
        command.services.timers.defer(() => {
          if (this.#stopWaiting !== undefined) this.#resume(command);
        });
        return true;
      },
    };
  }

  #resume(command: Command): void {
    this.#stopWaiting = undefined;
    command.settle();
  }

  // ---- failing

  #failPiece(command: Command): void {
    if (this.#status === IoStatus.shuttingDown) this.#giveUp(command);
    else this.#fail(command, SenseCode.copyThirdPartyFailure);
  }

  /** A volume is being replaced; the initiator comes again. */
  #giveUp(command: Command): void {
    if (this.#record !== undefined) this.#record.state = 'failed';
    command.conclude(ScsiStatus.busy);
  }

  #fail(command: Command, code: SenseCode): void {
    fail(command, { code, detail: { commandSpecific: this.#index } }, this.#record);
  }
}
