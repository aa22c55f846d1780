/** Parameter lists of EXTENDED COPY(LID1) as an initiator builds them, written from SPC-4 6.4 and not from our decoder. */

/** Table 83: CSCD descriptors, segment descriptors, behind a header of 16 bytes. Usage 10b: results may be discarded. */
export function copyList(
  targets: readonly Uint8Array[],
  segments: readonly Uint8Array[],
  header: { readonly listId?: number; readonly usage?: number; readonly inlineBytes?: number } = {},
): Uint8Array {
  const targetBytes = targets.reduce((sum, { length }) => sum + length, 0);
  const segmentBytes = segments.reduce((sum, { length }) => sum + length, 0);
  const list = new Uint8Array(16 + targetBytes + segmentBytes);
  const view = new DataView(list.buffer);
  view.setUint8(0, header.listId ?? 0);
  view.setUint8(1, (header.usage ?? 2) << 3);
  view.setUint16(2, targetBytes);
  view.setUint32(8, segmentBytes);
  view.setUint32(12, header.inlineBytes ?? 0);
  let at = 16;
  for (const descriptor of [...targets, ...segments]) {
    list.set(descriptor, at);
    at += descriptor.length;
  }
  return list;
}

/** Table 101: identification descriptor E4h with a binary NAA designator of a logical unit of 512-byte blocks. */
export function identificationDescriptor(naa: Uint8Array): Uint8Array {
  const descriptor = new Uint8Array(32);
  descriptor.set([0xe4, 0x00, 0, 0, 0x01, 0x03, 0, naa.length]);
  descriptor.set(naa, 8);
  new DataView(descriptor.buffer).setUint32(28, 512);
  return descriptor;
}

export interface SegmentShape {
  readonly source?: number;
  readonly target?: number;
  readonly sourceLba?: number | bigint;
  readonly targetLba?: number | bigint;
}

/** Segment descriptor 02h, block device to block device. */
export function segmentDescriptor(
  segment: SegmentShape & { readonly blockCount?: number },
): Uint8Array {
  const descriptor = new Uint8Array(28);
  const view = segmentHeader(descriptor, 0x02, segment);
  view.setUint16(10, segment.blockCount ?? 0);
  return descriptor;
}

/** Segment descriptor 0Ah, block device to block device with offset. */
export function segmentWithOffset(
  segment: SegmentShape & {
    readonly byteCount?: number;
    readonly sourceSkip?: number;
    readonly targetSkip?: number;
  },
): Uint8Array {
  const descriptor = new Uint8Array(32);
  const view = segmentHeader(descriptor, 0x0a, segment);
  view.setUint32(8, segment.byteCount ?? 0);
  view.setUint16(28, segment.sourceSkip ?? 0);
  view.setUint16(30, segment.targetSkip ?? 0);
  return descriptor;
}

function segmentHeader(descriptor: Uint8Array, type: number, segment: SegmentShape): DataView {
  const view = new DataView(descriptor.buffer);
  view.setUint8(0, type);
  view.setUint16(2, descriptor.length - 4);
  view.setUint16(4, segment.source ?? 0);
  view.setUint16(6, segment.target ?? 0);
  view.setBigUint64(12, BigInt(segment.sourceLba ?? 0));
  view.setBigUint64(20, BigInt(segment.targetLba ?? 0));
  return view;
}

/** EXTENDED COPY(LID1). */
export function extendedCopyCdb(listBytes: number): Uint8Array {
  const cdb = new Uint8Array(16);
  cdb[0] = 0x83;
  new DataView(cdb.buffer).setUint32(10, listBytes);
  return cdb;
}

/** RECEIVE COPY RESULTS: status 0, data 1, operating parameters 3, failed segment details 4. */
export function copyResultsCdb(
  serviceAction: number,
  listId: number,
  allocationLength: number,
): Uint8Array {
  const cdb = new Uint8Array(16);
  cdb[0] = 0x84;
  cdb[1] = serviceAction;
  cdb[2] = listId;
  new DataView(cdb.buffer).setUint32(10, allocationLength);
  return cdb;
}
