/** The two block devices of the store: a volume's head, and a snapshot (read-only). */
import {
  type BlockDevice,
  type DeviceIdentity,
  type Extent,
  IoKind,
  type IoRequest,
  IoStatus,
  readMaxBytes,
  writeAtomicBytes,
} from '../../device/block-device.ts';
import { slotSizeBytes } from '../format/address.ts';
import { limits } from '../limits.ts';
import type { BlockMap } from '../map/block-map.ts';
import { AtomicOperation } from './atomic-operation.ts';
import type { BlockReader } from './block-reader.ts';
import { CloneOperation, type CloneSource } from './clone-operation.ts';
import { findExtents } from './extents.ts';
import type { Line } from './line.ts';
import { ReadOperation } from './read-operation.ts';
import { RecentBlocks } from './recent-blocks.ts';
import { type WriteContext, WriteOperation } from './write-operation.ts';

/** Whether new data is taken, and when. */
export interface WriteGate {
  /** Whether the pool takes new data of the line now. Cheap: asked for each write. */
  admits(line: Line): boolean;
  /** Whether it takes records that bring no data: trims and zeros. Cheap: asked for each of them. */
  admitsRecord(): boolean;
  /** Whether the write has to wait: then the gate gives it to `Operations.release` later. */
  holds(request: IoRequest, line: Line): boolean;
}

/** Free lists of operations, shared by all devices of a pool: none is made per request once warm. */
export class Operations {
  readonly #reader: BlockReader;
  readonly #context: WriteContext;
  readonly #gate: WriteGate;
  readonly #freeReads: ReadOperation[] = [];
  readonly #freeWrites: WriteOperation[] = [];
  readonly #freeAtomics: AtomicOperation[] = [];
  readonly #recent = new RecentBlocks(limits.recentBlocks);
  readonly #freeClones: CloneOperation[] = [];

  constructor(reader: BlockReader, context: WriteContext, gate: WriteGate) {
    this.#reader = reader;
    this.#context = context;
    this.#gate = gate;
  }

  read(request: IoRequest, map: BlockMap): void {
    const operation =
      this.#freeReads.pop() ??
      new ReadOperation(this.#reader, (finished) => {
        this.#freeReads.push(finished);
      });
    operation.start(request, map);
  }

  /** Answers when everything that was answered before is durable, on whatever connection it came. */
  flush(request: IoRequest): void {
    this.#context.log().flush(() => {
      finish(request, IoStatus.ok);
    });
  }

  /** What adds data to the pool. What hypervisors lock with never waits for its turn. */
  add(request: IoRequest, line: Line): void {
    if (!this.#gate.admits(line)) finish(request, IoStatus.noSpace);
    else if (request.kind !== IoKind.write) this.atomic(request, line);
    else if (!this.#gate.holds(request, line)) this.write(request, line);
  }

  /** A write that waited: much may have happened meanwhile. */
  release(request: IoRequest, line: Line): void {
    if (line.isGone) finish(request, IoStatus.shuttingDown);
    else if (!isInside(request, line.blockCount * slotSizeBytes)) finish(request, IoStatus.invalid);
    else if (!this.#gate.admits(line)) finish(request, IoStatus.noSpace);
    else this.write(request, line);
  }

  /** Zero or trim: it gives space back, but it is a record, and takes some. */
  clear(request: IoRequest, line: Line): void {
    if (this.#gate.admitsRecord()) this.write(request, line);
    else finish(request, IoStatus.noSpace);
  }

  /** Write, zero or trim. */
  write(request: IoRequest, line: Line): void {
    const operation =
      this.#freeWrites.pop() ??
      new WriteOperation(this.#context, (finished) => {
        this.#freeWrites.push(finished);
      });
    operation.begin(request, line);
  }

  /** compareAndWrite or orWrite. */
  atomic(request: IoRequest, line: Line): void {
    const operation =
      this.#freeAtomics.pop() ??
      new AtomicOperation(this.#context, this.#recent, (finished) => {
        this.#freeAtomics.push(finished);
      });
    operation.begin(request, line);
  }

  clone(request: IoRequest, line: Line, source: CloneSource): void {
    if (!this.#gate.admits(line)) {
      finish(request, IoStatus.noSpace);
      return;
    }
    const operation =
      this.#freeClones.pop() ??
      new CloneOperation(this.#context, (finished) => {
        this.#freeClones.push(finished);
      });
    operation.begin(request, line, source);
  }
}

function finish(request: IoRequest, status: IoStatus): void {
  request.payload?.release();
  request.payload = undefined;
  request.status = status;
  request.onDone(request);
}

function isInside(request: IoRequest, sizeBytes: number): boolean {
  const { offset, length } = request;
  if (request.kind === IoKind.read && length > readMaxBytes) return false;
  return offset >= 0 && length >= 0 && offset + length <= sizeBytes;
}

/** What is compared or merged fits one frame, and there are as many bytes to compare with as to write. */
function isAtomic({ kind, length, expected }: IoRequest): boolean {
  if (length > writeAtomicBytes) return false;
  return kind === IoKind.orWrite || expected?.length === length;
}

/** Whole blocks inside the source that the destination does not overlap. */
function isCloneable(request: IoRequest, sourceBytes: number, isSameLine: boolean): boolean {
  const { offset, length, sourceOffset } = request;
  const isWhole = [offset, length, sourceOffset].every((each) => each % slotSizeBytes === 0);
  if (!isWhole || sourceOffset < 0 || sourceOffset + length > sourceBytes) return false;
  const isApart = sourceOffset + length <= offset || offset + length <= sourceOffset;
  return isApart || !isSameLine || length === 0;
}

/** What a device shows of its volume. */
export interface VolumeView extends DeviceIdentity {
  readonly name: string;
  readonly line: Line;
  readonly isThick: boolean;
  readonly luState: Uint8Array | undefined;
  /** As BlockDevice says; also when the line is gone. */
  saveLuState(state: Uint8Array, done: (status: IoStatus) => void): void;
}

export class VolumeDevice implements BlockDevice {
  readonly isReadOnly: boolean;
  readonly #volume: VolumeView;
  readonly #operations: Operations;

  constructor(volume: VolumeView, operations: Operations, isReadOnly: boolean) {
    this.#volume = volume;
    this.#operations = operations;
    this.isReadOnly = isReadOnly;
  }

  get name(): string {
    return this.#volume.name;
  }

  get sizeBytes(): number {
    return this.#volume.line.blockCount * slotSizeBytes;
  }

  get isWriteBack(): boolean {
    return this.#volume.line.isWriteBack;
  }

  get isThick(): boolean {
    return this.#volume.isThick;
  }

  get identity(): DeviceIdentity {
    return this.#volume;
  }

  get luState(): Uint8Array | undefined {
    return this.#volume.luState;
  }

  saveLuState(state: Uint8Array, done: (status: IoStatus) => void): void {
    this.#volume.saveLuState(state, done);
  }

  canCloneFrom(source: BlockDevice): boolean {
    return deviceIn(this.#operations, source) !== undefined;
  }

  isIn(operations: Operations): boolean {
    return operations === this.#operations;
  }

  get cloneSource(): CloneSource {
    const { line } = this.#volume;
    return { line, map: line.map };
  }

  submit(request: IoRequest): void {
    const { line } = this.#volume;
    if (line.isGone) finish(request, IoStatus.shuttingDown);
    else if (!isInside(request, this.sizeBytes)) finish(request, IoStatus.invalid);
    else if (request.kind === IoKind.read) this.#read(request);
    else if (request.kind === IoKind.flush) this.#flush(request);
    else if (this.isReadOnly) finish(request, IoStatus.readOnly);
    else if (request.kind === IoKind.clone) this.#clone(request);
    else if (request.length === 0) finish(request, IoStatus.ok);
    else if (request.kind === IoKind.zero || request.kind === IoKind.trim) {
      this.#operations.clear(request, line);
    } else this.#add(request);
  }

  /** What adds data to the pool. */
  #add(request: IoRequest): void {
    const isPlain = request.kind === IoKind.write;
    if (!isPlain && !isAtomic(request)) finish(request, IoStatus.invalid);
    else this.#operations.add(request, this.#volume.line);
  }

  #clone(request: IoRequest): void {
    const { line } = this.#volume;
    const source = deviceIn(this.#operations, request.source);
    if (source === undefined) {
      finish(request, IoStatus.invalid);
      return;
    }
    const { cloneSource } = source;
    if (cloneSource.line?.isGone === true) finish(request, IoStatus.shuttingDown);
    else if (!isCloneable(request, source.sizeBytes, cloneSource.line === line)) {
      finish(request, IoStatus.invalid);
    } else if (request.length === 0) finish(request, IoStatus.ok);
    else this.#operations.clone(request, line, cloneSource);
  }

  extents(
    offset: number,
    length: number,
    extentsMax: number,
    done: (extents: readonly Extent[]) => void,
  ): void {
    const { line } = this.#volume;
    const isValid = !line.isGone && offset >= 0 && length > 0 && offset + length <= this.sizeBytes;
    if (isValid) findExtents(line.map, { offset, length, extentsMax }, done);
    else done([]);
  }

  /** Durable volumes answer every write after the flush, so whatever was answered is durable already. */
  #flush(request: IoRequest): void {
    if (this.#volume.line.isWriteBack && !this.isReadOnly) this.#operations.flush(request);
    else finish(request, IoStatus.ok);
  }

  #read(request: IoRequest): void {
    if (request.length === 0) finish(request, IoStatus.ok);
    else this.#operations.read(request, this.#volume.line.map);
  }
}

export class SnapshotDevice implements BlockDevice {
  readonly name: string;
  readonly sizeBytes: number;
  readonly isReadOnly = true;
  readonly isWriteBack = false;
  readonly isThick = false;
  readonly luState = undefined;
  readonly identity: DeviceIdentity;
  readonly #map: BlockMap;
  readonly #operations: Operations;

  /** `map` stays the owner's; it must not change or be released while this device is in use. */
  constructor(
    snapshot: { readonly name: string; readonly identity: DeviceIdentity; sizeBytes: number },
    map: BlockMap,
    operations: Operations,
  ) {
    this.name = snapshot.name;
    this.sizeBytes = snapshot.sizeBytes;
    this.identity = snapshot.identity;
    this.#map = map;
    this.#operations = operations;
  }

  submit(request: IoRequest): void {
    if (!isInside(request, this.sizeBytes)) finish(request, IoStatus.invalid);
    else if (request.kind === IoKind.flush) finish(request, IoStatus.ok);
    else if (request.kind !== IoKind.read) finish(request, IoStatus.readOnly);
    else if (request.length === 0) finish(request, IoStatus.ok);
    else this.#operations.read(request, this.#map);
  }

  saveLuState(_state: Uint8Array, done: (status: IoStatus) => void): void {
    done(IoStatus.readOnly);
  }

  canCloneFrom(source: BlockDevice): boolean {
    return deviceIn(this.#operations, source) !== undefined;
  }

  isIn(operations: Operations): boolean {
    return operations === this.#operations;
  }

  get cloneSource(): CloneSource {
    return { line: undefined, map: this.#map };
  }

  extents(
    offset: number,
    length: number,
    extentsMax: number,
    done: (extents: readonly Extent[]) => void,
  ): void {
    const isValid = offset >= 0 && length > 0 && offset + length <= this.sizeBytes;
    if (isValid) findExtents(this.#map, { offset, length, extentsMax }, done);
    else done([]);
  }
}

/** The device when it is one of the pool that `operations` belongs to. */
function deviceIn(
  operations: Operations,
  device: BlockDevice | undefined,
): VolumeDevice | SnapshotDevice | undefined {
  const isOurs = device instanceof VolumeDevice || device instanceof SnapshotDevice;
  return isOurs && device.isIn(operations) ? device : undefined;
}
