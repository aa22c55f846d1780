/**
 * The client of a simulated pool: submits operations to the store and tells the oracle what was asked and answered.
 * It never looks inside the store.
 */
import { present, unreachable } from '../../src/base/assert.ts';
import { ErrorCode, type Outcome } from '../../src/base/errors.ts';
import { type BlockDevice, IoKind, IoRequest, IoStatus } from '../../src/device/block-device.ts';
import { stampedBytes } from './content.ts';
import { describeOp, type ModelOp } from './model.ts';
import { type OpRecord, type Oracle, Violation } from './oracle.ts';
import type { StepOp } from './programs.ts';
import type { StoreProcess } from './store-process.ts';

/** What a client lets pass as an answer. `faulty`: disks fail in this run, so any error is an answer. */
export type Tolerance = 'none' | 'faulty';

type DataOp = Extract<ModelOp, { kind: 'write' | 'zero' | 'trim' }>;

function isDataOp(op: ModelOp): op is DataOp {
  return op.kind === 'write' || op.kind === 'zero' || op.kind === 'trim';
}

export class Client {
  readonly #process: StoreProcess;
  readonly #oracle: Oracle;
  readonly #tolerance: Tolerance;
  readonly #onEvent: (what: string) => void;
  readonly #deviceById = new Map<number, BlockDevice>();
  #pendingCount = 0;
  #catalogueCount = 0;

  constructor(
    process: StoreProcess,
    oracle: Oracle,
    tolerance: Tolerance,
    onEvent: (what: string) => void,
  ) {
    this.#process = process;
    this.#oracle = oracle;
    this.#tolerance = tolerance;
    this.#onEvent = onEvent;
  }

  /** Requests that have not been answered. */
  get pendingCount(): number {
    return this.#pendingCount;
  }

  /** Whether a catalogue operation has not been answered. */
  get isCatalogueBusy(): boolean {
    return this.#catalogueCount > 0;
  }

  /** `sequence` is given to a write, to stamp its bytes with. */
  submit(stepOp: StepOp, sequence: number): void {
    const op: ModelOp = stepOp.kind === 'write' ? { ...stepOp, sequence } : stepOp;
    this.#pendingCount += 1;
    if (isDataOp(op)) {
      this.#submitData(op);
    } else {
      this.#onEvent(`submit ${describeOp(op)}`);
      this.#submitCatalogue(op, this.#oracle.submit(op, true));
    }
  }

  flush(volumeId: number): void {
    const publishedCount = this.#oracle.publishedCount;
    this.#pendingCount += 1;
    const request = new IoRequest(() => {
      this.#pendingCount -= 1;
      if (request.status === IoStatus.ok) this.#oracle.flushed(publishedCount);
      else this.#requireTolerance(`flush answered with status ${request.status}`);
    });
    request.kind = IoKind.flush;
    this.#device(volumeId).submit(request);
  }

  #device(volumeId: number): BlockDevice {
    const known = this.#deviceById.get(volumeId);
    if (known !== undefined) return known;
    const volume = present(this.#oracle.now.get(volumeId), `volume ${volumeId}`);
    const device = this.#process.openVolume(volume.name);
    this.#deviceById.set(volumeId, device);
    return device;
  }

  #submitData(op: DataOp): void {
    const request = new IoRequest(() => {
      this.#pendingCount -= 1;
      this.#settle(record, request.status);
    });
    request.offset = op.offset;
    request.length = op.length;
    request.writer = op.kind === 'write' ? op.sequence : 0;
    if (op.kind === 'write') {
      const payload = this.#process.allocate(op.offset, op.length);
      if (payload === undefined) {
        this.#retryWhenFree(op);
        return;
      }
      payload.fill(0, stampedBytes(op.volume, op.sequence, op.offset, op.length), 0, op.length);
      request.kind = IoKind.write;
      request.payload = payload;
    } else {
      request.kind = op.kind === 'zero' ? IoKind.zero : IoKind.trim;
      request.noHole = op.noHole;
    }
    this.#onEvent(`submit ${describeOp(op)}`);
    const isWriteBack = this.#oracle.now.get(op.volume)?.isWriteBack === true;
    const record = this.#oracle.submit(op, !isWriteBack);
    this.#device(op.volume).submit(request);
  }

  #retryWhenFree(op: DataOp): void {
    this.#process.whenFree(() => {
      this.#submitData(op);
    });
  }

  #settle(record: OpRecord, status: IoStatus): void {
    const what = describeOp(record.op);
    this.#onEvent(`answer ${status} to ${what}`);
    switch (status) {
      case IoStatus.ok:
        this.#oracle.publish(record);
        return;
      case IoStatus.invalid:
        // An operation that waited, for a lock or for staging, may find its place cut off by a shrink.
        if (!this.isCatalogueBusy && !this.#isBeyondEnd(record.op)) {
          this.#requireTolerance(`${what} answered with status ${status}`);
        }
        this.#oracle.refuse(record);
        return;
      case IoStatus.miscompare:
      case IoStatus.noSpace:
      case IoStatus.readOnly:
      // An error that a store answers while it lives is one before the log: the block to merge into cannot be read.
      case IoStatus.ioError:
      case IoStatus.shuttingDown:
        this.#requireTolerance(`${what} answered with status ${status}`);
        this.#oracle.refuse(record);
        return;
      default:
        unreachable(status);
    }
  }

  #isBeyondEnd(op: ModelOp): boolean {
    const sizeBytes = this.#oracle.now.get(op.volume)?.sizeBytes ?? 0;
    return isDataOp(op) && op.offset + op.length > sizeBytes;
  }

  #submitCatalogue(op: Exclude<ModelOp, DataOp>, record: OpRecord): void {
    this.#catalogueCount += 1;
    this.#process.catalogue(op, this.#oracle.now, (outcome: Outcome<unknown>) => {
      this.#pendingCount -= 1;
      this.#catalogueCount -= 1;
      const what = describeOp(op);
      if (outcome.ok) {
        this.#onEvent(`done: ${what}`);
        this.#oracle.publish(record);
        return;
      }
      this.#onEvent(`failed: ${what}: ${outcome.error.message}`);
      this.#requireTolerance(`${what} failed: ${outcome.error.message}`);
      const isUnknown =
        outcome.error.code === ErrorCode.unavailable || outcome.error.code === ErrorCode.internal;
      if (isUnknown) this.#oracle.unresolve(record);
      else this.#oracle.refuse(record);
    });
  }

  #requireTolerance(what: string): void {
    if (this.#tolerance === 'none') throw new Violation(`without a fault: ${what}`);
  }
}
