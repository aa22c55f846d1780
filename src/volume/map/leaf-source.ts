/** Where a map gets the leaves that it does not have in memory. */
export interface LeafSource {
  /** Values of the 512 blocks of a leaf, valid until the next call; undefined when they cannot be read now. */
  load(leaf: number): Float64Array | undefined;
  /** Whether nothing is surely mapped in leaves [first, first + count): cheap, for stretches that were never written. */
  isEmpty(first: number, count: number): boolean;
}
