/**
 * Command descriptor blocks and parameter lists as an initiator builds them, written from SPC-4 and SBC-3 and not from
 * our own decoder, so that a mistake there is not made twice.
 */

function cdb(length: number, fill: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(length);
  fill(new DataView(bytes.buffer));
  return bytes;
}

/** SBC-3 5.11, 5.33 and others: 16-byte commands with LBA and a number of blocks. */
function blocks16(opcode: number, lba: number, blockCount: number): Uint8Array {
  return cdb(16, (view) => {
    view.setUint8(0, opcode);
    view.setBigUint64(2, BigInt(lba));
    view.setUint32(10, blockCount);
  });
}

export function read16(lba: number, blockCount: number): Uint8Array {
  return blocks16(0x88, lba, blockCount);
}

export function write16(lba: number, blockCount: number): Uint8Array {
  return blocks16(0x8a, lba, blockCount);
}

/** SBC-3 5.2: the number of blocks is one byte; data-out is what is expected, then what to write. */
export function compareAndWrite(lba: number, blockCount: number): Uint8Array {
  return cdb(16, (view) => {
    view.setUint8(0, 0x89);
    view.setBigUint64(2, BigInt(lba));
    view.setUint8(13, blockCount);
  });
}

/** SBC-3 5.28.1. */
export function unmap(parameterLength: number): Uint8Array {
  return cdb(10, (view) => {
    view.setUint8(0, 0x42);
    view.setUint16(7, parameterLength);
  });
}

/** SBC-3 5.28.2, with one block descriptor. */
export function unmapParameters(lba: number, blockCount: number): Uint8Array {
  return cdb(24, (view) => {
    view.setUint16(0, 22);
    view.setUint16(2, 16);
    view.setBigUint64(8, BigInt(lba));
    view.setUint32(16, blockCount);
  });
}

export function testUnitReady(): Uint8Array {
  return new Uint8Array(6);
}

/** SBC-3 5.4. */
export function getLbaStatus(lba: number, allocationLength: number): Uint8Array {
  const bytes = blocks16(0x9e, lba, allocationLength);
  bytes[1] = 0x12;
  return bytes;
}

/** SPC-4 6.6. */
export function inquiryPage(page: number, allocationLength: number): Uint8Array {
  return cdb(6, (view) => {
    view.setUint8(0, 0x12);
    view.setUint8(1, 1);
    view.setUint8(2, page);
    view.setUint16(3, allocationLength);
  });
}

/** SPC-4 6.15, service actions READ KEYS (0) and READ RESERVATION (1). */
export function persistentReserveIn(serviceAction: number, allocationLength: number): Uint8Array {
  return cdb(10, (view) => {
    view.setUint8(0, 0x5e);
    view.setUint8(1, serviceAction);
    view.setUint16(7, allocationLength);
  });
}

/** SPC-4 6.16: REGISTER 0, RESERVE 1, RELEASE 2, CLEAR 3, REGISTER AND IGNORE EXISTING KEY 6. */
export function persistentReserveOut(serviceAction: number, type: number): Uint8Array {
  return cdb(10, (view) => {
    view.setUint8(0, 0x5f);
    view.setUint8(1, serviceAction);
    view.setUint8(2, type);
    view.setUint32(5, 24);
  });
}

/** SPC-4 6.16.3: the basic parameter list. */
export function reserveParameters(
  key: bigint,
  serviceActionKey: bigint,
  isKeptOverPowerLoss: boolean,
): Uint8Array {
  return cdb(24, (view) => {
    view.setBigUint64(0, key);
    view.setBigUint64(8, serviceActionKey);
    view.setUint8(20, isKeptOverPowerLoss ? 1 : 0);
  });
}

/** SPC-4 6.3: EXTENDED COPY (LID1). */
export function extendedCopy(parameterLength: number): Uint8Array {
  return cdb(16, (view) => {
    view.setUint8(0, 0x83);
    view.setUint32(10, parameterLength);
  });
}

export interface CopySegment {
  readonly sourceNaa: Uint8Array;
  readonly destinationNaa: Uint8Array;
  readonly sourceLba: number;
  readonly destinationLba: number;
  readonly blockCount: number;
}

const headerBytes = 16;
const cscdBytes = 32;
const segmentBytes = 28;

/**
 * A parameter list with two identification descriptors (E4h) and one block-to-block segment (02h): SPC-4 6.3.1, 6.3.6.2,
 * 6.3.7.5. Both units have 512-byte blocks.
 */
export function copyParameters(segment: CopySegment): Uint8Array {
  return cdb(headerBytes + 2 * cscdBytes + segmentBytes, (view) => {
    view.setUint8(0, 0x5a);
    view.setUint16(2, 2 * cscdBytes);
    view.setUint32(8, segmentBytes);
    for (const [index, naa] of [segment.sourceNaa, segment.destinationNaa].entries()) {
      const at = headerBytes + index * cscdBytes;
      view.setUint8(at, 0xe4);
      view.setUint8(at + 4, 1);
      view.setUint8(at + 5, 3);
      view.setUint8(at + 7, naa.length);
      for (const [offset, byte] of naa.entries()) view.setUint8(at + 8 + offset, byte);
      view.setUint8(at + 29, 0);
      view.setUint16(at + 30, 512);
    }
    const at = headerBytes + 2 * cscdBytes;
    view.setUint8(at, 0x02);
    view.setUint16(at + 2, segmentBytes - 4);
    view.setUint16(at + 4, 0);
    view.setUint16(at + 6, 1);
    view.setUint16(at + 10, segment.blockCount);
    view.setBigUint64(at + 12, BigInt(segment.sourceLba));
    view.setBigUint64(at + 20, BigInt(segment.destinationLba));
  });
}

/** The NAA-6 designator of the unit in a device identification page (83h), SPC-4 7.8.5. */
export function naaOf(page: Uint8Array): Uint8Array {
  for (let at = 4; at + 4 <= page.length; at += 4 + (page[at + 3] ?? 0)) {
    const length = page[at + 3] ?? 0;
    const isOfUnit = ((page[at + 1] ?? 0) & 0x30) === 0;
    const isNaa = ((page[at + 1] ?? 0) & 0x0f) === 3;
    if (isOfUnit && isNaa && length === 16) return page.slice(at + 4, at + 4 + length);
  }
  throw new Error('page 83h has no NAA-6 designator of the unit');
}
