/**
 * Serial number arithmetic with 32 bits, RFC 1982, for CmdSN, StatSN, DataSN and R2TSN (RFC 7143 section 4.2.2).
 * Numbers are unsigned 32-bit values; comparing two that are exactly 2^31 apart has no answer in the standard:
 * here neither is before the other.
 */

const half = 0x8000_0000;

/** `number + count`, wrapped. `count` may be negative. */
export function serialAdd(number: number, count: number): number {
  return (number + count) >>> 0;
}

/** Whether `left` comes before `right`. */
export function isSerialBefore(left: number, right: number): boolean {
  const distance = (right - left) >>> 0;
  return distance !== 0 && distance < half;
}

/** Whether `number` lies in the window [first, last], which holds at most 2^31 numbers; `last = first - 1` is an empty one. */
export function isSerialWithin(number: number, first: number, last: number): boolean {
  const size = (last - first + 1) >>> 0;
  return (number - first) >>> 0 < size;
}
