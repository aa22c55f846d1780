/** Data operations of the model as requests to a device: one place for both clients. */
import { type BlockDevice, IoKind, type IoRequest } from '../../src/device/block-device.ts';
import type { Payload } from '../../src/device/staging.ts';
import { stampedBytes } from './content.ts';
import type { DataOp } from './model.ts';

/** What a clone reads, open until it is answered. */
export interface OpenSource {
  readonly device: BlockDevice;
  close(): void;
}

const kindOf = {
  write: IoKind.write,
  orWrite: IoKind.orWrite,
  compareAndWrite: IoKind.compareAndWrite,
  clone: IoKind.clone,
  zero: IoKind.zero,
  trim: IoKind.trim,
} as const;

/** What a request needs beside its operation. */
export interface RequestParts {
  /** compareAndWrite: what is expected. */
  readonly expected: Uint8Array | undefined;
  /** clone: the device to share blocks with. */
  readonly source: BlockDevice | undefined;
  /** Room for bytes; undefined = none now. */
  readonly allocate: (offset: number, length: number) => Payload | undefined;
}

/** Fills `request`; false when there is no room for its bytes now. */
export function fillRequest(request: IoRequest, op: DataOp, parts: RequestParts): boolean {
  request.kind = kindOf[op.kind];
  request.offset = op.offset;
  request.length = op.length;
  request.expected = parts.expected;
  if (op.kind === 'clone') {
    request.source = parts.source;
    request.sourceOffset = op.sourceOffset;
    return true;
  }
  if (op.kind === 'zero' || op.kind === 'trim') {
    request.noHole = op.noHole;
    return true;
  }
  // What is left are the operations that bring bytes.
  const { volume, sequence, offset, length } = op as Extract<DataOp, { sequence: number }>;
  const payload = parts.allocate(offset, length);
  if (payload === undefined) return false;
  payload.fill(0, stampedBytes(volume, sequence, offset, length), 0, length);
  request.payload = payload;
  request.writer = sequence;
  return true;
}
