/** Comparing data. */

/** Index of the first of `length` bytes in which the arrays differ; -1 when they are equal. */
export function firstDifference(left: Uint8Array, right: Uint8Array, length: number): number {
  // The native comparison is far faster, and equal is what is expected.
  if (Buffer.compare(left.subarray(0, length), right.subarray(0, length)) === 0) return -1;
  let at = 0;
  while (at < length && left[at] === right[at]) at += 1;
  return at;
}
