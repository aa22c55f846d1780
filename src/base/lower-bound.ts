/** Index of the first of `count` numbers, which ascend, that is not less than `wanted`; `count` when all are. */
export function lowerBound(
  numbers: ArrayLike<number>,
  wanted: number,
  count = numbers.length,
): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((numbers[middle] ?? 0) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
