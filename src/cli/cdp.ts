/** How much of its past a volume keeps: options, and what an operator is told. */
import { Option } from 'commander';
import {
  cdpPolicyRule,
  cdpWindowRule,
  formatCdpDuration,
  formatCdpWindow,
  parseCdpPolicy,
  parseCdpWindow,
} from '../base/cdp-policy.ts';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type { Cdp, VolumeSet } from '../contract/volume.ts';
import { usageFailure } from './failure.ts';
import { formatTime } from './format.ts';

export interface CdpOptions {
  readonly cdpPolicy?: string;
  readonly cdpWindow?: string;
  readonly cdpGuarantee?: 'on' | 'off';
}

/** `--cdp-policy all:1h,1m:24h,1h:7d,1d:30d` */
export function cdpPolicyOption(): Option {
  return new Option('--cdp-policy <policy>', `what is kept of the past: ${cdpPolicyRule}`);
}

/** `--cdp-window 1h` */
export function cdpWindowOption(): Option {
  return new Option('--cdp-window <window>', `keep every moment for so long: ${cdpWindowRule}`);
}

/** `--cdp-guarantee on|off` */
export function cdpGuaranteeOption(): Option {
  return new Option(
    '--cdp-guarantee <mode>',
    'on: a pool that is short of space leaves window and pins alone, and refuses writes instead',
  ).choices(['on', 'off']);
}

/** What of a request the options ask for. Throws CommandFailure `usage`. */
export function cdpWanted({
  cdpPolicy,
  cdpWindow,
  cdpGuarantee,
}: CdpOptions): Pick<VolumeSet, 'cdpPolicy' | 'cdpWindow' | 'cdpGuarantee'> {
  if (cdpPolicy !== undefined && parseCdpPolicy(cdpPolicy) === undefined) {
    throw usageFailure(`"${cdpPolicy}" is no policy`, `write ${cdpPolicyRule}`);
  }
  if (cdpWindow !== undefined && parseCdpWindow(cdpWindow) === undefined) {
    throw usageFailure(`"${cdpWindow}" is no window`, `write ${cdpWindowRule}`);
  }
  return {
    ...(cdpPolicy === undefined ? {} : { cdpPolicy }),
    ...(cdpWindow === undefined ? {} : { cdpWindow }),
    ...(cdpGuarantee === undefined ? {} : { cdpGuarantee: cdpGuarantee === 'on' }),
  };
}

/** "every moment for 1h, then one each 1m up to 24h, one each 1h up to 7d" */
function policyText(text: string): string {
  const policy = parseCdpPolicy(text);
  // An engine of another version may know more.
  if (policy === undefined) return text;
  const { windowMs, windowBytes, tiers } = policy;
  const budget =
    windowBytes === undefined ? '' : ` (of the newest ${formatSize(windowBytes)} written)`;
  const first = firstText(windowMs);
  const rest = tiers.map(
    ({ everyMs, keepMs }) =>
      `one each ${formatCdpDuration(everyMs)} up to ${formatCdpDuration(keepMs)}`,
  );
  return [`${first}${budget}`, ...(rest.length === 0 ? [] : [`then ${rest.join(', ')}`])].join(
    ', ',
  );
}

/** What is kept, and whether a pool that is short of space may take of it. */
export function keepsText({ policy, isGuaranteed }: Pick<Cdp, 'policy' | 'isGuaranteed'>): string {
  return `${policyText(policy)}${isGuaranteed ? '; guaranteed: never shortened for want of space' : ''}`;
}

function firstText(windowMs: number): string {
  if (windowMs === 0) return 'the present and snapshots';
  if (windowMs === Number.POSITIVE_INFINITY) return 'every moment for ever';
  return `every moment for ${formatCdpDuration(windowMs)}`;
}

/** Policy, and what can be opened now. */
export function cdpFacts(cdp: Cdp, nowMs: number): [string, string][] {
  const since = `every moment since ${formatTime(cdp.fromMs, nowMs)} can be opened`;
  const why = reasonText(cdp);
  return [
    ['keeps', keepsText(cdp)],
    ['window', why === '' ? since : `${since}: ${why}`],
    ...(cdp.pinCount === 0
      ? []
      : [['pins', count(cdp.pinCount, 'automatic pin')] as [string, string]]),
  ];
}

function reasonText({ reason }: Cdp): string {
  const texts: Readonly<Record<Cdp['reason'], string>> = {
    unlimited: 'nothing is given up until a window is set',
    requested: '',
    young: 'nothing was old enough to be given up yet',
    idle: 'more than asked for, because nothing was written since',
    growing: 'less than asked for, because older moments were given up before',
    budget: 'less than asked for, because more was written than its budget',
    'pool-full': 'less than asked for, because the pool was full',
  };
  return texts[reason];
}

/** "1h", "1h guaranteed", or "34m of 1h" where that is not what can be opened. */
export function cdpColumn(cdp: Cdp): string {
  const { requestedMs, budgetBytes, effectiveMs, reason, isGuaranteed } = cdp;
  const wanted = formatCdpWindow({
    windowMs: requestedMs ?? Number.POSITIVE_INFINITY,
    windowBytes: budgetBytes,
  });
  const isLess = reason === 'growing' || reason === 'budget' || reason === 'pool-full';
  const text = isLess ? `${shortDuration(effectiveMs)} of ${wanted}` : wanted;
  return isGuaranteed ? `${text} guaranteed` : text;
}

/** In its two largest units. */
function shortDuration(durationMs: number): string {
  const unitMs = durationMs >= 86_400_000 ? 3_600_000 : durationMs >= 3_600_000 ? 60_000 : 1000;
  return formatCdpDuration(Math.floor(durationMs / unitMs) * unitMs);
}
