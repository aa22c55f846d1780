/**
 * What a pool must hold after a list of operations: the simplest thing that can be right.
 *
 * States are immutable and share what did not change, so the oracle keeps one per operation and a recovered pool can be
 * compared with the state after any prefix of the log.
 */
import { unreachable } from '../../src/base/assert.ts';
import { blockSizeBytes } from '../../src/device/block-device.ts';
import { type ContentId, type ContentTable, stampedBytes, zeroContent } from './content.ts';

/** A source of a clone that no longer changes. */
export interface ModelSource {
  readonly name: string;
  readonly blocks: Blocks;
}

export type ModelOp =
  | {
      /** orWrite: the bytes are merged into what is there. */
      readonly kind: 'write' | 'orWrite';
      readonly volume: number;
      readonly offset: number;
      readonly length: number;
      readonly sequence: number;
    }
  | {
      readonly kind: 'compareAndWrite';
      readonly volume: number;
      readonly offset: number;
      readonly length: number;
      readonly sequence: number;
      /** Which byte is expected wrongly; undefined = none. */
      readonly wrongAt: number | undefined;
    }
  | {
      readonly kind: 'clone';
      readonly volume: number;
      readonly offset: number;
      readonly length: number;
      readonly source: number;
      readonly sourceOffset: number;
      /** Snapshot of the source; undefined = its head. */
      readonly snapshot: ModelSource | undefined;
    }
  | {
      readonly kind: 'zero' | 'trim';
      readonly volume: number;
      readonly offset: number;
      readonly length: number;
      readonly noHole: boolean;
    }
  | {
      readonly kind: 'volumeCreate';
      readonly volume: number;
      readonly name: string;
      readonly sizeBytes: number;
      readonly isWriteBack: boolean;
    }
  | { readonly kind: 'luState'; readonly volume: number; readonly sequence: number }
  | { readonly kind: 'volumeRename'; readonly volume: number; readonly name: string }
  | { readonly kind: 'volumeResize'; readonly volume: number; readonly sizeBytes: number }
  | { readonly kind: 'volumeDelete'; readonly volume: number }
  | {
      readonly kind: 'snapshotCreate' | 'snapshotDelete';
      readonly volume: number;
      readonly name: string;
    };

export type DataOp = Extract<ModelOp, { readonly offset: number }>;

export function isDataOp(op: { readonly kind: string }): op is DataOp {
  return 'offset' in op;
}

export type ClearOp = Extract<ModelOp, { kind: 'zero' | 'trim' }>;

/** Blocks that are not holes. */
export type Blocks = ReadonlyMap<number, ContentId>;

export interface ModelSnapshot {
  readonly sizeBytes: number;
  readonly blocks: Blocks;
}

export interface ModelVolume {
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
  /** Answers before it is durable; a flush makes durable what was answered. */
  readonly isWriteBack: boolean;
  /** Sequence number of the state that was saved last. */
  readonly luState: number | undefined;
  readonly blocks: Blocks;
  readonly snapshotByName: ReadonlyMap<string, ModelSnapshot>;
}

/** Volumes by id. */
export type PoolState = ReadonlyMap<number, ModelVolume>;

/** A block that reads as zeros and counts as allocated. */
export const allocatedZero: ContentId = -1;

/** The content that a reader of the block sees. */
export function readContent(blocks: Blocks, block: number): ContentId {
  const content = blocks.get(block) ?? zeroContent;
  return content === allocatedZero ? zeroContent : content;
}

/** Bytes [offset, offset + length) that a reader sees. */
export function readBytes(
  blocks: Blocks,
  offset: number,
  length: number,
  contents: ContentTable,
): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const within = (offset + at) % blockSizeBytes;
    const count = Math.min(length - at, blockSizeBytes - within);
    const content = contents.bytes(readContent(blocks, Math.floor((offset + at) / blockSizeBytes)));
    bytes.set(content.subarray(within, within + count), at);
    at += count;
  }
  return bytes;
}

/** What a compare-and-write that is submitted in this state expects. */
export function expectedBytes(
  volume: ModelVolume,
  op: Extract<ModelOp, { kind: 'compareAndWrite' }>,
  contents: ContentTable,
): Uint8Array {
  const bytes = readBytes(volume.blocks, op.offset, op.length, contents);
  if (op.wrongAt !== undefined) bytes[op.wrongAt] = (bytes[op.wrongAt] ?? 0) ^ 0x40;
  return bytes;
}

/** The state that `luState` saves: of any length, and known by its sequence number. */
export function luStateBytes(sequence: number): Uint8Array {
  return stampedBytes(0, sequence, 0, 16 + ((sequence * 37) % 3000));
}

export function volumeByName(state: PoolState, name: string): ModelVolume | undefined {
  for (const volume of state.values()) if (volume.name === name) return volume;
  return undefined;
}

function withVolume(state: PoolState, volume: ModelVolume): PoolState {
  const next = new Map(state);
  next.set(volume.id, volume);
  return next;
}

/** Puts `bytes` at `offset`: whole blocks as they are, the ragged ends over what was there. */
function overlay(
  blocks: Blocks,
  offset: number,
  bytes: Uint8Array,
  contents: ContentTable,
): Map<number, ContentId> {
  const next = new Map(blocks);
  let at = 0;
  while (at < bytes.length) {
    const block = Math.floor((offset + at) / blockSizeBytes);
    const within = (offset + at) % blockSizeBytes;
    const length = Math.min(bytes.length - at, blockSizeBytes - within);
    const merged = contents.bytes(readContent(blocks, block)).slice();
    merged.set(bytes.subarray(at, at + length), within);
    next.set(block, contents.intern(merged));
    at += length;
  }
  return next;
}

/**
 * The parts of a zero or trim that a crash may tear apart: the ragged first block, the ragged last block, and whole blocks
 * between. One part when nothing is ragged.
 */
export function clearParts(op: ClearOp): readonly ClearOp[] {
  const end = op.offset + op.length;
  const firstWhole = Math.ceil(op.offset / blockSizeBytes) * blockSizeBytes;
  const endWhole = Math.floor(end / blockSizeBytes) * blockSizeBytes;
  if (firstWhole > endWhole) return [op];
  const ranges: readonly (readonly [number, number])[] = [
    [op.offset, firstWhole],
    [firstWhole, endWhole],
    [endWhole, end],
  ];
  return ranges
    .filter(([from, to]) => from < to)
    .map(([from, to]) => ({ ...op, offset: from, length: to - from }));
}

/** Whole blocks become zero or holes; the ragged ends get zeros written over them. */
function clear(blocks: Blocks, op: ClearOp, contents: ContentTable): Map<number, ContentId> {
  const end = op.offset + op.length;
  const firstWhole = Math.ceil(op.offset / blockSizeBytes);
  const endWhole = Math.floor(end / blockSizeBytes);
  let next = new Map(blocks);
  const ragged = (from: number, to: number): void => {
    const content = next.get(Math.floor(from / blockSizeBytes));
    if (from < to && content !== undefined && content !== allocatedZero) {
      next = overlay(next, from, new Uint8Array(to - from), contents);
    }
  };
  if (firstWhole > endWhole) {
    ragged(op.offset, end);
    return next;
  }
  ragged(op.offset, firstWhole * blockSizeBytes);
  ragged(endWhole * blockSizeBytes, end);
  for (let block = firstWhole; block < endWhole; block += 1) {
    if (op.noHole) next.set(block, allocatedZero);
    else next.delete(block);
  }
  return next;
}

/** The bytes merged into what is there. */
function orMerged(
  blocks: Blocks,
  offset: number,
  bytes: Uint8Array,
  contents: ContentTable,
): Map<number, ContentId> {
  const present = readBytes(blocks, offset, bytes.length, contents);
  return overlay(
    blocks,
    offset,
    bytes.map((byte, index) => byte | (present[index] ?? 0)),
    contents,
  );
}

/** Whole blocks become those of the source, holes and allocated zeros included. */
function cloned(
  volume: ModelVolume,
  from: Blocks,
  op: Extract<ModelOp, { kind: 'clone' }>,
): ModelVolume {
  const blocks = new Map(volume.blocks);
  const first = op.offset / blockSizeBytes;
  const sourceFirst = op.sourceOffset / blockSizeBytes;
  for (let index = 0; index < op.length / blockSizeBytes; index += 1) {
    const content = from.get(sourceFirst + index);
    if (content === undefined) blocks.delete(first + index);
    else blocks.set(first + index, content);
  }
  return { ...volume, blocks };
}

function resized(volume: ModelVolume, sizeBytes: number): ModelVolume {
  const end = Math.ceil(sizeBytes / blockSizeBytes);
  const blocks = new Map([...volume.blocks].filter(([block]) => block < end));
  return { ...volume, sizeBytes, blocks };
}

function changedVolume(
  volume: ModelVolume,
  op: Exclude<ModelOp, { kind: 'volumeCreate' | 'volumeDelete' | 'clone' }>,
  contents: ContentTable,
): ModelVolume {
  switch (op.kind) {
    case 'write':
    case 'compareAndWrite': {
      const bytes = stampedBytes(volume.id, op.sequence, op.offset, op.length);
      return { ...volume, blocks: overlay(volume.blocks, op.offset, bytes, contents) };
    }
    case 'orWrite': {
      const bytes = stampedBytes(volume.id, op.sequence, op.offset, op.length);
      return { ...volume, blocks: orMerged(volume.blocks, op.offset, bytes, contents) };
    }
    case 'luState':
      return { ...volume, luState: op.sequence };
    case 'zero':
    case 'trim':
      return { ...volume, blocks: clear(volume.blocks, op, contents) };
    case 'volumeRename':
      return { ...volume, name: op.name };
    case 'volumeResize':
      return resized(volume, op.sizeBytes);
    case 'snapshotCreate':
    case 'snapshotDelete': {
      const snapshots = new Map(volume.snapshotByName);
      if (op.kind === 'snapshotDelete') snapshots.delete(op.name);
      else snapshots.set(op.name, { sizeBytes: volume.sizeBytes, blocks: volume.blocks });
      return { ...volume, snapshotByName: snapshots };
    }
    default:
      return unreachable(op);
  }
}

/** The state after `op`. An operation on a volume that is gone changes nothing. */
export function applyOp(state: PoolState, op: ModelOp, contents: ContentTable): PoolState {
  if (op.kind === 'volumeCreate') {
    return withVolume(state, {
      id: op.volume,
      name: op.name,
      sizeBytes: op.sizeBytes,
      isWriteBack: op.isWriteBack,
      luState: undefined,
      blocks: new Map(),
      snapshotByName: new Map(),
    });
  }
  const volume = state.get(op.volume);
  if (volume === undefined) return state;
  if (op.kind === 'volumeDelete') {
    const next = new Map(state);
    next.delete(op.volume);
    return next;
  }
  if (op.kind === 'clone') {
    const from = op.snapshot?.blocks ?? state.get(op.source)?.blocks ?? new Map();
    return withVolume(state, cloned(volume, from, op));
  }
  return withVolume(state, changedVolume(volume, op, contents));
}

/** For traces. */
export function describeOp(op: ModelOp): string {
  return isDataOp(op) ? describeData(op) : describeCatalogue(op);
}

function describeData(op: DataOp): string {
  const where = `volume ${op.volume}`;
  switch (op.kind) {
    case 'write':
    case 'orWrite':
      return `${op.kind} ${op.sequence} ${where} [${op.offset}, +${op.length})`;
    case 'compareAndWrite': {
      const wrong = op.wrongAt === undefined ? '' : `, wrong at ${op.wrongAt}`;
      return `compareAndWrite ${op.sequence} ${where} [${op.offset}, +${op.length})${wrong}`;
    }
    case 'clone': {
      const source = `volume ${op.source}${op.snapshot === undefined ? '' : `@${op.snapshot.name}`}`;
      return `clone ${source} at ${op.sourceOffset} to ${where} [${op.offset}, +${op.length})`;
    }
    case 'zero':
    case 'trim':
      return `${op.kind}${op.noHole ? ' (no hole)' : ''} ${where} [${op.offset}, +${op.length})`;
    default:
      return unreachable(op);
  }
}

function describeCatalogue(op: Exclude<ModelOp, DataOp>): string {
  const where = `volume ${op.volume}`;
  switch (op.kind) {
    case 'luState':
      return `state ${op.sequence} of ${where}`;
    case 'volumeCreate':
      return `create ${where} "${op.name}" ${op.sizeBytes}${op.isWriteBack ? ' write-back' : ''}`;
    case 'volumeRename':
      return `rename ${where} to "${op.name}"`;
    case 'volumeResize':
      return `resize ${where} to ${op.sizeBytes}`;
    case 'volumeDelete':
      return `delete ${where}`;
    case 'snapshotCreate':
    case 'snapshotDelete':
      return `${op.kind} ${where} "${op.name}"`;
    default:
      return unreachable(op);
  }
}
