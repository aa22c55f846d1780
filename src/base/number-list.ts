/** A list of numbers below 2^32 that grows, hundreds of thousands of them: 4 bytes each. */
const firstCapacity = 1024;

export class NumberList {
  #numbers = new Uint32Array(firstCapacity);
  #count = 0;

  add(value: number): void {
    if (this.#count === this.#numbers.length) {
      const grown = new Uint32Array(this.#count * 2);
      grown.set(this.#numbers);
      this.#numbers = grown;
    }
    this.#numbers[this.#count] = value;
    this.#count += 1;
  }

  /** A copy, in the order in which they were added. */
  values(): Uint32Array<ArrayBuffer> {
    return this.#numbers.slice(0, this.#count);
  }
}
