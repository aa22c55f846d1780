/**
 * The client of a simulated pool with views: submits operations, tells the oracle what was asked and answered, and
 * checks each refusal against the model. It never looks inside the store.
 */
import { present, unreachable } from '../../src/base/assert.ts';
import type { Outcome } from '../../src/base/errors.ts';
import {
  type BlockDevice,
  blockSizeBytes,
  IoKind,
  IoRequest,
  IoStatus,
} from '../../src/device/block-device.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { ackModeOf, submitCatalogueOp } from './catalogue-operation.ts';
import { fillRequest, type OpenSource } from './data-request.ts';
import { Miscompares } from './miscompares.ts';
import { type DataOp, expectedBytes, isDataOp, readBytes } from './model.ts';
import { Violation } from './oracle.ts';
import type { StoreProcess } from './store-process.ts';
import {
  type CatalogueOp,
  describeViewOp,
  endsDevices,
  refusalOf,
  type ViewOp,
} from './view-model.ts';
import type { ViewOracle, ViewRecord } from './view-oracle.ts';

/** Changes what the store is asked, behind the model's back: a store that does something else. */
export interface Mistake {
  readonly catalogue?: (op: CatalogueOp) => CatalogueOp;
  readonly data?: (op: DataOp) => DataOp;
}

export interface ViewClientOptions {
  readonly process: StoreProcess;
  readonly oracle: ViewOracle;
  readonly onEvent: (what: string) => void;
  readonly mistake: Mistake | undefined;
}

export class ViewClient {
  readonly #process: StoreProcess;
  readonly #oracle: ViewOracle;
  readonly #onEvent: (what: string) => void;
  readonly #mistake: Mistake;
  readonly #deviceById = new Map<number, BlockDevice>();
  readonly #miscompares = new Miscompares();
  #pendingCount = 0;
  #lazyPendingCount = 0;
  #catalogueOp: CatalogueOp | undefined;

  constructor(options: ViewClientOptions) {
    this.#process = options.process;
    this.#oracle = options.oracle;
    this.#onEvent = options.onEvent;
    this.#mistake = options.mistake ?? {};
  }

  /** Requests that have not been answered. */
  get pendingCount(): number {
    this.#miscompares.requireNone();
    return this.#pendingCount;
  }

  /** Writes of write-back volumes that have not been answered. */
  get lazyPendingCount(): number {
    return this.#lazyPendingCount;
  }

  get isCatalogueBusy(): boolean {
    return this.#catalogueOp !== undefined;
  }

  /** `fua`: a write-back volume answers when it is durable. */
  submit(op: ViewOp, fua: boolean): void {
    this.#pendingCount += 1;
    if (isDataOp(op)) this.#openAndSubmit(op, fua);
    else this.#submitCatalogue(op);
  }

  flush(volumeId: number): void {
    const isWriteBack = this.#oracle.now.volumes.get(volumeId)?.isWriteBack === true;
    const { lazyCount } = this.#oracle;
    this.#pendingCount += 1;
    const request = new IoRequest(() => {
      this.#pendingCount -= 1;
      this.#onEvent(`answer ${request.status} to flush of ${volumeId}`);
      if (request.status !== IoStatus.ok) throw new Violation(`flush: status ${request.status}`);
      if (isWriteBack) this.#oracle.flushed(lazyCount);
    });
    request.kind = IoKind.flush;
    this.#device(volumeId).submit(request);
  }

  #device(volumeId: number): BlockDevice {
    const known = this.#deviceById.get(volumeId);
    if (known !== undefined) return known;
    const device = this.#process.openVolume(this.#name(volumeId));
    this.#deviceById.set(volumeId, device);
    return device;
  }

  #name(volumeId: number): string {
    return present(this.#oracle.now.volumes.get(volumeId), `volume ${volumeId}`).name;
  }

  /** A clone's source is opened first: the head of a volume at once, a snapshot after a while. */
  #openAndSubmit(op: DataOp, fua: boolean): void {
    if (op.kind !== 'clone') {
      this.#submitData(op, fua, undefined);
    } else if (op.snapshot === undefined) {
      const device = this.#device(op.source);
      this.#submitData(op, fua, { device, close: () => undefined });
    } else {
      const name = this.#name(op.source);
      this.#process.pool.snapshotOpen(name, op.snapshot.name, (outcome) => {
        if (!outcome.ok) throw new Violation(`${describeViewOp(op)}: ${outcome.error.message}`);
        this.#submitData(op, fua, outcome.value);
      });
    }
  }

  #submitData(op: DataOp, fua: boolean, source: OpenSource | undefined): void {
    const volume = present(this.#oracle.now.volumes.get(op.volume), `volume ${op.volume}`);
    const isLazy = volume.isWriteBack && !fua;
    const { contents } = this.#oracle;
    const expected =
      op.kind === 'compareAndWrite' ? expectedBytes(volume, op, contents) : undefined;
    const request = new IoRequest(() => {
      this.#pendingCount -= 1;
      if (isLazy) this.#lazyPendingCount -= 1;
      source?.close();
      this.#settle(record, request);
    });
    request.fua = fua;
    const asked = this.#mistake.data?.(op) ?? op;
    const isReady = fillRequest(request, asked, {
      expected,
      source: source?.device,
      allocate: (offset, length) => this.#process.allocate(offset, length),
    });
    if (!isReady) throw new Violation('no staging for a small queue');
    this.#onEvent(`submit ${describeViewOp(op)}${fua ? ' (FUA)' : ''}`);
    if (isLazy) this.#lazyPendingCount += 1;
    const record = this.#oracle.submit(op, isLazy);
    this.#device(op.volume).submit(request);
  }

  #settle(record: ViewRecord, request: IoRequest): void {
    const { op } = record;
    const { status } = request;
    const what = describeViewOp(op);
    this.#onEvent(`answer ${status} to ${what}`);
    if (status === IoStatus.ok) {
      this.#requireEqual(op, request.expected);
      this.#publish(record);
      return;
    }
    if (status === IoStatus.miscompare) this.#judge(op, request);
    else if (!this.#mayRefuse(op, status)) {
      throw new Violation(`${what} answered with status ${status}`);
    }
    this.#oracle.refuse(record);
  }

  #publish(record: ViewRecord): void {
    this.#oracle.publish(record);
    this.#miscompares.published();
  }

  #bytesNow(op: DataOp): Uint8Array | undefined {
    const volume = this.#oracle.now.volumes.get(op.volume);
    return volume && readBytes(volume.blocks, op.offset, op.length, this.#oracle.contents);
  }

  /** A compare-and-write that succeeded found what it expected. */
  #requireEqual(op: ViewOp, expected: Uint8Array | undefined): void {
    if (op.kind !== 'compareAndWrite' || expected === undefined) return;
    if (Buffer.compare(this.#bytesNow(op) ?? expected, expected) === 0) return;
    throw new Violation(`${describeViewOp(op)} succeeded where something else is`);
  }

  /** The store says that the bytes differ. */
  #judge(op: ViewOp, { expected, miscompareOffset }: IoRequest): void {
    if (op.kind !== 'compareAndWrite' || expected === undefined) {
      throw new Violation(`${describeViewOp(op)} was compared`);
    }
    this.#miscompares.add({
      op,
      expected,
      miscompareOffset,
      present: () => this.#bytesNow(op),
    });
  }

  /** A request that waited finds its place cut off, its volume moved to another line, or deleted. */
  #mayRefuse(op: ViewOp, status: IoStatus): boolean {
    const running = this.#catalogueOp;
    const isConcerned =
      running?.volume === op.volume || (op.kind === 'clone' && running?.volume === op.source);
    if (running === undefined || !isConcerned) return false;
    if (status === IoStatus.invalid) return running.kind === 'volumeResize';
    return status === IoStatus.shuttingDown && endsDevices(running);
  }

  #submitCatalogue(op: CatalogueOp): void {
    this.#catalogueOp = op;
    this.#onEvent(`submit ${describeViewOp(op)}`);
    const record = this.#oracle.submit(op, false);
    this.#call(this.#mistake.catalogue?.(op) ?? op, (outcome) => {
      this.#pendingCount -= 1;
      this.#catalogueOp = undefined;
      this.#settleCatalogue(op, record, outcome);
    });
  }

  #settleCatalogue(op: CatalogueOp, record: ViewRecord, outcome: Outcome<unknown>): void {
    const refusal = refusalOf(this.#oracle.now, op);
    const answer = outcome.ok ? 'done' : `${outcome.error.code}: ${outcome.error.message}`;
    this.#onEvent(`${answer}: ${describeViewOp(op)}`);
    if ((outcome.ok ? undefined : outcome.error.code) !== refusal) {
      throw new Violation(`${describeViewOp(op)}: ${answer}, instead of ${refusal ?? 'done'}`);
    }
    if (!outcome.ok) {
      this.#oracle.refuse(record);
      return;
    }
    this.#publish(record);
    if (endsDevices(op)) this.#requireEnded(op.volume);
  }

  /** A device that was open before must not reach the volume any more. */
  #requireEnded(volumeId: number): void {
    const device = this.#deviceById.get(volumeId);
    if (device === undefined) return;
    this.#deviceById.delete(volumeId);
    const statuses: IoStatus[] = [];
    const request = new IoRequest(() => {
      statuses.push(request.status);
    });
    request.kind = IoKind.trim;
    request.length = blockSizeBytes;
    device.submit(request);
    if (statuses[0] !== IoStatus.shuttingDown) {
      throw new Violation(`an old device of volume ${volumeId} still takes requests`);
    }
  }

  #call(op: CatalogueOp, done: (outcome: Outcome<unknown>) => void): void {
    const { pool } = this.#process;
    if (op.kind === 'viewCreate') {
      const { name, isClone } = op;
      const source = this.#name(op.source);
      pool.viewCreate({ source, name, at: momentText(op.at), isClone }, done);
      return;
    }
    this.#change(pool, op, done);
  }

  #change(
    pool: Pool,
    op: Exclude<CatalogueOp, { kind: 'viewCreate' }>,
    done: (outcome: Outcome<unknown>) => void,
  ): void {
    const nameOf = (volume: number): string => this.#name(volume);
    switch (op.kind) {
      case 'viewRefresh':
        pool.viewRefresh({ name: nameOf(op.volume), at: momentText(op.at) }, done);
        break;
      case 'viewPromote':
        pool.viewPromote(nameOf(op.volume), done);
        break;
      case 'volumeRollback':
        pool.volumeRollback({ name: nameOf(op.volume), to: momentText(op.to) }, done);
        break;
      case 'volumeUndo':
        pool.volumeUndoRollback(nameOf(op.volume), done);
        break;
      case 'volumeSetAck':
        pool.volumeSetAck({ name: nameOf(op.volume), ack: ackModeOf(op.isWriteBack) }, done);
        break;
      case 'snapshotCut': {
        const volumes = [op.volume, ...op.others].map(nameOf);
        const targets = volumes.map((volume) => ({ volume, name: op.name }));
        pool.snapshotCreate(targets, done);
        break;
      }
      case 'volumeCreate':
      case 'luState':
      case 'volumeRename':
      case 'volumeResize':
      case 'volumeDelete':
      case 'snapshotCreate':
      case 'snapshotDelete':
        submitCatalogueOp(pool, op, nameOf, done);
        break;
      default:
        unreachable(op);
    }
  }
}

function momentText(snapshot: string | undefined): string {
  return snapshot === undefined ? 'now' : `snapshot:${snapshot}`;
}
