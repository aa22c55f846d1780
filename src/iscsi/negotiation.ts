/**
 * Operational keys, RFC 7143 section 13: one table of rules, from which every offer gets its answer.
 *
 *     offer ─▶ rule ─▶ answer (our choice among what was offered) ─▶ SessionParameters
 *                │
 *                ├ nobody knows the key        NotUnderstood
 *                ├ value outside its range     Reject, and what held before holds on
 *                └ means nothing in discovery  Irrelevant
 *
 * Invariants
 * 1. We never offer: every key of ours is a declaration. So an answer value (`Reject` and so on) answers nothing and gets no answer.
 * 2. What is chosen was offered, or is what the key's own function makes of the offer (minimum, maximum, and, or).
 */
import { unreachable } from '../base/assert.ts';
import { Answer, isAnswerValue, parseBoolean, parseNumber, type TextPair } from './keys.ts';
import {
  burstMaxBytes,
  firstBurstMaxBytes,
  listValuesMax,
  outstandingR2tMax,
  time2WaitSeconds,
} from './limits.ts';
import type { SessionParameters } from './parameters.ts';

type Apply<T> = (parameters: SessionParameters, value: T) => void;

type Rule = {
  /** Whether it may be sent again in full feature phase. */
  readonly isAnytime?: true;
  readonly isIrrelevantInDiscovery?: true;
} & (
  | { readonly kind: 'list'; readonly supported: readonly string[]; readonly apply: Apply<string> }
  | { readonly kind: 'or' | 'and'; readonly ours: boolean; readonly apply: Apply<boolean> }
  | {
      readonly kind: 'minimum' | 'maximum';
      readonly range: readonly [number, number];
      readonly ours: number;
      readonly apply: Apply<number>;
    }
  /** The initiator says it; no answer. */
  | {
      readonly kind: 'declared';
      readonly range: readonly [number, number];
      readonly apply: Apply<number>;
    }
  /** Noted by nobody; no answer. */
  | { readonly kind: 'ignored' }
  /** Always the same answer. */
  | { readonly kind: 'fixed'; readonly answer: string }
);

/** For keys whose outcome is the only one that we support. */
function nothing(): void {
  // Nothing depends on it.
}

const segmentRange = [512, 2 ** 24 - 1] as const;
const countRange = [1, 65_535] as const;
const secondsRange = [0, 3600] as const;
const inDiscovery = { isIrrelevantInDiscovery: true } as const;

/** RFC 7144; 1 = what RFC 7143 itself describes. */
const protocolLevel = 1;
const protocolLevelRange = [0, 31] as const;
const recoveryLevelRange = [0, 2] as const;

const digests = ['CRC32C', 'None'];
/** Only the target may send these. */
const targetsOwn: Rule = { kind: 'fixed', answer: Answer.reject };
/** Markers are obsolete, RFC 7143 section 13.25: refused, but known. */
const noMarkers: Rule = { kind: 'fixed', answer: 'No' };
const noMarkerInterval: Rule = { kind: 'fixed', answer: Answer.reject };

const firstBurstKey = 'FirstBurstLength';

const rules = new Map<string, Rule>(
  Object.entries({
    HeaderDigest: {
      kind: 'list',
      supported: digests,
      apply: (parameters, value) => {
        parameters.hasHeaderDigest = value !== 'None';
      },
    },
    DataDigest: {
      kind: 'list',
      supported: digests,
      apply: (parameters, value) => {
        parameters.hasDataDigest = value !== 'None';
      },
    },
    MaxConnections: {
      kind: 'minimum',
      range: countRange,
      ours: 1,
      apply: nothing,
      ...inDiscovery,
    },
    InitialR2T: {
      kind: 'or',
      ours: false,
      apply: (parameters, value) => {
        parameters.initialR2t = value;
      },
      ...inDiscovery,
    },
    ImmediateData: {
      kind: 'and',
      ours: true,
      apply: (parameters, value) => {
        parameters.immediateData = value;
      },
      ...inDiscovery,
    },
    MaxRecvDataSegmentLength: {
      kind: 'declared',
      range: segmentRange,
      apply: (parameters, value) => {
        parameters.initiatorMaxRecvDataSegmentLength = value;
      },
      isAnytime: true,
    },
    MaxBurstLength: {
      kind: 'minimum',
      range: segmentRange,
      ours: burstMaxBytes,
      apply: (parameters, value) => {
        parameters.maxBurstLength = value;
      },
      ...inDiscovery,
    },
    [firstBurstKey]: {
      kind: 'minimum',
      range: segmentRange,
      ours: firstBurstMaxBytes,
      apply: (parameters, value) => {
        parameters.firstBurstLength = value;
      },
      ...inDiscovery,
    },
    MaxOutstandingR2T: {
      kind: 'minimum',
      range: countRange,
      ours: outstandingR2tMax,
      apply: (parameters, value) => {
        parameters.maxOutstandingR2t = value;
      },
      ...inDiscovery,
    },
    DataPDUInOrder: { kind: 'or', ours: true, apply: nothing, ...inDiscovery },
    DataSequenceInOrder: { kind: 'or', ours: true, apply: nothing, ...inDiscovery },
    ErrorRecoveryLevel: { kind: 'minimum', range: recoveryLevelRange, ours: 0, apply: nothing },
    DefaultTime2Wait: {
      kind: 'maximum',
      range: secondsRange,
      ours: time2WaitSeconds,
      apply: (parameters, value) => {
        parameters.defaultTime2Wait = value;
      },
    },
    DefaultTime2Retain: {
      kind: 'minimum',
      range: secondsRange,
      ours: 0,
      apply: (parameters, value) => {
        parameters.defaultTime2Retain = value;
      },
    },
    iSCSIProtocolLevel: {
      kind: 'minimum',
      range: protocolLevelRange,
      ours: protocolLevel,
      apply: nothing,
    },
    TaskReporting: { kind: 'list', supported: ['RFC3720'], apply: nothing },
    InitiatorAlias: { kind: 'ignored', isAnytime: true },
    'X#NodeArchitecture': { kind: 'ignored', isAnytime: true },
    IFMarker: noMarkers,
    OFMarker: noMarkers,
    IFMarkInt: noMarkerInterval,
    OFMarkInt: noMarkerInterval,
    TargetAlias: targetsOwn,
    TargetAddress: targetsOwn,
    TargetPortalGroupTag: targetsOwn,
    // Known, but at no time or stage where they come here.
    SendTargets: targetsOwn,
    AuthMethod: targetsOwn,
    InitiatorName: targetsOwn,
    TargetName: targetsOwn,
    SessionType: targetsOwn,
  } satisfies Record<string, Rule>),
);

export interface NegotiationContext {
  /** Changed by what is agreed. */
  readonly parameters: SessionParameters;
  readonly isDiscovery: boolean;
  /** In full feature phase only few keys may be sent again. */
  readonly isFullFeature: boolean;
}

function chooseFromList(value: string, supported: readonly string[]): string | undefined {
  const offered = value.split(',', listValuesMax + 1);
  if (offered.length > listValuesMax) return undefined;
  return offered.find((name) => supported.includes(name));
}

function inRange(value: string, [low, high]: readonly [number, number]): number | undefined {
  const number = parseNumber(value);
  return number === undefined || number < low || number > high ? undefined : number;
}

function answerBoolean(
  value: string,
  rule: Extract<Rule, { kind: 'or' | 'and' }>,
  parameters: SessionParameters,
): string {
  const offered = parseBoolean(value);
  if (offered === undefined) return Answer.reject;
  const result = rule.kind === 'or' ? offered || rule.ours : offered && rule.ours;
  rule.apply(parameters, result);
  return result ? 'Yes' : 'No';
}

function answerNumber(
  { key, value }: TextPair,
  rule: Extract<Rule, { kind: 'minimum' | 'maximum' }>,
  parameters: SessionParameters,
): string {
  const offered = inRange(value, rule.range);
  if (offered === undefined) return Answer.reject;
  const ours = key === firstBurstKey ? Math.min(rule.ours, parameters.maxBurstLength) : rule.ours;
  const result = rule.kind === 'minimum' ? Math.min(offered, ours) : Math.max(offered, ours);
  rule.apply(parameters, result);
  return String(result);
}

function answerList(
  value: string,
  rule: Extract<Rule, { kind: 'list' }>,
  parameters: SessionParameters,
): string {
  const chosen = chooseFromList(value, rule.supported);
  if (chosen === undefined) return Answer.reject;
  rule.apply(parameters, chosen);
  return chosen;
}

function answerByRule(
  pair: TextPair,
  rule: Rule,
  parameters: SessionParameters,
): string | undefined {
  switch (rule.kind) {
    case 'list':
      return answerList(pair.value, rule, parameters);
    case 'or':
    case 'and':
      return answerBoolean(pair.value, rule, parameters);
    case 'minimum':
    case 'maximum':
      return answerNumber(pair, rule, parameters);
    case 'declared': {
      const declared = inRange(pair.value, rule.range);
      if (declared === undefined) return Answer.reject;
      rule.apply(parameters, declared);
      return undefined;
    }
    case 'ignored':
      return undefined;
    case 'fixed':
      return rule.answer;
    default:
      return unreachable(rule);
  }
}

/** The answer to one offer; undefined when it gets none. */
function answerOffer(pair: TextPair, context: NegotiationContext): string | undefined {
  if (isAnswerValue(pair.value)) return undefined;
  const rule = rules.get(pair.key);
  if (rule === undefined) return Answer.notUnderstood;
  if (context.isFullFeature && rule.isAnytime !== true) return Answer.reject;
  if (context.isDiscovery && rule.isIrrelevantInDiscovery === true) return Answer.irrelevant;
  return answerByRule(pair, rule, context.parameters);
}

/** The answers to `pairs`, in their order, one for each that gets one. */
export function negotiate(pairs: readonly TextPair[], context: NegotiationContext): TextPair[] {
  const answers = new Map<TextPair, string>();
  const answer = (pair: TextPair): void => {
    const value = answerOffer(pair, context);
    if (value !== undefined) answers.set(pair, value);
  };
  // FirstBurstLength may not exceed MaxBurstLength, wherever in the text that stands.
  for (const pair of pairs) if (pair.key !== firstBurstKey) answer(pair);
  for (const pair of pairs) if (pair.key === firstBurstKey) answer(pair);
  return pairs.flatMap((pair) => {
    const value = answers.get(pair);
    return value === undefined ? [] : [{ key: pair.key, value }];
  });
}

/** What we declare ourselves, once in a login. */
export function declarations(parameters: SessionParameters): TextPair[] {
  const value = String(parameters.maxRecvDataSegmentLength);
  return [{ key: 'MaxRecvDataSegmentLength', value }];
}

/** Makes consistent what was agreed piece by piece, or is still a default. */
export function settle(parameters: SessionParameters): void {
  parameters.firstBurstLength = Math.min(parameters.firstBurstLength, parameters.maxBurstLength);
}
