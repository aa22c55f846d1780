/**
 * What a shorter window would free: the log is judged twice, as it is, and as though the windows had been shorter all along.
 * Exact to the block for what is sealed; automatic pins and snapshots stay as they are.
 */
import { success } from '../../base/errors.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import { HorizonReason } from '../catalogue/retention-records.ts';
import type { Done, Operator } from '../core/operator.ts';
import { slotSizeBytes } from '../format/address.ts';
import { ticksOf } from '../log/hybrid-clock.ts';
import type { WindowWhatIf } from '../reports.ts';
import type { LiveSet } from './live-set.ts';
import type { LivenessMark } from './mark.ts';

export interface WindowQuestion {
  /** Only of this volume; undefined = of all. */
  readonly volume: string | undefined;
  readonly windowMs: number;
}

/** `done` gets OperationError for a volume that there is not, and when the log cannot be judged. */
export function whatIfWindow(
  { operator, mark }: { readonly operator: Operator; readonly mark: LivenessMark },
  { volume: name, windowMs }: WindowQuestion,
  done: Done<WindowWhatIf>,
): void {
  operator.attempt(done, () => {
    const only = name === undefined ? undefined : operator.volume(name);
    const { clock } = operator.parts.host;
    const cut = operator.timeline.cutAt(ticksOf(clock.wallMs() - windowMs));
    const shortened = (volume: VolumeState): VolumeState => {
      const isMeant = only === undefined || volume === only;
      if (!isMeant || cut <= (volume.horizon?.position ?? 0)) return volume;
      const timeMs = clock.wallMs() - windowMs;
      return { ...volume, horizon: { position: cut, timeMs, reason: HorizonReason.age } };
    };
    mark.run((before) => {
      if (!before.ok) {
        done(before);
        return;
      }
      mark.run((after) => {
        if (!after.ok) done(after);
        else done(success({ windowMs, freedBytes: freedBytes(before.value, after.value) }));
      }, shortened);
    });
  });
}

/** Of the segments that both judged. */
function freedBytes(before: LiveSet, after: LiveSet): number {
  let blocks = 0;
  for (const segId of before.segIds) {
    if (after.isJudged(segId)) blocks += before.liveBlocks(segId) - after.liveBlocks(segId);
  }
  return Math.max(0, blocks) * slotSizeBytes;
}
