/** Anchors: positions of the log by time, kept in memory, so that nobody has to read the log to say where an hour ago was. */

/** Everything before `position` in the log is of `timeMs` at most. */
export interface Anchor {
  readonly position: number;
  readonly timeMs: number;
}

/** Samples that are kept: of more, every second one is forgotten, so that a long time is told more coarsely. */
export const anchorsMax = 4096;

export class Anchors {
  #samples: Anchor[] = [];

  /** Of a position no less than that of the one before; while nothing is written the first one counts, it tells most. */
  add({ position, timeMs }: Anchor): void {
    const last = this.#samples.at(-1);
    if (last?.position === position) return;
    this.#samples.push({ position, timeMs: Math.max(timeMs, last?.timeMs ?? 0) });
    if (this.#samples.length <= anchorsMax) return;
    this.#samples = this.#samples.filter((_, index) => index % 2 === 1);
  }

  /** The newest one that is not later than `timeMs`. */
  at(timeMs: number): Anchor | undefined {
    const samples = this.#samples;
    let low = 0;
    let high = samples.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((samples[middle]?.timeMs ?? 0) <= timeMs) low = middle;
      else high = middle - 1;
    }
    const found = samples[low];
    return found !== undefined && found.timeMs <= timeMs ? found : undefined;
  }
}
