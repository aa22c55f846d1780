/** Fields of catalogue records. */
import { slotSizeBytes } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import type { TlvReader } from '../format/tlv.ts';
import { limits } from '../limits.ts';

/** Their numbers are part of the format, and mean the same in every record: never reuse one. */
export const tag = {
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
  sourceUuid: 11,
  reason: 12,
  label: 13,
  luState: 14,
  snapshotUuid: 16,
  consistency: 17,
  cut: 18,
  momentTicks: 19,
  provisioning: 20,
  windowBytes: 21,
  tiers: 22,
  pinnedMs: 23,
  pinnedLines: 24,
  unpinned: 25,
  horizons: 26,
  guarantee: 27,
  lockedUntilMs: 28,
  pastPins: 29,
  part: 32,
  partCount: 33,
  partBytes: 34,
  epoch: 48,
  nodeUuid: 49,
  openId: 50,
  startPosition: 51,
} as const;

/** Throws FormatError. */
export function uuidOf(reader: TlvReader, which: number): Uint8Array {
  const value = reader.bytes(which);
  if (value.length !== 16) throw new FormatError(`field ${which} is no 16-byte id`);
  return value;
}

/** A size that a volume can have. Throws FormatError. */
export function sizeOf(reader: TlvReader): number {
  const sizeBytes = reader.number(tag.sizeBytes);
  const isSize = sizeBytes > 0 && sizeBytes <= limits.volumeSizeBytesMax;
  if (!isSize || sizeBytes % slotSizeBytes !== 0) {
    throw new FormatError(`a volume of ${sizeBytes} bytes`);
  }
  return sizeBytes;
}
