/** Which block is written next: the workloads of the table of write amplification. */
import type { SeededRandom } from '../sim/random.ts';

export type NextBlock = () => number;

export interface Workload {
  readonly name: string;
  readonly make: (blockCount: number, random: SeededRandom) => NextBlock;
}

export const workloads: readonly Workload[] = [
  { name: 'uniform', make: (blockCount, random) => () => random.below(blockCount) },
  { name: '80/20', make: (blockCount, random) => hotAndCold(blockCount, 0.2, random) },
  { name: '90/10', make: (blockCount, random) => hotAndCold(blockCount, 0.1, random) },
  { name: 'Zipf(1)', make: zipf },
];

/** All but `hotShare` of the writes go to `hotShare` of the blocks, which are spread over the device. */
function hotAndCold(blockCount: number, hotShare: number, random: SeededRandom): NextBlock {
  const places = shuffled(blockCount, random);
  const hotCount = Math.round(blockCount * hotShare);
  return () => {
    const isHot = random.chance(1 - hotShare);
    const at = isHot ? random.below(hotCount) : random.between(hotCount, blockCount - 1);
    return places[at] ?? 0;
  };
}

/** The n-th most popular block is written 1/n as often as the most popular one. */
function zipf(blockCount: number, random: SeededRandom): NextBlock {
  const places = shuffled(blockCount, random);
  const cumulative = new Float64Array(blockCount);
  let total = 0;
  for (let rank = 0; rank < blockCount; rank += 1) {
    total += 1 / (rank + 1);
    cumulative[rank] = total;
  }
  return () => places[rankAt(cumulative, (random.next() / 2 ** 32) * total)] ?? 0;
}

/** Index of the first sum above `wanted`. */
function rankAt(cumulative: Float64Array, wanted: number): number {
  let low = 0;
  let high = cumulative.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((cumulative[middle] ?? 0) > wanted) high = middle;
    else low = middle + 1;
  }
  return low;
}

function shuffled(count: number, random: SeededRandom): Uint32Array {
  const places = Uint32Array.from({ length: count }, (_, at) => at);
  for (let at = count - 1; at > 0; at -= 1) {
    const other = random.below(at + 1);
    const place = places[at] ?? 0;
    places[at] = places[other] ?? 0;
    places[other] = place;
  }
  return places;
}
