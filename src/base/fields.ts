/**
 * Field tables: a wire or disk layout is an object of fields, each with its offset, size and accessors.
 *
 *     export const header = { magic: u32(0), length: u16(4) } as const;
 *     header.length.get(view, at)      // `at` = where the structure starts in the view
 *
 * Names without suffix are little-endian (our disk formats), `...be` big-endian (network protocols).
 * Numbers up to 2^53 - 1; larger values read from hostile bytes lose precision but never throw: validate ranges.
 */

export interface Field {
  readonly offset: number;
  readonly size: number;
  get(view: DataView, at: number): number;
  set(view: DataView, at: number, value: number): void;
}

export interface BytesField {
  readonly offset: number;
  readonly size: number;
  /** A view of the bytes in place: valid as long as `bytes` is. */
  get(bytes: Uint8Array, at: number): Uint8Array;
  set(bytes: Uint8Array, at: number, value: Uint8Array): void;
}

const two32 = 2 ** 32;

export function u8(offset: number): Field {
  return {
    offset,
    size: 1,
    get: (view, at) => view.getUint8(at + offset),
    set: (view, at, value) => {
      view.setUint8(at + offset, value);
    },
  };
}

export function u16(offset: number): Field {
  return {
    offset,
    size: 2,
    get: (view, at) => view.getUint16(at + offset, true),
    set: (view, at, value) => {
      view.setUint16(at + offset, value, true);
    },
  };
}

export function u32(offset: number): Field {
  return {
    offset,
    size: 4,
    get: (view, at) => view.getUint32(at + offset, true),
    set: (view, at, value) => {
      view.setUint32(at + offset, value, true);
    },
  };
}

export function u48(offset: number): Field {
  return {
    offset,
    size: 6,
    get: (view, at) =>
      view.getUint16(at + offset + 4, true) * two32 + view.getUint32(at + offset, true),
    set: (view, at, value) => {
      view.setUint32(at + offset, value % two32, true);
      view.setUint16(at + offset + 4, Math.floor(value / two32), true);
    },
  };
}

/** 64 bits on the wire, at most 2^53 - 1 in the value. */
export function u64(offset: number): Field {
  return {
    offset,
    size: 8,
    get: (view, at) =>
      view.getUint32(at + offset + 4, true) * two32 + view.getUint32(at + offset, true),
    set: (view, at, value) => {
      view.setUint32(at + offset, value % two32, true);
      view.setUint32(at + offset + 4, Math.floor(value / two32), true);
    },
  };
}

export function u16be(offset: number): Field {
  return {
    offset,
    size: 2,
    get: (view, at) => view.getUint16(at + offset, false),
    set: (view, at, value) => {
      view.setUint16(at + offset, value, false);
    },
  };
}

export function u24be(offset: number): Field {
  return {
    offset,
    size: 3,
    get: (view, at) => view.getUint8(at + offset) * 65_536 + view.getUint16(at + offset + 1, false),
    set: (view, at, value) => {
      view.setUint8(at + offset, value >>> 16);
      view.setUint16(at + offset + 1, value & 0xffff, false);
    },
  };
}

export function u32be(offset: number): Field {
  return {
    offset,
    size: 4,
    get: (view, at) => view.getUint32(at + offset, false),
    set: (view, at, value) => {
      view.setUint32(at + offset, value, false);
    },
  };
}

/** 64 bits on the wire, at most 2^53 - 1 in the value. */
export function u64be(offset: number): Field {
  return {
    offset,
    size: 8,
    get: (view, at) =>
      view.getUint32(at + offset, false) * two32 + view.getUint32(at + offset + 4, false),
    set: (view, at, value) => {
      view.setUint32(at + offset, Math.floor(value / two32), false);
      view.setUint32(at + offset + 4, value % two32, false);
    },
  };
}

export function bytes(offset: number, size: number): BytesField {
  return {
    offset,
    size,
    get: (source, at) => source.subarray(at + offset, at + offset + size),
    set: (target, at, value) => {
      target.set(value.subarray(0, size), at + offset);
    },
  };
}

/** A DataView over the same memory as `source`. */
export function viewOf(source: Uint8Array): DataView {
  return new DataView(source.buffer, source.byteOffset, source.byteLength);
}
