/**
 * Tail: records at the end of the log that verify but could not be made durable where they lie. They are taken out here and
 * logged again in a new segment, before anything is served.
 */
import { frameAddressOf, positionOf } from '../format/address.ts';
import { decodeDescriptor, frameEnd, isDataType, RecordType } from '../format/frame.ts';
import type { LoadedFrame, SegmentReader } from './scan.ts';

export interface TailRecord {
  readonly type: number;
  readonly flags: number;
  readonly line: number;
  readonly lba: number;
  readonly blockCount: number;
  readonly writer: number;
  /** WRITE: address of its first block; CLONE: of the first block that it shares; else 0. */
  readonly address: number;
  /** Where it was: records of one frame that were one cut stay one. */
  readonly position: number;
  /** WRITE: the blocks. Catalogue records: the payload. */
  readonly bytes: Uint8Array;
}

/**
 * Records of the frames in [from, to), with their bytes; undefined when not all of them verify any more. They did before,
 * but a flush has failed since, and what is read now may be what the disk had before: logged again under a fresh checksum it
 * would count as good.
 */
export function readTail(
  reader: SegmentReader,
  from: number,
  to: number,
): TailRecord[] | undefined {
  const records: TailRecord[] = [];
  let address = from;
  while (address < to) {
    const loaded = reader.frame(address);
    if (loaded === undefined || reader.badBlocks(loaded).length > 0) return undefined;
    const { frame } = loaded;
    for (let index = 0; index < frame.descriptors; index += 1) {
      const record = readRecord(reader, loaded, index);
      if (record === undefined) return undefined;
      records.push(record);
    }
    address = frameEnd(frame);
  }
  return records;
}

/** One record with its bytes; undefined when they cannot be read. */
function readRecord(
  reader: SegmentReader,
  { frame, header }: LoadedFrame,
  index: number,
): TailRecord | undefined {
  const descriptor = decodeDescriptor(header, frame, index);
  const { type, flags, line, lba, blockCount, writer, payloadOffset, payloadLength } = descriptor;
  let bytes: Uint8Array | undefined = new Uint8Array(0);
  if (type === RecordType.write) {
    bytes = reader.slots(descriptor.address, blockCount);
  } else if (!isDataType(type)) {
    bytes = header.slice(payloadOffset, payloadOffset + payloadLength);
  }
  const position = positionOf(frame.address, index);
  const { address } = descriptor;
  return bytes && { type, flags, line, lba, blockCount, writer, address, position, bytes };
}

/** Whether two records belong to one catalogue group (the SNAPs of one cut). */
export function isSameCut(left: TailRecord, right: TailRecord): boolean {
  return (
    left.type === RecordType.snap &&
    right.type === RecordType.snap &&
    frameAddressOf(left.position) === frameAddressOf(right.position)
  );
}
