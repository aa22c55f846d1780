/**
 * WriteOperation: takes one write, zero or trim through lock, read-modify-write where its ends are ragged, the log, and
 * publication.
 *
 *     whole blocks:  lock (shared) ─▶ log ─▶ published: map set, lock freed, answer
 *     ragged ends:   lock (exclusive) ─▶ read the partial blocks ─▶ log ─▶ published ...
 *
 * A ragged write is one record of whole blocks, so it is atomic. A ragged zero or trim is up to three records (first block
 * written, middle, last block written) that are answered together.
 */
import { present } from '../../base/assert.ts';
import { IoKind, IoRequest, IoStatus } from '../../device/block-device.ts';
import type { Payload, Staging } from '../../device/staging.ts';
import { slotSizeBytes } from '../format/address.ts';
import { flagNoHole, RecordType } from '../format/frame.ts';
import type { LogWriter } from '../log/log-writer.ts';
import { Mutation } from '../log/mutation.ts';
import { holeValue, zeroValue } from '../map/block-map.ts';
import { unknownValue } from '../map/leaf-store.ts';
import type { BlockReader } from './block-reader.ts';
import type { Line } from './line.ts';
import { LockEntry } from './range-lock.ts';

export interface WriteContext {
  readonly reader: BlockReader;
  readonly staging: Staging;
  /** The log; undefined while the pool is read-only. */
  readonly log: () => LogWriter;
}

/** First block, middle, last block. */
const mutationsMax = 3;

export class WriteOperation extends LockEntry {
  readonly #context: WriteContext;
  readonly #onFinished: (operation: WriteOperation) => void;
  readonly #mutations: Mutation[] = [];
  readonly #scratch = new Uint8Array(slotSizeBytes);
  #line: Line | undefined;
  #request: IoRequest = idle;
  #outstanding = 0;
  /** Edges of a zero or trim that were read and wait for staging. */
  #used = 0;

  constructor(context: WriteContext, onFinished: (operation: WriteOperation) => void) {
    super();
    this.#context = context;
    this.#onFinished = onFinished;
    this.onGranted = () => {
      this.#granted();
    };
    for (let index = 0; index < mutationsMax; index += 1) {
      const mutation = new Mutation();
      mutation.onPublished = (published) => {
        this.#published(published);
      };
      mutation.onDurable = () => {
        this.#answered();
      };
      this.#mutations.push(mutation);
    }
  }

  /** `request` is valid and inside the device; a write brings its payload, which this operation releases. */
  begin(request: IoRequest, line: Line): void {
    this.#request = request;
    this.#line = line;
    this.#outstanding = 0;
    this.#used = 0;
    request.status = IoStatus.ok;
    const last = request.offset + request.length;
    this.start = Math.floor(request.offset / slotSizeBytes);
    this.end = Math.ceil(last / slotSizeBytes);
    this.isExclusive = request.offset % slotSizeBytes !== 0 || last % slotSizeBytes !== 0;
    if (line.lock.enter(this)) this.#granted();
  }

  #granted(): void {
    if (this.#lineNow.isGone) {
      this.#finish(IoStatus.shuttingDown);
      return;
    }
    // The volume may have shrunk while this waited for its lock.
    if (this.end > this.#lineNow.blockCount) {
      this.#finish(IoStatus.invalid);
      return;
    }
    if (this.#request.kind === IoKind.write) this.#startWrite();
    else this.#startZero();
  }

  get #lineNow(): Line {
    return present(this.#line, 'line of a write');
  }

  // --- write -------------------------------------------------------------------------------------------------------

  #startWrite(): void {
    if (!this.isExclusive) {
      this.#appendWrite();
      return;
    }
    this.#fillEdge(this.start, 0, (isGood) => {
      if (!isGood) {
        this.#finish(IoStatus.ioError);
      } else if (this.end - this.start > 1) {
        this.#fillEdge(this.end - 1, this.end - 1 - this.start, (isTailGood) => {
          if (isTailGood) this.#appendWrite();
          else this.#finish(IoStatus.ioError);
        });
      } else {
        this.#appendWrite();
      }
    });
  }

  /** Reads `block` and puts what the write does not cover of it into the payload's page `page`. */
  #fillEdge(block: number, page: number, done: (isGood: boolean) => void): void {
    const { offset, length, payload } = this.#request;
    const blockStart = block * slotSizeBytes;
    const before = Math.max(0, offset - blockStart);
    const after = Math.min(slotSizeBytes, offset + length - blockStart);
    if (before === 0 && after === slotSizeBytes) {
      done(true);
      return;
    }
    this.#readBlock(block, this.#scratch, (isGood) => {
      const at = page * slotSizeBytes;
      if (before > 0) payload?.fillAround(at, this.#scratch, 0, before);
      if (after < slotSizeBytes) {
        payload?.fillAround(at + after, this.#scratch, after, slotSizeBytes);
      }
      done(isGood);
    });
  }

  /** Present content of one block into `scratch`. */
  #readBlock(block: number, scratch: Uint8Array, done: (isGood: boolean) => void): void {
    const { map } = this.#lineNow;
    const isLater =
      map.peek(block) === unknownValue &&
      !map.fillLater(block, () => {
        this.#readKnown(block, scratch, done);
      });
    if (!isLater) this.#readKnown(block, scratch, done);
  }

  #readKnown(block: number, scratch: Uint8Array, done: (isGood: boolean) => void): void {
    const value = this.#lineNow.map.lookup(block);
    if (value === unknownValue) {
      done(false);
      return;
    }
    if (value <= 0) {
      scratch.fill(0);
      done(true);
      return;
    }
    const result = this.#context.reader.readRun(value, 1, scratch, (bad) => {
      done(bad < 0);
    });
    if (result !== -2) done(result < 0);
  }

  #appendWrite(): void {
    const mutation = this.#nextMutation(RecordType.write, this.start, this.end - this.start);
    mutation.payload = this.#request.payload;
    this.#request.payload = undefined;
    this.#context.log().append(mutation);
  }

  // --- zero and trim -----------------------------------------------------------------------------------------------

  #startZero(): void {
    const { offset, length } = this.#request;
    const headEnd = Math.min(offset + length, Math.ceil(offset / slotSizeBytes) * slotSizeBytes);
    const tailStart = Math.floor((offset + length) / slotSizeBytes) * slotSizeBytes;
    // One outstanding part of our own keeps the request open until all parts are under way.
    this.#outstanding = 1;
    if (headEnd > offset) this.#zeroEdge(this.start);
    if (tailStart < offset + length && (tailStart > offset || headEnd === offset)) {
      this.#zeroEdge(this.end - 1);
    }
    const first = Math.ceil(offset / slotSizeBytes);
    const count = tailStart / slotSizeBytes - first;
    if (count > 0) this.#appendZero(first, count);
    this.#partDone();
  }

  #appendZero(block: number, count: number): void {
    const { kind, noHole } = this.#request;
    const type = kind === IoKind.trim ? RecordType.trim : RecordType.zero;
    const mutation = this.#nextMutation(type, block, count);
    mutation.flags = kind === IoKind.zero && noHole ? flagNoHole : 0;
    this.#outstanding += 1;
    this.#context.log().append(mutation);
  }

  /** Writes zeros into the covered part of one partial block. */
  #zeroEdge(block: number): void {
    const { map } = this.#lineNow;
    // One that waits for its leaf keeps the request open.
    this.#outstanding += 1;
    const isLater =
      map.peek(block) === unknownValue &&
      !map.fillLater(block, () => {
        this.#zeroKnownEdge(block);
        this.#partDone();
      });
    if (isLater) return;
    this.#zeroKnownEdge(block);
    this.#partDone();
  }

  #zeroKnownEdge(block: number): void {
    const value = this.#lineNow.map.lookup(block);
    if (value <= 0 && value !== unknownValue) {
      this.#awaitZero();
      return;
    }
    this.#outstanding += 1;
    const payload = this.#context.staging.allocateReserved(block * slotSizeBytes);
    if (payload === undefined) {
      this.#outstanding -= 1;
      this.#retryEdgeLater(block);
      return;
    }
    // Both edges may be read at the same time, so each has its own scratch.
    const scratch = new Uint8Array(slotSizeBytes);
    this.#readBlock(block, scratch, (isGood) => {
      if (isGood) {
        this.#appendEdge(block, payload, scratch);
      } else {
        payload.release();
        this.#request.status = IoStatus.ioError;
        this.#partDone();
      }
    });
  }

  /** The block reads as zeros already; with FUA that must be durable, too, and what made it so may not be yet. */
  #awaitZero(): void {
    if (!this.#lineNow.isWriteBack || !this.#request.fua) return;
    this.#outstanding += 1;
    this.#context.log().flush(() => {
      this.#partDone();
    });
  }

  #retryEdgeLater(block: number): void {
    this.#outstanding += 1;
    this.#context.staging.whenFree(() => {
      this.#zeroKnownEdge(block);
      this.#partDone();
    });
  }

  #appendEdge(block: number, payload: Payload, scratch: Uint8Array): void {
    const { offset, length } = this.#request;
    const from = Math.max(0, offset - block * slotSizeBytes);
    const to = Math.min(slotSizeBytes, offset + length - block * slotSizeBytes);
    scratch.fill(0, from, to);
    payload.fill(0, scratch, 0, slotSizeBytes);
    const mutation = this.#nextMutation(RecordType.write, block, 1);
    mutation.payload = payload;
    this.#context.log().append(mutation);
  }

  // --- log and publication -----------------------------------------------------------------------------------------

  #nextMutation(type: RecordType, block: number, count: number): Mutation {
    const mutation = present(this.#mutations[this.#used], 'mutation of a write');
    this.#used += 1;
    mutation.type = type;
    mutation.flags = 0;
    mutation.line = this.#lineNow.id;
    mutation.lba = block;
    mutation.blockCount = count;
    mutation.writer = this.#request.writer;
    mutation.isWriteBack = this.#lineNow.isWriteBack;
    mutation.fua = mutation.isWriteBack && this.#request.fua;
    return mutation;
  }

  #published(mutation: Mutation): void {
    const line = this.#lineNow;
    if (!line.isGone) applyToMap(line, mutation);
    mutation.payload?.release();
    mutation.payload = undefined;
    if (!mutation.fua) this.#answered();
  }

  /** One record is as far as its answer demands. */
  #answered(): void {
    if (this.#request.kind === IoKind.write) this.#finish(this.#request.status);
    else this.#partDone();
  }

  #partDone(): void {
    this.#outstanding -= 1;
    if (this.#outstanding === 0) this.#finish(this.#request.status);
  }

  #finish(status: IoStatus): void {
    const request = this.#request;
    const line = this.#lineNow;
    request.payload?.release();
    request.payload = undefined;
    request.status = status;
    this.#request = idle;
    this.#line = undefined;
    line.lock.leave(this);
    this.#onFinished(this);
    request.onDone(request);
  }
}

/** Brings a published data mutation into the map of its line. */
export function applyToMap(line: Line, mutation: Mutation): void {
  const { parts, type, lba, blockCount, address } = mutation;
  line.lastPosition = mutation.position + mutation.descriptorCount - 1;
  line.map.changedAt = line.lastPosition;
  if (type === RecordType.write) line.writtenBlocks += blockCount;
  if (parts !== undefined) {
    for (const part of parts) {
      line.map.set(part.lba, part.blockCount, mapValue(part.type, part.flags, part.address));
    }
    return;
  }
  line.map.set(lba, blockCount, mapValue(type, mutation.flags, address));
}

/** What a data record puts into the map. */
export function mapValue(type: number, flags: number, address: number): number {
  if (type === RecordType.write || type === RecordType.clone) return address;
  return type === RecordType.zero && (flags & flagNoHole) !== 0 ? zeroValue : holeValue;
}

/** Stands in while an operation has no request. */
const idle = new IoRequest(() => undefined);
