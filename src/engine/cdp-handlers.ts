/** How much of its past a volume keeps: the policy that is wanted, what it is now, and which moments are kept before the window. */
import {
  type CdpPolicy,
  cdpPolicyRule,
  cdpWindowRule,
  defaultCdpText,
  formatCdpDuration,
  formatCdpPolicy,
  parseCdpPolicy,
  parseCdpWindow,
  unlimitedCdp,
} from '../base/cdp-policy.ts';
import { ErrorCode, OperationError } from '../base/errors.ts';
import { formatMomentTime } from '../base/moment.ts';
import type { Clock } from '../base/ports.ts';
import type { Pool } from '../volume/pool.ts';
import { ask } from './history-handlers.ts';
import type { CdpInfo, CdpWanted, PoolStatus } from './protocol.ts';
import type { EngineHandlers } from './rpc.ts';

type Volume = ReturnType<Pool['volume']>;

export function cdpHandlers(pool: Pool): Pick<EngineHandlers, 'volumeKept'> {
  return {
    volumeKept: async ({ name }) =>
      await Promise.resolve(
        pool.retention.kept(name).map(({ kind, cut, timeMs, label }) => ({
          kind,
          at: label,
          position: cut,
          timeMs,
        })),
      ),
  };
}

/** What is kept of a new volume. Throws OperationError invalid. */
export function newCdp(wanted: CdpWanted): {
  readonly policy: CdpPolicy;
  readonly isGuaranteed: boolean;
} {
  const policy = wantedPolicy(parseCdpPolicy(defaultCdpText) ?? unlimitedCdp, wanted);
  return { policy, isGuaranteed: wanted.cdpGuarantee ?? false };
}

export function isCdpWanted({ cdpPolicy, cdpWindow, cdpGuarantee }: CdpWanted): boolean {
  return cdpPolicy !== undefined || cdpWindow !== undefined || cdpGuarantee !== undefined;
}

/** Changes what is kept of a volume. Rejects with invalid, or with needs-force when moments would be given up that can be opened now. */
export async function setCdp(
  { pool, clock }: { readonly pool: Pool; readonly clock: Clock },
  { volume, force, ...wanted }: CdpWanted & { readonly volume: Volume; readonly force: boolean },
): Promise<void> {
  const { cdpGuarantee } = wanted;
  const policy = wantedPolicy(volume.policy, wanted);
  const nowMs = clock.wallMs();
  const { fromMs } = pool.retention.window(volume);
  const untilMs = nowMs - policy.windowMs;
  // What was written since the last look is no history worth asking for.
  const lostMs = untilMs - fromMs;
  if (!force && lostMs > LOSS_TOLD_MS && policy.windowMs < volume.policy.windowMs) {
    throw wouldLose(volume, policy, { fromMs, untilMs });
  }
  await ask<Volume>((done) => {
    const guarantee = cdpGuarantee === undefined ? {} : { isGuaranteed: cdpGuarantee };
    pool.retention.setPolicy({ volume: volume.name, policy, ...guarantee }, done);
  });
}

/** Volumes and views of which a pool that is short of space takes no past, by name. */
export function untouchedOf(pool: Pool): PoolStatus['untouched'] {
  return pool.retention.untouched().map(({ name, isGuaranteed }) => ({
    volume: name,
    because: isGuaranteed ? 'guaranteed' : 'unlimited',
  }));
}

export function cdpInfo(pool: Pool, volume: Volume, nowMs: number): CdpInfo {
  const { policy, isGuaranteed, pins } = volume;
  const { windowMs, windowBytes } = policy;
  const { fromMs, reason } = pool.retention.window(volume);
  return {
    policy: formatCdpPolicy(policy),
    ...(Number.isFinite(windowMs) ? { requestedMs: windowMs } : {}),
    ...(windowBytes === undefined ? {} : { budgetBytes: windowBytes }),
    effectiveMs: Math.max(0, nowMs - fromMs),
    fromMs,
    reason,
    isGuaranteed,
    pinCount: pins.length,
  };
}

/** Less is given up without asking. */
const LOSS_TOLD_MS = 60_000;

/** A window alone keeps the tiers that are longer than it. Throws OperationError invalid. */
function wantedPolicy(before: CdpPolicy, { cdpPolicy, cdpWindow }: CdpWanted): CdpPolicy {
  const base = cdpPolicy === undefined ? before : parseCdpPolicy(cdpPolicy);
  if (base === undefined) throw noPolicy(`"${cdpPolicy ?? ''}" is no policy`, cdpPolicyRule);
  if (cdpWindow === undefined) return base;
  const window = parseCdpWindow(cdpWindow);
  if (window === undefined) throw noPolicy(`"${cdpWindow}" is no window`, cdpWindowRule);
  return { ...window, tiers: base.tiers.filter(({ keepMs }) => keepMs > window.windowMs) };
}

function noPolicy(message: string, rule: string): OperationError {
  return new OperationError(ErrorCode.invalid, message, `Use ${rule}.`);
}

function wouldLose(
  { name, pins }: Volume,
  { tiers }: CdpPolicy,
  { fromMs, untilMs }: { readonly fromMs: number; readonly untilMs: number },
): OperationError {
  const firstPins = tiers.length === 0 ? 'snapshots' : 'snapshots and what the tiers keep';
  const kept = pins.length === 0 ? firstPins : `snapshots and ${pins.length} automatic pins`;
  return new OperationError(
    ErrorCode.needsForce,
    `with that window the moments of ${name} from ${formatMomentTime(fromMs)} to ${formatMomentTime(untilMs)} ` +
      `(${formatCdpDuration(Math.floor((untilMs - fromMs) / 1000) * 1000)}) are given up but for ${kept}`,
    'They cannot be had back. Repeat with --force if you mean it.',
  );
}
