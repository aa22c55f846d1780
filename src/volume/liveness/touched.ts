/**
 * Touched blocks: where two moments can differ at all, from the log's records between them, so that neighbours in a walk are
 * compared there only.
 *
 *     line 1 ── a ───┬──────── b        a, b: records of line 1 in [a, b)
 *                    └─ line 2 ─ c      a, c: of line 1 in [a, fork), of line 2 in [fork, c)       c, b: of line 2 before c, of line 1 in [fork, b)
 */
import { success } from '../../base/errors.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { Moment } from '../core/moment-maps.ts';
import type { Done, Operator } from '../core/operator.ts';
import { slotSizeBytes } from '../format/address.ts';
import { isDataType } from '../format/frame.ts';
import { eachSegment } from '../history/sliced.ts';
import { leafBlocks } from '../map/leaf-store.ts';
import { livenessLimits } from './limits.ts';
import { type BlockRange, TouchedLeaves } from './touched-leaves.ts';

/** A stretch of a line's records. */
interface Stretch {
  readonly line: number;
  readonly from: number;
  readonly to: number;
}

/** Data records of a segment, four numbers each: position, line, first block, count. */
type Records = Float64Array;
const numbersPerRecord = 4;

export class TouchedBlocks {
  readonly #operator: Operator;
  /** Records from here on are not looked at. */
  readonly #end: number;
  /** In order of use, oldest first. */
  readonly #recordsBySegId = new Map<number, Records>();

  /** `end`: position of the log behind which no moment of the walk lies. */
  constructor(operator: Operator, end: number) {
    this.#operator = operator;
    this.#end = end;
  }

  /**
   * Ranges of whole leaves, in order, outside of which both moments are equal; undefined when looking there costs more than
   * comparing everything, or nothing is known. May run inside the call.
   */
  between(left: Moment, right: Moment, done: Done<readonly BlockRange[] | undefined>): void {
    const { catalogue } = this.#operator.parts;
    const stretches = stretchesBetween(catalogue, this.#limited(left), this.#limited(right));
    const blockCount = Math.max(left.sizeBytes, right.sizeBytes) / slotSizeBytes;
    if (stretches === undefined) {
      done(success(undefined));
      return;
    }
    const segIds = new Set<number>();
    for (const { from, to } of stretches) {
      for (const segId of this.#operator.timeline.segmentsBetween(from, to)) segIds.add(segId);
    }
    if (segIds.size * livenessLimits.leavesPerSegment > blockCount / leafBlocks) {
      done(success(undefined));
      return;
    }
    const sizeMin = smallestSize(catalogue, stretches, Math.min(left.sizeBytes, right.sizeBytes));
    const leaves = new TouchedLeaves(blockCount, sizeMin);
    const visit = (segId: number): void => {
      if (leaves.isTooMany) return;
      const records = this.#records(segId);
      for (const stretch of stretches) collect(records, stretch, leaves);
    };
    const isKnown = (segId: number): boolean => leaves.isTooMany || this.#recordsBySegId.has(segId);
    const work = { segIds: [...segIds], visit, progress: undefined, isKnown };
    eachSegment(this.#operator, work, (outcome) => {
      done(outcome.ok ? success(leaves.ranges()) : outcome);
    });
  }

  #limited({ line, cut }: Moment): Pick<Moment, 'line' | 'cut'> {
    return { line, cut: Math.min(cut, this.#end) };
  }

  #records(segId: number): Records {
    const known = this.#recordsBySegId.get(segId);
    if (known !== undefined) {
      this.#recordsBySegId.delete(segId);
      this.#recordsBySegId.set(segId, known);
      return known;
    }
    const numbers: number[] = [];
    this.#operator.reading.visit(segId, ({ type, position, line, lba, blockCount }) => {
      if (isDataType(type)) numbers.push(position, line, lba, blockCount);
      return true;
    });
    const records = Float64Array.from(numbers);
    this.#recordsBySegId.set(segId, records);
    if (this.#recordsBySegId.size > livenessLimits.segmentsRemembered) {
      const [oldest = 0] = this.#recordsBySegId.keys();
      this.#recordsBySegId.delete(oldest);
    }
    return records;
  }
}

/** Where a moment comes from: its line, then the line that this one began in, and so on, each with the position up to which. */
function lineage(catalogue: Catalogue, { line, cut }: Pick<Moment, 'line' | 'cut'>): Stretch[] {
  const stretches: Stretch[] = [];
  let id = line;
  let to = cut;
  while (id !== 0) {
    const { parentLine, forkPosition } = catalogue.line(id);
    stretches.push({ line: id, from: forkPosition, to });
    id = parentLine;
    to = forkPosition;
  }
  return stretches;
}

/** Undefined when the two have no line in common. */
function stretchesBetween(
  catalogue: Catalogue,
  left: Pick<Moment, 'line' | 'cut'>,
  right: Pick<Moment, 'line' | 'cut'>,
): Stretch[] | undefined {
  const ofLeft = lineage(catalogue, left);
  const ofRight = lineage(catalogue, right);
  const atLine = new Map(ofRight.map(({ line }, index) => [line, index]));
  const leftIndex = ofLeft.findIndex(({ line }) => atLine.has(line));
  const common = ofLeft[leftIndex];
  if (common === undefined) return undefined;
  const rightIndex = atLine.get(common.line) ?? 0;
  const rightTo = ofRight[rightIndex]?.to ?? 0;
  const from = Math.min(common.to, rightTo);
  const to = Math.max(common.to, rightTo);
  return [
    { line: common.line, from, to },
    ...ofLeft.slice(0, leftIndex),
    ...ofRight.slice(0, rightIndex),
  ].filter((stretch) => stretch.from < stretch.to);
}

/** Blocks of the smallest size that any of the lines had in its stretch: what lies beyond may have been cut off. */
function smallestSize(
  catalogue: Catalogue,
  stretches: readonly Stretch[],
  sizeBytes: number,
): number {
  let smallest = sizeBytes;
  for (const { line, from, to } of stretches) {
    const { sizeBytes: begun, resizes } = catalogue.line(line);
    smallest = Math.min(smallest, begun);
    for (const resize of resizes) {
      if (resize.position >= from && resize.position <= to) {
        smallest = Math.min(smallest, resize.sizeBytes);
      }
    }
  }
  return smallest / slotSizeBytes;
}

/** Adds the leaves that records of the stretch touch. */
function collect(records: Records, { line, from, to }: Stretch, leaves: TouchedLeaves): void {
  // Records are in order of position: the first one of the stretch by halving.
  let low = 0;
  let high = records.length / numbersPerRecord;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((records[middle * numbersPerRecord] ?? 0) < from) low = middle + 1;
    else high = middle;
  }
  for (let at = low * numbersPerRecord; at < records.length; at += numbersPerRecord) {
    if ((records[at] ?? 0) >= to) return;
    if (records[at + 1] !== line) continue;
    leaves.add(records[at + 2] ?? 0, records[at + 3] ?? 1);
  }
}
