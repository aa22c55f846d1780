/** Payloads of catalogue records: what each record type carries, as TLV. One function pair per record. */
import { unreachable } from '../../base/assert.ts';
import { FormatError } from '../format/format-error.ts';
import { RecordType } from '../format/frame.ts';
import { TlvReader, TlvWriter } from '../format/tlv.ts';
import type { CatalogueEntry } from '../log/mutation.ts';
import { sizeOf, tag, uuidOf } from './record-fields.ts';
import {
  type CdpFields,
  cdpTags,
  decodeCdp,
  decodeHorizon,
  decodePin,
  decodeUnpin,
  encodeCdp,
  encodeRetention,
  type Horizon,
  type Pin,
  type Unpin,
} from './retention-records.ts';
import {
  decodeSnap,
  decodeSnapDelete,
  decodeSnapSet,
  encodeSnapshot,
  type Snap,
  type SnapDelete,
  type SnapSet,
} from './snapshot-records.ts';

export const AckMode = { durable: 0, writeBack: 1 } as const;
export type AckMode = (typeof AckMode)[keyof typeof AckMode];

/** Thick: the pool keeps space for the whole volume. */
export const Provisioning = { thin: 0, thick: 1 } as const;
export type Provisioning = (typeof Provisioning)[keyof typeof Provisioning];

export interface VolCreate extends CdpFields {
  readonly kind: 'vol-create';
  readonly line: number;
  readonly uuid: Uint8Array;
  readonly name: string;
  readonly sizeBytes: number;
  readonly naa: Uint8Array;
  readonly serial: string;
  readonly ack: AckMode;
  readonly createdMs: number;
  /** Absent: thin. */
  readonly provisioning?: Provisioning;
}
/** Changes what is given, leaves the rest. */
export interface VolSet extends CdpFields {
  readonly kind: 'vol-set';
  readonly line: number;
  readonly uuid: Uint8Array;
  readonly name?: string;
  readonly ack?: AckMode;
  readonly provisioning?: Provisioning;
}
/** Where a new line begins: in `parentLine`, with everything before `forkPosition`. */
export interface Fork {
  readonly parentLine: number;
  /** Undefined = the record's own position: the parent as it is now. */
  readonly forkPosition: number | undefined;
}
/** A writable volume over a moment of another: its own identity, its own line. */
export interface View extends Fork, CdpFields {
  readonly kind: 'view';
  readonly line: number;
  readonly uuid: Uint8Array;
  readonly name: string;
  readonly sizeBytes: number;
  readonly naa: Uint8Array;
  readonly serial: string;
  readonly ack: AckMode;
  readonly createdMs: number;
  readonly sourceUuid: Uint8Array;
  /** What the moment was called: "snapshot:NAME" or "now". */
  readonly label: string;
}
/** The view becomes a volume of its own. */
export interface Promote {
  readonly kind: 'promote';
  readonly line: number;
  readonly uuid: Uint8Array;
}
export const RevertReason = { rollback: 0, undo: 1, refresh: 2 } as const;
export type RevertReason = (typeof RevertReason)[keyof typeof RevertReason];
/** The volume goes on in a new line; the line it leaves stays as it was. */
export interface Revert extends Fork {
  readonly kind: 'revert';
  readonly line: number;
  readonly uuid: Uint8Array;
  readonly sizeBytes: number;
  readonly reason: RevertReason;
  readonly label: string;
  readonly createdMs: number;
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
/** What a front end keeps for the volume's identity; replaces what was there. */
export interface LuState {
  readonly kind: 'lu-state';
  readonly line: number;
  readonly uuid: Uint8Array;
  readonly state: Uint8Array;
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
  | View
  | Promote
  | Revert
  | VolSet
  | VolResize
  | VolDelete
  | Snap
  | SnapSet
  | SnapDelete
  | Pin
  | Unpin
  | Horizon
  | LuState
  | CheckpointPart
  | Epoch;

/** Whether it says what is kept of the past of volumes. */
export function isRetention(record: CatalogueRecord): record is Pin | Unpin | Horizon {
  return record.kind === 'pin' || record.kind === 'unpin' || record.kind === 'horizon';
}

/** The record as it goes into the log. */
export function encodeRecord(record: CatalogueRecord): CatalogueEntry {
  const line = 'line' in record ? record.line : 0;
  return { type: typeByKind[record.kind], line, payload: encodePayload(record).finish() };
}

const typeByKind = {
  'vol-create': RecordType.volCreate,
  'vol-set': RecordType.volSet,
  'vol-resize': RecordType.volResize,
  'vol-delete': RecordType.volDelete,
  view: RecordType.view,
  promote: RecordType.promote,
  revert: RecordType.revert,
  snap: RecordType.snap,
  'snap-set': RecordType.snapSet,
  'snap-delete': RecordType.snapDelete,
  pin: RecordType.pin,
  unpin: RecordType.unpin,
  horizon: RecordType.horizon,
  'lu-state': RecordType.luState,
  checkpoint: RecordType.checkpoint,
  epoch: RecordType.epoch,
} as const;

function encodePayload(record: CatalogueRecord): TlvWriter {
  const writer = new TlvWriter();
  if (isRetention(record)) return encodeRetention(writer, record);
  switch (record.kind) {
    case 'vol-create':
      return encodeProvisioning(encodeIdentity(writer, record), record);
    case 'view':
      encodeFork(encodeIdentity(writer, record), record);
      return writer.bytes(tag.sourceUuid, record.sourceUuid).text(tag.label, record.label);
    case 'vol-set':
      return encodeSet(writer.bytes(tag.volumeUuid, record.uuid), record);
    case 'vol-resize':
      return writer.bytes(tag.volumeUuid, record.uuid).number(tag.sizeBytes, record.sizeBytes);
    case 'vol-delete':
    case 'promote':
      return writer.bytes(tag.volumeUuid, record.uuid);
    case 'revert':
      encodeFork(writer.bytes(tag.volumeUuid, record.uuid), record);
      return writer
        .number(tag.sizeBytes, record.sizeBytes)
        .number(tag.reason, record.reason)
        .text(tag.label, record.label)
        .number(tag.createdMs, record.createdMs);
    case 'snap':
    case 'snap-set':
    case 'snap-delete':
      return encodeSnapshot(writer, record);
    case 'lu-state':
      return writer.bytes(tag.volumeUuid, record.uuid).bytes(tag.luState, record.state);
    case 'checkpoint':
      return writer
        .number(tag.part, record.part)
        .number(tag.partCount, record.partCount)
        .bytes(tag.partBytes, record.bytes);
    case 'epoch':
      return writer
        .number(tag.epoch, record.epoch)
        .bytes(tag.nodeUuid, record.nodeUuid)
        .bytes(tag.openId, record.openId)
        .number(tag.startPosition, record.startPosition);
    default:
      return unreachable(record);
  }
}

function encodeSet(writer: TlvWriter, record: VolSet): TlvWriter {
  if (record.name !== undefined) writer.text(tag.name, record.name);
  if (record.ack !== undefined) writer.number(tag.ack, record.ack);
  encodeCdp(writer, record);
  return encodeProvisioning(writer, record);
}

function encodeIdentity(writer: TlvWriter, record: VolCreate | View): TlvWriter {
  encodeCdp(writer, record);
  return writer
    .bytes(tag.volumeUuid, record.uuid)
    .text(tag.name, record.name)
    .number(tag.sizeBytes, record.sizeBytes)
    .bytes(tag.naa, record.naa)
    .text(tag.serial, record.serial)
    .number(tag.ack, record.ack)
    .number(tag.createdMs, record.createdMs);
}

function encodeProvisioning(writer: TlvWriter, { provisioning }: VolCreate | VolSet): TlvWriter {
  return provisioning === undefined ? writer : writer.number(tag.provisioning, provisioning);
}

function encodeFork(writer: TlvWriter, fork: Fork): void {
  writer.number(tag.parentLine, fork.parentLine);
  if (fork.forkPosition !== undefined) writer.number(tag.forkPosition, fork.forkPosition);
}

type Decoder = (line: number, payload: Uint8Array) => CatalogueRecord;

/** Inverse of `encodeRecord`. Throws FormatError for malformed payloads, unknown fields and types this version cannot apply. */
export function decodeRecord(type: number, line: number, payload: Uint8Array): CatalogueRecord {
  const decode = decoderByType.get(type);
  if (decode === undefined) {
    throw new FormatError(`record type ${type} needs a newer tidemark`, { isTooNew: true });
  }
  return decode(line, payload);
}

const nameTags = [tag.volumeUuid, tag.name, tag.naa, tag.serial];
const identityTags = [...nameTags, tag.sizeBytes, tag.ack, tag.createdMs, ...cdpTags];
const forkTags = [tag.parentLine, tag.forkPosition];

const decoderByType: ReadonlyMap<number, Decoder> = new Map<number, Decoder>([
  [
    RecordType.volCreate,
    (line, payload) => {
      const reader = new TlvReader(payload, 'VOL_CREATE', [...identityTags, tag.provisioning]);
      const provisioning = provisioningOf(reader);
      return { kind: 'vol-create', line, ...decodeIdentity(reader), ...provisioning };
    },
  ],
  [
    RecordType.view,
    (line, payload) => {
      const known = [...identityTags, ...forkTags, tag.sourceUuid, tag.label];
      const reader = new TlvReader(payload, 'VIEW', known);
      const sourceUuid = uuidOf(reader, tag.sourceUuid);
      const label = reader.text(tag.label);
      return {
        kind: 'view',
        line,
        ...decodeIdentity(reader),
        ...decodeFork(reader),
        sourceUuid,
        label,
      };
    },
  ],
  [
    RecordType.volSet,
    (line, payload) => {
      const known = [tag.volumeUuid, tag.name, tag.ack, tag.provisioning, ...cdpTags];
      const reader = new TlvReader(payload, 'VOL_SET', known);
      return {
        kind: 'vol-set',
        line,
        uuid: uuidOf(reader, tag.volumeUuid),
        ...(reader.has(tag.name) ? { name: reader.text(tag.name) } : {}),
        ...(reader.has(tag.ack) ? { ack: ackOf(reader) } : {}),
        ...provisioningOf(reader),
        ...decodeCdp(reader),
      };
    },
  ],
  [
    RecordType.volResize,
    (line, payload) => {
      const reader = new TlvReader(payload, 'VOL_RESIZE', [tag.volumeUuid, tag.sizeBytes]);
      const sizeBytes = sizeOf(reader);
      return { kind: 'vol-resize', line, uuid: uuidOf(reader, tag.volumeUuid), sizeBytes };
    },
  ],
  [
    RecordType.volDelete,
    (line, payload) => {
      const reader = new TlvReader(payload, 'VOL_DELETE', [tag.volumeUuid]);
      return { kind: 'vol-delete', line, uuid: uuidOf(reader, tag.volumeUuid) };
    },
  ],
  [
    RecordType.promote,
    (line, payload) => {
      const reader = new TlvReader(payload, 'PROMOTE', [tag.volumeUuid]);
      return { kind: 'promote', line, uuid: uuidOf(reader, tag.volumeUuid) };
    },
  ],
  [RecordType.revert, decodeRevert],
  [RecordType.snap, decodeSnap],
  [RecordType.snapSet, decodeSnapSet],
  [RecordType.snapDelete, decodeSnapDelete],
  [RecordType.pin, decodePin],
  [RecordType.unpin, decodeUnpin],
  [RecordType.horizon, decodeHorizon],
  [
    RecordType.luState,
    (line, payload) => {
      const reader = new TlvReader(payload, 'LU_STATE', [tag.volumeUuid, tag.luState]);
      const state = reader.bytes(tag.luState);
      return { kind: 'lu-state', line, uuid: uuidOf(reader, tag.volumeUuid), state };
    },
  ],
  [
    RecordType.checkpoint,
    (_line, payload) => {
      const known = [tag.part, tag.partCount, tag.partBytes];
      const reader = new TlvReader(payload, 'CHECKPOINT', known);
      return {
        kind: 'checkpoint',
        part: reader.number(tag.part),
        partCount: reader.number(tag.partCount),
        bytes: reader.bytes(tag.partBytes),
      };
    },
  ],
  [RecordType.epoch, decodeEpoch],
]);

function decodeIdentity(reader: TlvReader): Omit<VolCreate, 'kind' | 'line'> {
  return {
    uuid: uuidOf(reader, tag.volumeUuid),
    name: reader.text(tag.name),
    sizeBytes: sizeOf(reader),
    naa: uuidOf(reader, tag.naa),
    serial: reader.text(tag.serial),
    ack: ackOf(reader),
    createdMs: reader.number(tag.createdMs),
    ...decodeCdp(reader),
  };
}

function decodeFork(reader: TlvReader): Fork {
  return {
    parentLine: reader.number(tag.parentLine),
    forkPosition: reader.has(tag.forkPosition) ? reader.number(tag.forkPosition) : undefined,
  };
}

function decodeRevert(line: number, payload: Uint8Array): Revert {
  const known = [tag.volumeUuid, ...forkTags, tag.sizeBytes, tag.reason, tag.label, tag.createdMs];
  const reader = new TlvReader(payload, 'REVERT', known);
  const reason = reader.number(tag.reason);
  if (reason !== 0 && reason !== 1 && reason !== 2) {
    throw new FormatError(`REVERT: reason ${reason} needs a newer tidemark`, { isTooNew: true });
  }
  return {
    kind: 'revert',
    line,
    uuid: uuidOf(reader, tag.volumeUuid),
    ...decodeFork(reader),
    sizeBytes: sizeOf(reader),
    reason,
    label: reader.text(tag.label),
    createdMs: reader.number(tag.createdMs),
  };
}

function decodeEpoch(_line: number, payload: Uint8Array): Epoch {
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

function ackOf(reader: TlvReader): AckMode {
  const ack = reader.number(tag.ack);
  if (ack !== AckMode.durable && ack !== AckMode.writeBack) {
    throw new FormatError(`ack mode ${ack} needs a newer tidemark`, { isTooNew: true });
  }
  return ack;
}

function provisioningOf(reader: TlvReader): { readonly provisioning?: Provisioning } {
  if (!reader.has(tag.provisioning)) return {};
  const provisioning = reader.number(tag.provisioning);
  if (provisioning !== Provisioning.thin && provisioning !== Provisioning.thick) {
    throw new FormatError(`provisioning ${provisioning} needs a newer tidemark`, {
      isTooNew: true,
    });
  }
  return { provisioning };
}
