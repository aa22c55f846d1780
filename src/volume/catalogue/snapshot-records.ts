/** Records about snapshots: SNAP, SNAP_SET, SNAP_DELETE. */
import { TlvReader, type TlvWriter } from '../format/tlv.ts';
import { sizeOf, tag, uuidOf } from './record-fields.ts';

export interface Snap {
  readonly kind: 'snap';
  readonly line: number;
  readonly volumeUuid: Uint8Array;
  readonly uuid: Uint8Array;
  readonly name: string;
  readonly createdMs: number;
  /** A moment that was past already when it was named; absent: the record's own. `line` is the volume's line of then. */
  readonly past?: PastMoment;
}
export interface PastMoment {
  /** Everything before it in the log is in the snapshot. */
  readonly cut: number;
  /** Size of the volume then. */
  readonly sizeBytes: number;
  /** Time of the moment in ticks of 10 us. */
  readonly ticks: number;
  /** What the moment was called: a time, or "position:N". */
  readonly label: string;
}
export interface SnapSet {
  readonly kind: 'snap-set';
  readonly line: number;
  readonly uuid: Uint8Array;
  /** It cannot be deleted until then, milliseconds since 1970; whole. 0 = it can. */
  readonly lockedUntilMs: number;
}
export interface SnapDelete {
  readonly kind: 'snap-delete';
  readonly line: number;
  readonly uuid: Uint8Array;
}
export function encodeSnapshot(writer: TlvWriter, record: Snap | SnapSet | SnapDelete): TlvWriter {
  if (record.kind === 'snap') {
    writer
      .bytes(tag.volumeUuid, record.volumeUuid)
      .bytes(tag.snapshotUuid, record.uuid)
      .text(tag.name, record.name)
      .number(tag.createdMs, record.createdMs);
    encodePast(writer, record.past);
    return writer;
  }
  writer.bytes(tag.snapshotUuid, record.uuid);
  return record.kind === 'snap-set'
    ? writer.number(tag.lockedUntilMs, record.lockedUntilMs)
    : writer;
}

function encodePast(writer: TlvWriter, past: PastMoment | undefined): void {
  if (past === undefined) return;
  writer
    .number(tag.cut, past.cut)
    .number(tag.sizeBytes, past.sizeBytes)
    .number(tag.momentTicks, past.ticks)
    .text(tag.label, past.label);
}

export function decodeSnap(line: number, payload: Uint8Array): Snap {
  const own = [tag.volumeUuid, tag.snapshotUuid, tag.name, tag.createdMs];
  const known = [...own, tag.cut, tag.sizeBytes, tag.momentTicks, tag.label];
  const reader = new TlvReader(payload, 'SNAP', known);
  return {
    kind: 'snap',
    line,
    volumeUuid: uuidOf(reader, tag.volumeUuid),
    uuid: uuidOf(reader, tag.snapshotUuid),
    name: reader.text(tag.name),
    createdMs: reader.number(tag.createdMs),
    ...(reader.has(tag.cut) ? { past: decodePast(reader) } : {}),
  };
}

function decodePast(reader: TlvReader): PastMoment {
  return {
    cut: reader.number(tag.cut),
    sizeBytes: sizeOf(reader),
    ticks: reader.number(tag.momentTicks),
    label: reader.text(tag.label),
  };
}

export function decodeSnapSet(line: number, payload: Uint8Array): SnapSet {
  const reader = new TlvReader(payload, 'SNAP_SET', [tag.snapshotUuid, tag.lockedUntilMs]);
  const lockedUntilMs = reader.number(tag.lockedUntilMs);
  return { kind: 'snap-set', line, uuid: uuidOf(reader, tag.snapshotUuid), lockedUntilMs };
}

export function decodeSnapDelete(line: number, payload: Uint8Array): SnapDelete {
  const reader = new TlvReader(payload, 'SNAP_DELETE', [tag.snapshotUuid]);
  return { kind: 'snap-delete', line, uuid: uuidOf(reader, tag.snapshotUuid) };
}
