/** Segments out of lists of their ends. */
import type { SegmentEnd, SegmentEnds } from '../keeper-jobs.ts';

type Segment = SegmentEnd & { readonly isSealed: boolean };

/** The segment at `index`; undefined behind the last. */
export function endAt(
  { segIds, endAddresses, sealed }: SegmentEnds,
  index: number,
): Segment | undefined {
  const [segId, endAddress] = [segIds[index], endAddresses[index]];
  if (segId === undefined || endAddress === undefined) return undefined;
  return { segId, endAddress, isSealed: sealed[index] === 1 };
}

/** All of them, one after the other. */
export function* eachEnd(ends: SegmentEnds): Generator<Segment> {
  for (let index = 0; ; index += 1) {
    const segment = endAt(ends, index);
    if (segment === undefined) return;
    yield segment;
  }
}
