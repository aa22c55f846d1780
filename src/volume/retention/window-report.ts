/** How much of a volume's past can be opened, beside what its policy asks for, and why the two differ. */
import type { VolumeState } from '../catalogue/catalogue.ts';
import { HorizonReason } from '../catalogue/retention-records.ts';
import type { WindowReport } from '../reports.ts';

/** A window moves in steps: so much, in parts of it and at least, is no difference. */
const toleratedShare = 1 / 8;
const toleratedMs = 60_000;

/** Whether a pool that is short of space may take something of the volume's past: its window is neither guaranteed nor endless. */
export function isRelievable({
  policy,
  isGuaranteed,
}: Pick<VolumeState, 'policy' | 'isGuaranteed'>): boolean {
  return !isGuaranteed && Number.isFinite(policy.windowMs);
}

export function windowOf(volume: VolumeState, nowMs: number): WindowReport {
  const { policy, horizon, createdMs } = volume;
  const { windowMs } = policy;
  if (horizon === undefined) {
    const isEndless = windowMs === Number.POSITIVE_INFINITY && policy.windowBytes === undefined;
    return { fromMs: createdMs, reason: isEndless ? 'unlimited' : 'young' };
  }
  const { timeMs: fromMs, reason } = horizon;
  const slackMs = windowMs * toleratedShare + toleratedMs;
  const missingMs = windowMs - (nowMs - fromMs);
  const isMet = Number.isFinite(windowMs) && missingMs <= slackMs;
  if (isMet) return { fromMs, reason: -missingMs > slackMs ? 'idle' : 'requested' };
  if (reason === HorizonReason.poolFull) return { fromMs, reason: 'pool-full' };
  return { fromMs, reason: policy.windowBytes === undefined ? 'growing' : 'budget' };
}
