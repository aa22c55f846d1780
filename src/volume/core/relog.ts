/** Logs the records of a tail again that recovery could not make durable in place, in order, before the pool is handed out. */
import { present } from '../../base/assert.ts';
import { type CatalogueRecord, decodeRecord, encodeRecord } from '../catalogue/records.ts';
import { frameAddressOf, positionOf, slotSizeBytes } from '../format/address.ts';
import { isDataType, RecordType } from '../format/frame.ts';
import { applyToMap } from '../io/write-operation.ts';
import { limits } from '../limits.ts';
import { catalogueMutation, type DataPart, Mutation } from '../log/mutation.ts';
import type { BlockMap } from '../map/block-map.ts';
import { isSameCut, type TailRecord } from '../recovery/tail.ts';
import { applyRecord } from './apply-record.ts';
import type { Maintenance } from './maintenance.ts';
import type { MomentMaps } from './moment-maps.ts';
import type { PoolParts } from './parts.ts';

export interface RelogParts {
  readonly parts: PoolParts;
  readonly maintenance: Maintenance;
  readonly moments: MomentMaps;
}

/** Records of the opening that wrote the tail: they are not repeated. */
const notRepeated: ReadonlySet<number> = new Set([
  RecordType.epoch,
  RecordType.checkpoint,
  RecordType.pad,
]);

/** `done` runs when everything is durable in its new place and in maps and catalogue. */
export function relogTail(pool: RelogParts, tail: readonly TailRecord[], done: () => void): void {
  const { parts } = pool;
  const moved = new Map<number, number>();
  const movedBlocks: MovedBlocks = new Map();
  const log = present(parts.writer, 'log of a writable pool').log;
  let index = 0;
  const records = tail.filter((record) => !notRepeated.has(record.type));
  const step = (): void => {
    const record = records[index];
    if (record === undefined) {
      done();
      return;
    }
    if (isDataType(record.type)) {
      index += 1;
      for (const mutation of dataMutations(parts, record, movedBlocks, step)) log.append(mutation);
      return;
    }
    const end = records.findIndex((other, at) => at > index && !isSameCut(record, other));
    const group = records.slice(index, end === -1 ? records.length : end);
    index += group.length;
    appendGroup({ ...pool, moved }, group, step);
  };
  step();
}

/** New addresses of data blocks of the tail, by their old ones: clones that follow them share those. */
type MovedBlocks = Map<number, number>;

/** One mutation, or several when a CLONE has come apart; `done` runs when the last one is published. */
function dataMutations(
  parts: PoolParts,
  record: TailRecord,
  moved: MovedBlocks,
  done: () => void,
): Mutation[] {
  if (record.type !== RecordType.clone) {
    return [
      dataMutation(parts, record, (published) => {
        for (let block = 0; block < published.dataBlocks; block += 1) {
          moved.set(record.address + block, published.address + block);
        }
        done();
      }),
    ];
  }
  const shared = clonedParts(record, moved);
  const mutations: Mutation[] = [];
  for (let at = 0; at < shared.length; at += limits.clonePartsMax) {
    const isLast = at + limits.clonePartsMax >= shared.length;
    const mutation = dataMutation(parts, record, isLast ? done : () => undefined);
    mutation.parts = shared.slice(at, at + limits.clonePartsMax);
    mutations.push(mutation);
  }
  return mutations;
}

function dataMutation(
  parts: PoolParts,
  record: TailRecord,
  done: (published: Mutation) => void,
): Mutation {
  const mutation = new Mutation();
  // A tail is a few frames at most, and records follow one another: there is always room.
  if (record.type === RecordType.write) {
    mutation.payload = present(
      parts.staging.allocate(record.lba * slotSizeBytes, record.bytes.length),
      'staging for the tail',
    );
    mutation.payload.fill(0, record.bytes, 0, record.bytes.length);
  }
  // Types of data records below catalogueTypeMin were checked when the tail was verified.
  mutation.type = record.type as RecordType;
  mutation.flags = record.flags;
  mutation.line = record.line;
  mutation.lba = record.lba;
  mutation.blockCount = record.blockCount;
  mutation.writer = record.writer;
  mutation.onPublished = (published) => {
    const line = parts.lineById.get(record.line);
    if (line !== undefined) applyToMap(line, published);
    published.payload?.release();
    done(published);
  };
  return mutation;
}

/** Records for the blocks that a CLONE shares, where they are now: neighbours need not be neighbours any more. */
function clonedParts(record: TailRecord, moved: MovedBlocks): DataPart[] {
  const parts: DataPart[] = [];
  for (let block = 0; block < record.blockCount; block += 1) {
    const address = moved.get(record.address + block) ?? record.address + block;
    const before = parts.at(-1);
    if (before !== undefined && before.address + before.blockCount === address) {
      parts[parts.length - 1] = { ...before, blockCount: before.blockCount + 1 };
    } else {
      const lba = record.lba + block;
      parts.push({ type: RecordType.clone, flags: record.flags, lba, blockCount: 1, address });
    }
  }
  return parts;
}

/**
 * New positions of catalogue records of the tail, by their frame's and their own old position: lines may begin there. Other
 * positions that records name (of past moments) lie before the tail: they were durable when the record was logged.
 */
type Moved = Map<number, number>;

/** Logs catalogue records again; a VIEW or REVERT first needs the map that it begins with. */
function appendGroup(
  pool: RelogParts & { readonly moved: Moved },
  group: readonly TailRecord[],
  done: () => void,
): void {
  const decoded = group.map((record) =>
    withMovedCut(decodeRecord(record.type, record.line, record.bytes), pool.moved),
  );
  const fork = decoded.find((record) => record.kind === 'view' || record.kind === 'revert');
  if (fork?.forkPosition === undefined) {
    const parent = fork === undefined ? undefined : pool.parts.lineById.get(fork.parentLine);
    logGroup(pool, { group, decoded, fork: () => parent?.map.fork() }, done);
    return;
  }
  const moment = { line: fork.parentLine, cut: fork.forkPosition, sizeBytes: fork.sizeBytes };
  pool.moments.open(moment, (opened) => {
    const map = present(opened, 'map of a moment that the log just gave');
    logGroup(pool, { group, decoded, fork: () => map.map.fork() }, () => {
      map.release();
      done();
    });
  });
}

/** A line that began at a record of the tail begins where that record is now; so does a snapshot or pin end there. */
function withMovedCut(record: CatalogueRecord, moved: Moved): CatalogueRecord {
  if (record.kind === 'snap' && record.past !== undefined) {
    const { cut } = record.past;
    return { ...record, past: { ...record.past, cut: moved.get(cut) ?? cut } };
  }
  if (record.kind === 'pin' && record.past !== undefined) {
    const past = record.past.map((pin) => ({ ...pin, cut: moved.get(pin.cut) ?? pin.cut }));
    return { ...record, past };
  }
  if (record.kind === 'unpin') {
    const pins = record.pins.map(({ line, cut }) => ({ line, cut: moved.get(cut) ?? cut }));
    return { ...record, pins };
  }
  if (record.kind !== 'view' && record.kind !== 'revert') return record;
  const { forkPosition } = record;
  if (forkPosition === undefined) return record;
  return { ...record, forkPosition: moved.get(forkPosition) ?? forkPosition };
}

interface Group {
  readonly group: readonly TailRecord[];
  readonly decoded: readonly CatalogueRecord[];
  readonly fork: () => BlockMap | undefined;
}

function logGroup(
  pool: RelogParts & { readonly moved: Moved },
  { group, decoded, fork }: Group,
  done: () => void,
): void {
  const { parts, maintenance, moved } = pool;
  const mutation = catalogueMutation(decoded.map(encodeRecord), (published) => {
    group.forEach((record, index) => {
      moved.set(record.position, published.position + index);
      moved.set(positionOf(frameAddressOf(record.position), 0), published.position);
    });
    decoded.forEach((record, index) => {
      const position = published.position + index;
      const needsMap = record.kind === 'view' || record.kind === 'revert';
      applyRecord(record, position, parts, needsMap ? fork() : undefined);
      maintenance.recordPublished({ record, position });
    });
    done();
  });
  present(parts.writer, 'log of a writable pool').log.append(mutation);
}
