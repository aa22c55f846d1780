/**
 * AtomicOperation: takes one compareAndWrite or orWrite through lock, read, and log.
 *
 *     lock (exclusive) ─▶ read all blocks of the range ─▶ compare, or merge ─▶ log ─▶ published: map set, lock freed, answer
 *                                                            └▶ bytes differ: answer miscompare, nothing was written
 *
 * Invariants
 * 1. From the read to the publication nothing else changes the range: the outcome is as if nothing else had run.
 * 2. What is written is one record in one frame, so it is all or nothing after a crash.
 * 3. A small one goes before the bulk that waits for the log; it waits only for those that hold blocks of its own.
 */
import { present } from '../../base/assert.ts';
import { IoKind, IoRequest, IoStatus } from '../../device/block-device.ts';
import type { Payload } from '../../device/staging.ts';
import { slotSizeBytes } from '../format/address.ts';
import { RecordType } from '../format/frame.ts';
import { limits } from '../limits.ts';
import { Mutation } from '../log/mutation.ts';
import type { Line } from './line.ts';
import { LockEntry } from './range-lock.ts';
import { ReadOperation } from './read-operation.ts';
import type { RecentBlocks } from './recent-blocks.ts';
import { applyToMap, type WriteContext } from './write-operation.ts';

export class AtomicOperation extends LockEntry {
  readonly #context: WriteContext;
  readonly #recent: RecentBlocks;
  readonly #onFinished: (operation: AtomicOperation) => void;
  readonly #mutation = new Mutation();
  readonly #reading: ReadOperation;
  /** Reads what is there. */
  readonly #before: IoRequest;
  /** Enough for the locks that hypervisors take. */
  readonly #oneBlock = new Uint8Array(slotSizeBytes);
  #request: IoRequest = idle;
  #line: Line | undefined;

  constructor(
    context: WriteContext,
    recent: RecentBlocks,
    onFinished: (operation: AtomicOperation) => void,
  ) {
    super();
    this.#context = context;
    this.#recent = recent;
    this.#onFinished = onFinished;
    this.#reading = new ReadOperation(context.reader, () => undefined);
    this.#before = new IoRequest(() => {
      this.#wasRead();
    });
    this.isExclusive = true;
    this.onGranted = () => {
      this.#granted();
    };
    this.#mutation.type = RecordType.write;
    this.#mutation.onPublished = () => {
      this.#published();
    };
    this.#mutation.onDurable = () => {
      this.#finish(IoStatus.ok);
    };
  }

  /** `request` is valid, inside the device and not empty; it brings its payload, which this operation releases. */
  begin(request: IoRequest, line: Line): void {
    this.#request = request;
    this.#line = line;
    this.start = Math.floor(request.offset / slotSizeBytes);
    this.end = Math.ceil((request.offset + request.length) / slotSizeBytes);
    if (line.lock.enter(this)) this.#granted();
  }

  get #lineNow(): Line {
    return present(this.#line, 'line of an atomic operation');
  }

  get #payload(): Payload {
    return present(this.#request.payload, 'payload of an atomic operation');
  }

  #granted(): void {
    const line = this.#lineNow;
    if (line.isGone) {
      this.#finish(IoStatus.shuttingDown);
      return;
    }
    // The volume may have shrunk while this waited for its lock.
    if (this.end > line.blockCount) {
      this.#finish(IoStatus.invalid);
      return;
    }
    if (this.end - this.start === 1) {
      const address = line.map.peek(this.start);
      if (address > 0 && this.#recent.copy(address, this.#oneBlock)) {
        this.#proceed(this.#oneBlock);
        return;
      }
    }
    const length = (this.end - this.start) * slotSizeBytes;
    const before = this.#before;
    before.offset = this.start * slotSizeBytes;
    before.length = length;
    before.target = length === slotSizeBytes ? this.#oneBlock : new Uint8Array(length);
    this.#reading.start(before, line.map);
  }

  #wasRead(): void {
    const request = this.#request;
    const { status, isHole, errorOffset } = this.#before;
    if (status !== IoStatus.ok) {
      request.errorOffset = Math.max(request.offset, errorOffset);
      this.#finish(status);
      return;
    }
    const blocks = present(this.#before.target, 'target of a read');
    if (isHole) blocks.fill(0);
    this.#proceed(blocks);
  }

  /** `blocks`: what is there now, whole blocks. */
  #proceed(blocks: Uint8Array): void {
    if (this.#request.kind === IoKind.compareAndWrite) this.#compare(blocks);
    else this.#merge(blocks);
  }

  #compare(blocks: Uint8Array): void {
    const { offset, length } = this.#request;
    const expected = present(this.#request.expected, 'expected bytes');
    const lead = offset - this.start * slotSizeBytes;
    const found = blocks.subarray(lead, lead + length);
    if (Buffer.compare(found, expected) !== 0) {
      this.#request.miscompareOffset = found.findIndex((byte, at) => byte !== expected[at]);
      this.#finish(IoStatus.miscompare);
      return;
    }
    this.#payload.fillAround(0, blocks, 0, lead);
    this.#payload.fillAround(lead + length, blocks, lead + length, blocks.length);
    this.#append();
  }

  /** ORs the payload into the blocks that are there, and makes that the payload. */
  #merge(blocks: Uint8Array): void {
    const { offset, length } = this.#request;
    const payload = this.#payload;
    const staged = this.#context.staging.bytes;
    const lead = offset - this.start * slotSizeBytes;
    const end = lead + length;
    for (let at = lead; at < end; ) {
      const within = at % slotSizeBytes;
      const count = Math.min(end - at, slotSizeBytes - within);
      const from = payload.pageOffset((at - within) / slotSizeBytes) + within;
      orInto(blocks.subarray(at, at + count), staged.subarray(from, from + count));
      at += count;
    }
    payload.fillAround(0, blocks, 0, blocks.length);
    this.#append();
  }

  #append(): void {
    const mutation = this.#mutation;
    const line = this.#lineNow;
    const request = this.#request;
    mutation.line = line.id;
    mutation.lba = this.start;
    mutation.blockCount = this.end - this.start;
    mutation.payload = request.payload;
    mutation.writer = request.writer;
    mutation.isWriteBack = line.isWriteBack;
    mutation.fua = line.isWriteBack && request.fua;
    request.payload = undefined;
    if (request.length <= limits.urgentBytesMax) this.#context.log().appendUrgent(mutation);
    else this.#context.log().append(mutation);
  }

  #published(): void {
    const mutation = this.#mutation;
    applyToMap(this.#lineNow, mutation);
    const page = mutation.payload?.pageOffset(0);
    if (mutation.blockCount === 1 && page !== undefined) {
      const staged = this.#context.staging.bytes;
      this.#recent.put(mutation.address, staged.subarray(page, page + slotSizeBytes));
    }
    mutation.payload?.release();
    mutation.payload = undefined;
    if (!mutation.fua) this.#finish(IoStatus.ok);
  }

  #finish(status: IoStatus): void {
    const request = this.#request;
    const line = this.#lineNow;
    request.payload?.release();
    request.payload = undefined;
    request.status = status;
    this.#before.target = undefined;
    this.#request = idle;
    this.#line = undefined;
    line.lock.leave(this);
    this.#onFinished(this);
    request.onDone(request);
  }
}

function orInto(target: Uint8Array, source: Uint8Array): void {
  for (let index = 0; index < target.length; index += 1) {
    target[index] = (target[index] ?? 0) | (source[index] ?? 0);
  }
}

/** Stands in while an operation has no request. */
const idle = new IoRequest(() => undefined);
