/** Block operations of the models of moments, as requests to the store. */
import { present } from '../../src/base/assert.ts';
import {
  type BlockDevice,
  blockSizeBytes,
  IoKind,
  IoRequest,
  IoStatus,
} from '../../src/device/block-device.ts';
import type { BlockOp } from './history-model.ts';
import { Violation } from './oracle.ts';
import type { StoreProcess } from './store-process.ts';

/** What a clone reads. */
export interface CloneSource {
  readonly device: BlockDevice;
  readonly first: number;
}

const kindOf = {
  write: IoKind.write,
  trim: IoKind.trim,
  zero: IoKind.zero,
  'thick-zero': IoKind.zero,
  clone: IoKind.clone,
} as const;

/** Submits the operation to the head of its volume; every block of a write holds the operation's number. */
export function submitBlockOp(
  process: StoreProcess,
  op: Omit<BlockOp, 'kind'> & { readonly kind: keyof typeof kindOf },
  done: () => void,
  source?: CloneSource,
): void {
  const request = new IoRequest(({ status }) => {
    if (status !== IoStatus.ok) throw new Violation(`${op.kind} answered with ${status}`);
    done();
  });
  request.kind = kindOf[op.kind];
  request.offset = op.first * blockSizeBytes;
  request.length = op.count * blockSizeBytes;
  request.noHole = op.kind === 'thick-zero';
  if (source !== undefined) {
    request.source = source.device;
    request.sourceOffset = source.first * blockSizeBytes;
  }
  if (op.kind === 'write') {
    const room = process.allocate(request.offset, request.length);
    const payload = present(room, 'staging of a small write');
    const bytes = new Uint8Array(request.length);
    new Uint32Array(bytes.buffer).fill(op.sequence);
    payload.fill(0, bytes, 0, bytes.length);
    request.payload = payload;
  }
  process.openVolume(op.volume).submit(request);
}
