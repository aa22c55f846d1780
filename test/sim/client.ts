/**
 * The client of a simulated pool: submits operations to the store and tells the oracle what was asked and answered.
 * It never looks inside the store.
 */

import { present, unreachable } from '../../src/base/assert.ts';
import { ErrorCode } from '../../src/base/errors.ts';
import { type BlockDevice, IoKind, IoRequest, IoStatus } from '../../src/device/block-device.ts';
import { submitCatalogueOp } from './catalogue-operation.ts';
import { fillRequest, type OpenSource } from './data-request.ts';
import { Miscompares } from './miscompares.ts';
import {
  type DataOp,
  describeOp,
  expectedBytes,
  isDataOp,
  type ModelOp,
  readBytes,
} from './model.ts';
import { type OpRecord, type Oracle, Violation } from './oracle.ts';
import type { StepOp } from './program-steps.ts';
import type { StoreProcess } from './store-process.ts';

/**
 * What a client lets pass as an answer. `faulty`: disks fail in this run, so any error is an answer; `full`: pools run full, so
 * what brings data may be refused for that, and what does not in a pool that is full at that time.
 */
export type Tolerance = 'none' | 'faulty' | 'full';

export class Client {
  readonly #process: StoreProcess;
  readonly #oracle: Oracle;
  readonly #tolerance: Tolerance;
  readonly #onEvent: (what: string) => void;
  readonly #deviceById = new Map<number, BlockDevice>();
  readonly #miscompares = new Miscompares();
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
    this.#miscompares.requireNone();
    return this.#pendingCount;
  }

  /** Whether a catalogue operation has not been answered. */
  get isCatalogueBusy(): boolean {
    return this.#catalogueCount > 0;
  }

  /** `sequence` is given to a write or a state, to stamp its bytes with. */
  submit(stepOp: StepOp, sequence: number): void {
    // Only operations that are stamped look at it.
    const stamped = { ...stepOp, sequence };
    const op: ModelOp = stamped;
    this.#pendingCount += 1;
    if (isDataOp(op)) {
      this.#withSource(op, (source) => {
        this.#submitData(op, source);
      });
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

  /** Calls `action` with the device that a clone reads; undefined for anything else. */
  #withSource(op: DataOp, action: (source: OpenSource | undefined) => void): void {
    if (op.kind !== 'clone') {
      action(undefined);
    } else if (op.snapshot === undefined) {
      action({ device: this.#device(op.source), close: () => undefined });
    } else {
      const { name } = present(this.#oracle.now.get(op.source), 'source of a clone');
      this.#process.pool.snapshotOpen(name, op.snapshot.name, (outcome) => {
        if (outcome.ok) {
          action(outcome.value);
          return;
        }
        this.#pendingCount -= 1;
        this.#requireTolerance(`${describeOp(op)}: ${outcome.error.message}`);
      });
    }
  }

  #submitData(op: DataOp, source: OpenSource | undefined): void {
    const volume = this.#oracle.now.get(op.volume);
    const { contents } = this.#oracle;
    const expected =
      op.kind === 'compareAndWrite' && volume !== undefined
        ? expectedBytes(volume, op, contents)
        : undefined;
    const request = new IoRequest(() => {
      this.#pendingCount -= 1;
      source?.close();
      if (request.status === IoStatus.miscompare) this.#judge(op, request);
      if (request.status === IoStatus.ok) this.#requireEqual(op, expected);
      this.#settle(record, request.status);
    });
    const isReady = fillRequest(request, op, {
      expected,
      source: source?.device,
      allocate: (offset, length) => this.#process.allocate(offset, length),
    });
    if (!isReady) {
      this.#process.whenFree(() => {
        this.#submitData(op, source);
      });
      return;
    }
    this.#onEvent(`submit ${describeOp(op)}`);
    const record = this.#oracle.submit(op, volume?.isWriteBack !== true);
    this.#device(op.volume).submit(request);
  }

  /** The store says that the bytes differ. */
  #judge(op: DataOp, request: IoRequest): void {
    const { contents } = this.#oracle;
    this.#miscompares.add({
      op,
      expected: request.expected ?? new Uint8Array(0),
      miscompareOffset: request.miscompareOffset,
      present: () => {
        const volume = this.#oracle.now.get(op.volume);
        return volume && readBytes(volume.blocks, op.offset, op.length, contents);
      },
    });
  }

  #publish(record: OpRecord): void {
    this.#oracle.publish(record);
    this.#miscompares.published();
  }

  /** A compare-and-write that succeeded found what it expected. */
  #requireEqual(op: ModelOp, expected: Uint8Array | undefined): void {
    const volume = this.#oracle.now.get(op.volume);
    if (op.kind !== 'compareAndWrite' || volume === undefined) return;
    const found = readBytes(volume.blocks, op.offset, op.length, this.#oracle.contents);
    if (Buffer.compare(found, expected ?? new Uint8Array(0)) === 0) return;
    throw new Violation(`${describeOp(op)} succeeded where something else is`);
  }

  #settle(record: OpRecord, status: IoStatus): void {
    const what = describeOp(record.op);
    this.#onEvent(`answer ${status} to ${what}`);
    switch (status) {
      case IoStatus.ok:
        this.#publish(record);
        return;
      case IoStatus.miscompare:
        if (record.op.kind !== 'compareAndWrite') throw new Violation(`${what} was compared`);
        this.#oracle.refuse(record);
        return;
      case IoStatus.invalid:
        // An operation that waited, for a lock or for staging, may find its place cut off by a shrink.
        if (!this.isCatalogueBusy && !this.#isBeyondEnd(record.op)) {
          this.#requireTolerance(`${what} answered with status ${status}`);
        }
        this.#oracle.refuse(record);
        return;
      case IoStatus.noSpace:
        if (this.#tolerance !== 'full' || !(bringsData(record.op) || this.#isFull)) {
          this.#requireTolerance(`${what} answered with status ${status}`);
        }
        this.#oracle.refuse(record);
        return;
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

  /** Trims are taken as long as there is space, and some time longer. */
  get #isFull(): boolean {
    return this.#process.pool.space().fullReason !== undefined;
  }

  #isBeyondEnd(op: ModelOp): boolean {
    if (!isDataOp(op)) return false;
    const sizeOf = (id: number): number => this.#oracle.now.get(id)?.sizeBytes ?? 0;
    if (op.offset + op.length > sizeOf(op.volume)) return true;
    return op.kind === 'clone' && op.sourceOffset + op.length > sizeOf(op.source);
  }

  #submitCatalogue(op: Exclude<ModelOp, DataOp>, record: OpRecord): void {
    this.#catalogueCount += 1;
    const state = this.#oracle.now;
    const nameOf = (volume: number): string => state.get(volume)?.name ?? '';
    submitCatalogueOp(this.#process.pool, op, nameOf, (outcome) => {
      this.#pendingCount -= 1;
      this.#catalogueCount -= 1;
      const what = describeOp(op);
      if (outcome.ok) {
        this.#onEvent(`done: ${what}`);
        this.#publish(record);
        return;
      }
      this.#onEvent(`failed: ${what}: ${outcome.error.message}`);
      const { code } = outcome.error;
      // A thick volume grows only as far as there is space, and nothing new is made where only deletes have room.
      const isNew = op.kind === 'volumeCreate' || op.kind === 'snapshotCreate';
      const isRefused =
        code === ErrorCode.noSpace && (op.kind === 'volumeResize' || (isNew && this.#isFull));
      if (this.#tolerance !== 'full' || !isRefused) {
        this.#requireTolerance(`${what} failed: ${outcome.error.message}`);
      }
      const isUnknown = code === ErrorCode.unavailable || code === ErrorCode.internal;
      if (isUnknown) this.#oracle.unresolve(record);
      else this.#oracle.refuse(record);
    });
  }

  #requireTolerance(what: string): void {
    if (this.#tolerance !== 'faulty') throw new Violation(`without a fault: ${what}`);
  }
}

function bringsData({ kind }: ModelOp): boolean {
  return kind !== 'zero' && kind !== 'trim';
}
