/** Leaves of one map that are being filled off the main thread, and who waits for them. */
import type { LeafSource } from './leaf-source.ts';

export class LeafFills {
  readonly #sourceOf: (leaf: number) => LeafSource | undefined;
  readonly #install: (leaf: number, values: Float64Array) => void;
  readonly #waiting = new Map<number, (() => void)[]>();

  /** `sourceOf`: where what is unknown of a leaf comes from now; undefined: nothing is unknown, or nobody knows. */
  constructor(
    sourceOf: (leaf: number) => LeafSource | undefined,
    install: (leaf: number, values: Float64Array) => void,
  ) {
    this.#sourceOf = sourceOf;
    this.#install = install;
  }

  /** True when the leaf was filled within the call, or cannot be; else `done` is called when that is so. */
  later(leaf: number, done: () => void): boolean {
    const known = this.#waiting.get(leaf);
    if (known !== undefined) {
      known.push(done);
      return false;
    }
    const waiting: (() => void)[] = [];
    this.#waiting.set(leaf, waiting);
    this.#load(leaf);
    if (this.#waiting.get(leaf) !== waiting) return true;
    waiting.push(done);
    return false;
  }

  #load(leaf: number): void {
    const source = this.#sourceOf(leaf);
    if (source === undefined) {
      this.#over(leaf);
      return;
    }
    source.loadLater(leaf, (values) => {
      // Dropped meanwhile, it may have been changed before that: the new source knows, this one does not.
      if (values !== undefined && this.#sourceOf(leaf) !== source) {
        this.#load(leaf);
        return;
      }
      if (values !== undefined) this.#install(leaf, values);
      this.#over(leaf);
    });
  }

  #over(leaf: number): void {
    const waiting = this.#waiting.get(leaf) ?? [];
    this.#waiting.delete(leaf);
    for (const done of waiting) done();
  }
}
