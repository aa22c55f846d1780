/** Where a map gets the leaves that it does not have in memory. */
export interface LeafSource {
  /** Values of the 512 blocks of a leaf, valid until the next call; undefined when they cannot be read now. */
  load(leaf: number): Float64Array | undefined;
  /** As `load`, reading off this thread: `done` gets values that are valid during the call, inside this call or later. */
  loadLater(leaf: number, done: (values: Float64Array | undefined) => void): void;
  /** Whether nothing is surely mapped in leaves [first, first + count). Reads nothing: false also when memory cannot tell. */
  isEmpty(first: number, count: number): boolean;
}
