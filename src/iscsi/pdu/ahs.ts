/**
 * Additional Header Segments, RFC 7143 section 11.2.2: the rest of a CDB longer than 16 bytes, and the read length of a
 * bidirectional command.
 *
 *     AHSLength 2 │ AHSType 1 │ reserved 1 │ specific, padded to 4      AHSLength counts what follows the type
 */
import { u8, u16be, u32be } from '../../base/fields.ts';
import { paddedLength } from './header.ts';
import { shortCdbBytes } from './scsi-command.ts';

const ahs = {
  length: u16be(0),
  type: u8(2),
  /** Of a bidirectional AHS. */
  readLength: u32be(4),
} as const;
const ahsHeaderBytes = 4;
/** Length and type, which AHSLength leaves out. */
const uncountedBytes = 3;
const bidirectionalLength = 5;

const AhsType = { extendedCdb: 1, bidirectionalReadLength: 2 } as const;

/** 260 bytes, SPC-4 section 4.2.3. */
const cdbMaxBytes = 260;

export interface AdditionalHeaders {
  /** The whole CDB, fresh memory; undefined when 16 bytes are all. */
  extendedCdb: Uint8Array | undefined;
  bidirectionalReadLength: number | undefined;
}

/** Fills `into` from `segments`, all AHS of one SCSI Command whose CDB starts with `cdb`. Returns what is wrong, undefined when nothing is. */
export function decodeAdditionalHeaders(
  segments: DataView,
  cdb: Uint8Array,
  into: AdditionalHeaders,
): string | undefined {
  into.extendedCdb = undefined;
  into.bidirectionalReadLength = undefined;
  let at = 0;
  while (at < segments.byteLength) {
    if (segments.byteLength - at < ahsHeaderBytes) return 'truncated AHS';
    const length = ahs.length.get(segments, at);
    const next = at + paddedLength(length + uncountedBytes);
    if (length === 0 || next > segments.byteLength) return 'AHS longer than its segment';
    const problem = decodeOne(segments, at, cdb, into);
    if (problem !== undefined) return problem;
    at = next;
  }
  return undefined;
}

function decodeOne(
  segments: DataView,
  at: number,
  cdb: Uint8Array,
  into: AdditionalHeaders,
): string | undefined {
  const length = ahs.length.get(segments, at);
  const type = ahs.type.get(segments, at);
  if (type === AhsType.bidirectionalReadLength) {
    if (length !== bidirectionalLength || into.bidirectionalReadLength !== undefined) {
      return 'wrong bidirectional AHS';
    }
    into.bidirectionalReadLength = ahs.readLength.get(segments, at);
    return undefined;
  }
  if (type !== AhsType.extendedCdb) return 'unknown AHS type';
  const extraBytes = length - 1;
  const sizeBytes = shortCdbBytes + extraBytes;
  if (extraBytes === 0 || sizeBytes > cdbMaxBytes || into.extendedCdb !== undefined) {
    return 'wrong extended CDB AHS';
  }
  const whole = new Uint8Array(sizeBytes);
  whole.set(cdb.subarray(0, shortCdbBytes));
  const extra = new Uint8Array(
    segments.buffer,
    segments.byteOffset + at + ahsHeaderBytes,
    extraBytes,
  );
  whole.set(extra, shortCdbBytes);
  into.extendedCdb = whole;
  return undefined;
}
