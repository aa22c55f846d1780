/** How much memory the machine could give to caches now. */

/** Bytes that are free or easily freed. */
export function availableMemoryBytes(): number {
  return process.availableMemory();
}
