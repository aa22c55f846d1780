/**
 * The LUN field, SAM-5 section 4.7: eight bytes, of which single-level units use the first two.
 *
 *     00b  peripheral device addressing: bus 0, LUN 0..255
 *     01b  flat space addressing: LUN 0..16383
 */
import { u16be, u32be } from '../../base/fields.ts';

const lunField = {
  first: u16be(8),
  second: u16be(10),
  rest: u32be(12),
} as const;

const methodShift = 14;
const methodFlat = 1;
const flatMask = 0x3fff;
const peripheralMax = 0xff;

/** LUN of the PDU at `at`; -1 when the field names nothing that we could have (other methods, more levels). */
export function decodeLun(view: DataView, at: number): number {
  if (lunField.second.get(view, at) !== 0 || lunField.rest.get(view, at) !== 0) return -1;
  const first = lunField.first.get(view, at);
  if (first <= peripheralMax) return first;
  return first >>> methodShift === methodFlat ? first & flatMask : -1;
}

/** Writes `lun` as REPORT LUNS gives it: peripheral up to 255, flat above. */
export function encodeLun(view: DataView, at: number, lun: number): void {
  const first = lun <= peripheralMax ? lun : (methodFlat << methodShift) | lun;
  lunField.first.set(view, at, first);
  lunField.second.set(view, at, 0);
  lunField.rest.set(view, at, 0);
}
