/**
 * A task as its handler sees it: CDB, place, data and the ways to end. One per Task, pooled with it.
 *
 *     begin ─▶ dormant ──────────┐ (behind an ORDERED task; collects its data meanwhile)
 *        └───▶ running ─▶ dataOut ─▶ running ─▶ end
 *                    └──▶ dataIn ─────────────▶ end
 *
 * A handler ends its command with exactly one of `succeed`, `check`, `conclude`, now or later, or hands it to a mover, which
 * does. A handler that returns without either holds the command: an abort then waits for it, as it waits for requests that
 * are at the device.
 *
 * Invariants
 * 1. A command ends once per begin; nothing of it is at the device then, and memory was given back.
 * 2. Nothing reads a command after a call that may have ended it, unless `serial` is still the same.
 */
import { assert, present } from '../base/assert.ts';
import type { Waiter } from '../base/turnstile.ts';
import { type BlockDevice, IoKind, type IoRequest } from '../device/block-device.ts';
import type { Payload } from '../device/staging.ts';
import type { CommandRow, Handler } from './command-row.ts';
import { failureOf } from './failure.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { Mover } from './mover.ts';
import type { Nexus, NexusLun } from './nexus.ts';
import { ParameterOut, parameterIn } from './parameters.ts';
import type { Part } from './part.ts';
import { settleResidual } from './residual.ts';
import { encodeSense, SenseCode, type SenseDetail, senseMaxBytes } from './sense.ts';
import type { Services } from './services.ts';
import { type ReadDone, ScsiStatus } from './status.ts';
import type { Task } from './task.ts';

export const Phase = { idle: 0, dormant: 1, running: 2, dataOut: 3, dataIn: 4 } as const;
export type Phase = (typeof Phase)[keyof typeof Phase];

/** How an aborted command ends: without response, with TASK ABORTED, or with BUSY because its unit is suspended. */
export const AbortKind = { none: 0, silent: 1, taskAborted: 2, busy: 3 } as const;
export type AbortKind = (typeof AbortKind)[keyof typeof AbortKind];

export class Command implements Waiter {
  readonly task: Task;
  /** Grows with every end: tells whether a command is still the one it was. */
  serial = 0;
  phase: Phase = Phase.idle;
  row: CommandRow | undefined;
  /** undefined only while the target answers for a LUN that is not mapped. */
  #place: NexusLun | undefined;
  #services: Services | undefined;
  #nexus: Nexus | undefined;
  mover: Mover | undefined;

  // The range of READ, WRITE and their kin, for movers without state.
  /** Device byte offset. */
  offset = 0;
  fua = false;
  /** Data bytes that the device has, or had. */
  cursor = 0;
  /** The payload that is being filled. */
  payload: Payload | undefined;
  /** Payload bytes filled so far. */
  filled = 0;
  /** Bytes of the piece that waits for memory. */
  wanted = 0;
  /** Bytes of a block whose rest is not announced yet; made when first needed, kept with the pooled task. */
  ragged: Uint8Array | undefined;
  raggedBytes = 0;
  /** write or orWrite. */
  kind: IoKind = IoKind.write;
  /** Bytes of the transport's data segment that were not taken yet. */
  announced = 0;
  /** Data bytes that moved between initiator and server. */
  moved = 0;
  /** Bytes that the CDB asks to move. */
  required = 0;
  /** Requests at the device. */
  ioPending = 0;
  parameterData: Uint8Array | undefined;
  /** Data that came while the command was dormant. */
  preloaded: Uint8Array | undefined;
  #fedBytes = 0;

  /** Neighbours in the task set. */
  older: Command | undefined;
  newer: Command | undefined;

  #isHeld = false;
  #isPaused = false;
  #isSettling = false;
  #mustSettleAgain = false;
  #abortKind: AbortKind = AbortKind.none;
  #status: ScsiStatus = ScsiStatus.good;
  #code: number = SenseCode.noSense;
  #detail: SenseDetail | undefined;
  /** The status is that of a request that failed. */
  #hasFailed = false;
  #failedOffset = 0;
  #senseBytes: Uint8Array | undefined;
  #claimedBytes = 0;
  #whenOver: (() => void)[] = [];

  constructor(task: Task) {
    this.task = task;
  }

  // ---- for handlers

  get cdb(): Uint8Array {
    return this.task.cdb;
  }

  get services(): Services {
    return present(this.#services, 'services of a command');
  }

  get nexus(): Nexus {
    return present(this.#nexus, 'nexus of a command');
  }

  /** Where the command runs; handlers of the table are called with one only. */
  get place(): NexusLun {
    return present(this.#place, 'place of a command');
  }

  get unit(): LogicalUnit {
    return this.place.unit;
  }

  /** Somebody aborts this command: do nothing more and end it in any way. */
  get isAborting(): boolean {
    return this.#abortKind !== AbortKind.none;
  }

  /** Ends with GOOD. */
  succeed(): void {
    this.conclude(ScsiStatus.good);
  }

  /** Ends with CHECK CONDITION. */
  check(code: SenseCode, detail?: SenseDetail): void {
    this.#code = code;
    this.#detail = detail;
    this.conclude(ScsiStatus.checkCondition);
  }

  /** Ends with a status that has no sense, or that of a failure that was noted. */
  conclude(status: ScsiStatus): void {
    assert(this.phase !== Phase.idle, 'a command ends once');
    assert(this.ioPending === 0, 'a command ends after its requests');
    this.#status = status;
    this.#end();
  }

  /**
   * Sends `bytes` (kept untouched until the command ends), cut to the allocation length of the CDB, and ends with GOOD.
   * `bytes` is the whole of what there is, so that its length fields stay true when it is cut.
   */
  sendParameters(bytes: Uint8Array, allocationLength: number): void {
    this.parameterData = bytes;
    this.startDataIn(parameterIn, Math.min(bytes.length, allocationLength));
  }

  /**
   * Collects a parameter list of `length` bytes (bounded by the caller) and calls `then` with it; the array is the
   * callee's. An initiator that sends less gets PARAMETER LIST LENGTH ERROR.
   */
  receiveParameters(length: number, then: (command: Command, list: Uint8Array) => void): void {
    this.#openDataOut(length);
    if (this.task.dataOutLength < length) {
      this.check(SenseCode.parameterListLengthError);
      return;
    }
    if (!this.claim(length)) {
      this.conclude(ScsiStatus.taskSetFull);
      return;
    }
    const list = new Uint8Array(length);
    if (length === 0) then(this, list);
    else this.startDataOut(new ParameterOut(list, then), length);
  }

  // ---- for movers

  /** Data comes from the initiator: `length` bytes as the CDB says, to `mover`. At least one byte must be coming. */
  startDataOut(mover: Mover, length: number): void {
    this.#openDataOut(length);
    assert(this.task.dataOutLength > 0, 'data-out has data');
    this.#attach(mover, Phase.dataOut);
    if (this.preloaded !== undefined) this.#feed();
    else this.#owner.onDataOut(this.task);
  }

  /** How many bytes will come for a CDB that wants `length`. */
  outBytes(length: number): number {
    return Math.min(length, this.task.dataOutBytes);
  }

  /** Data goes to the initiator: `length` bytes as the CDB says, from `mover`. */
  startDataIn(mover: Mover, length: number): void {
    const { task } = this;
    this.required = length;
    task.dataInLength = Math.min(length, task.dataInBytes);
    if (task.dataInLength === 0 || this.isAborting) {
      this.conclude(this.isAborting ? ScsiStatus.busy : ScsiStatus.good);
      return;
    }
    this.#attach(mover, Phase.dataIn);
    this.#owner.onDataIn(task);
  }

  /** No data moves between initiator and server any more, or never did: `mover.settled` is called and goes on. */
  startWork(mover: Mover): void {
    this.#attach(mover, Phase.running);
    this.settle();
  }

  /** Gives a request to the device. */
  submit(part: Part, device: BlockDevice = this.unit.device): void {
    this.ioPending += 1;
    device.submit(part.io);
  }

  /** Fails by itself what is under way; the first reason counts. Call `settle` when nothing else will. */
  fail(status: ScsiStatus, code: SenseCode = SenseCode.noSense, detail?: SenseDetail): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#failedOffset = 0;
    this.#status = status;
    this.#code = code;
    this.#detail = detail;
  }

  /** Counts memory that the command takes besides staging; false when there is too much of that already. */
  claim(byteCount: number): boolean {
    if (!this.services.claims.take(this.nexus, byteCount)) return false;
    this.#claimedBytes += byteCount;
    return true;
  }

  /** Remembers how a request failed. Of several failures the one nearest to the start is reported. */
  noteFailure(io: IoRequest): void {
    if (this.#hasFailed && io.offset >= this.#failedOffset) return;
    this.#hasFailed = true;
    this.#failedOffset = io.offset;
    const failure = failureOf(io);
    this.#status = failure.status;
    this.#code = failure.code;
    this.#detail = failure.detail;
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Memory that the command waited for may be there. */
  room(): void {
    if (this.preloaded === undefined) {
      this.#owner.onRoom(this.task);
      return;
    }
    const { serial } = this;
    this.services.timers.defer(() => {
      if (this.serial === serial) this.#feed();
    });
  }

  /** Lets everybody else go first: the mover goes on in the next turn. */
  pause(): void {
    const { serial } = this;
    this.#isPaused = true;
    this.services.timers.defer(() => {
      if (this.serial !== serial) return;
      this.#isPaused = false;
      this.settle();
    });
  }

  /** Goes on when nothing is at the device: ends an aborted or failed command, else asks the mover. */
  settle(): void {
    if (this.#isSettling) {
      this.#mustSettleAgain = true;
      return;
    }
    this.#isSettling = true;
    const { serial } = this;
    do {
      this.#settleOnce();
      // A command that ended is somebody else's by now.
      if (this.serial !== serial) return;
    } while (this.#takeSettleAgain());
    this.#isSettling = false;
  }

  // ---- for task, task set and target

  begin(services: Services, nexus: Nexus, place: NexusLun | undefined): void {
    assert(this.phase === Phase.idle, 'a task is submitted once at a time');
    const { task } = this;
    this.#services = services;
    this.#nexus = nexus;
    this.#place = place;
    this.phase = Phase.running;
    this.row = undefined;
    this.cursor = 0;
    this.filled = 0;
    this.raggedBytes = 0;
    this.announced = 0;
    this.moved = 0;
    this.required = 0;
    this.fua = false;
    this.#fedBytes = 0;
    this.#isHeld = false;
    this.#isPaused = false;
    this.#isSettling = false;
    this.#mustSettleAgain = false;
    this.#abortKind = AbortKind.none;
    this.#status = ScsiStatus.good;
    this.#hasFailed = false;
    this.#detail = undefined;
    task.dataOutLength = 0;
    task.dataInLength = 0;
    task.sense = undefined;
    task.isAborted = false;
  }

  get isActive(): boolean {
    return this.phase !== Phase.idle;
  }

  get isLunMapped(): boolean {
    return this.#place !== undefined;
  }

  /** Runs a handler, or the next step of one. */
  run(step: Handler): void {
    const { serial } = this;
    this.phase = Phase.running;
    this.mover = undefined;
    this.#isHeld = true;
    step(this);
    // An abort that came in the middle of the step waited for it.
    if (this.serial === serial && !this.#isWithHandler()) this.settle();
  }

  /** Collects the data of a command whose turn has not come; `mover` keeps it. */
  sleep(mover: Mover | undefined): void {
    this.phase = Phase.dormant;
    this.mover = mover;
    if (mover === undefined) return;
    this.task.dataOutLength = this.task.dataOutBytes;
    this.#owner.onDataOut(this.task);
  }

  /** Ends the command as soon as nothing of it can be written any more; `over` is called behind `onDone`. */
  abort(kind: AbortKind, over?: () => void): void {
    assert(this.phase !== Phase.idle, 'only a command under way is aborted');
    if (over !== undefined) this.#whenOver.push(over);
    const isStronger = this.#abortKind === AbortKind.none || kind === AbortKind.silent;
    if (isStronger || this.#abortKind === AbortKind.busy) this.#abortKind = kind;
    this.settle();
  }

  /** The unit is suspended: ends with BUSY unless the command is with its handler, or complete. */
  interrupt(over: () => void): void {
    if (this.#isHeld) this.#whenOver.push(over);
    else this.abort(AbortKind.busy, over);
  }

  partDone(part: Part): void {
    const { serial } = this;
    this.ioPending -= 1;
    const { tasks } = this.unit;
    if (this.ioPending === 0 && tasks.hasWriteWaiters) tasks.ioSettled(this);
    present(this.mover, 'mover of a request').partDone(this, part);
    if (this.serial === serial) this.settle();
  }

  /** The mover waited for memory. */
  retry(): boolean {
    return this.mover?.retry(this) ?? true;
  }

  accept(bytes: Uint8Array, start: number, end: number): number {
    if (this.announced === 0) this.announced = end - start;
    return present(this.mover, 'mover of data-out').accept(this, bytes, start, end);
  }

  read(target: Uint8Array, at: number, done: ReadDone): void {
    assert(this.phase === Phase.dataIn, 'reads belong to data-in');
    if (this.#hasFailed || this.isAborting) done(this.task, false, at);
    else present(this.mover, 'mover of data-in').read(this, target, at, done);
  }

  dataInSent(): void {
    assert(this.phase === Phase.dataIn && this.ioPending === 0, 'data-in ends after its reads');
    this.moved = this.task.dataInLength;
    this.succeed();
  }

  // ----

  get #owner(): NonNullable<Task['owner']> {
    return present(this.task.owner, 'owner of a task');
  }

  #openDataOut(length: number): void {
    this.required = length;
    this.task.dataOutLength = this.outBytes(length);
  }

  #attach(mover: Mover, phase: Phase): void {
    this.mover = mover;
    this.phase = phase;
    this.#isHeld = false;
  }

  #feed(): void {
    const { serial, task } = this;
    const preloaded = present(this.preloaded, 'data that came before its turn');
    while (this.#fedBytes < task.dataOutLength) {
      const at = this.#fedBytes;
      this.announced = task.dataOutLength - at;
      const taken = this.accept(preloaded, at, task.dataOutLength);
      if (this.serial !== serial || taken === 0) return;
      this.#fedBytes += taken;
    }
  }

  #takeSettleAgain(): boolean {
    const mustSettle = this.#mustSettleAgain;
    this.#mustSettleAgain = false;
    return mustSettle;
  }

  #isWithHandler(): boolean {
    return this.#isHeld;
  }

  #settleOnce(): void {
    if (this.ioPending > 0 || this.#isHeld) return;
    const isInterrupted = this.#abortKind === AbortKind.busy;
    if (this.#hasFailed || (this.isAborting && !isInterrupted)) {
      this.#end();
      return;
    }
    const { serial } = this;
    if (!this.#isPaused) this.mover?.settled(this);
    // What was complete has ended well by now: a COMPARE AND WRITE that took effect is never answered BUSY.
    if (!isInterrupted || this.serial !== serial) return;
    if (this.ioPending > 0 || this.#isWithHandler()) return;
    this.#status = ScsiStatus.busy;
    this.#end();
  }

  #end(): void {
    const { task } = this;
    const place = this.#place;
    const whenOver = this.#whenOver;
    this.mover?.cleanup(this);
    this.services.claims.give(this.nexus, this.#claimedBytes);
    this.#claimedBytes = 0;
    this.#settleStatus();
    this.mover = undefined;
    this.parameterData = undefined;
    this.preloaded = undefined;
    this.#isHeld = false;
    place?.unit.tasks.leave(this);
    this.phase = Phase.idle;
    this.serial += 1;
    if (whenOver.length > 0) this.#whenOver = [];
    this.#owner.onDone(task);
    for (const over of whenOver) over();
    place?.unit.tasks.advance();
  }

  #settleStatus(): void {
    const { task } = this;
    if (this.isAborting && this.#abortKind !== AbortKind.busy) {
      this.#status = ScsiStatus.taskAborted;
    }
    task.isAborted = this.#abortKind === AbortKind.silent;
    task.status = this.#status;
    if (this.#status === ScsiStatus.checkCondition) {
      this.#senseBytes ??= new Uint8Array(senseMaxBytes);
      const isDescriptor = this.#place?.unit.modePages.isDescriptorSense ?? false;
      const length = encodeSense(this.#senseBytes, this.#code, this.#detail, isDescriptor);
      task.sense = this.#senseBytes.subarray(0, length);
    }
    const direction = this.row?.direction ?? 'none';
    let expected = Math.max(task.dataInBytes, task.dataOutBytes);
    if (direction === 'in') expected = task.dataInBytes;
    if (direction === 'out') expected = task.dataOutBytes;
    const isGood = this.#status === ScsiStatus.good || this.#status === ScsiStatus.conditionMet;
    // A command that failed wanted no more than it was given.
    const required = isGood ? this.required : Math.min(this.required, expected);
    settleResidual(task, expected, required, Math.min(this.moved, expected));
  }
}
