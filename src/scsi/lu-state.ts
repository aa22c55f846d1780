/**
 * LU_STATE: what a logical unit keeps over a restart, one opaque value to the store.
 *
 *     0  magic "TMLU"   4  version   6  part count   8  CRC32C of everything behind   12  parts
 *     part: 0 kind   2 reserved   4 length   8 bytes...
 *
 * Each part is encoded by its owner (saved mode pages, persistent reservation), but for the reservation rule: one byte, 1 =
 * registrants are told apart by initiator name, without the ISID. Parts of kinds that this version does not
 * know are kept as they are, so that going back to an older program loses nothing.
 *
 * Versions: 1 = first.
 */
import { crc32c } from '../base/crc32c.ts';
import { u16, u32, viewOf } from '../base/fields.ts';

export const LuStatePart = { modePages: 1, persistentReservation: 2, reservationRule: 3 } as const;
export type LuStatePart = (typeof LuStatePart)[keyof typeof LuStatePart];

export type LuStateParts = ReadonlyMap<number, Uint8Array>;

const header = { magic: u32(0), version: u16(4), partCount: u16(6), checksum: u32(8) } as const;
const headerBytes = 12;
const part = { kind: u16(0), reserved: u16(2), length: u32(4) } as const;
const partHeaderBytes = 8;
const magic = 0x554c4d54;
const version = 1;

/** The reservation rule as a part. */
export function encodeIsidRule(ignoresIsid: boolean): Uint8Array {
  return Uint8Array.of(ignoresIsid ? 1 : 0);
}

/** Whether a logical unit with this LU_STATE tells registrants apart without their ISID. */
export function ignoresIsidIn(state: Uint8Array | undefined): boolean {
  const parts = state === undefined ? undefined : decodeLuState(state);
  return parts?.get(LuStatePart.reservationRule)?.[0] === 1;
}

/** A fresh array of the parts, in order of kind. */
export function encodeLuState(parts: LuStateParts): Uint8Array {
  let size = headerBytes;
  for (const bytes of parts.values()) size += partHeaderBytes + bytes.length;
  const state = new Uint8Array(size);
  const view = viewOf(state);
  let at = headerBytes;
  for (const [kind, bytes] of [...parts].sort(([first], [second]) => first - second)) {
    part.kind.set(view, at, kind);
    part.length.set(view, at, bytes.length);
    state.set(bytes, at + partHeaderBytes);
    at += partHeaderBytes + bytes.length;
  }
  header.magic.set(view, 0, magic);
  header.version.set(view, 0, version);
  header.partCount.set(view, 0, parts.size);
  header.checksum.set(view, 0, crc32c(state.subarray(headerBytes), 0));
  return state;
}

/** The parts, as copies; undefined when the bytes are damaged or of a later version. */
export function decodeLuState(state: Uint8Array): LuStateParts | undefined {
  if (state.length < headerBytes) return undefined;
  const view = viewOf(state);
  if (header.magic.get(view, 0) !== magic || header.version.get(view, 0) !== version) {
    return undefined;
  }
  if (header.checksum.get(view, 0) !== crc32c(state.subarray(headerBytes), 0)) return undefined;
  const parts = new Map<number, Uint8Array>();
  let at = headerBytes;
  for (let index = header.partCount.get(view, 0); index > 0; index -= 1) {
    if (state.length - at < partHeaderBytes) return undefined;
    const kind = part.kind.get(view, at);
    const length = part.length.get(view, at);
    const start = at + partHeaderBytes;
    if (part.reserved.get(view, at) !== 0 || parts.has(kind)) return undefined;
    if (length > state.length - start) return undefined;
    parts.set(kind, state.slice(start, start + length));
    at = start + length;
  }
  return at === state.length ? parts : undefined;
}
