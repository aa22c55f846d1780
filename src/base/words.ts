/** Numbers of things, as people write them. */

/** "1 snapshot", "3 snapshots". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
