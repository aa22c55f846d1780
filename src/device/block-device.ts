/**
 * BlockDevice: the one contract between the front ends (NBD, SCSI) and whatever stores blocks.
 *
 *     front end ──IoRequest──▶ BlockDevice.submit ──▶ ... ──▶ request.onDone(request)
 *
 * A request is an object that the front end owns and reuses; it belongs to the device from `submit` until
 * `onDone`. `onDone` may run inside `submit`. No promise and no closure is made per request.
 *
 * Invariants
 * 1. `onDone` is called exactly once per submit, with `status` set.
 * 2. A read returns, per 4 KiB block, the bytes of one acknowledged or concurrent write, or fails: never other bytes.
 * 3. Write, zero and trim are answered when durable (unless the volume is write-back and `fua` is not set).
 * 4. A write of at most `writeAtomicBytes` is all or nothing after a crash; sub-block writes are atomic.
 * 5. compareAndWrite, orWrite and clone are atomic against every overlapping request that changes something, whoever
 *    submitted it: what they read is what is there when they take effect.
 */
import type { Payload } from './staging.ts';

export const IoStatus = {
  ok: 0,
  /** The disk failed or a block's checksum is wrong. */
  ioError: 1,
  /** The pool or its file system is full. */
  noSpace: 2,
  /** The device cannot be written. */
  readOnly: 3,
  /** Range outside the device, or a malformed request. */
  invalid: 4,
  /** The device is closing. */
  shuttingDown: 5,
  /** compareAndWrite: the bytes there are not the expected ones; nothing was written. */
  miscompare: 6,
} as const;
export type IoStatus = (typeof IoStatus)[keyof typeof IoStatus];

export const IoKind = {
  read: 0,
  write: 1,
  zero: 2,
  trim: 3,
  flush: 4,
  /** Writes `payload` when the bytes there equal `expected`, else answers miscompare. At most `writeAtomicBytes`. */
  compareAndWrite: 5,
  /** Writes the bitwise OR of `payload` and the bytes there. At most `writeAtomicBytes`. */
  orWrite: 6,
  /** Makes the range equal to a range of `source` without moving data. Whole 4 KiB blocks only. */
  clone: 7,
} as const;
export type IoKind = (typeof IoKind)[keyof typeof IoKind];

export const blockSizeBytes = 4096;
/** Largest write that one frame surely holds; front ends split larger ones (they may then be torn by a crash, as on any disk). */
export const writeAtomicBytes = 1 << 20;
/** Largest read of one request; front ends split larger ones. */
export const readMaxBytes = 1 << 20;

/** One request in flight. Reset every field that the kind uses before each submit. */
export class IoRequest {
  kind: IoKind = IoKind.read;
  /** Byte offset in the device. */
  offset = 0;
  /** Bytes. For zero and trim any length up to the device's end. */
  length = 0;
  /** Answer only when durable. */
  fua = false;
  /** zero: stay allocated (reads as zero, reported as data or allocated zero). */
  noHole = false;
  /** write, compareAndWrite, orWrite: the bytes; the device takes it over and releases it, also on failure. */
  payload: Payload | undefined = undefined;
  /** read: where the bytes go, exactly `length` long, left alone by others until `onDone`. */
  target: Uint8Array | undefined = undefined;
  /** read, out: the whole range has no data. `target` was then NOT written: treat it as zeros. */
  isHole = false;
  /** compareAndWrite: the bytes that must be there, exactly `length` long, left alone by others until `onDone`. */
  expected: Uint8Array | undefined = undefined;
  /** compareAndWrite, out, with status miscompare: the first byte that differs, counted from `offset` of the request. */
  miscompareOffset = 0;
  /**
   * clone: what `canCloneFrom` accepts; it stays open until `onDone`. A range of the request's own device must not overlap
   * the destination. Up to `writeAtomicBytes` all or nothing after a crash; longer ones may be there in part, from the start.
   */
  source: BlockDevice | undefined = undefined;
  /** clone: byte offset in `source`, a multiple of 4096, as are `offset` and `length` (else invalid). */
  sourceOffset = 0;
  /** Provenance: id of the connection or nexus, logged with each write. */
  writer = 0;
  status: IoStatus = IoStatus.ok;
  /**
   * read, compareAndWrite, orWrite, out, with status ioError: device byte offset of the first block that could not be read.
   */
  errorOffset = 0;
  /** Called once when the request is finished; may run inside `submit`. */
  onDone: (request: IoRequest) => void;

  constructor(onDone: (request: IoRequest) => void) {
    this.onDone = onDone;
  }
}

/** State of a run of bytes. `hole` reads as zero and takes no space; `zero` reads as zero but is to be treated as allocated. */
export const ExtentState = { data: 0, hole: 1, zero: 2 } as const;
export type ExtentState = (typeof ExtentState)[keyof typeof ExtentState];

export interface Extent {
  length: number;
  state: ExtentState;
}

/** Who a device is to hosts, for life: survives rename, rollback, refresh, promotion, restart and moving the pool. */
export interface DeviceIdentity {
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** 16 bytes, NAA type 6. */
  readonly naa: Uint8Array;
  readonly serial: string;
}

/** Largest state that `saveLuState` takes. */
export const luStateMaxBytes = 60 * 1024;

export interface BlockDevice {
  /** Name for logs and descriptions: volume or VOLUME@SNAPSHOT. */
  readonly name: string;
  /** Bytes; may grow or shrink while open (front ends fix what they told a live connection). */
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  /** Answers writes before they are durable; FLUSH and FUA wait for the disk. May change while open. */
  readonly isWriteBack: boolean;
  /** Space is kept for all of it. May change while open. */
  readonly isThick: boolean;
  readonly identity: DeviceIdentity;
  /**
   * What `saveLuState` saved last for this identity, on whatever device; undefined = nothing yet (new volumes, views and
   * clones). Never part of history: snapshots have none, a rollback leaves it as it is. The bytes are the device's: do
   * not change them.
   */
  readonly luState: Uint8Array | undefined;
  submit(request: IoRequest): void;
  /**
   * Allocation of [offset, offset + length), merged neighbours, at most `extentsMax` runs from the start of the range.
   * Fewer bytes than asked may be covered: when there are more runs, or to find out about the rest is much work. Boundaries are multiples of 4096 except at the end of the device.
   * `done` may run inside the call. An empty list means invalid range.
   */
  extents(
    offset: number,
    length: number,
    extentsMax: number,
    done: (extents: readonly Extent[]) => void,
  ): void;
  /** Whether `source` is of the same pool, so that `clone` can share its blocks. */
  canCloneFrom(source: BlockDevice): boolean;
  /**
   * Keeps `state` (copied inside the call; opaque; at most `luStateMaxBytes`, else invalid) for the identity. Durable, and
   * seen by `luState`, when `done` gets ok. Calls are answered in order; `done` may run inside the call.
   */
  saveLuState(state: Uint8Array, done: (status: IoStatus) => void): void;
}
