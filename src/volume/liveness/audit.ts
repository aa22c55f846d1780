/**
 * Liveness audit: what the mark calls dead against what can be reached. The mark judges versions of blocks by their birth and
 * death; the audit walks through maps of states that are kept, and asks for each block that it meets.
 *
 *     mark (now) ─▶ live set        later: roots, pins, both ends of windows and some states inside ─▶ maps ─▶ each block: live?
 *
 * The walk comes later than the mark, and I/O goes on: who is dead once is dead for ever, so that makes no difference. A moment that
 * is given up while the walk goes on may show anything by then (see MarkPass): what was found in it counts for nothing.
 */
import { type Outcome, success } from '../../base/errors.ts';
import type { Moment } from '../core/moment-maps.ts';
import type { Done, Operator } from '../core/operator.ts';
import { describeAddress, segIdOf } from '../format/address.ts';
import { sizeBefore } from '../history/volume-at.ts';
import type { VerifyReport } from '../reports.ts';
import { type LineRetention, retentionOf } from '../retention/retention.ts';
import { livenessLimits } from './limits.ts';
import type { LiveSet } from './live-set.ts';
import type { LivenessMark } from './mark.ts';
import { forkHeads, type ReferenceSink, walkMoments } from './moment-walk.ts';
import { inWalkOrder, keptStill, type Root, rootsOf } from './roots.ts';
import { TouchedBlocks } from './touched.ts';

interface LivenessAudit {
  /** Blocks that can be reached and are called dead: the first of them in words. */
  readonly faults: readonly string[];
  readonly faultCount: number;
}

/** A verification's `done` that has liveness audited first, when everything else is in order. */
export function withLivenessAudit(
  operator: Operator,
  mark: LivenessMark,
  done: (report: VerifyReport) => void,
): (report: VerifyReport) => void {
  return (report) => {
    if (report.faultCount > 0) {
      done(report);
      return;
    }
    auditLiveness(operator, mark, (outcome) => {
      const { faults, faultCount } = outcome.ok
        ? outcome.value
        : { faults: [outcome.error.message], faultCount: 1 };
      done({ ...report, faults, faultCount, isLivenessAudited: outcome.ok });
    });
  };
}

/** Works in slices; `done` gets an error when the log cannot be read. */
function auditLiveness(operator: Operator, mark: LivenessMark, done: Done<LivenessAudit>): void {
  mark.run((outcome) => {
    if (outcome.ok) walkKept(operator, outcome.value, done);
    else done(outcome);
  });
}

/** Asks for the blocks that come with each moment. */
class DeadReferences implements ReferenceSink {
  /** By moment: blocks that are called dead, the first of them in words. */
  readonly found = new Map<number, { count: number; readonly texts: string[] }>();
  readonly #live: LiveSet;
  readonly #moments: readonly Moment[];
  #moment = 0;

  constructor(live: LiveSet, moments: readonly Moment[]) {
    this.#live = live;
    this.#moments = moments;
  }

  moveTo(index: number): void {
    this.#moment = index;
  }

  opened(address: number, count: number): void {
    for (let at = address; at < address + count; at += 1) {
      if (!this.#live.isJudged(segIdOf(at)) || this.#live.isLive(at)) continue;
      const found = this.found.get(this.#moment) ?? { count: 0, texts: [] };
      this.found.set(this.#moment, found);
      found.count += 1;
      if (found.texts.length === livenessLimits.auditFaultsListedMax) continue;
      const { line, cut } = this.#moments[this.#moment] ?? { line: 0, cut: 0 };
      found.texts.push(
        `${describeAddress(at)}: line ${line} at position ${cut} has it, but it is counted as dead`,
      );
    }
  }

  /** Who let go of it says nothing: others may have it. */
  closed(): void {}
}

function walkKept(operator: Operator, live: LiveSet, done: Done<LivenessAudit>): void {
  const { catalogue } = operator.parts;
  const end = operator.timeline.end();
  const kept = retentionOf(catalogue, []).flatMap((each) => keptMoments(operator, each, end));
  const states = kept.map((moment) => ({ kind: 'snapshot' as const, moment }));
  const roots = inWalkOrder<Pick<Root, 'kind' | 'moment'>>(catalogue, [
    ...rootsOf(catalogue, end),
    ...states,
  ]);
  const heads = forkHeads(operator, end);
  const sink = new DeadReferences(
    live,
    roots.map(({ moment }) => moment),
  );
  const touched = new TouchedBlocks(operator, end);
  walkMoments(operator, { roots, heads, touched, sink, onMoment: nothing }, (walked) => {
    for (const map of heads.values()) map.release();
    const isKept = keptStill(catalogue);
    const isCounted = (index: number): boolean => {
      const root = roots[index];
      return root === undefined || isKept(root);
    };
    const outcome: Outcome<LivenessAudit> = walked.ok ? success(faultsOf(sink, isCounted)) : walked;
    done(outcome);
  });
}

function faultsOf(
  { found }: DeadReferences,
  isCounted: (moment: number) => boolean,
): LivenessAudit {
  const faults: string[] = [];
  let faultCount = 0;
  for (const [moment, { count, texts }] of found) {
    if (!isCounted(moment)) continue;
    faultCount += count;
    faults.push(...texts.slice(0, livenessLimits.auditFaultsListedMax - faults.length));
  }
  return { faults, faultCount };
}

function nothing(): void {}

/** Pins of a line, both ends of its window and some states inside. */
function keptMoments(
  { parts: { catalogue } }: Operator,
  { line, pins, windowFrom, windowTo }: LineRetention,
  end: number,
): Moment[] {
  const state = catalogue.line(line);
  const from = Math.max(windowFrom, state.createdPosition);
  const length = Math.min(windowTo, end) - from;
  const cuts = new Set(pins);
  const parts = length < 0 ? 0 : livenessLimits.auditStatesPerWindow;
  for (let part = 0; part < parts; part += 1) {
    cuts.add(from + Math.floor((length * part) / (parts - 1)));
  }
  return [...cuts].map((cut) => ({ line, cut, sizeBytes: sizeBefore(state, cut) }));
}
