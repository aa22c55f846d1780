/** Joins neighbours of a comparison until the visitor has enough. */
export class CompareRuns {
  readonly #visitor: (blockCount: number, isDifferent: boolean) => boolean;
  #count = 0;
  #isDifferent = false;
  #isStopped = false;
  /** Blocks of the runs that the visitor took. */
  blocksTold = 0;

  constructor(visitor: (blockCount: number, isDifferent: boolean) => boolean) {
    this.#visitor = visitor;
  }

  /** Whether the visitor refused a run. */
  isEnough(): boolean {
    return this.#isStopped;
  }

  add(count: number, isDifferent: boolean): void {
    if (isDifferent !== this.#isDifferent) this.end();
    this.#isDifferent = isDifferent;
    this.#count += count;
  }

  end(): void {
    if (this.#count === 0 || this.#isStopped) return;
    if (this.#visitor(this.#count, this.#isDifferent)) this.blocksTold += this.#count;
    else this.#isStopped = true;
    this.#count = 0;
  }
}
