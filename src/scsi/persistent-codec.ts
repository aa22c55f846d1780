/**
 * The persistent reservation as bytes of LU_STATE (see lu-state.ts, which checks them).
 *
 *     0  version   1  type (0 = not reserved)   2  name count   4  registrant count
 *     names: length byte, UTF-8               initiators repeat, so each name is there once
 *     registrants, 20 bytes each: 0 name index   2 relative port   4 flags   6 ISID   12 key
 *
 * Only a state with APTPL is kept; any other is encoded as no bytes at all. PRGENERATION starts at zero again
 * after a restart (SPC-4 6.15.2).
 */
import { bytes as bytesField, u8, u16, u64, viewOf } from '../base/fields.ts';
import { toHex } from '../base/uuid.ts';
import { registrantsMax } from './limits.ts';
import {
  emptyPrState,
  isAllRegistrants,
  isPrType,
  nexusText,
  type PrReservation,
  type PrState,
  type Registrant,
} from './persistent-state.ts';
import { utf8Text } from './transport-id.ts';

const header = { version: u8(0), type: u8(1), nameCount: u16(2), registrantCount: u16(4) } as const;
const headerBytes = 6;
const registrant = {
  nameIndex: u16(0),
  relativePort: u16(2),
  flags: u8(4),
  isid: bytesField(6, 6),
  key: u64(12),
} as const;
const registrantBytes = 20;
const version = 1;
const utf8 = new TextEncoder();
const flagHolder = 1;
const flagIsid = 2;

/** A fresh array; empty when nothing is to be kept. */
export function encodePrState(state: PrState): Uint8Array {
  if (!state.isPersistent || state.registrants.length === 0) return new Uint8Array(0);
  const names = [...new Set(state.registrants.map(({ initiatorName }) => initiatorName))];
  const encodedNames = names.map((name) => utf8.encode(name));
  const namesBytes = encodedNames.reduce((sum, name) => sum + 1 + name.length, 0);
  const size = headerBytes + namesBytes + state.registrants.length * registrantBytes;
  const target = new Uint8Array(size);
  const view = viewOf(target);
  header.version.set(view, 0, version);
  header.type.set(view, 0, state.reservation?.type ?? 0);
  header.nameCount.set(view, 0, names.length);
  header.registrantCount.set(view, 0, state.registrants.length);
  let at = headerBytes;
  for (const name of encodedNames) {
    target[at] = name.length;
    target.set(name, at + 1);
    at += 1 + name.length;
  }
  const holder = state.reservation?.holder;
  for (const entry of state.registrants) {
    const isHolder = holder === nexusText(entry);
    registrant.nameIndex.set(view, at, names.indexOf(entry.initiatorName));
    registrant.relativePort.set(view, at, entry.relativePort);
    registrant.flags.set(
      view,
      at,
      (isHolder ? flagHolder : 0) | (entry.isid === '' ? 0 : flagIsid),
    );
    if (entry.isid !== '') registrant.isid.set(target, at, Uint8Array.fromHex(entry.isid));
    view.setBigUint64(at + registrant.key.offset, entry.key, true);
    at += registrantBytes;
  }
  return target;
}

/** The state that was kept; undefined when the bytes make no sense. */
export function decodePrState(source: Uint8Array): PrState | undefined {
  if (source.length === 0) return emptyPrState;
  if (source.length < headerBytes) return undefined;
  const view = viewOf(source);
  const count = header.registrantCount.get(view, 0);
  if (header.version.get(view, 0) !== version || count > registrantsMax) return undefined;
  const names = decodeNames(source, header.nameCount.get(view, 0));
  if (names === undefined) return undefined;
  if (count === 0 || source.length !== names.end + count * registrantBytes) return undefined;
  const registrants: Registrant[] = [];
  let holder = '';
  for (let at = names.end; at < source.length; at += registrantBytes) {
    const initiatorName = names.list[registrant.nameIndex.get(view, at)];
    const key = view.getBigUint64(at + registrant.key.offset, true);
    if (initiatorName === undefined || key === 0n) return undefined;
    const flags = registrant.flags.get(view, at);
    const isid = (flags & flagIsid) === 0 ? '' : toHex(registrant.isid.get(source, at));
    const relativePort = registrant.relativePort.get(view, at);
    const entry: Registrant = { initiatorName, isid, relativePort, key };
    registrants.push(entry);
    if ((flags & flagHolder) !== 0) holder = nexusText(entry);
  }
  if (new Set(registrants.map(nexusText)).size !== count) return undefined;
  const reservation = decodeReservation(header.type.get(view, 0), holder);
  if (reservation === 'broken') return undefined;
  return { generation: 0, isPersistent: true, registrants, reservation };
}

function decodeReservation(type: number, holder: string): PrReservation | undefined | 'broken' {
  if (type === 0) return holder === '' ? undefined : 'broken';
  if (!isPrType(type) || isAllRegistrants(type) !== (holder === '')) return 'broken';
  return { type, holder };
}

function decodeNames(
  source: Uint8Array,
  count: number,
): { readonly list: readonly string[]; readonly end: number } | undefined {
  const list: string[] = [];
  let at = headerBytes;
  for (let index = 0; index < count; index += 1) {
    const length = source[at] ?? 0;
    const start = at + 1;
    if (length === 0 || start + length > source.length) return undefined;
    const name = utf8Text(source.subarray(start, start + length));
    if (name === undefined) return undefined;
    // A comma would make identities ambiguous; no initiator name has one.
    if (name.includes(',')) return undefined;
    list.push(name);
    at = start + length;
  }
  return { list, end: at };
}
