/** The changes of one volume along the log, one by one: what a search for the change that broke something halves. */
import { ErrorCode, failure, OperationError, success } from '../../base/errors.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import type { Done, Operator } from '../core/operator.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { FooterEntry } from '../format/footer.ts';
import { RecordType } from '../format/frame.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';
import type { Progress } from '../reports.ts';
import type { ResolvedMoment } from './resolve.ts';
import { eachSegment } from './sliced.ts';

export type ChangeKind = 'write' | 'zero' | 'trim' | 'clone' | 'resize' | 'revert';

export interface VolumeChange {
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
  const segIds = timeline.segmentsBetween(fromCut, toCut);
  const lines = linesOf(volume);
  const isOne = (entry: FooterEntry): boolean =>
    entry.position >= fromCut && lines.has(entry.line) && kindByType.has(entry.type);
  const countById = new Map<number, number>();
  let changeCount = 0;
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
