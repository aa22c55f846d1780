/** The changes of one volume along the log, one by one: what a search for the change that broke something halves. */
import { ErrorCode, failure, OperationError, success } from '../../base/errors.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import type { Done, Operator } from '../core/operator.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { FooterEntry } from '../format/footer.ts';
import { RecordType } from '../format/frame.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';
import type { Progress } from '../reports.ts';
import { keptMoments } from '../retention/kept.ts';
import type { ResolvedMoment } from './resolve.ts';
import { eachSegment } from './sliced.ts';

/** several: before the horizon, everything from one kept moment to the next counts as one change. */
export type ChangeKind = 'write' | 'zero' | 'trim' | 'clone' | 'resize' | 'revert' | 'several';

export interface VolumeChange {
  /** The state behind it is everything before the next position. */
  readonly position: number;
  readonly timeMs: number;
  readonly kind: ChangeKind;
  /** Bytes; 0 and 0 for what concerns the volume as a whole. */
  readonly offset: number;
  readonly length: number;
}

/** The changes between two moments, and the one in their middle. */
export interface ChangesBetween {
  readonly changeCount: number;
  /** Number `ceil(changeCount / 2)`, from 1; undefined when there is none. */
  readonly middle: VolumeChange | undefined;
}

const kindByType: ReadonlyMap<number, ChangeKind> = new Map([
  [RecordType.write, 'write'],
  [RecordType.zero, 'zero'],
  [RecordType.trim, 'trim'],
  [RecordType.clone, 'clone'],
  [RecordType.volResize, 'resize'],
  [RecordType.revert, 'revert'],
]);

/** Whether a record of this type changes what its line holds. */
export function isChange(type: number): boolean {
  return kindByType.has(type);
}

/** Ids of all lines that the volume was ever in. */
export function linesOf(volume: VolumeState): Set<number> {
  return new Set(volume.history.map(({ line }) => line));
}

/** Linear in the log between the two, in slices. */
export function changesBetween(
  operator: Operator,
  range: {
    readonly volume: VolumeState;
    readonly from: ResolvedMoment;
    readonly to: ResolvedMoment;
    readonly progress: Progress | undefined;
  },
  done: Done<ChangesBetween>,
): void {
  const { volume, progress } = range;
  const fromCut = range.from.moment.cut;
  const toCut = range.to.moment.cut;
  if (fromCut > toCut) {
    const message = `${range.from.label} lies behind ${range.to.label} in the log`;
    done(failure(new OperationError(ErrorCode.invalid, message, 'Exchange the two.')));
    return;
  }
  const { timeline, reading } = operator;
  const steps = keptSteps(volume, fromCut, toCut);
  const start = Math.max(fromCut, volume.horizon?.position ?? 0);
  const segIds = start < toCut ? timeline.segmentsBetween(start, toCut) : [];
  const lines = linesOf(volume);
  const isOne = (entry: FooterEntry): boolean =>
    entry.position >= start && lines.has(entry.line) && isChange(entry.type);
  const countById = new Map<number, number>();
  let changeCount = steps.length;
  const count = (segId: number): void => {
    let here = 0;
    reading.visit(segId, (entry) => {
      if (entry.position >= toCut) return false;
      if (isOne(entry)) here += 1;
      return true;
    });
    changeCount += here;
    countById.set(segId, here);
  };
  eachSegment(operator, { segIds, visit: count, progress }, (outcome) => {
    if (!outcome.ok) {
      done(outcome);
      return;
    }
    let left = Math.ceil(changeCount / 2);
    const step = steps[left - 1];
    if (step !== undefined) {
      done(success({ changeCount, middle: step }));
      return;
    }
    left -= steps.length;
    const segId = segIds.find((id) => {
      const here = countById.get(id) ?? 0;
      if (left <= here) return true;
      left -= here;
      return false;
    });
    let middle: VolumeChange | undefined;
    const pick = (id: number): void => {
      reading.visit(id, (entry, ticks) => {
        if (isOne(entry)) left -= 1;
        if (left > 0) return true;
        middle = changeOf(entry, ticks);
        return false;
      });
    };
    const wanted = changeCount === 0 || segId === undefined ? [] : [segId];
    eachSegment(operator, { segIds: wanted, visit: pick, progress: undefined }, (found) => {
      done(found.ok ? success({ changeCount, middle }) : found);
    });
  });
}

/** The changes of which only what they led to is kept: one for each kept moment before the window. */
function keptSteps(volume: VolumeState, fromCut: number, toCut: number): VolumeChange[] {
  const windowStart = volume.horizon?.position ?? 0;
  if (fromCut >= windowStart) return [];
  const steps = keptMoments(volume).filter(({ cut }) => cut > fromCut && cut <= toCut);
  const last = steps.at(-1);
  const isReached = toCut >= windowStart || last?.cut === toCut;
  // What it ends with is open to somebody just now.
  const ends = isReached ? steps : [...steps, { cut: toCut, timeMs: last?.timeMs ?? 0 }];
  return ends.map(({ cut, timeMs }) => ({
    position: cut - 1,
    timeMs,
    kind: 'several',
    offset: 0,
    length: 0,
  }));
}

function changeOf(entry: FooterEntry, ticks: number): VolumeChange {
  const kind = kindByType.get(entry.type) ?? 'write';
  const isRange = kind !== 'resize' && kind !== 'revert';
  return {
    position: entry.position,
    timeMs: ticks / ticksPerMs,
    kind,
    offset: isRange ? entry.lba * slotSizeBytes : 0,
    length: isRange ? entry.blockCount * slotSizeBytes : 0,
  };
}
