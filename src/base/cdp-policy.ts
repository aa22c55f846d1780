/**
 * How much of its past a volume keeps, as people write it: one grammar for the command line, the API and the engine.
 *
 *     all:1h,1m:24h,1h:7d,1d:30d      every write for 1 h, then a moment a minute up to 24 h, one an hour up to 7 d, one a day up to 30 d
 *     all:1h/10G,1m:24h               every write for 1 h, but of the past 10 GiB that were written at most
 *     all:0                           no moment but snapshots       all:unlimited   every write for ever
 *
 * Durations: 90s, 15m, 1d12h, 500ms; units w, d, h, m, s, ms, the large ones first.
 */
import { parseSize } from './units.ts';

/** One moment each `everyMs` is kept until it is `keepMs` old. */
export interface CdpTier {
  readonly everyMs: number;
  readonly keepMs: number;
}

export interface CdpPolicy {
  /** Every moment is kept until it is this old, milliseconds; Infinity = for ever. */
  readonly windowMs: number;
  /** ... and only the moments of the newest so many bytes that were written; undefined = however much was written. */
  readonly windowBytes: number | undefined;
  /** Finest first: each keeps less often, and longer, than the one before. */
  readonly tiers: readonly CdpTier[];
}

/** What is kept of a volume that nobody gave a policy. */
export const unlimitedCdp: CdpPolicy = {
  windowMs: Number.POSITIVE_INFINITY,
  windowBytes: undefined,
  tiers: [],
};

/** Of a new volume, unless it is told otherwise. */
export const defaultCdpText = 'all:1h,1m:24h,1h:7d,1d:30d';

/** What a person is told when a text is no window, or no policy. */
export const cdpWindowRule =
  '1h, 15m, 1d12h, 0 (snapshots only), unlimited, or with a budget of bytes: 1h/10G';
export const cdpPolicyRule =
  'all:WINDOW, then EVERY:KEEP from fine to coarse, each less often and longer than the one before: ' +
  defaultCdpText;

const tiersMax = 8;
/** Room for every policy that `isCdpPolicy` allows. */
const policyTextMax = 500;
/** A hundred years: times stay exact, and whoever wants more wants `unlimited`. */
const durationMsMax = 100 * 366 * 86_400_000;
const everyMsMin = 1000;

const units = [
  ['w', 604_800_000],
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;
const durationPattern =
  /^(?=\d)(?:(\d{1,15})w)?(?:(\d{1,15})d)?(?:(\d{1,15})h)?(?:(\d{1,15})m(?!s))?(?:(\d{1,15})s)?(?:(\d{1,15})ms)?$/;

/** Undefined when the text is no policy; `cdpPolicyRule` says what is one. */
export function parseCdpPolicy(text: string): CdpPolicy | undefined {
  if (text.length > policyTextMax) return undefined;
  const [first = '', ...others] = text.split(',');
  if (!first.startsWith('all:') || others.length > tiersMax) return undefined;
  const window = parseCdpWindow(first.slice('all:'.length));
  const tiers = others.map(parseTier);
  if (window === undefined || !tiers.every((tier) => tier !== undefined)) return undefined;
  const policy = { ...window, tiers };
  return isCdpPolicy(policy) ? policy : undefined;
}

/** The first term of a policy, without `all:`. Undefined when the text is none; `cdpWindowRule` says what is one. */
export function parseCdpWindow(
  text: string,
): Pick<CdpPolicy, 'windowMs' | 'windowBytes'> | undefined {
  const [duration = '', budget, ...rest] = text.split('/');
  const windowMs = duration === 'unlimited' ? Number.POSITIVE_INFINITY : parseCdpDuration(duration);
  if (windowMs === undefined || rest.length > 0) return undefined;
  if (budget === undefined) return { windowMs, windowBytes: undefined };
  const windowBytes = parseSize(budget);
  return windowBytes === undefined || windowBytes === 0 ? undefined : { windowMs, windowBytes };
}

/** Whether the numbers are a policy: what is decoded from disk is looked at like what a person wrote. */
export function isCdpPolicy({ windowMs, windowBytes, tiers }: CdpPolicy): boolean {
  const isWindow = windowMs === Number.POSITIVE_INFINITY || isDuration(windowMs);
  const isBudget =
    windowBytes === undefined || (Number.isSafeInteger(windowBytes) && windowBytes > 0);
  if (!isWindow || !isBudget || tiers.length > tiersMax) return false;
  let before = { everyMs: everyMsMin - 1, keepMs: windowMs };
  return tiers.every((tier) => {
    const isTier = isDuration(tier.everyMs) && isDuration(tier.keepMs);
    const isCoarser = tier.everyMs > before.everyMs && tier.keepMs > before.keepMs;
    before = tier;
    return isTier && isCoarser;
  });
}

/** The text of a policy: equal policies give equal texts, and `parseCdpPolicy` gives the policy back. */
export function formatCdpPolicy(policy: CdpPolicy): string {
  const tiers = policy.tiers.map(
    ({ everyMs, keepMs }) => `${formatCdpDuration(everyMs)}:${formatCdpDuration(keepMs)}`,
  );
  return [`all:${formatCdpWindow(policy)}`, ...tiers].join(',');
}

/** "1h", "0", "unlimited", "1h/10G" */
export function formatCdpWindow({
  windowMs,
  windowBytes,
}: Pick<CdpPolicy, 'windowMs' | 'windowBytes'>): string {
  const text = windowMs === Number.POSITIVE_INFINITY ? 'unlimited' : formatCdpDuration(windowMs);
  return windowBytes === undefined ? text : `${text}/${exactSizeText(windowBytes)}`;
}

/** "1d12h", "90s" as "1m30s", "0" */
export function formatCdpDuration(durationMs: number): string {
  let left = durationMs;
  let text = '';
  for (const [unit, unitMs] of units) {
    const number = Math.floor(left / unitMs);
    left -= number * unitMs;
    // People think of a day as 24 h and of a month as 30 d: weeks are read, not written.
    if (unit === 'w') left += number * unitMs;
    else if (number > 0) text += `${number}${unit}`;
  }
  return text === '' ? '0' : text;
}

/** Milliseconds; undefined when the text is no duration. */
function parseCdpDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const match = durationPattern.exec(text);
  if (match === null) return undefined;
  const durationMs = units.reduce(
    (sum, [, unitMs], index) => sum + Number(match[index + 1] ?? 0) * unitMs,
    0,
  );
  return isDuration(durationMs) ? durationMs : undefined;
}

function parseTier(text: string): CdpTier | undefined {
  const [every = '', keep = '', ...rest] = text.split(':');
  const everyMs = parseCdpDuration(every);
  const keepMs = parseCdpDuration(keep);
  return everyMs === undefined || keepMs === undefined || rest.length > 0
    ? undefined
    : { everyMs, keepMs };
}

function isDuration(durationMs: number): boolean {
  return Number.isSafeInteger(durationMs) && durationMs >= 0 && durationMs <= durationMsMax;
}

/** In the largest unit in which it is a whole number. */
function exactSizeText(sizeBytes: number): string {
  let value = sizeBytes;
  let power = 0;
  while (value % 1024 === 0 && power < 'KMGTP'.length) {
    value /= 1024;
    power += 1;
  }
  return `${value}${power === 0 ? '' : 'KMGTP'[power - 1]}`;
}
