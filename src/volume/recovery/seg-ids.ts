/** Segment ids, hundreds of thousands of them: 4 bytes each. */
const firstCapacity = 1024;

export class SegIds {
  #ids = new Uint32Array(firstCapacity);
  #count = 0;

  add(segId: number): void {
    if (this.#count === this.#ids.length) {
      const grown = new Uint32Array(this.#count * 2);
      grown.set(this.#ids);
      this.#ids = grown;
    }
    this.#ids[this.#count] = segId;
    this.#count += 1;
  }

  /** Ascending, each once. Views the memory of this list, which ends with it. */
  sorted(): Uint32Array {
    const ids = this.#ids.subarray(0, this.#count).sort();
    let count = 0;
    let before = -1;
    for (const segId of ids) {
      if (segId === before) continue;
      ids[count] = segId;
      count += 1;
      before = segId;
    }
    return ids.subarray(0, count);
  }
}
