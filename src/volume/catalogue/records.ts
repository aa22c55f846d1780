/**
 * Payloads of catalogue records: what each record type carries, as TLV. One function pair per record.
 *
 * Numbers of the tags are part of the format: never reuse one. Tags that later record types need (parent line, fork
 * position, ...) are reserved here so that they mean the same everywhere.
 */
import { unreachable } from '../../base/assert.ts';
import { FormatError } from '../format/format-error.ts';
import { RecordType } from '../format/frame.ts';
import { TlvReader, TlvWriter } from '../format/tlv.ts';
import type { CatalogueEntry } from '../log/mutation.ts';

const tag = {
  volumeUuid: 1,
  name: 2,
  sizeBytes: 3,
  naa: 4,
  serial: 5,
  ack: 6,
  createdMs: 7,
  parentLine: 8,
  forkPosition: 9,
  windowMs: 10,
  snapshotUuid: 16,
  consistency: 17,
  part: 32,
  partCount: 33,
  partBytes: 34,
  epoch: 48,
  nodeUuid: 49,
  openId: 50,
  startPosition: 51,
} as const;

export const AckMode = { durable: 0, writeBack: 1 } as const;
export type AckMode = (typeof AckMode)[keyof typeof AckMode];

export interface VolCreate {
  readonly kind: 'vol-create';
  readonly line: number;
  readonly uuid: Uint8Array;
  readonly name: string;
  readonly sizeBytes: number;
  readonly naa: Uint8Array;
  readonly serial: string;
  readonly ack: AckMode;
  readonly createdMs: number;
}
export interface VolSet {
  readonly kind: 'vol-set';
  readonly line: number;
  readonly uuid: Uint8Array;
  readonly name: string;
}
export interface VolResize {
  readonly kind: 'vol-resize';
  readonly line: number;
  readonly uuid: Uint8Array;
  readonly sizeBytes: number;
}
export interface VolDelete {
  readonly kind: 'vol-delete';
  readonly line: number;
  readonly uuid: Uint8Array;
}
export interface Snap {
  readonly kind: 'snap';
  readonly line: number;
  readonly volumeUuid: Uint8Array;
  readonly uuid: Uint8Array;
  readonly name: string;
  readonly createdMs: number;
}
export interface SnapDelete {
  readonly kind: 'snap-delete';
  readonly line: number;
  readonly uuid: Uint8Array;
}
export interface CheckpointPart {
  readonly kind: 'checkpoint';
  readonly part: number;
  readonly partCount: number;
  readonly bytes: Uint8Array;
}
export interface Epoch {
  readonly kind: 'epoch';
  readonly epoch: number;
  readonly nodeUuid: Uint8Array;
  readonly openId: Uint8Array;
  readonly startPosition: number;
}

export type CatalogueRecord =
  | VolCreate
  | VolSet
  | VolResize
  | VolDelete
  | Snap
  | SnapDelete
  | CheckpointPart
  | Epoch;

/** The record as it goes into the log. */
export function encodeRecord(record: CatalogueRecord): CatalogueEntry {
  const writer = new TlvWriter();
  switch (record.kind) {
    case 'vol-create':
      writer
        .bytes(tag.volumeUuid, record.uuid)
        .text(tag.name, record.name)
        .number(tag.sizeBytes, record.sizeBytes)
        .bytes(tag.naa, record.naa)
        .text(tag.serial, record.serial)
        .number(tag.ack, record.ack)
        .number(tag.createdMs, record.createdMs);
      return { type: RecordType.volCreate, line: record.line, payload: writer.finish() };
    case 'vol-set':
      writer.bytes(tag.volumeUuid, record.uuid).text(tag.name, record.name);
      return { type: RecordType.volSet, line: record.line, payload: writer.finish() };
    case 'vol-resize':
      writer.bytes(tag.volumeUuid, record.uuid).number(tag.sizeBytes, record.sizeBytes);
      return { type: RecordType.volResize, line: record.line, payload: writer.finish() };
    case 'vol-delete':
      writer.bytes(tag.volumeUuid, record.uuid);
      return { type: RecordType.volDelete, line: record.line, payload: writer.finish() };
    case 'snap':
      writer
        .bytes(tag.volumeUuid, record.volumeUuid)
        .bytes(tag.snapshotUuid, record.uuid)
        .text(tag.name, record.name)
        .number(tag.createdMs, record.createdMs);
      return { type: RecordType.snap, line: record.line, payload: writer.finish() };
    case 'snap-delete':
      writer.bytes(tag.snapshotUuid, record.uuid);
      return { type: RecordType.snapDelete, line: record.line, payload: writer.finish() };
    case 'checkpoint':
      writer
        .number(tag.part, record.part)
        .number(tag.partCount, record.partCount)
        .bytes(tag.partBytes, record.bytes);
      return { type: RecordType.checkpoint, line: 0, payload: writer.finish() };
    case 'epoch':
      writer
        .number(tag.epoch, record.epoch)
        .bytes(tag.nodeUuid, record.nodeUuid)
        .bytes(tag.openId, record.openId)
        .number(tag.startPosition, record.startPosition);
      return { type: RecordType.epoch, line: 0, payload: writer.finish() };
    default:
      return unreachable(record);
  }
}

/** Inverse of `encodeRecord`. Throws FormatError for malformed payloads, unknown fields and types this version cannot apply. */
export function decodeRecord(type: number, line: number, payload: Uint8Array): CatalogueRecord {
  switch (type) {
    case RecordType.volCreate:
      return decodeVolCreate(line, payload);
    case RecordType.volSet: {
      const reader = new TlvReader(payload, 'VOL_SET', [tag.volumeUuid, tag.name]);
      return {
        kind: 'vol-set',
        line,
        uuid: uuidOf(reader, tag.volumeUuid),
        name: reader.text(tag.name),
      };
    }
    case RecordType.volResize: {
      const reader = new TlvReader(payload, 'VOL_RESIZE', [tag.volumeUuid, tag.sizeBytes]);
      const sizeBytes = reader.number(tag.sizeBytes);
      return { kind: 'vol-resize', line, uuid: uuidOf(reader, tag.volumeUuid), sizeBytes };
    }
    case RecordType.volDelete: {
      const reader = new TlvReader(payload, 'VOL_DELETE', [tag.volumeUuid]);
      return { kind: 'vol-delete', line, uuid: uuidOf(reader, tag.volumeUuid) };
    }
    case RecordType.snap:
      return decodeSnap(line, payload);
    case RecordType.snapDelete: {
      const reader = new TlvReader(payload, 'SNAP_DELETE', [tag.snapshotUuid]);
      return { kind: 'snap-delete', line, uuid: uuidOf(reader, tag.snapshotUuid) };
    }
    case RecordType.checkpoint: {
      const known = [tag.part, tag.partCount, tag.partBytes];
      const reader = new TlvReader(payload, 'CHECKPOINT', known);
      return {
        kind: 'checkpoint',
        part: reader.number(tag.part),
        partCount: reader.number(tag.partCount),
        bytes: reader.bytes(tag.partBytes),
      };
    }
    case RecordType.epoch:
      return decodeEpoch(payload);
    default:
      throw new FormatError(`record type ${type} needs a newer tidemark`, { isTooNew: true });
  }
}

function decodeVolCreate(line: number, payload: Uint8Array): VolCreate {
  const known = [
    tag.volumeUuid,
    tag.name,
    tag.sizeBytes,
    tag.naa,
    tag.serial,
    tag.ack,
    tag.createdMs,
  ];
  const reader = new TlvReader(payload, 'VOL_CREATE', known);
  const ack = reader.number(tag.ack);
  if (ack !== AckMode.durable) {
    throw new FormatError(`VOL_CREATE: ack mode ${ack} needs a newer tidemark`, { isTooNew: true });
  }
  return {
    kind: 'vol-create',
    line,
    uuid: uuidOf(reader, tag.volumeUuid),
    name: reader.text(tag.name),
    sizeBytes: reader.number(tag.sizeBytes),
    naa: uuidOf(reader, tag.naa),
    serial: reader.text(tag.serial),
    ack,
    createdMs: reader.number(tag.createdMs),
  };
}

function decodeSnap(line: number, payload: Uint8Array): Snap {
  const known = [tag.volumeUuid, tag.snapshotUuid, tag.name, tag.createdMs];
  const reader = new TlvReader(payload, 'SNAP', known);
  return {
    kind: 'snap',
    line,
    volumeUuid: uuidOf(reader, tag.volumeUuid),
    uuid: uuidOf(reader, tag.snapshotUuid),
    name: reader.text(tag.name),
    createdMs: reader.number(tag.createdMs),
  };
}

function decodeEpoch(payload: Uint8Array): Epoch {
  const known = [tag.epoch, tag.nodeUuid, tag.openId, tag.startPosition];
  const reader = new TlvReader(payload, 'EPOCH', known);
  return {
    kind: 'epoch',
    epoch: reader.number(tag.epoch),
    nodeUuid: uuidOf(reader, tag.nodeUuid),
    openId: uuidOf(reader, tag.openId),
    startPosition: reader.number(tag.startPosition),
  };
}

function uuidOf(reader: TlvReader, which: number): Uint8Array {
  const value = reader.bytes(which);
  if (value.length !== 16) throw new FormatError(`field ${which} is no 16-byte id`);
  return value;
}
