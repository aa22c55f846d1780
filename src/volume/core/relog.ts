/** Logs the records of a tail again that recovery could not make durable in place, in order, before the pool is handed out. */
import { present } from '../../base/assert.ts';
import { decodeRecord } from '../catalogue/records.ts';
import { slotSizeBytes } from '../format/address.ts';
import { isDataType, RecordType } from '../format/frame.ts';
import { mapValue } from '../io/write-operation.ts';
import { type CatalogueEntry, catalogueMutation, Mutation } from '../log/mutation.ts';
import { applyRecord } from '../recovery/replay.ts';
import { isSameCut, type TailRecord } from '../recovery/tail.ts';
import type { Maintenance } from './maintenance.ts';
import type { PoolParts } from './parts.ts';

/** Records of the opening that wrote the tail: they are not repeated. */
const notRepeated: ReadonlySet<number> = new Set([
  RecordType.epoch,
  RecordType.checkpoint,
  RecordType.pad,
]);

/** `done` runs when everything is durable in its new place and in maps and catalogue. */
export function relogTail(
  parts: PoolParts,
  maintenance: Maintenance,
  tail: readonly TailRecord[],
  done: () => void,
): void {
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
      log.append(dataMutation(parts, record, step));
      return;
    }
    const end = records.findIndex((other, at) => at > index && !isSameCut(record, other));
    const group = records.slice(index, end === -1 ? records.length : end);
    index += group.length;
    log.append(groupMutation(parts, maintenance, group, step));
  };
  step();
}

function dataMutation(parts: PoolParts, record: TailRecord, done: () => void): Mutation {
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
    if (line !== undefined) {
      line.lastPosition = published.position;
      const value = mapValue(record.type, record.flags, published.address);
      line.map.set(record.lba, record.blockCount, value);
    }
    published.payload?.release();
    done();
  };
  return mutation;
}

function groupMutation(
  parts: PoolParts,
  maintenance: Maintenance,
  group: readonly TailRecord[],
  done: () => void,
): Mutation {
  const entries = group.map(
    (record): CatalogueEntry => ({
      type: record.type as RecordType,
      line: record.line,
      payload: record.bytes,
    }),
  );
  return catalogueMutation(entries, (published) => {
    group.forEach((record, index) => {
      const decoded = decodeRecord(record.type, record.line, record.bytes);
      const position = published.position + index;
      applyRecord(decoded, position, parts);
      maintenance.recordPublished({ record: decoded, position });
    });
    done();
  });
}
